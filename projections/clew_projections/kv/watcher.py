"""A watch on a bucket: a process learns of a change within milliseconds.

The server announces over core NATS which key has changed (the bucket's stream is republished without bodies), and the
value is read from the stream's leader. So a client that can only publish cannot make a process accept a value. An
announcement may be missed while the connection is down: everything is read again after a reconnect, and every
:data:`ANEW` seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from logging import Logger
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from clew_events.backoff import delays
from clew_events.errors import ClewError
from clew_projections.wait import cancel, wait_for_event

ANEW: Final = 30.0
"""Seconds after which everything is read again in any case."""
SOON: Final = 1.0
"""Seconds after connecting until everything is read again: servers take a moment to propagate a subscription."""

SPACING: Final = 0.05
"""The least seconds between two complete reads that :meth:`KvWatcher.refresh` requests."""


class KvWatcher:
    """Reads a bucket again when it may have changed. ``current`` is set once everything was read."""

    def __init__(
        self,
        read: Callable[[str], Awaitable[None]] | None,
        read_all: Callable[[], Awaitable[None]],
        *,
        name: str,
        log: Logger,
        anew: float = ANEW,
    ) -> None:
        """``read`` reads the value of a key, ``read_all`` reads everything, also for a key if there is no ``read``.

        Both may fail.

        If one of them fails, "``name`` cannot be read: …" is logged, and everything is read again after a pause.
        Everything is read at the start, and every ``anew`` seconds.
        """
        self.current = asyncio.Event()
        self._read = read
        self._read_all = read_all
        self._name = name
        self._log = log
        self._anew = anew
        self._changed: set[str] = set()
        self._news = asyncio.Event()
        self._due = 0.0
        self._read_at = 0.0
        self._connected_anew = True
        self._reading = False

    @property
    def is_behind(self) -> bool:
        """Whether something was announced, or is due to be read, that is not read yet."""
        return self._reading or bool(self._changed) or asyncio.get_running_loop().time() >= self._due

    @contextlib.asynccontextmanager
    async def watch(self, nc: Client, subject: str, reconnected: list[Callable[[], None]]) -> AsyncIterator[None]:
        """Watch for the duration of the block; the server announces changes on ``<subject>.<key>``.

        The caller must call the functions in ``reconnected`` after every reconnect of ``nc``.
        """
        subscription = await nc.subscribe(f"{subject}.*", cb=self.on_change)
        reconnected.append(self.on_reconnect)
        try:
            watching = asyncio.create_task(self._watch())
            try:
                yield
            finally:
                await cancel(watching)
        finally:
            reconnected.remove(self.on_reconnect)
            with contextlib.suppress(NatsError):
                await subscription.unsubscribe()

    async def on_change(self, message: Msg) -> None:
        """Handle the announcement that a key has changed."""
        self._changed.add(message.subject.rpartition(".")[2])
        self._news.set()

    def on_reconnect(self) -> None:
        """Have everything read again, because announcements may have been missed."""
        self._connected_anew = True
        self._due = 0.0
        self._news.set()

    def refresh(self) -> None:
        """Have everything read again soon."""
        self._due = min(self._due, self._read_at + SPACING)
        self._news.set()

    async def _watch(self) -> None:
        clock, pauses = asyncio.get_running_loop().time, delays()
        while True:
            self._news.clear()
            self._reading = True
            try:
                if (now := clock()) >= self._due:
                    self._read_at = now
                    self._due = now + (min(SOON, self._anew) if self._connected_anew else self._anew)
                    self._connected_anew = False
                    await self._read_all()
                while self._changed:
                    if self._read is not None:
                        await self._read(self._changed.pop())
                    else:
                        self._changed.clear()
                        await self._read_all()
            except Exception as fault:  # noqa: BLE001 - if the watcher ended, a revoked key would stay valid
                unexpected = None if isinstance(fault, ClewError) else fault
                self._log.warning("%s cannot be read: %s", self._name, fault, exc_info=unexpected)
                self._due = 0.0
                await asyncio.sleep(next(pauses))
                continue
            self._reading = False
            self.current.set()
            pauses = delays()
            await wait_for_event(self._news, max(0.0, self._due - clock()))
