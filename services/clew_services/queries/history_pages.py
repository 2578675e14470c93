"""Pages of a thread's history: in either order, from anywhere, and of what is asked for only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from msgspec import Struct

from clew_events.commit import Recorded
from clew_events.errors import Invalid
from clew_events.queries import GetHistory
from clew_events.replies import Entry, History, Missing
from clew_events.subjects import Address
from clew_projections.audit.as_of import cursor_of
from clew_projections.audit.filter import Choice
from clew_projections.audit.moments import first_instant, last_instant
from clew_projections.history.stretch import AHEAD, HistoryReader, Spot
from clew_projections.state.current import CurrentState
from clew_projections.views import ThreadView
from clew_services.queries.history_hint import hint_of
from clew_services.threads.cache import Memory
from clew_services.threads.decide import no_thread

LOOKED_AT: Final = 2_000
"""Commits that are looked at for one page, where few of them are what is asked for."""


class _Way(Struct, frozen=True):
    """Where a page begins and what it ends before; for either, ``None`` is that of the history.

    ``first`` is the number that its first commit should have, if the caller said where to begin.
    """

    after: Spot | None
    before: int | None
    first: int | None = None


class _Gaps:
    """Finds the commits that should stand among those of a page, and do not.

    A view knows how many commits the thread had at least, so what is missing at the end is found as well.
    """

    def __init__(self, hint: ThreadView, query: GetHistory, way: _Way) -> None:
        self._least = hint.n
        self._upward = query.order == "asc"
        self._next = way.first
        self._before = way.before
        self.found: list[Missing] = []

    def passed(self, n: int) -> None:
        """Commit ``n`` is the next one there is."""
        if self._upward:
            self._take(self._next or 1, n - 1)
            self._next = n + 1
        else:
            self._take(n + 1, self._first(n))
            self._next = n - 1

    def ended(self, n: int | None = None) -> None:
        """The page ends: with the history, or before commit ``n``, which nobody asked for any more."""
        if self._upward:
            last = self._least if n is None else n - 1
            self._take(self._next or 1, last if self._before is None else min(last, self._before - 1))
        else:
            self._take(max(n or 0, self._before or 0) + 1, self._first(0))

    def _first(self, newest: int) -> int:
        """The number that the next commit downward should have; ``newest`` has the last one there is."""
        end = max(newest, self._least)
        return end if self._next is None else min(self._next, end)

    def _take(self, first: int, last: int) -> None:
        if first <= last:
            self.found.append(Missing(first=first, last=last))


class HistoryPages:
    """Reads pages of histories. A deleted thread still has its history."""

    def __init__(self, trail: HistoryReader, current: CurrentState, memory: Memory) -> None:
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
        hint = await hint_of(address, self._memory, self._current)
        way = await self._way(hint, query)
        gaps = _Gaps(hint, query, way)
        found: list[Recorded] = []
        last: Recorded | None = None
        looked, more = 0, False
        async for recorded in self._commits(hint, query, way):
            if self._is_over(query, choice, way, recorded):
                gaps.ended(recorded.commit.n)
                break
            if len(found) == query.limit or looked == LOOKED_AT:
                more = True
                break
            gaps.passed(recorded.commit.n)
            looked, last = looked + 1, recorded
            if choice.matches(recorded.commit):
                found.append(recorded)
        else:
            gaps.ended()
        if last is None and not hint.n:
            await self._check_known(hint)
        step = 1 if query.order == "asc" else -1
        return History(
            commits=tuple(map(entry, found)),
            missing=tuple(gaps.found),
            next=last.commit.n + step if more and last is not None else None,
            cursor=cursor_of(last) if more and last is not None else None,
        )

    def _commits(self, hint: ThreadView, query: GetHistory, way: _Way) -> AsyncIterator[Recorded]:
        ahead = min(query.limit + 1, AHEAD) if chosen(query) == Choice() else AHEAD
        if query.order == "asc":
            return self._trail.forward(hint, way.after or Spot(0), ahead)
        return self._trail.backward(hint, way.after, ahead)

    def _is_over(self, query: GetHistory, choice: Choice, way: _Way, recorded: Recorded) -> bool:
        commit = recorded.commit
        if query.order == "asc":
            return choice.is_after(commit) or (way.before is not None and commit.n >= way.before)
        return choice.is_before(commit) or (way.before is not None and commit.n <= way.before)

    async def _way(self, hint: ThreadView, query: GetHistory) -> _Way:
        if query.start is not None and query.after is not None:
            raise Invalid("Invalid 'start': it cannot be given together with 'after'.", param="start")
        before = await self._spot(hint, query.before, "before")
        after = await self._spot(hint, query.after, "after")
        if query.order == "asc":
            after = after or Spot((query.start or 1) - 1)
            return _Way(after, before.n if before is not None else None, after.n + 1)
        first = query.start if after is None else after.n - 1
        if first is not None and (after is None or not after.seq):
            # What the history does not have yet is beyond its end.
            after = await self._trail.find_next(hint, first)
        return _Way(after, before.n if before is not None else None, first)

    async def _spot(self, hint: ThreadView, cursor: str | None, param: str) -> Spot | None:
        """The commit that a cursor names. One that is missing was there: pages go on from its number, without a place.

        Raises:
            Invalid: the history has no such commit, and never had.
        """
        if cursor is None:
            return None
        n, _, seq = cursor.partition("-")
        spot = await self._trail.find_spot(hint, Spot(int(n), int(seq or 0)))
        if spot is None and int(n):
            following = await self._trail.find_next(hint, int(n) - 1)
            is_missing = int(n) < following.n if following is not None else int(n) <= hint.n
            spot = Spot(int(n)) if is_missing else None
        if spot is None:
            await self._check_known(hint)
            raise Invalid(
                f"Invalid '{param}': the history of thread '{hint.id}' has no commit '{cursor}'.", param=param
            )
        return spot

    async def _check_known(self, hint: ThreadView) -> None:
        async for _ in self._trail.forward(hint, Spot(0), 1):
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
