"""Commands that may have killed whoever carried them out: tried alone, and given up when that has killed some more.

What was handed out and never settled is in doubt, since the process that had it may have died of it. Of each such
command the first try is made while no other is, and noted before it begins. A successor that finds the note of a try
that somebody else did not live to see the end of knows which command it was. A try that ends, in whatever way, clears
the command: to find the log unavailable kills nobody, however long it lasts. A process that was frozen in the middle of
a try counts as one that died, until a try of that command ends somewhere.

Where nobody dies nothing is noted, and all that this costs is a look at a lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from nats.aio.msg import Msg

from clew_events.errors import Corrupt, Unavailable
from clew_projections.kv.bucket import Bucket, LostRace
from clew_services.coordination.lease import LeaseLost
from clew_services.inbox.inbox_message import place_of

MOST: Final = 4
"""Processes that one command may kill while it is all that they do, beside the one that died of it first."""
KEY: Final = "inbox_trial"

_LOG: Final = logging.getLogger("clew.inbox")


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Which command ``holder`` is trying alone, if any, and how many died of those that are still in doubt.

    ``handed_out`` is up to which sequence all that is in the inbox is in doubt.
    """

    holder: str
    trying: str | None = None
    deaths: dict[str, int] = {}
    handed_out: int = 0


class Trials:
    """One process's tries of what is in doubt. ``holder`` tells it from others."""

    def __init__(self, bucket: Bucket, holder: str) -> None:
        self._bucket = bucket
        self._holder = holder
        self._revision = 0
        self._trying: str | None = None
        self._noted: Note | None = None
        self._deaths: dict[str, int] = {}
        self._survived: set[str] = set()
        self._handed_out = 0
        self._alone = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._under_way = 0
        self._nobody = asyncio.Event()
        self._nobody.set()

    async def begin(self, handed_out: int, *, last_seq: int) -> None:
        """Find out who died of what; in doubt is all that stands in the inbox up to the sequence ``handed_out``.

        That is noted, as are deaths: whoever comes next is not told by the inbox what was delivered before this.
        ``last_seq`` is that of the inbox, by which a note about one that was there before it is told.

        Raises:
            Lost: somebody else leads.
            Unavailable: the note cannot be read or written.
        """
        value = await self._bucket.latest(KEY)
        note = msgspec.json.decode(value.body, type=Note) if value is not None and value.body else Note(holder="")
        self._revision = value.revision if value is not None else 0
        self._noted = msgspec.structs.replace(note, holder=self._holder)
        self._deaths, self._survived = dict(note.deaths), set()
        self._handed_out = max(handed_out, note.handed_out if note.handed_out <= last_seq else 0)
        if note.trying is not None and note.holder != self._holder:
            self._deaths[note.trying] = self._deaths.get(note.trying, 0) + 1
            _LOG.warning("a process that tried %s alone is gone: that makes %d", note.trying, self._deaths[note.trying])
        if self._noted != self._known():
            await self._note()

    def deadly(self, message: Msg) -> Corrupt | None:
        """Why a command is not to be tried again, if it is not."""
        if self._deaths.get(place_of(message), 0) < MOST:
            return None
        return Corrupt(f"Every process that tried this died of it: {MOST} that did nothing else.", code="handlers_died")

    @contextlib.asynccontextmanager
    async def attempt(self, message: Msg) -> AsyncIterator[None]:
        """A block in which one try is made: alone and noted if the command is in doubt, else beside others.

        Raises:
            Lost: somebody else leads.
            Unavailable: the try cannot be noted, so it may not be made.
        """
        place = place_of(message)
        in_doubt = message.metadata.sequence.stream <= self._handed_out or place in self._deaths
        if in_doubt and place not in self._survived:
            async with self._alone, self._nobody_else(place):
                yield
            return
        if self._alone.locked():
            async with self._alone:
                pass
        self._under_way += 1
        self._nobody.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._nobody.set()

    async def give_up(self, message: Msg) -> None:
        """Forget a command that was put on record instead of being tried again."""
        self._deaths.pop(place_of(message), None)
        await self.acquit()

    async def acquit(self) -> None:
        """Take the note back of a try that is over, if it can be done now."""
        if self._noted is not None and self._noted != self._known():
            with contextlib.suppress(Unavailable):
                await self._note()

    @contextlib.asynccontextmanager
    async def _nobody_else(self, place: str) -> AsyncIterator[None]:
        await self._nobody.wait()
        self._trying = place
        tried = False
        try:
            await self._note()
            tried = True
            yield
        except asyncio.CancelledError:
            tried = False  # whoever goes on with it tries it alone again
            raise
        finally:
            if tried:
                self._clear(place)
            self._trying = None
            await self.acquit()

    def _clear(self, place: str) -> None:
        self._survived.add(place)
        self._deaths.pop(place, None)

    def _known(self) -> Note:
        return Note(holder=self._holder, trying=self._trying, deaths=dict(self._deaths), handed_out=self._handed_out)

    async def _note(self) -> None:
        async with self._writing:
            note = self._known()
            try:
                self._revision = await self._bucket.put(KEY, msgspec.json.encode(note), self._revision)
            except LostRace:
                self._noted = None  # whoever wrote it has seen what we noted
                raise LeaseLost("another process tries what is in doubt") from None
            self._noted = note
