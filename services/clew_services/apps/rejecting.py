"""Refusals of inbox commands, put on record."""

from __future__ import annotations

from typing import Final

import msgspec
from nats.aio.msg import Msg

from clew_events.errors import ClewError, TooLarge, Unavailable, to_fault
from clew_events.replies import Rejection
from clew_events.subjects import rejected_subject
from clew_projections.jetstream import MSG_ID, JetStream
from clew_services.apps.letters import place_of

SHORTENED: Final = 64 * 1024
"""Bytes that are kept of a command so large that no record could hold all of it."""

_ENCODE: Final = msgspec.json.Encoder().encode
_TOO_LARGE: Final = 10054


async def record(js: JetStream, message: Msg, command_id: str | None, error: ClewError) -> None:
    """Record in ``CLEW_REJECTED`` that an inbox command was refused; repeats within its window are one record.

    Raises:
        Unavailable: it is not on record, or nobody knows; to be tried again.
    """
    _, _, tenant, name = message.subject.split(".", 3)
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
        await _store(js, message, msgspec.structs.replace(rejection, body=short))


async def _store(js: JetStream, message: Msg, rejection: Rejection) -> None:
    subject = rejected_subject(rejection.tenant, rejection.command)
    ack = await js.publish(subject, _ENCODE(rejection), {MSG_ID: place_of(message)})
    if ack.error is not None and ack.error.err_code == _TOO_LARGE:
        raise TooLarge(ack.error.description)
    if ack.error is not None:
        raise Unavailable(f"CLEW_REJECTED took no record: {ack.error.description}")
