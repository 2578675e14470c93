"""Pages of a thread's history: in either order, from anywhere, and of what is asked for only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from msgspec import Struct

from clew_events.commit import Recorded
from clew_events.errors import Invalid
from clew_events.queries import GetHistory
from clew_events.replies import Entry, History
from clew_events.subjects import Address
from clew_projections.histories.trail import AHEAD, Spot, Trail
from clew_projections.present.current import Current
from clew_projections.replaying.choosing import Choice
from clew_projections.replaying.origins import cursor_of
from clew_projections.replaying.times import first_instant, last_instant
from clew_projections.views import ThreadView
from clew_services.deciding.decide import no_thread
from clew_services.memory import Memory

LOOKED_AT: Final = 2_000
"""Commits that are looked at for one page, where few of them are what is asked for."""


class _Way(Struct, frozen=True):
    """Where a page begins and what it ends before; for either, ``None`` is that of the history."""

    after: Spot | None
    before: int | None


class HistoryPages:
    """Reads pages of histories. A deleted thread still has its history."""

    def __init__(self, trail: Trail, current: Current, memory: Memory) -> None:
        self._trail = trail
        self._current = current
        self._memory = memory

    async def page(self, tenant: str, query: GetHistory) -> History:
        """One page.

        Raises:
            NotFound: there never was such a thread.
            Invalid: a cursor is not from this history, or a time cannot be.
            Unavailable: the log does not answer.
            Corrupt: a commit of the page cannot be read.
        """
        choice = chosen(query)
        address = Address(tenant, query.thread_id)
        hint = self._memory.recall(address) or await self._current.projected(address)
        way = await self._way(hint, query)
        found: list[Recorded] = []
        last: Recorded | None = None
        looked, more = 0, False
        async for recorded in self._commits(hint, query, way):
            if self._is_over(query, choice, way, recorded):
                break
            if len(found) == query.limit or looked == LOOKED_AT:
                more = True
                break
            looked, last = looked + 1, recorded
            if choice.takes(recorded.commit):
                found.append(recorded)
        if last is None and not hint.n:
            await self._hold_known(hint)
        step = 1 if query.order == "asc" else -1
        return History(
            commits=tuple(map(entry, found)),
            next=last.commit.n + step if more and last is not None else None,
            cursor=cursor_of(last) if more and last is not None else None,
        )

    def _commits(self, hint: ThreadView, query: GetHistory, way: _Way) -> AsyncIterator[Recorded]:
        ahead = min(query.limit + 1, AHEAD) if chosen(query) == Choice() else AHEAD
        if query.order == "asc":
            return self._trail.onward(hint, way.after or Spot(0), ahead)
        return self._trail.back(hint, way.after, ahead)

    def _is_over(self, query: GetHistory, choice: Choice, way: _Way, recorded: Recorded) -> bool:
        commit = recorded.commit
        if query.order == "asc":
            return choice.is_after(commit) or (way.before is not None and commit.n >= way.before)
        return choice.is_before(commit) or (way.before is not None and commit.n <= way.before)

    async def _way(self, hint: ThreadView, query: GetHistory) -> _Way:
        before = await self._spot(hint, query.before, "before")
        if query.start is None:
            after = await self._spot(hint, query.after, "after")
        elif query.after is not None:
            raise Invalid("Invalid 'start': it cannot be given together with 'after'.", param="start")
        elif query.order == "asc":
            after = Spot(query.start - 1)
        else:  # One that the history does not have yet is beyond its end.
            after = await self._trail.spot(hint, Spot(query.start + 1))
        return _Way(after, before.n if before is not None else None)

    async def _spot(self, hint: ThreadView, cursor: str | None, param: str) -> Spot | None:
        if cursor is None:
            return None
        n, _, seq = cursor.partition("-")
        spot = await self._trail.spot(hint, Spot(int(n), int(seq or 0)))
        if spot is None:
            await self._hold_known(hint)
            raise Invalid(
                f"Invalid '{param}': the history of thread '{hint.id}' has no commit '{cursor}'.", param=param
            )
        return spot

    async def _hold_known(self, hint: ThreadView) -> None:
        async for _ in self._trail.onward(hint, Spot(0), 1):
            return
        raise no_thread(hint.id)


def chosen(query: GetHistory) -> Choice:
    """What a query wants to see.

    Raises:
        Invalid: a time cannot be.
    """
    return Choice(
        types=frozenset(query.types),
        actor=query.actor,
        since=first_instant(query.since, "since") if query.since is not None else None,
        until=last_instant(query.until, "until") if query.until is not None else None,
    )


def entry(recorded: Recorded) -> Entry:
    """A commit as a history shows it."""
    return Entry(
        id=cursor_of(recorded),
        position=recorded.position,
        hash=recorded.hash,
        trace_id=recorded.trace_id,
        commit=recorded.commit,
    )
