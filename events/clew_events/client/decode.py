"""What the replies say: the answer, or the error that came in its place, raised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

import msgspec

from clew_events.audit_replies import Blame, Difference
from clew_events.checkpoint_messages import CheckpointPage, KeptProof, SignedCheckpoint
from clew_events.client.results import (
    GoneDone,
    MessageDone,
    MessageFound,
    MessagesFound,
    MessagesThen,
    MessageThen,
    ThreadDone,
    ThreadFound,
)
from clew_events.errors import Corrupt, Fault, TooLarge, Unavailable, from_fault
from clew_events.list_reply import ThreadList
from clew_events.queries import Order
from clew_events.replies import Done, Entry, Feed, History, Moment

T = TypeVar("T")
_TOO_LARGE: Final = 10054
_FULL: Final = 10077


class _Reply(msgspec.Struct, Generic[T], frozen=True):
    ok: T | None = None
    error: Fault | None = None


class _Refusal(msgspec.Struct, frozen=True):
    err_code: int = 0
    description: str = ""


class _Stored(msgspec.Struct, frozen=True):
    """What JetStream answers to a publish."""

    seq: int = 0
    duplicate: bool = False
    error: _Refusal | None = None


def _reader(answer: type[T]) -> Callable[[bytes], T]:
    decoder: msgspec.json.Decoder[_Reply[T]] = msgspec.json.Decoder(_Reply[answer])  # type: ignore[valid-type]

    def read(body: bytes) -> T:
        reply = _decode(decoder, body)
        if reply.error is not None:
            raise from_fault(reply.error)
        if reply.ok is None:
            raise Corrupt("a reply with neither an answer nor an error", code="unreadable_reply")
        return reply.ok

    return read


def _decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
        raise Corrupt(f"a reply that cannot be read: {fault}", code="unreadable_reply") from fault


done: Final = _reader(Done)
thread_done: Final = _reader(ThreadDone)
message_done: Final = _reader(MessageDone)
gone_done: Final = _reader(GoneDone)
thread_found: Final = _reader(ThreadFound)
message_found: Final = _reader(MessageFound)
messages_found: Final = _reader(MessagesFound)
history: Final = _reader(History)
feed: Final = _reader(Feed)
thread_list: Final = _reader(ThreadList)
moment: Final = _reader(Moment)
message_then: Final = _reader(MessageThen)
messages_then: Final = _reader(MessagesThen)
difference: Final = _reader(Difference)
blame: Final = _reader(Blame)
checkpoint_page: Final = _reader(CheckpointPage)
checkpoint: Final = _reader(SignedCheckpoint)
proof: Final = _reader(KeptProof)
_STORED: Final = msgspec.json.Decoder(_Stored)


def stored_sequence(body: bytes) -> int:
    """The sequence at which JetStream stored a message.

    Raises:
        Unavailable: it was not stored for now; ``inbox_full`` if too many commands are waiting there,
            ``inbox_duplicate`` if the server took it for a repeat of another message.
        TooLarge: it is more than the stream takes.
    """
    ack = _decode(_STORED, body)
    if ack.error is None and ack.duplicate:
        # The one before had the same message id, and may be anybody's. Soon the server will have forgotten it.
        raise Unavailable(
            f"the server took the command for a repeat of message {ack.seq}, and did not store it",
            code="inbox_duplicate",
        )
    if ack.error is None and ack.seq:
        return ack.seq
    if ack.error is None:
        raise Corrupt("an acknowledgement without a sequence", code="unreadable_reply")
    if ack.error.err_code == _TOO_LARGE:
        raise TooLarge(f"the inbox takes no message of this size: {ack.error.description}")
    if ack.error.err_code == _FULL:
        raise Unavailable(
            f"the inbox is full, so nothing was left in it ({ack.error.description}): later, when some of it is done",
            code="inbox_full",
        )
    raise Unavailable(f"the inbox did not take the command: {ack.error.description}", code="inbox_unavailable")


def entries(page: History, order: Order) -> Iterator[Entry]:
    """The commits of a page, as far as none of them is missing from the log.

    Raises:
        Corrupt: one is, where it should have come.
    """
    gap = page.missing[0] if page.missing else None
    for entry in page.commits:
        if gap is not None and (entry.commit.n > gap.last if order == "asc" else entry.commit.n < gap.first):
            break
        yield entry
    if gap is not None:
        which = f"commit {gap.first} is" if gap.first == gap.last else f"commits {gap.first} to {gap.last} are"
        raise Corrupt(f"{which} missing from the log: 'clew verify' says more", code="missing_commit")
