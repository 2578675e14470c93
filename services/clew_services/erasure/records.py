"""Records of erasures: how far each one is, and its certificate, in the stream ``CLEW_ERASED``; and which forks exist.

The newest record of an erasure counts. Older ones hold nothing that a person wrote, and stay: an erasure's first record
has its place in the order of all, by which they are listed.

A fork is on record before its first commit is stored, so whoever erases something of its parent knows of it. Where
there is no such thread, the fork never came to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec

from clew_events.backoff import delays
from clew_events.codec import UNREADABLE
from clew_events.erasures import Erasure
from clew_events.errors import Corrupt, NotFound, Unavailable
from clew_events.subjects import (
    ERASED_STREAM,
    ERASURE_FLOOR,
    ERASURES,
    Address,
    certificate_subject,
    erasure_subject,
    fork_subject,
)
from clew_projections.history.pending_erasures import ErasureRecord, PendingErasures
from clew_projections.kv.bucket import WRONG_REVISION
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.replica_reads import pages, whole
from clew_projections.nats.request_mux import NO_RESPONDERS_CODE
from clew_projections.nats.stream_messages import EXPECTED, Ack, StoredMessage
from clew_services.erasure.certificate import CertificateNote, read_certificate

LEADERLESS: Final = 10.0
"""Seconds for which a record waits for a leader to be elected."""
_TRIES: Final = 10
_WINDOW: Final = 256
"""Sequences that are looked through first for older erasures."""
_FLOORS_APART: Final = 1000
"""Sequences by which the floor is raised at once."""
_GROWTH: Final = 4
_DECODE: Final = msgspec.json.Decoder(Erasure).decode
_ENCODE: Final = msgspec.json.Encoder().encode


class ErasureRecords:
    """Reads and writes the records of a deployment. All methods raise ``Unavailable`` if JetStream does not answer."""

    def __init__(self, js: JetStream, pending: PendingErasures) -> None:
        self._js = js
        self._pending = pending
        self._floor = 0

    async def find(self, tenant: str, erasure_id: str) -> ErasureRecord | None:
        """The newest record of an erasure, if it has one.

        Raises:
            Corrupt: it cannot be read.
        """
        stored = await self._js.newest_at_leader(ERASED_STREAM, erasure_subject(tenant, erasure_id), 0)
        return _record(stored) if stored is not None else None

    async def write(self, tenant: str, erasure: Erasure, revision: int) -> ErasureRecord | None:
        """Write the next record of an erasure whose newest has a revision, 0 if it has none; ``None`` if it has not."""
        subject = erasure_subject(tenant, erasure.id)
        ack = await self._publish(subject, _ENCODE(erasure), revision)
        if ack.error is None:
            return ErasureRecord(tenant, erasure, ack.seq)
        if ack.error.err_code in WRONG_REVISION:
            return None
        raise Unavailable(f"{ERASED_STREAM} refused a record: {ack.error.description}", code="record_refused")

    async def _publish(self, subject: str, body: bytes, revision: int) -> Ack:
        """Publish a record. Retries while no leader is elected, as an append to the log does."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LEADERLESS
        pauses = delays(longest=0.5)
        while True:
            try:
                return await self._js.publish(subject, body, {EXPECTED: str(revision)})
            except Unavailable as fault:
                if fault.code != NO_RESPONDERS_CODE or loop.time() >= until:
                    raise
            await asyncio.sleep(next(pauses))

    async def announce(self, tenant: str, erasure: Erasure) -> None:
        """Record an erasure that is about to be requested, unless it has a record."""
        await self.write(tenant, erasure, 0)

    async def record_fork(self, parent: Address, fork: str) -> None:
        """Record that a thread is about to be forked from another, unless that is on record."""
        ack = await self._publish(fork_subject(parent, fork), b"", 0)
        if ack.error is not None and ack.error.err_code not in WRONG_REVISION:
            raise Unavailable(f"{ERASED_STREAM} refused a record: {ack.error.description}", code="record_refused")

    async def forks(self, parent: Address) -> list[str]:
        """The threads that were forked from one, the oldest first, and maybe some that never came to be."""
        async with aclosing(whole(self._js, ERASED_STREAM, fork_subject(parent))) as read:
            return [stored.subject.rpartition(".")[2] async for page in read for stored in page]

    async def confirm(self, tenant: str, erasure: Erasure) -> Erasure:
        """Record that an erasure is requested in the log, unless that is recorded; return it as it is now.

        Raises:
            Corrupt: its record cannot be read.
        """
        pauses = delays()
        for _ in range(_TRIES):
            known = await self.find(tenant, erasure.id)
            if known is not None and known.erasure.n is not None:
                return known.erasure
            written = await self.write(tenant, erasure, known.revision if known is not None else 0)
            if written is not None:
                return written.erasure
            await asyncio.sleep(next(pauses))
        raise Unavailable(f"the record of '{erasure.id}' was written by others {_TRIES} times", code="too_many_writers")

    async def all(self) -> tuple[ErasureRecord, ...]:
        """The erasures of all tenants as they are now, in the order of their first records.

        Raises:
            Corrupt: a record cannot be read.
        """
        newest: dict[str, ErasureRecord] = {}
        async with aclosing(whole(self._js, ERASED_STREAM, f"{ERASURES}.*.*")) as read:
            async for page in read:
                newest |= {stored.subject: _record(stored) for stored in page}
        return tuple(newest.values())

    async def pending(self) -> tuple[ErasureRecord, ...]:
        """The erasures of all tenants that are neither completed nor failed, the oldest record first.

        Only records that were written since the last call are read. One that cannot be read is logged.
        """
        return await self._pending.records()

    async def raise_floor(self) -> None:
        """Store from where on records have to be read to know what is pending, if that is far from where it was.

        For the one process that carries erasures out.
        """
        floor = self._pending.floor
        if floor < max(self._floor, self._pending.floor_read) + _FLOORS_APART:
            return
        ack = await self._js.publish(ERASURE_FLOOR, b"%d" % floor)
        if ack.error is not None:
            raise Unavailable(f"{ERASED_STREAM} refused a floor: {ack.error.description}", code="record_refused")
        self._floor = floor

    async def iterate(self, tenant: str, after: str | None = None) -> AsyncGenerator[Erasure, None]:
        """The erasures of a tenant as they are now, the newest first, after the one of an id if one is given.

        Raises:
            NotFound: there is no erasure of that id.
            Corrupt: a record cannot be read.
        """
        end = await self._place(tenant, after) if after is not None else None
        async with aclosing(self._first_records(tenant, end)) as windows:
            async for first in windows:
                subjects = [stored.subject for stored in first]
                newest = await self._js.lasts(ERASED_STREAM, subjects)
                for stored in first:
                    yield _record(newest.get(stored.subject, stored)).erasure

    async def certificate(self, erasure_id: str) -> CertificateNote | None:
        """The certificate of an erasure, if it has one. Its signature is not verified.

        Raises:
            Corrupt: it cannot be read.
        """
        stored = await self._js.newest_at_leader(ERASED_STREAM, certificate_subject(erasure_id), 0)
        return read_certificate(stored.body) if stored is not None else None

    async def keep_certificate(self, made: CertificateNote) -> CertificateNote:
        """Store the certificate of an erasure, and return it, or the one that is there already.

        Raises:
            Corrupt: that cannot be read.
        """
        ack = await self._js.publish(certificate_subject(made.certificate.erasure), made.note, {EXPECTED: "0"})
        if ack.error is None:
            return made
        if ack.error.err_code not in WRONG_REVISION:
            raise Unavailable(f"{ERASED_STREAM} refused a certificate: {ack.error.description}")
        stored = await self.certificate(made.certificate.erasure)
        if stored is None:
            raise Unavailable(f"the certificate of '{made.certificate.erasure}' was removed meanwhile")
        return stored

    async def _place(self, tenant: str, erasure_id: str) -> int:
        request = {"seq": 1, "next_by_subj": erasure_subject(tenant, erasure_id)}
        first = await self._js.from_leader(ERASED_STREAM, request)
        if first is None:
            raise no_erasure(erasure_id, param="after")
        return first.seq

    async def _first_records(self, tenant: str, end: int | None) -> AsyncGenerator[list[StoredMessage], None]:
        """The first records of erasures, the newest first, before a sequence."""
        subjects = erasure_subject(tenant, "*")
        if end is None:
            newest = await self._js.newest_at_leader(ERASED_STREAM, subjects, 0)
            end = newest.seq + 1 if newest is not None else 1
        size = _WINDOW
        while end > 1:
            start, first = max(1, end - size), list[StoredMessage]()
            async with aclosing(pages(self._js, ERASED_STREAM, subjects, start, end - 1)) as read:
                async for page in read:
                    inside = [stored for stored in page if stored.seq < end]
                    first += [stored for stored in inside if stored.headers.get(EXPECTED) == "0"]
                    if len(inside) < len(page):
                        break
            yield first[::-1]
            end, size = start, size if first else size * _GROWTH


def no_erasure(erasure_id: str, *, param: str | None = None) -> NotFound:
    """The error for an erasure that does not exist."""
    return NotFound(f"No erasure found with id '{erasure_id}'.", code="erasure_not_found", param=param)


def _record(stored: StoredMessage) -> ErasureRecord:
    _, _, _, tenant, erasure_id = stored.subject.split(".")
    try:
        return ErasureRecord(tenant, _DECODE(stored.body), stored.seq)
    except UNREADABLE as fault:
        raise Corrupt(f"the record of '{erasure_id}' cannot be read: {fault}", code="unreadable_record") from fault
