"""The live end of the feed: one subscription to new commits, and a bounded queue for each listener."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final, NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from clew_events.errors import ClewError, Unavailable
from clew_events.subjects import EVENTS, LIVE, event_stream
from clew_projections.feed.cursor import MARK, Cursor, Mark, encode_cursor
from clew_projections.feed.entry import FeedCommit, decode_feed_commit
from clew_projections.history.log_reads import LogReads
from clew_projections.nats.jetstream import stream_state
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.wait import wait_for_event

ROOM: Final = 2 * 1024 * 1024
"""The most bytes queued for a slow listener; it reads later commits from the log."""
OVERHEAD: Final = 1024
"""Bytes that a queued commit counts for besides its body."""


class LiveCommit(NamedTuple):
    """A live commit with the cursor after it, and the encoded cursor."""

    fed: FeedCommit
    cursor: Cursor
    id: str


class Listener:
    """The queue of one tenant's live commits. ``since`` has the end of every shard when it began."""

    __slots__ = ("_ended", "_lost", "_queue", "_room", "_signal", "since", "tenant")

    def __init__(self, tenant: str, since: tuple[int, ...]) -> None:
        self.tenant = tenant
        self.since = since
        self._queue: list[LiveCommit] = []
        self._room = ROOM
        self._lost = False
        self._ended = False
        self._signal = asyncio.Event()

    def push(self, live: LiveCommit) -> None:
        """Queue a commit. Without room for it, this commit and all later ones are lost."""
        if self._lost:
            return
        self._room -= len(live.fed.body) + OVERHEAD
        if self._room < 0:
            self._lost = True
        else:
            self._queue.append(live)
        self._signal.set()

    def mark_lost(self) -> None:
        """Note that a commit may have been missed."""
        self._lost = True
        self._signal.set()

    def end(self) -> None:
        """Note that no more commits come."""
        self._ended = True
        self._signal.set()

    @property
    def ended(self) -> bool:
        """Whether no more commits come."""
        return self._ended

    async def take(self, wait: float) -> list[LiveCommit] | None:
        """Take the queued commits; an empty list after ``wait`` quiet seconds, ``None`` if commits were lost."""
        if not await wait_for_event(self._signal, wait):
            return []
        commits, self._queue, self._room = self._queue, [], ROOM
        if commits:
            if not (self._lost or self._ended):
                self._signal.clear()
            return commits
        if self._lost or self._ended:
            return None
        self._signal.clear()
        return []


CHECK: Final = 5.0
"""Seconds between reads of the streams' ends."""
_SUBJECTS: Final = f"{LIVE}.evt.*.*.*"
_LOG: Final = logging.getLogger("clew.feed")


class Tail:
    """Subscribes to live commits while there are listeners, and queues each for the listeners of its tenant."""

    def __init__(self, nc: Client, js: LogReads, shards: int, *, check: float = CHECK) -> None:
        self._nc = nc
        self._js = js
        self._check = check
        self._last = [0] * shards
        self._listeners: dict[str, set[Listener]] = {}
        self._opening = asyncio.Lock()
        self._subscription: Subscription | None = None
        self._checking: asyncio.Task[None] | None = None
        self._check_requested = asyncio.Event()
        self._closed = False

    async def listen(self, tenant: str) -> Listener:
        """Return a listener for the commits stored for a tenant from now on; ``since`` has the current ends of shards.

        Raises:
            Unavailable: NATS does not answer, or this process is stopping.
        """
        async with self._opening:
            if self._closed:
                raise Unavailable("Clew is stopping here", code="stopping")
            if self._subscription is None:
                await self._open()
            listener = Listener(tenant, tuple(self._last))
            self._listeners.setdefault(tenant, set()).add(listener)
        return listener

    async def leave(self, listener: Listener) -> None:
        """Remove a listener. Without listeners there is no subscription."""
        listeners = self._listeners.get(listener.tenant, set())
        listeners.discard(listener)
        if not listeners:
            self._listeners.pop(listener.tenant, None)
        async with self._opening:
            if not self._listeners:
                await self._unsubscribe()

    def request_check(self) -> None:
        """Have listeners read from the log, since commits may have been missed, as after a reconnect."""
        self._check_requested.set()

    async def close(self) -> None:
        """End all listeners and accept no new ones."""
        self._closed = True
        for listener in [listener for listeners in self._listeners.values() for listener in listeners]:
            listener.end()
        async with self._opening:
            await self._unsubscribe()

    async def _open(self) -> None:
        self._last = [0] * len(self._last)
        try:
            subscription = await self._nc.subscribe(_SUBJECTS, cb=self._on_message, pending_bytes_limit=0)
            # The ping of the first flush overtakes pending output; the ping of the second follows it.
            await self._nc.flush()
            await self._nc.flush()
        except NatsError as fault:
            raise Unavailable(f"the subscription to the live end of the log failed: {fault}") from fault
        self._subscription = subscription
        try:
            for shard, seq in enumerate(await self._ends()):
                self._last[shard] = max(self._last[shard], seq)
        except ClewError:
            await self._unsubscribe()
            raise
        self._checking = asyncio.create_task(self._keep_checking())

    async def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        checking, self._checking = self._checking, None
        if checking is not None:
            checking.cancel()
        if subscription is not None and not self._nc.is_closed:
            with contextlib.suppress(NatsError):
                await subscription.unsubscribe()

    async def _on_message(self, message: Msg) -> None:
        headers = message.headers or {}
        _, _, _, number, tenant, _ = message.subject.split(".")
        shard, seq = int(number), int(headers["Nats-Sequence"])
        last, self._last[shard] = self._last[shard], max(seq, self._last[shard])
        if seq <= last or not self._listeners:
            return
        if seq > last + 1:
            self._mark_lost(f"shard {shard} went from {last} to {seq}")
            return
        if (listeners := self._listeners.get(tenant)) is None:
            return
        subject = EVENTS + message.subject[len(LIVE) + len(".evt") :]
        fed = decode_feed_commit(StoredMessage(seq, subject, message.data, headers), shard)
        cursor = Cursor(tuple(self._last), "asc", Mark(shard, fed.hash[:MARK]))
        live = LiveCommit(fed, cursor, encode_cursor(cursor, tenant))
        for listener in listeners:
            listener.push(live)

    def _mark_lost(self, why: str) -> None:
        _LOG.info("live commits may have been missed (%s): listeners continue from the log", why)
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.mark_lost()

    async def _keep_checking(self) -> None:
        before = tuple(self._last)
        while True:
            requested = await wait_for_event(self._check_requested, self._check)
            self._check_requested.clear()
            try:
                ends = await self._ends()
            except ClewError as fault:
                _LOG.warning("the ends of the streams cannot be read: %s", fault.message)
                if requested:
                    self._check_requested.set()
                    await asyncio.sleep(0.2)
                continue
            # A commit that was stored at the last check and has not arrived by now will not arrive.
            if requested or any(last < end for last, end in zip(self._last, before, strict=True)):
                self._last = list(ends) if requested else [max(pair) for pair in zip(self._last, ends, strict=True)]
                self._mark_lost("the connection was lost" if requested else "a commit did not arrive")
            before = ends

    async def _ends(self) -> tuple[int, ...]:
        streams = (event_stream(shard) for shard in range(len(self._last)))
        states = await asyncio.gather(*(stream_state(self._js, stream) for stream in streams))
        return tuple(state.last_seq for state in states)
