"""Pagination of a thread's history: in either order, from any commit, with filters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from clew_events.commit import Recorded
from clew_events.error_texts import name_history, no_thread
from clew_events.errors import Corrupt, Invalid
from clew_events.queries import GetHistory
from clew_events.replies import Entry, History, MissingCommits
from clew_events.subjects import TENANT, Address
from clew_projections.audit.as_of import cursor_of
from clew_projections.audit.filter import Choice
from clew_projections.audit.moments import first_instant, last_instant
from clew_projections.feed.merge import AROUND_COMMIT
from clew_projections.history.stretch import AHEAD, HistoryReader, Spot
from clew_projections.page_size import PageBytes, PageSize, default_page_bytes
from clew_projections.state.current import CurrentState
from clew_projections.state.state_reads import opposite
from clew_projections.views import ThreadView, absent
from clew_services.threads.cache import Memory


async def hint_of(address: Address, memory: Memory, current: CurrentState) -> ThreadView:
    """A view of a thread, however old; an absent one if there is none that can be read.

    Raises:
        Unavailable: neither the buckets nor the log answer.
    """
    try:
        return memory.recall(address) or await current.cached_view(address)
    except Corrupt:
        return absent(*address)


LOOKED_AT: Final = 2_000
"""Commits that are read for one page at most, where few of them match the filters."""


class _Way(Struct, frozen=True):
    """The bounds of a page: it begins after ``after`` and ends before ``before``; ``None`` is the history's own bound.

    ``first`` is the number that its first commit should have, if the caller gave a start.
    """

    after: Spot | None
    before: int | None
    first: int | None = None


class _Gaps:
    """Finds the commits that are missing from a page.

    A view gives a lower bound of the thread's commits, so commits missing at the end are found as well.
    """

    def __init__(self, hint: ThreadView, query: GetHistory, way: _Way) -> None:
        self._least = hint.n
        self._upward = query.order == "asc"
        self._next = way.first
        self._before = way.before
        self.found: list[MissingCommits] = []

    def pass_commit(self, n: int) -> None:
        """Take note that ``n`` is the next existing commit."""
        if self._upward:
            self._add(self._next or 1, n - 1)
            self._next = n + 1
        else:
            self._add(n + 1, self._first(n))
            self._next = n - 1

    def end(self, n: int | None = None) -> None:
        """End the page with the history, or before commit ``n``, which is outside of its bounds."""
        if self._upward:
            last = self._least if n is None else n - 1
            self._add(self._next or 1, last if self._before is None else min(last, self._before - 1))
        else:
            self._add(max(n or 0, self._before or 0) + 1, self._first(0))

    def _first(self, newest: int) -> int:
        """The number that the next commit in descending order should have; ``newest`` is that of the last existing."""
        last = max(newest, self._least)
        return last if self._next is None else min(self._next, last)

    def _add(self, first: int, last: int) -> None:
        if first <= last:
            self.found.append(MissingCommits(first=first, last=last))


class _Stretch(NamedTuple):
    """The commits of a page and those missing from it, in the order in which they were read.

    ``first`` is the first commit that was read, a match or not, and ``next`` the last one, unless none follow it.
    """

    commits: list[Recorded]
    missing: list[MissingCommits]
    first: Recorded | None
    next: Recorded | None


def _history(
    query: GetHistory,
    commits: Sequence[Recorded],
    missing: Sequence[MissingCommits],
    first: Recorded | None,
    last: Recorded | None,
) -> History:
    """A page. ``first`` and ``last`` are those of the commits that were read for it, if there may be others beyond."""
    return History(
        commits=tuple(entry(each, stored=query.stored) for each in commits),
        missing=tuple(missing),
        next=last.commit.n + (1 if query.order == "asc" else -1) if last is not None else None,
        cursor=cursor_of(last) if last is not None else None,
        previous=cursor_of(first) if first is not None else None,
    )


class HistoryPages:
    """Reads pages of histories, those of deleted threads included."""

    def __init__(
        self,
        trail: HistoryReader,
        current: CurrentState,
        memory: Memory,
        page_bytes: PageBytes = default_page_bytes,
    ) -> None:
        self._trail = trail
        self._page_bytes = page_bytes
        self._current = current
        self._memory = memory

    async def page(self, tenant: str, query: GetHistory) -> History:
        """A page of a thread's history; shorter than asked for if its commits are long or few of them match.

        Raises:
            NotFound: the thread never existed.
            Invalid: a cursor is of another history, or a time is out of range.
            Unavailable: the log does not answer.
            Corrupt: a commit of the page cannot be read.
        """
        await self._trail.refresh()
        if query.before is None or query.after is not None or query.start is not None:
            ahead = await self._read(tenant, query)
            begun = query.after is not None or query.start is not None
            return _history(query, ahead.commits, ahead.missing, ahead.first if begun else None, ahead.next)
        # The page before a cursor is read from the cursor in the other order, and turned round.
        other = replace(query, order=opposite(query.order), after=query.before, before=None)
        back = await self._read(tenant, other, cursor="before")
        return _history(query, back.commits[::-1], back.missing[::-1], back.next, back.first)

    async def _read(self, tenant: str, query: GetHistory, cursor: str = "after") -> _Stretch:
        choice = choice_of(query)
        address = Address(tenant, query.thread_id or TENANT)
        hint = await hint_of(address, self._memory, self._current)
        way = await self._way(hint, query, cursor)
        gaps = _Gaps(hint, query, way)
        matches: list[Recorded] = []
        first: Recorded | None = None
        last: Recorded | None = None
        size, read, more = PageSize(self._page_bytes()), 0, False
        weight = WITH_BODY if query.stored else 1
        async for recorded in self._commits(hint, query, way):
            if self._is_over(query, choice, way, recorded):
                gaps.end(recorded.commit.n)
                break
            matching = choice.matches(recorded.commit)
            if (
                len(matches) == query.limit
                or read == LOOKED_AT
                or (matching and not size.take(recorded.size * weight + AROUND_COMMIT))
            ):
                more = True
                break
            gaps.pass_commit(recorded.commit.n)
            read, first, last = read + 1, first or recorded, recorded
            if matching:
                matches.append(recorded)
        else:
            gaps.end()
        if last is None and not hint.n:
            await self._check_exists(hint)
        return _Stretch(matches, gaps.found, first, last if more else None)

    def _commits(self, hint: ThreadView, query: GetHistory, way: _Way) -> AsyncIterator[Recorded]:
        ahead = min(query.limit + 1, AHEAD) if choice_of(query) == Choice() else AHEAD
        if query.order == "asc":
            return self._trail.forward(hint, way.after or Spot(0), ahead)
        return self._trail.backward(hint, way.after, ahead)

    def _is_over(self, query: GetHistory, choice: Choice, way: _Way, recorded: Recorded) -> bool:
        commit = recorded.commit
        if query.order == "asc":
            return choice.is_after(commit) or (way.before is not None and commit.n >= way.before)
        return choice.is_before(commit) or (way.before is not None and commit.n <= way.before)

    async def _way(self, hint: ThreadView, query: GetHistory, cursor: str) -> _Way:
        if query.start is not None and query.after is not None:
            raise Invalid("Invalid 'start': it cannot be given together with 'after'.", param="start")
        before = await self._spot(hint, query.before, "before")
        after = await self._spot(hint, query.after, cursor)
        if query.order == "asc":
            after = after or Spot((query.start or 1) - 1)
            return _Way(after, before.n if before is not None else None, after.n + 1)
        first = query.start if after is None else after.n - 1
        if first is not None and (after is None or not after.seq):
            # A start beyond the end of the history is its end.
            after = await self._trail.find_next(hint, first)
        return _Way(after, before.n if before is not None else None, first)

    async def _spot(self, hint: ThreadView, cursor: str | None, param: str) -> Spot | None:
        """The commit that a cursor names; for a missing one its number alone, from which the next page goes on.

        Raises:
            Invalid: the history never had such a commit.
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
            await self._check_exists(hint)
            raise Invalid(f"Invalid '{param}': {name_history(hint.id)} has no commit '{cursor}'.", param=param)
        return spot

    async def _check_exists(self, hint: ThreadView) -> None:
        if hint.id == TENANT:
            return  # a tenant that has ordered nothing has an empty history
        async for _ in self._trail.forward(hint, Spot(0), 1):
            return
        raise no_thread(hint.id)


def choice_of(query: GetHistory) -> Choice:
    """The filters of a query.

    Raises:
        Invalid: a time is out of range.
    """
    return Choice(
        types=frozenset(query.types),
        actor=query.actor,
        by=query.by,
        since=first_instant(query.since, "since") if query.since is not None else None,
        until=last_instant(query.until, "until") if query.until is not None else None,
    )


def entry(recorded: Recorded, *, stored: bool = False) -> Entry:
    """A commit as an entry of a history, with its stored body if ``stored``."""
    return Entry(
        id=cursor_of(recorded),
        position=recorded.position,
        hash=recorded.hash,
        trace_id=recorded.trace_id,
        commit=recorded.commit,
        stored=recorded.body.decode() if stored else None,
    )


WITH_BODY: Final = 3
"""Times the bytes of a commit that it takes in a reply with its stored body, escaped as a string."""
