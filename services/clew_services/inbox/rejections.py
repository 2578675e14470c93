"""Rejected inbox commands: recorded, listed, and retried."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Final

import msgspec
from nats.aio.msg import Msg

from clew_events import ids
from clew_events.errors import (
    AlreadyErased,
    AlreadyExists,
    ClewError,
    Fault,
    IdReused,
    Invalid,
    NotFound,
    TooLarge,
    Unavailable,
    from_fault,
    to_fault,
)
from clew_events.items import own_ids
from clew_events.replies import Rejection
from clew_events.subjects import INBOX_STREAM, REJECTED, REJECTED_STREAM, Address, inbox_subject, rejected_subject
from clew_projections.kv.bucket import WRONG_REVISION
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.replica_reads import whole
from clew_projections.nats.stream_messages import EXPECTED, ApiRefusal, StoredMessage
from clew_services.inbox.inbox_message import id_of_stored, place_of

_DECODE: Final = msgspec.json.Decoder(Rejection).decode
_ALL: Final = f"{REJECTED}.>"


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a rejected command: its number, its time and its content."""

    number: int
    at: datetime
    rejection: Rejection

    @property
    def why_final(self) -> str | None:
        """Why this command cannot be retried, or ``None`` if it can."""
        if self.rejection.error.code == IdReused.default_code:
            return "its id was used for another command: send it again with another id"
        if self.rejection.error.code == AlreadyExists.default_code:
            return "its thread was created by another command: send it again for another thread"
        if self.rejection.id is None:
            return "it could not be read as a command: send a valid one"
        if not self.rejection.body:
            return "what it is about was erased, so it was not kept"
        if self.rejection.shortened:
            return "it was too large to be kept whole: send it again"
        return None


async def list_rejected(js: JetStream, *, tenant: str | None = None, after: int = 0) -> AsyncGenerator[Refusal]:
    """All records with a number above ``after``, the oldest first; of one tenant or of all.

    Raises:
        Unavailable: the records cannot be read now.
    """
    pattern = _ALL if tenant is None else f"{REJECTED}.{tenant}.>"
    async with aclosing(whole(js, REJECTED_STREAM, pattern, seq=after + 1)) as pages:
        async for page in pages:
            for stored in page:
                yield _refusal(stored)


async def refusal(js: JetStream, number: int, *, tenant: str | None = None) -> Refusal:
    """The record with this number; only one of a tenant, if that is given.

    Raises:
        NotFound: there is none.
        Unavailable: the records cannot be read now.
    """
    stored = await js.next_at_leader(REJECTED_STREAM, number)
    found = _refusal(stored) if stored is not None and stored.seq == number else None
    if found is None or tenant not in {None, found.rejection.tenant}:
        raise NotFound(f"there is no rejected command with the number {number}", code="refusal_not_found")
    return found


async def retry(js: JetStream, refused: Refusal) -> int:
    """Put a rejected command back into the inbox with its id, remove its record, and return its sequence there.

    If this is interrupted, the command is both in the inbox and on record; a retry carries it out once.

    Raises:
        Invalid: it cannot be retried.
        Unavailable: the inbox did not accept it, or the record was not removed.
    """
    if refused.why_final is not None:
        raise Invalid(f"{refused.number} cannot be retried: {refused.why_final}", code="refusal_final")
    rejection = refused.rejection
    fields = msgspec.json.decode(rejection.body, type=dict[str, msgspec.Raw])
    body = msgspec.json.encode({**fields, "id": rejection.id})
    ack = await js.publish(inbox_subject(rejection.tenant, rejection.command), body)
    if ack.error is not None:
        raise Unavailable(f"the inbox did not accept the command: {ack.error.description}", code="inbox_unavailable")
    await js.api(f"STREAM.MSG.DELETE.{REJECTED_STREAM}", {"seq": refused.number})
    return ack.seq


class Concern(msgspec.Struct, frozen=True):
    """What rejected commands may be about: a thread, or some of its messages or other items."""

    address: Address
    messages: tuple[str, ...] | None = None


async def erase(js: JetStream, concerns: Sequence[Concern]) -> list[tuple[int, ...]]:
    """Erase the records of rejected commands about threads or messages; return the numbers of each concern.

    Their bytes are overwritten on the disk. Of a command that cannot be read, a record counts as about a thread or a
    message if its text has the id. Safe to repeat.

    Raises:
        Unavailable: the records cannot be read, or one of them is still there.
    """
    numbers = await _about(js, concerns)
    if some := {number for each in numbers for number in each}:
        for number in sorted(some):
            with suppress(ApiRefusal):  # it was retried or erased meanwhile
                await js.api(f"STREAM.MSG.DELETE.{REJECTED_STREAM}", {"seq": number})
        if left := some & {number for each in await _about(js, concerns) for number in each}:
            raise Unavailable(f"{REJECTED_STREAM} did not delete {sorted(left)}", code="not_erased")
    return numbers


async def _about(js: JetStream, concerns: Sequence[Concern]) -> list[tuple[int, ...]]:
    numbers: list[list[int]] = [[] for _ in concerns]
    for tenant in {each.address.tenant for each in concerns}:
        async for refused in list_rejected(js, tenant=tenant):
            target = _target_of(tenant, refused.rejection.body, refused.rejection.id)
            for found, each in zip(numbers, concerns, strict=True):
                if each.address.tenant == tenant and _concerns(target, refused.rejection.body, each):
                    found.append(refused.number)
    return [tuple(each) for each in numbers]


