"""The erasures that were requested and not carried out yet, as this process knows them.

From the acknowledgement of a request on, no reader returns the contents that it covers, whatever copies of them still
exist. A process learns of requests by announcements over core NATS, and reads them all again after a reconnect. An
announcement may come late, so whoever must not miss one calls :meth:`PendingErasures.refresh` before it reads.

Records are kept for ever, and few are of interest. The *floor*, which the worker raises, is a sequence before which no
pending erasure has its newest record. Reading begins there.

Views, in the bucket and in memory, may lag behind a request until the erasure is completed. So until then a thread is
read as of its latest commit, whatever the caller asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec
from msgspec import Struct
from nats.aio.client import Client

from clew_events.codec import UNREADABLE, decode, redact
from clew_events.erasures import Erasure, lines_to_erase
from clew_events.errors import Corrupt
from clew_events.events import ErasureRequested
from clew_events.subjects import ERASED_STREAM, ERASURE_FLOOR, ERASURES, LIVE_ERASURES, Address, event_subject
from clew_projections.kv.watcher import KvWatcher
from clew_projections.nats.jetstream import JetStream, stream_state
from clew_projections.nats.stream_messages import DIGEST, StoredMessage

_DECODER: Final = msgspec.json.Decoder(Erasure)
_RECORDS: Final = f"{ERASURES}.*.*"
_LOG: Final = logging.getLogger("clew.erasure")


class ErasureRecord(Struct, frozen=True):
    """The newest record of an erasure of a tenant; ``revision`` is its sequence in the stream."""

    tenant: str
    erasure: Erasure
    revision: int


class Request(Struct, frozen=True):
    """A request, the sequence of its commit, and what it covers: earlier commits of the thread."""

    seq: int
    event: ErasureRequested


class PendingErasures:
    """The requests of a deployment, by the subjects of their threads in the log; false if there is none."""

    def __init__(self, js: JetStream) -> None:
        self._js = js
        self._by_subject: dict[str, dict[str, Request]] = {}
        self._unfinished: dict[str, set[str]] = {}
        self._watcher: KvWatcher | None = None
        self._records: dict[str, ErasureRecord] | None = None
        self._read_up_to = 0
        self._floor_read = 0
        self._alone = asyncio.Lock()
        self.noted: list[Callable[[Address], None]] = []
        """Called with each thread of which an erasure was requested, or went on."""

    def __bool__(self) -> bool:
        return bool(self._by_subject)

    @contextlib.asynccontextmanager
    async def watch(self, nc: Client, reconnected: list[Callable[[], None]]) -> AsyncIterator[None]:
        """Follow the requests for the duration of the block; all that exist now are known when it begins.

        The caller must call the functions in ``reconnected`` after every reconnect of ``nc``.

        Raises:
            Unavailable: JetStream does not answer.
        """
        watcher = KvWatcher(None, self.refresh, name="the list of erasures", log=_LOG)
        async with watcher.watch(nc, f"{LIVE_ERASURES}.*", reconnected):
            await self.refresh()
            self._watcher = watcher
            try:
                yield
            finally:
                self._watcher = None

    async def refresh(self) -> None:
        """Learn of every request that was acknowledged before this call.

        Raises:
            Unavailable: JetStream does not answer.
        """
        async with self._alone:
            end = (await stream_state(self._js, ERASED_STREAM)).last_seq
            if end < self._read_up_to:  # another stream, as after a restore
                self._by_subject, self._unfinished, self._read_up_to = {}, {}, 0
                self._records = {} if self._records is not None else None
            if end == self._read_up_to:
                return
            if not self._read_up_to:
                floor = await self._js.newest_at_leader(ERASED_STREAM, ERASURE_FLOOR, 0)
                self._floor_read = int(floor.body) if floor is not None else 1
                self._read_up_to = min(self._floor_read - 1, end)
            page = True
            while page:
                messages, _ = await self._js.after(ERASED_STREAM, _RECORDS, self._read_up_to + 1)
                page = bool(messages)
                for stored in messages:
                    self._take(stored)
            # The replica that answered may lag.
            following = {"seq": self._read_up_to + 1, "next_by_subj": _RECORDS}
            while (last := await self._js.from_leader(ERASED_STREAM, following)) is not None:
                self._take(last)
                following = {**following, "seq": self._read_up_to + 1}
            self._read_up_to = max(end, self._read_up_to)

    async def records(self) -> tuple[ErasureRecord, ...]:
        """The erasures of all tenants that are neither completed nor failed now, the oldest record first.

        They are kept from the first call on, which reads them again.

        Raises:
            Unavailable: JetStream does not answer.
        """
        if self._records is None:
            async with self._alone:
                self._records, self._read_up_to = {}, 0
        await self.refresh()
        return tuple(self._records.values())

    @property
    def floor(self) -> int:
        """The highest floor that is right, as far as :meth:`records` has read."""
        oldest = next(iter((self._records or {}).values()), None)
        return oldest.revision if oldest is not None else self._read_up_to + 1

    @property
    def floor_read(self) -> int:
        """The floor at which reading began."""
        return self._floor_read

    def may_concern(self, subject: str) -> bool:
        """Whether an erasure of a thread is not completed, or whether that is not known because news are being read."""
        return subject in self._unfinished or (self._watcher is not None and self._watcher.is_behind)

    def redact(self, stored: StoredMessage) -> StoredMessage:
        """Return a commit of the log without the contents that a request covers."""
        requests = self._by_subject.get(stored.subject)
        if requests is None:
            return stored
        events = [request.event for request in requests.values() if stored.seq < request.seq]
        body = _without(stored.body, events) if events else stored.body
        if body == stored.body:
            return stored
        headers = {name: value for name, value in stored.headers.items() if name != DIGEST}
        return StoredMessage(stored.seq, stored.subject, body, headers)

    def _take(self, stored: StoredMessage) -> None:
        self._read_up_to = stored.seq
        tenant, erasure = stored.subject.split(".")[3:]
        try:
            record = _DECODER.decode(stored.body)
        except UNREADABLE as fault:
            _LOG.error("the record of %s, tenant %s, cannot be read: %s", erasure, tenant, fault)
            return
        if self._records is not None:
            self._records.pop(stored.subject, None)
            if record.status in {"requested", "erased"}:
                self._records[stored.subject] = ErasureRecord(tenant, record, stored.seq)
        if record.position is None:
            return  # not acknowledged yet
        address = Address(tenant, record.thread_id)
        subject = event_subject(record.position.shard, address)
        for forget in self.noted:
            forget(address)
        unfinished = self._unfinished.setdefault(subject, set())
        if record.status in {"requested", "erased"}:
            unfinished.add(erasure)
        else:
            unfinished.discard(erasure)
        if not unfinished:
            del self._unfinished[subject]
        requests = self._by_subject.setdefault(subject, {})
        if record.status == "requested":
            requests[erasure] = Request(record.position.seq, record.request)
        else:
            requests.pop(erasure, None)
        if not requests:
            del self._by_subject[subject]


def _without(body: bytes, events: list[ErasureRequested]) -> bytes:
    try:
        commit = decode(body)
    except Corrupt:
        return redact(body, range(body.count(b"\n")))  # nothing of it may be shown
    return redact(body, {number for event in events for number in lines_to_erase(commit, event)})
