"""Refusals of inbox commands, put on record: one for each message, for as long as records are kept."""

from __future__ import annotations

from typing import Final

import msgspec
from nats.aio.msg import Msg

from clew_events.errors import ClewError, TooLarge, Unavailable, from_fault, to_fault
from clew_events.replies import Rejection
from clew_events.subjects import REJECTED_STREAM, rejected_subject
from clew_projections.buckets.bucket import WRONG_REVISION
from clew_projections.jetstream.calls import JetStream
from clew_projections.jetstream.messages import EXPECTED
from clew_services.apps.inbox.letters import place_of

SHORTENED: Final = 64 * 1024
"""Bytes that are kept of a command so large that no record could hold all of it."""

_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(Rejection).decode
_TOO_LARGE: Final = 10054


async def record(js: JetStream, message: Msg, command_id: str | None, error: ClewError) -> None:
    """Record in ``CLEW_REJECTED`` that an inbox command was refused, unless that is on record already.

    Raises:
        Unavailable: it is not on record, or nobody knows; to be tried again.
    """
    tenant, name = _asked(message)
    rejection = Rejection(
        tenant=tenant,
        command=name,
        inbox_seq=message.metadata.sequence.stream,
        id=command_id,
        error=to_fault(error),
        body=message.data.decode(errors="replace"),
    )
    try:
        await _store(js, message, rejection)
    except TooLarge:
        short = message.data[:SHORTENED].decode(errors="replace")
        await _store(js, message, msgspec.structs.replace(rejection, body=short, shortened=True))


async def recorded(js: JetStream, message: Msg) -> ClewError | None:
    """Why an inbox command was refused, if that is on record.

    Raises:
        Unavailable: nobody knows; to be tried again.
    """
    stored = await js.newest_at_leader(REJECTED_STREAM, _subject(message), 0)
    return from_fault(_DECODE(stored.body).error) if stored is not None else None


async def _store(js: JetStream, message: Msg, rejection: Rejection) -> None:
    ack = await js.publish(_subject(message), _ENCODE(rejection), {EXPECTED: "0"})
    if ack.error is None or ack.error.err_code in WRONG_REVISION:
        return
    if ack.error.err_code == _TOO_LARGE:
        raise TooLarge(ack.error.description)
    raise Unavailable(f"CLEW_REJECTED took no record: {ack.error.description}")


def _subject(message: Msg) -> str:
    return rejected_subject(*_asked(message), place_of(message))


def _asked(message: Msg) -> tuple[str, str]:
    _, _, tenant, name = message.subject.split(".", 3)
    return tenant, name
