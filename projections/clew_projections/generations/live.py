"""The live generation, as one process knows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from clew_projections.generations.alias import Alias, Written
from clew_projections.generations.record import Generation, Record
from clew_projections.generations.side import Side


class Live:
    """Holds the side that is live and turns to another when the record says so.

    ``doubted`` is set when this process has met a reason to read the record again.
    """

    def __init__(
        self, alias: Alias, written: Written, make: Callable[[Generation], Side], forget: Callable[[], None]
    ) -> None:
        """``forget`` drops whatever else is remembered of views."""
        self.alias = alias
        self.doubted = asyncio.Event()
        self._written = written
        self._make = make
        self._forget = forget
        self._side = make(written.record.current)
        self._turned: set[asyncio.Event] = set()

    @property
    def record(self) -> Record:
        """The record as last read."""
        return self._written.record

    @property
    def side(self) -> Side:
        """The live side. After any ``await`` it may be another: whoever needs more than one answer of it keeps it."""
        return self._side

    def doubt(self) -> None:
        """Have the record read again soon."""
        self.doubted.set()

    async def read_again(self) -> None:
        """Read the record and turn to the side that is live by it.

        Raises:
            Unavailable: the bucket does not answer.
            Corrupt: the record cannot be read.
        """
        self.learn(await self.alias.written())

    def learn(self, written: Written) -> None:
        """Take a record to be the latest, unless a later one is known."""
        if written.revision <= self._written.revision:
            return
        before, self._written = self._written.record, written
        if (written.record.live, written.record.repairs) != (before.live, before.repairs):
            self._forget()
            self._side = self._make(written.record.current)
            for each in self._turned:
                each.set()

    async def turned_from(self, side: Side) -> None:
        """Return when another side is live."""
        turned = asyncio.Event()
        self._turned.add(turned)
        try:
            while self._side is side:
                turned.clear()
                await turned.wait()
        finally:
            self._turned.discard(turned)
