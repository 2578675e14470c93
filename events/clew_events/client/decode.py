"""Decodes replies: returns the answer, or raises the error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeVar

import msgspec

from clew_events.errors import Corrupt, TooLarge, Unavailable, from_fault
from clew_events.queries import Order
from clew_events.replies import Entry, History, Reply

T = TypeVar("T")
_TOO_LARGE: Final = 10054
_FULL: Final = 10077


class _Refusal(msgspec.Struct, frozen=True):
    err_code: int = 0
    description: str = ""


class _Stored(msgspec.Struct, frozen=True):
    """JetStream's reply to a publish."""

    seq: int = 0
    duplicate: bool = False
    error: _Refusal | None = None


def decode_reply(answer: type[T], body: bytes) -> T:
    """The ``ok`` of a reply, of type ``answer``.

    Raises:
        ClewError: the reply's ``error``, as the type in :mod:`clew_events.errors` that it names.
        Corrupt: the reply cannot be decoded, or has neither ``ok`` nor ``error``.
    """
    kind: type[Reply[T]] = Reply[answer]  # type: ignore[valid-type]
    reply = _decode(body, kind)
    if reply.error is not None:
        raise from_fault(reply.error)
    if reply.ok is None:
        raise Corrupt("the reply has neither 'ok' nor 'error'", code="unreadable_reply")
    return reply.ok


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
        raise Corrupt(f"the reply cannot be decoded: {fault}", code="unreadable_reply") from fault


def decode_sequence(body: bytes) -> int:
    """The sequence at which JetStream stored a message.

    Raises:
        Unavailable: it was not stored; ``inbox_full`` if the inbox holds no more commands, ``inbox_duplicate`` if the
            server took it for a repeat of another message.
        TooLarge: it exceeds the largest message that the stream takes.
        Corrupt: the reply cannot be decoded, or has neither a sequence nor an error.
    """
    ack = _decode(body, _Stored)
    if ack.error is None and ack.duplicate:
        # The other message had the same message id and may be of any sender. The server forgets ids after a while.
        raise Unavailable(
            f"the command was not stored: the server takes it for a repeat of message {ack.seq}",
            code="inbox_duplicate",
        )
    if ack.error is None and ack.seq:
        return ack.seq
    if ack.error is None:
        raise Corrupt("the acknowledgement has neither a sequence nor an error", code="unreadable_reply")
    if ack.error.err_code == _TOO_LARGE:
        raise TooLarge(f"the command is larger than the inbox takes: {ack.error.description}")
    if ack.error.err_code == _FULL:
        raise Unavailable(
            f"the inbox is full and did not store the command ({ack.error.description}): retry later",
            code="inbox_full",
        )
    raise Unavailable(f"the inbox did not store the command: {ack.error.description}", code="inbox_unavailable")


def entries(page: History, order: Order) -> Iterator[Entry]:
    """The commits of a page, up to the first that is missing from the log.

    Raises:
        Corrupt: a commit is missing, once all before it were returned.
    """
    gap = page.missing[0] if page.missing else None
    for entry in page.commits:
        if gap is not None and (entry.commit.n > gap.last if order == "asc" else entry.commit.n < gap.first):
            break
        yield entry
    if gap is not None:
        commits = f"commit {gap.first} is" if gap.first == gap.last else f"commits {gap.first} to {gap.last} are"
        raise Corrupt(f"{commits} missing from the log: run 'clew verify' for details", code="missing_commit")
