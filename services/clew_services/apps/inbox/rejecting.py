"""Refusals of inbox commands, put on record: one for each message, for as long as records are kept."""

from __future__ import annotations

import hashlib
import logging
from typing import Final

import msgspec
from nats.aio.msg import Msg

from clew_events import ids
from clew_events.errors import ClewError, Fault, TooLarge, Unavailable, from_fault, to_fault
from clew_events.replies import Rejection
from clew_events.subjects import REJECTED_STREAM, rejected_subject
from clew_projections.buckets.bucket import WRONG_REVISION
from clew_projections.jetstream.calls import JetStream
from clew_projections.jetstream.messages import EXPECTED
from clew_services.apps.inbox.letters import place_of

EXCERPTS: Final = (64 * 1024, 1024)
"""Bytes that are kept of a command so large that no record could hold all of it; fewer where these are too many."""
LONGEST_TOKEN: Final = 128
"""Bytes of a tenant or a command's name that stand in the subject of a record; of a longer one its hash does."""
LONGEST_TEXT: Final = 1024
"""Characters that are kept of why a command was refused, and of the path of the field at fault."""

_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(Rejection).decode
_TOO_LARGE: Final = 10054
_LOG: Final = logging.getLogger("clew.inbox")


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
        error=_bounded(to_fault(error)),
        body=message.data.decode(errors="replace"),
    )
    try:
        await _store(js, message, rejection)
    except TooLarge:
        await _store_excerpt(js, message, rejection)


async def recorded(js: JetStream, message: Msg) -> ClewError | None:
    """Why an inbox command was refused, if that is on record.

    Raises:
        Unavailable: nobody knows; to be tried again.
    """
    stored = await js.newest_at_leader(REJECTED_STREAM, _subject(message), 0)
    return from_fault(_DECODE(stored.body).error) if stored is not None else None


async def _store_excerpt(js: JetStream, message: Msg, rejection: Rejection) -> None:
    whole = message.data
    rejection = msgspec.structs.replace(
        rejection, shortened=True, size=len(whole), sha256=hashlib.sha256(whole).hexdigest()
    )
    for length in EXCERPTS:
        excerpt = msgspec.structs.replace(rejection, body=whole[:length].decode(errors="replace"))
        try:
            await _store(js, message, excerpt)
        except TooLarge as fault:
            _LOG.warning("inbox %d: %d bytes are too many for a record: %s", rejection.inbox_seq, length, fault)
        else:
            return
    raise Unavailable(f"CLEW_REJECTED takes no record of inbox {rejection.inbox_seq}, however short")


async def _store(js: JetStream, message: Msg, rejection: Rejection) -> None:
    ack = await js.publish(_subject(message), _ENCODE(rejection), {EXPECTED: "0"})
    if ack.error is None or ack.error.err_code in WRONG_REVISION:
        return
    if ack.error.err_code == _TOO_LARGE:
        raise TooLarge(ack.error.description)
    raise Unavailable(f"CLEW_REJECTED took no record: {ack.error.description}")


def _subject(message: Msg) -> str:
    tenant, name = _asked(message)
    return rejected_subject(_token(tenant), _token(name), place_of(message))


def _token(text: str) -> str:
    """A tenant or a command as one token of a subject, however long it is."""
    return text if len(text.encode()) <= LONGEST_TOKEN else ids.derived("long-", text)


def _bounded(fault: Fault) -> Fault:
    param = fault.param[:LONGEST_TEXT] if fault.param is not None else None
    return msgspec.structs.replace(fault, message=fault.message[:LONGEST_TEXT], param=param)


def _asked(message: Msg) -> tuple[str, str]:
    _, _, tenant, name = message.subject.split(".", 3)
    return tenant, name