async def erase_waiting(js: JetStream, concerns: Sequence[Concern]) -> None:
    """Erase the commands that wait in the inbox about threads or messages. Nobody may serve it.

    Raises:
        Unavailable: the inbox does not answer.
    """
    for tenant in {each.address.tenant for each in concerns}:
        async with aclosing(whole(js, INBOX_STREAM, inbox_subject(tenant, "*"))) as pages:
            async for page in pages:
                for stored in page:
                    body = stored.body.decode(errors="replace")
                    target = _target_of(tenant, body, id_of_stored(stored))
                    if any(each.address.tenant == tenant and _concerns(target, body, each) for each in concerns):
                        await js.api(f"STREAM.MSG.DELETE.{INBOX_STREAM}", {"seq": stored.seq})


class _Target(msgspec.Struct, frozen=True):
    """The parts of a command that say which thread and items it is about."""

    id: str | None = None
    thread_id: str | None = None
    kind: str | None = None
    message_id: str | None = None
    item_id: str | None = None
    items: tuple[msgspec.Raw, ...] | None = None

    @property
    def named(self) -> set[str | None]:
        """The ids of items, those of new ones included."""
        return {self.message_id, self.item_id, *own_ids(self.items or ())}


_TARGET: Final = msgspec.json.Decoder(_Target).decode


def _target_of(tenant: str, body: str, given: str | None) -> _Target | None:
    """What a command is about, which has an id ``given`` to it unless it names one; ``None`` if it cannot be read."""
    try:
        target = _TARGET(body)
    except (msgspec.MsgspecError, RecursionError):
        return None
    command_id = target.id or given
    if target.thread_id is None and command_id is not None:
        derived = ids.thread_id(tenant, command_id, conversation=target.kind == "conversation")
        return msgspec.structs.replace(target, thread_id=derived)
    return target


def _concerns(target: _Target | None, body: str, concern: Concern) -> bool:
    thread, messages = concern.address.thread, concern.messages
    if target is None:
        return any(each in body for each in (messages if messages is not None else (thread,)))
    return target.thread_id == thread and (messages is None or not target.named.isdisjoint(messages))


def _refusal(stored: StoredMessage) -> Refusal:
    at = datetime.fromisoformat(stored.headers["Nats-Time-Stamp"])
    return Refusal(number=stored.seq, at=at, rejection=_DECODE(stored.body))


EXCERPTS: Final = (64 * 1024, 1024)
"""Bytes of the excerpt that is kept of a command too large for a record; the second if the first is too many."""
LONGEST_TOKEN: Final = 128
"""Most bytes of a tenant or a command's name in the subject of a record; of a longer one the hash is used."""
LONGEST_TEXT: Final = 1024
"""Characters that are kept of an error's message, and of the path of the field at fault."""

_ENCODE: Final = msgspec.json.Encoder().encode
_TOO_LARGE: Final = 10054
_LOG: Final = logging.getLogger("clew.inbox")


async def record(js: JetStream, message: Msg, command_id: str | None, error: ClewError) -> None:
    """Record in ``CLEW_REJECTED`` that an inbox command was rejected, unless that is recorded already.

    What it says is not kept if it is about something that was erased: nobody would erase it again.

    Raises:
        Unavailable: it is not recorded, or that is unknown; retry.
    """
    tenant, name = _asked_command(message)
    rejection = Rejection(
        tenant=tenant,
        command=name,
        inbox_seq=message.metadata.sequence.stream,
        id=command_id,
        error=_bounded(to_fault(error)),
        body="" if _is_about_erased(error) else message.data.decode(errors="replace"),
    )
    try:
        await _store(js, message, rejection)
    except TooLarge:
        await _store_excerpt(js, message, rejection)


def _is_about_erased(error: ClewError) -> bool:
    return isinstance(error, AlreadyErased) or (isinstance(error, NotFound) and error.erased)


async def recorded_refusal(js: JetStream, message: Msg) -> ClewError | None:
    """The recorded error of an inbox command, if it was rejected.

    Raises:
        Unavailable: the records cannot be read; retry.
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
            _LOG.warning("inbox message %d: %d bytes are too many for a record: %s", rejection.inbox_seq, length, fault)
        else:
            return
    raise Unavailable(f"{REJECTED_STREAM} does not store even a short record of inbox message {rejection.inbox_seq}")


async def _store(js: JetStream, message: Msg, rejection: Rejection) -> None:
    ack = await js.publish(_subject(message), _ENCODE(rejection), {EXPECTED: "0"})
    if ack.error is None or ack.error.err_code in WRONG_REVISION:
        return
    if ack.error.err_code == _TOO_LARGE:
        raise TooLarge(ack.error.description)
    raise Unavailable(f"{REJECTED_STREAM} did not store a record: {ack.error.description}")


def _subject(message: Msg) -> str:
    tenant, name = _asked_command(message)
    return rejected_subject(_token(tenant), _token(name), place_of(message))


def _token(text: str) -> str:
    """A tenant or a command's name as one token of a subject, of limited length."""
    return text if len(text.encode()) <= LONGEST_TOKEN else ids.derive_id("long-", text)


def _bounded(fault: Fault) -> Fault:
    param = fault.param[:LONGEST_TEXT] if fault.param is not None else None
    return msgspec.structs.replace(fault, message=fault.message[:LONGEST_TEXT], param=param)


def _asked_command(message: Msg) -> tuple[str, str]:
    _, _, tenant, name = message.subject.split(".", 3)
    return tenant, name
