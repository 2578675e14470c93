"""One who listens at the live end, and what has been heard and not been taken yet."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from clew_projections.feed.cursor import Cursor
from clew_projections.feed.fed import Fed

ROOM: Final = 2 * 1024 * 1024
"""Bytes of commits that wait for a slow listener at most; more are read from the log when it has taken these."""
OVERHEAD: Final = 1024
"""What a commit that waits counts for besides its body."""


class Heard(NamedTuple):
    """A commit as it was heard, with the cursor after it, and that cursor as it is handed out."""

    fed: Fed
    cursor: Cursor
    id: str


class Listener:
    """Takes what is heard of one tenant. ``since`` is how far every shard was when this began."""

    __slots__ = ("_ended", "_heard", "_lost", "_room", "_something", "since", "tenant")

    def __init__(self, tenant: str, since: tuple[int, ...]) -> None:
        self.tenant = tenant
        self.since = since
        self._heard: list[Heard] = []
        self._room = ROOM
        self._lost = False
        self._ended = False
        self._something = asyncio.Event()

    def hear(self, heard: Heard) -> None:
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

    async def take(self, wait: float) -> list[Heard] | None:
        """What was heard since last time; nothing after so many quiet seconds, and ``None`` if some was lost."""
        if not self._something.is_set():
            try:
                async with asyncio.timeout(wait):
                    await self._something.wait()
            except TimeoutError:
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
