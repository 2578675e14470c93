"""A shard's commits in the order of the log, each once, from any sequence on.

By direct reads, page after page, and not by a consumer: there is nothing on the server then that could be lost, left
behind or altered, so a restart of either side needs no care, and whoever feeds an index needs no more rights than to
read. The price is that an idle log is asked now and then; what that costs is bounded, and so is what it delays.
"""

from __future__ import annotations

import asyncio
from typing import Final

from clew_events.errors import Unavailable
from clew_events.subjects import event_stream
from clew_projections.nats.jetstream import JetStream, stream_state
from clew_projections.nats.stream_messages import StoredMessage

SOON: Final = 0.005
"""Seconds after which a log that had nothing new is asked again; then twice as many, and so on."""
GATHERING: Final = 0.05
"""Seconds that a log gets to go on once all of it was read: many commits together cost less than one by one."""
AT_LAST: Final = 0.1
"""Seconds between questions to a log that is idle, for up to so many shards, and longer for more."""
SHARDS: Final = 8
QUIET: Final = 5
"""Questions in a row without an answer after which the log's leader is asked whether its end was removed."""
SELDOM: Final = 50
"""And after so many more, again and again."""


class OrderedShard:
    """Reads one shard of the log from a sequence on, and goes on with what comes."""

    def __init__(self, js: JetStream, shard: int, shards: int) -> None:
        self.shard = shard
        self._js = js
        self._stream = event_stream(shard)
        self._longest = AT_LAST * max(1.0, shards / SHARDS)
        self._after = 0
        self._pause = SOON
        self._caught_up = False
        self._quiet = 0

    @property
    def reached(self) -> int:
        """The sequence up to which all there is was given, whether a commit stands there or was removed."""
        return self._after

    def begin(self, after: int) -> None:
        """Go on behind a sequence; 0 is the beginning of the log."""
        self._after = after
        self._pause = SOON
        self._caught_up = False
        self._quiet = 0

    async def next(self, limit: int) -> list[StoredMessage]:
        """The commits that come next, at most ``limit``; none, after a moment, if there are none yet.

        Where the end of the log was removed, none are given and :attr:`reached` passes over it.

        Raises:
            Unavailable: JetStream does not answer. The next call goes on where this one would have.
        """
        if self._caught_up:
            await asyncio.sleep(GATHERING)
        page, _ = await self._js.after(self._stream, ">", self._after + 1, limit)
        self._caught_up = 0 < len(page) < limit
        if not page:
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, self._longest)
            self._quiet += 1
            if self._quiet == QUIET or self._quiet % SELDOM == 0:
                await self._pass_over()
            return []
        self._quiet = 0
        await self._hold_whole(page)
        self._after = page[-1].seq
        self._pause = SOON
        return page

    async def _hold_whole(self, page: list[StoredMessage]) -> None:
        """Hold that what is missing between commits is missing in the log, and not on a replica that was asked."""
        before = self._after
        for stored in page:
            if stored.seq != before + 1:
                found = await self._js.next_at_leader(self._stream, before + 1)
                if found is None or found.seq != stored.seq:
                    raise Unavailable(f"a replica of {self._stream} lacks what its leader has", code="replica_behind")
            before = stored.seq

    async def _pass_over(self) -> None:
        """Go on behind sequences at the end of the log that hold nothing, and never will: none is given twice."""
        last = (await stream_state(self._js, self._stream)).last_seq
        if last > self._after and await self._js.next_at_leader(self._stream, self._after + 1) is None:
            self._after = last
