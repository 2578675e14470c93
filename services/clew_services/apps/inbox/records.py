"""What is on record as refused: looked at, and put back into the inbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import Final

import msgspec

from clew_events.errors import AlreadyExists, IdReused, Invalid, NotFound, Unavailable
from clew_events.replies import Rejection
from clew_events.subjects import REJECTED, REJECTED_STREAM, inbox_subject
from clew_projections.jetstream.calls import JetStream
from clew_projections.jetstream.messages import Stored
from clew_projections.jetstream.replicas import whole

_DECODE: Final = msgspec.json.Decoder(Rejection).decode
_ALL: Final = f"{REJECTED}.>"


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A record, by its number, and when it was made."""

    number: int
    at: datetime
    rejection: Rejection

    @property
    def why_final(self) -> str | None:
        """Why this command cannot be tried again as it was, if it cannot."""
        if self.rejection.error.code == IdReused.default_code:
            return "its id was spent on another command, which will always be so: send it anew under another id"
        if self.rejection.error.code == AlreadyExists.default_code:
            return "its thread was created by another command, which will always be so: send it anew for another thread"
        if self.rejection.id is None:
            return "it could not be read as a command: send what was meant"
        if self.rejection.shortened:
            return "it was too large to be kept whole: send it anew"
        return None


async def refusals(js: JetStream, *, tenant: str | None = None) -> AsyncIterator[Refusal]:
    """Everything on record, the oldest first; of one tenant or of all.

    Raises:
        Unavailable: the records cannot be read now.
    """
    pattern = _ALL if tenant is None else f"{REJECTED}.{tenant}.>"
    async with aclosing(whole(js, REJECTED_STREAM, pattern)) as found:
        async for page in found:
            for stored in page:
                yield _refusal(stored)


async def refusal(js: JetStream, number: int) -> Refusal:
    """The record with this number.

    Raises:
        NotFound: there is none.
        Unavailable: the records cannot be read now.
    """
    found = await js.next_at_leader(REJECTED_STREAM, number)
    if found is None or found.seq != number:
        raise NotFound(f"there is no refusal with the number {number}", code="refusal_not_found")
    return _refusal(found)


async def retry(js: JetStream, refused: Refusal) -> int:
    """Put a refused command back into the inbox, under its own id, and take its record away; its new place there.

    If this is cut short the command is in the inbox and on record; doing it again does it once.

    Raises:
        Invalid: it can never be granted as it is.
        Unavailable: the inbox did not take it, or the record is still there.
    """
    if refused.why_final is not None:
        raise Invalid(f"{refused.number} cannot be tried again: {refused.why_final}", code="refusal_final")
    said = refused.rejection
    body = msgspec.json.encode(msgspec.json.decode(said.body, type=dict[str, object]) | {"id": said.id})
    ack = await js.publish(inbox_subject(said.tenant, said.command), body)
    if ack.error is not None:
        raise Unavailable(f"the inbox did not take the command: {ack.error.description}", code="inbox_unavailable")
    await js.api(f"STREAM.MSG.DELETE.{REJECTED_STREAM}", {"seq": refused.number})
    return ack.seq


def _refusal(stored: Stored) -> Refusal:
    at = datetime.fromisoformat(stored.headers["Nats-Time-Stamp"])
    return Refusal(number=stored.seq, at=at, rejection=_DECODE(stored.body))
