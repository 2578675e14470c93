"""What the replies say: the answer, or the error that came in its place, raised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import msgspec

from clew_events.errors import Corrupt, Fault, TooLarge, Unavailable, from_fault
from clew_events.replies import (
    Done,
    DoneReply,
    Found,
    FoundReply,
    History,
    HistoryReply,
    Moment,
    MomentReply,
)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Reply(Protocol[T_co]):
    @property
    def ok(self) -> T_co | None: ...
    @property
    def error(self) -> Fault | None: ...


class _Refusal(msgspec.Struct, frozen=True):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Stored(msgspec.Struct, frozen=True):
    """What JetStream answers to a publish."""

    seq: int = 0
    error: _Refusal | None = None


def _reader(shape: type[_Reply[T]]) -> Callable[[bytes], T]:
    decoder = msgspec.json.Decoder(shape)

    def read(body: bytes) -> T:
        reply = _decoded(decoder, body)
        if reply.error is not None:
            raise from_fault(reply.error)
        if reply.ok is None:
            raise Corrupt("a reply with neither an answer nor an error", code="unreadable_reply")
        return reply.ok

    return read


def _decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as fault:
        raise Corrupt(f"a reply that cannot be read: {fault}", code="unreadable_reply") from fault


done: Final[Callable[[bytes], Done]] = _reader(DoneReply)
found: Final[Callable[[bytes], Found]] = _reader(FoundReply)
history: Final[Callable[[bytes], History]] = _reader(HistoryReply)
moment: Final[Callable[[bytes], Moment]] = _reader(MomentReply)
_STORED: Final = msgspec.json.Decoder(_Stored)


def stored(body: bytes) -> int:
    """The sequence at which JetStream stored a message.

    Raises:
        Unavailable: it was not stored for now.
        TooLarge: it is more than the stream takes.
    """
    ack = _decoded(_STORED, body)
    if ack.error is None and ack.seq:
        return ack.seq
    if ack.error is None:
        raise Corrupt("an acknowledgement without a sequence", code="unreadable_reply")
    if ack.error.err_code == 10054:  # the message exceeds the stream's limit
        raise TooLarge(f"the inbox takes no message of this size: {ack.error.description}")
    raise Unavailable(f"the inbox did not take the command: {ack.error.description}", code="inbox_unavailable")
