"""Poison messages: commands that may have killed their process are tried alone, and given up after some more deaths.

A command that was delivered and never settled is in doubt, because its process may have died of it. The first attempt
at each such command runs while no other does, and is noted before it begins. A successor that finds the note of an
unfinished attempt knows which command it was. An attempt that ends, with any outcome, clears the command: an
unavailable log kills no process. A process that was suspended during an attempt counts as dead, until an attempt at
that command ends anywhere.

While no process dies nothing is noted, and the cost is the check of a lock.
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
from clew_services.inbox.inbox_message import place_of
from clew_services.lease import LeaseLost

MOST: Final = 4
"""Processes that a command may kill when tried alone, after the first one that died of it."""
KEY: Final = "inbox_trial"

_LOG: Final = logging.getLogger("clew.inbox")


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """The command that ``holder`` is trying alone, if any, and the deaths by command of those still in doubt.

    All messages in the inbox up to sequence ``handed_out`` are in doubt.
    """

    holder: str
    trying: str | None = None
    deaths: dict[str, int] = {}
    handed_out: int = 0


class Trials:
    """One process's attempts at commands in doubt. ``holder`` identifies the process."""

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
        self._idle = asyncio.Event()
        self._idle.set()

    async def begin(self, handed_out: int, *, last_seq: int) -> None:
        """Read the note of earlier processes and count deaths; all messages up to ``handed_out`` are in doubt.

        Both are noted, because the inbox does not tell a successor what was delivered before this term. ``last_seq`` is
        that of the inbox; a note that goes beyond it is of an earlier inbox, and is ignored.

        Raises:
            LeaseLost: another process leads.
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
            _LOG.warning("a process died while it tried %s alone: %d deaths", note.trying, self._deaths[note.trying])
        if self._noted != self._known():
            await self._note()

    def poison_fault(self, message: Msg) -> Corrupt | None:
        """The reason to give up a command, if it killed too many processes."""
        if self._deaths.get(place_of(message), 0) < MOST:
            return None
        return Corrupt(
            f"Every process that tried this command died of it: {MOST} that ran nothing else.", code="handlers_died"
        )

    @contextlib.asynccontextmanager
    async def attempt(self, message: Msg) -> AsyncIterator[None]:
        """A context for one attempt: alone and noted if the command is in doubt, otherwise concurrent with others.

        Raises:
            LeaseLost: another process leads.
            Unavailable: the attempt cannot be noted, so it may not be made.
        """
        place = place_of(message)
        in_doubt = message.metadata.sequence.stream <= self._handed_out or place in self._deaths
        if in_doubt and place not in self._survived:
            async with self._alone, self._alone_with(place):
                yield
            return
        if self._alone.locked():
            async with self._alone:
                pass
        self._under_way += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def give_up(self, message: Msg) -> None:
        """Forget a command that was rejected instead of being retried."""
        self._deaths.pop(place_of(message), None)
        await self.acquit()

    async def acquit(self) -> None:
        """Remove the note of a finished attempt, if the bucket answers."""
        if self._noted is not None and self._noted != self._known():
            with contextlib.suppress(Unavailable):
                await self._note()

    @contextlib.asynccontextmanager
    async def _alone_with(self, place: str) -> AsyncIterator[None]:
        await self._idle.wait()
        self._trying = place
        tried = False
        try:
            await self._note()
            tried = True
            yield
        except asyncio.CancelledError:
            tried = False  # the next process tries it alone again
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
                self._noted = None  # the process that wrote it has read this one's note
                raise LeaseLost("another process has the inbox") from None
            self._noted = note
