"""One who listens at the live end, and what has been heard and not been taken yet."""

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
from clew_projections.nats.jetstream import JetStream, stream_state
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.wait import wait_for_event

ROOM: Final = 2 * 1024 * 1024
"""Bytes of commits that wait for a slow listener at most; more are read from the log when it has taken these."""
OVERHEAD: Final = 1024
"""What a commit that waits counts for besides its body."""


class LiveCommit(NamedTuple):
    """A commit as it was heard, with the cursor after it, and that cursor as it is handed out."""

    fed: FeedCommit
    cursor: Cursor
    id: str


class Listener:
    """Takes what is heard of one tenant. ``since`` is how far every shard was when this began."""

    __slots__ = ("_ended", "_heard", "_lost", "_room", "_something", "since", "tenant")

    def __init__(self, tenant: str, since: tuple[int, ...]) -> None:
        self.tenant = tenant
        self.since = since
        self._heard: list[LiveCommit] = []
        self._room = ROOM
        self._lost = False
        self._ended = False
        self._something = asyncio.Event()

    def hear(self, heard: LiveCommit) -> None:
        """Keep a commit until it is taken. Where there is no room for it, all that follows is lost."""
        if self._lost:
            return
        self._room -= len(heard.fed.body) + OVERHEAD
        if self._room < 0:
            self._lost = True
        else:
            self._heard.append(heard)
        self._something.set()

    def lose(self) -> None:
        """Know that something was missed."""
        self._lost = True
        self._something.set()

    def end(self) -> None:
        """Know that nothing more is to come."""
        self._ended = True
        self._something.set()

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come."""
        return self._ended

    async def take(self, wait: float) -> list[LiveCommit] | None:
        """What was heard since last time; nothing after so many quiet seconds, and ``None`` if some was lost."""
        if not await wait_for_event(self._something, wait):
            return []
        heard, self._heard, self._room = self._heard, [], ROOM
        if heard:
            if not (self._lost or self._ended):
                self._something.clear()
            return heard
        if self._lost or self._ended:
            return None
        self._something.clear()
        return []


CHECK: Final = 5.0
"""Seconds after which the streams are asked how far they are."""
_SUBJECTS: Final = f"{LIVE}.evt.*.*.*"
_LOG: Final = logging.getLogger("clew.feed")


class Tail:
    """Hears every commit while anybody listens, and tells those who listen for its tenant."""

    def __init__(self, nc: Client, js: JetStream, shards: int, *, check: float = CHECK) -> None:
        self._nc = nc
        self._js = js
        self._check = check
        self._last = [0] * shards
        self._listeners: dict[str, set[Listener]] = {}
        self._opening = asyncio.Lock()
        self._subscription: Subscription | None = None
        self._checking: asyncio.Task[None] | None = None
        self._doubted = asyncio.Event()
        self._closed = False

    async def listen(self, tenant: str) -> Listener:
        """Hear what is stored for a tenant from now on; ``since`` of the answer says how far every shard was by then.

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
        """Hear no more. When nobody listens any more, nothing is subscribed to."""
        there = self._listeners.get(listener.tenant, set())
        there.discard(listener)
        if not there:
            self._listeners.pop(listener.tenant, None)
        async with self._opening:
            if not self._listeners:
                await self._shut()

    def doubt(self) -> None:
        """Say that something may have been lost, as when the connection was."""
        self._doubted.set()

    async def close(self) -> None:
        """End it for everybody, now and later."""
        self._closed = True
        for listener in [each for some in self._listeners.values() for each in some]:
            listener.end()
        async with self._opening:
            await self._shut()

    async def _open(self) -> None:
        self._last = [0] * len(self._last)
        try:
            subscription = await self._nc.subscribe(_SUBJECTS, cb=self._on_message, pending_bytes_limit=0)
            # The question of a flush overtakes what waits to be sent, and the second follows that.
            await self._nc.flush()
            await self._nc.flush()
        except NatsError as fault:
            raise Unavailable(f"the live end of the log cannot be heard: {fault}") from fault
        self._subscription = subscription
        try:
            for shard, seq in enumerate(await self._ends()):
                self._last[shard] = max(self._last[shard], seq)
        except ClewError:
            await self._shut()
            raise
        self._checking = asyncio.create_task(self._keep_checking())

    async def _shut(self) -> None:
        subscription, self._subscription = self._subscription, None
        checking, self._checking = self._checking, None
        if checking is not None:
            checking.cancel()
        if subscription is not None and not self._nc.is_closed:
            with contextlib.suppress(NatsError):
                await subscription.unsubscribe()

    async def _on_message(self, message: Msg) -> None:
        headers = message.headers or {}
        _, _, _, shown, tenant, _ = message.subject.split(".")
        shard, seq = int(shown), int(headers["Nats-Sequence"])
        last, self._last[shard] = self._last[shard], max(seq, self._last[shard])
        if seq <= last or not self._listeners:
            return
        if seq > last + 1:
            self._lose(f"shard {shard} went from {last} to {seq}")
            return
        if (listeners := self._listeners.get(tenant)) is None:
            return
        subject = EVENTS + message.subject[len(LIVE) + len(".evt") :]
        found = decode_feed_commit(StoredMessage(seq, subject, message.data, headers), shard)
        cursor = Cursor(tuple(self._last), "asc", Mark(shard, found.hash[:MARK]))
        heard = LiveCommit(found, cursor, encode_cursor(cursor, tenant))
        for listener in listeners:
            listener.hear(heard)

    def _lose(self, why: str) -> None:
        _LOG.info("commits may have been missed (%s): those who listen read them from the log", why)
        for some in self._listeners.values():
            for listener in some:
                listener.lose()

    async def _keep_checking(self) -> None:
        before = tuple(self._last)
        while True:
            doubted = await wait_for_event(self._doubted, self._check)
            self._doubted.clear()
            try:
                ends = await self._ends()
            except ClewError as fault:
                _LOG.warning("the streams do not say how far they are: %s", fault.message)
                if doubted:
                    self._doubted.set()
                    await asyncio.sleep(0.2)
                continue
            # What was there at the last look, and was not heard of until now, will not be any more.
            if doubted or any(last < end for last, end in zip(self._last, before, strict=True)):
                self._last = list(ends) if doubted else [max(pair) for pair in zip(self._last, ends, strict=True)]
                self._lose("the connection was lost" if doubted else "a commit was not heard of")
            before = ends

    async def _ends(self) -> tuple[int, ...]:
        streams = (event_stream(shard) for shard in range(len(self._last)))
        states = await asyncio.gather(*(stream_state(self._js, stream) for stream in streams))
        return tuple(state.last_seq for state in states)
