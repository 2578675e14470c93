"""Queries about a thread's past (as of, difference, blame), answered from the log alone.

A thread as of a moment is folded from its history up to there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar, assert_never

from msgspec.structs import replace

from clew_events import replies
from clew_events.audit_replies import Blame, Difference, Then
from clew_events.commit import Recorded
from clew_events.error_texts import name_history
from clew_events.errors import Invalid, NotFound
from clew_events.queries import AsOf, GetBlame, GetDifference, GetItemAt, GetMessageAt, ListItemsAt, ListMessagesAt
from clew_events.subjects import Address
from clew_projections.api_objects import item_object, item_page, message_page, retrieved_thread, shown_message
from clew_projections.apply import advance, fold_items, inherit_items
from clew_projections.audit.as_of import ThreadAsOf
from clew_projections.audit.blame import BlameFold
from clew_projections.audit.diff import DiffFold
from clew_projections.audit.moments import NOW, Moment, check_reached, moment
from clew_projections.history.stretch import HistoryReader, Spot, check_unbroken
from clew_projections.page_size import PageBytes, ShownPage, default_page_bytes
from clew_projections.state.current import CurrentState
from clew_projections.state.state_reads import span
from clew_projections.views import ItemView, ThreadView, parent_of
from clew_services.queries.history_pages import hint_of
from clew_services.threads.cache import Memory
from clew_services.threads.decide import no_cursor, no_item, no_message

T = TypeVar("T")
LATEST_KEPT: Final = 256
"""The most recent commits that are kept while a history is read, so that those of a page need not be read again."""
KEPT_BYTES: Final = 16 * 1024 * 1024
"""The most bytes of these commits; the latest is kept whatever its size."""
READ_AT_ONCE: Final = 32
"""Items of a page that are read at once, with all commits about them."""
LONGEST: Final = 20_000
"""Most commits between the two moments of a difference."""


class _RecentCommits:
    """The latest commits of a history that is read, by sequence."""

    def __init__(self) -> None:
        self.by_seq: dict[int, Recorded] = {}
        self._bytes = 0

    def add(self, recorded: Recorded) -> None:
        """Keep the next commit, and drop the oldest beyond the limits."""
        self.by_seq[recorded.position.seq] = recorded
        self._bytes += recorded.size
        while len(self.by_seq) > 1 and (len(self.by_seq) > LATEST_KEPT or self._bytes > KEPT_BYTES):
            self._bytes -= self.by_seq.pop(next(iter(self.by_seq))).size


class _PastFold(Protocol):
    first: Recorded | None
    last: Recorded | None

    def add(self, recorded: Recorded) -> bool:
        """Add the next commit, unless it is after the moment; whether it was added."""


class Past:
    """Answers queries about the past of threads, deleted ones included. Each answer names its last commit."""

    def __init__(
        self,
        trail: HistoryReader,
        current: CurrentState,
        memory: Memory,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        page_bytes: PageBytes = default_page_bytes,
    ) -> None:
        self._trail = trail
        self._current = current
        self._memory = memory
        self._clock = clock
        self._page_bytes = page_bytes

    async def answer(
        self, tenant: str, query: ListMessagesAt | GetMessageAt | ListItemsAt | GetItemAt | GetDifference | GetBlame
    ) -> Then | Difference | Blame:
        """The answer to a query; see the method of its type."""
        match query:
            case ListItemsAt():
                return await self.items(tenant, query)
            case GetItemAt():
                return await self.item(tenant, query)
            case ListMessagesAt():
                return await self.messages(tenant, query)
            case GetMessageAt():
                return await self.message(tenant, query)
            case GetDifference():
                return await self.difference(tenant, query)
            case GetBlame():
                return await self.blame(tenant, query)
            case _:
                assert_never(query)

    async def thread(self, tenant: str, thread_id: str, as_of: AsOf) -> replies.Moment:
        """A thread as of a moment; the answer has no thread if it was deleted at that moment.

        Raises:
            NotFound: the thread did not exist then.
            Invalid: the moment is in the future or invalid.
            Unavailable: the log does not answer.
            Corrupt: the history cannot be read up to the moment.
        """
        until = moment(as_of, "as_of")
        fold = ThreadAsOf(Address(tenant, thread_id), until)
        await self._read(fold, Address(tenant, thread_id), until)
        self._check_reached(until, "as_of", thread_id, fold)
        open_then = fold.view.status == "open"
        then = _answer_of(fold)
        return replies.Moment(
            position=then.position,
            n=then.n,
            at=then.at,
            thread=retrieved_thread(fold.view, erased=fold.erased) if open_then else None,
            message_count=fold.view.messages,
        )

    async def message(self, tenant: str, query: GetMessageAt) -> Then:
        """A message as of a moment. Raises as :meth:`thread`, and ``NotFound`` if it or the thread was deleted."""
        fold, view = await self._item(tenant, query.thread_id, query.message_id, query.as_of)
        message = shown_message(view) if view is not None else None
        if message is None:
            raise no_message(query.message_id)
        return replace(_answer_of(fold), message=message)

    async def item(self, tenant: str, query: GetItemAt) -> Then:
        """An item as of a moment. Raises as :meth:`message`."""
        fold, view = await self._item(tenant, query.thread_id, query.item_id, query.as_of)
        if view is None:
            raise no_item(query.thread_id, query.item_id)
        return replace(_answer_of(fold), item=item_object(view))

    async def _item(self, tenant: str, thread_id: str, item_id: str, as_of: AsOf) -> tuple[ThreadAsOf, ItemView | None]:
        """A thread as of a moment, and its item of an id if it was there then."""
        recent = _RecentCommits()
        fold = await self._open(tenant, thread_id, as_of, recent=recent)
        ordinal = next((each for each in fold.places if fold.ids[each] == item_id), None)
        if ordinal is None:
            return fold, None
        (view,) = await self._items(fold, (ordinal,), recent.by_seq)
        return fold, view

    async def messages(self, tenant: str, query: ListMessagesAt) -> Then:
        """A page of a thread's messages as of a moment, fewer than ``limit`` if they are long.

        Raises as :meth:`message`.
        """
        fold, page = await self.page(tenant, query, shown_message)
        backward = _goes_back(query)
        return replace(_answer_of(fold), messages=message_page(page.data, more=page.more, backward=backward))

    async def items(self, tenant: str, query: ListItemsAt) -> Then:
        """A page of a thread's items as of a moment. Raises as :meth:`message`."""
        fold, page = await self.page(tenant, query, item_object)
        return replace(_answer_of(fold), items=item_page(page, backward=_goes_back(query)))

    async def page(
        self, tenant: str, query: ListMessagesAt, show: Callable[[ItemView], T | None]
    ) -> tuple[ThreadAsOf, ShownPage[T]]:
        """A page of what ``show`` makes of a thread's items as of a moment, without those of which it makes ``None``.

        Raises as :meth:`message`.
        """
        recent = _RecentCommits()
        fold = await self._open(tenant, query.thread_id, query.as_of, recent=recent)
        left = span(
            fold.view.last_ordinal,
            query.order,
            _cursor(fold, "after", query.after),
            _cursor(fold, "before", query.before),
        )
        page = ShownPage[T](query.limit, self._page_bytes())
        ordinals = [ordinal for ordinal in left.next_places(fold.view.last_ordinal) if ordinal in fold.places]
        while ordinals and not page.more:
            ahead = min(page.estimate_rest(), READ_AT_ONCE)
            for view in await self._items(fold, ordinals[:ahead], recent.by_seq):
                page.take(view, show)
            ordinals = ordinals[ahead:]
        return fold, page

    async def difference(self, tenant: str, query: GetDifference) -> Difference:
        """What changed between two moments. A moment before the thread's creation stands for the empty thread.

        Raises:
            NotFound: the thread never existed.
            Invalid: a moment is in the future or invalid, or the second precedes the first.
            TooLarge: more than :data:`LONGEST` commits lie between them.
            Unavailable: the log does not answer.
            Corrupt: the history cannot be read up to the second moment.
        """
        since, until = moment(query.since, "from", least=0), _or_now(query.until, "to", least=0)
        fold = DiffFold(Address(tenant, query.thread_id), since, until, LONGEST)
        # Whether a time is after the later commit is known only from the commit after that.
        await self._read(fold, Address(tenant, query.thread_id), until if since.n is not None else NOW)
        if since.is_behind(until) or fold.turned_round:
            raise Invalid("Invalid 'from': it lies behind 'to'.", param="from")
        self._check_reached(until, "to", query.thread_id, fold)
        self._check_reached(since, "from", query.thread_id, fold)
        return fold.answer(query.limit)

    async def blame(self, tenant: str, query: GetBlame) -> Blame:
        """Who last set each part of a thread. Raises as :meth:`thread`."""
        until = _or_now(query.as_of, "as_of")
        fold = BlameFold(Address(tenant, query.thread_id), until)
        await self._read(fold, Address(tenant, query.thread_id), until)
        self._check_reached(until, "as_of", query.thread_id, fold)
        return fold.answer(query.limit)

    async def _open(
        self,
        tenant: str,
        thread_id: str,
        as_of: AsOf,
        recent: _RecentCommits | None = None,
    ) -> ThreadAsOf:
        until = moment(as_of, "as_of")
        fold = ThreadAsOf(Address(tenant, thread_id), until)
        await self._read(fold, Address(tenant, thread_id), until, recent)
        self._check_reached(until, "as_of", thread_id, fold)
        if fold.view.status in {"deleted", "erased"}:
            why = f"{name_history(thread_id, capital=True)} had been deleted at 'as_of' {until}."
            raise NotFound(why, code="thread_not_found", param="as_of")
        return fold

    async def _read(
        self, fold: _PastFold, address: Address, until: Moment, recent: _RecentCommits | None = None
    ) -> None:
        await self._trail.refresh()
        hint = await hint_of(address, self._memory, self._current)
        async for recorded in check_unbroken(hint, self._trail.forward(hint, Spot(0))):
            if isinstance(fold, ThreadAsOf) and recent is not None and recorded.commit.n == 1:
                await self._inherit(fold, advance(fold.view, recorded))
            if isinstance(fold, DiffFold) and fold.first is not None and (missing := fold.missing(recorded)):
                fold.inherit(await self._current.inherited_items(address, missing, fold.first.position.seq))
            if not fold.add(recorded):
                return
            if recent is not None:
                recent.add(recorded)
            if until.ends_with(recorded.commit):
                return

    async def _inherit(self, fold: ThreadAsOf, begun: ThreadView) -> None:
        """Give a fork what it begins with, read from its parent as it was when it was forked."""
        if (parent := parent_of(begun)) is not None:
            before = ThreadAsOf(parent.address, Moment(n=parent.n))
            await self._read(before, parent.address, Moment(n=parent.n), _RecentCommits())
            fold.inherit(before, begun.inherited)

    async def _items(self, fold: ThreadAsOf, ordinals: Sequence[int], by_seq: dict[int, Recorded]) -> list[ItemView]:
        """Read items as of the fold's moment; commits that are not in ``by_seq`` are read and put there."""
        seqs = sorted({seq for ordinal in ordinals for seq in fold.places[ordinal]})
        missing = await self._trail.read_at(
            Address(fold.view.tenant, fold.view.id), [seq for seq in seqs if seq not in by_seq]
        )
        by_seq |= {recorded.position.seq: recorded for recorded in missing}
        begun: dict[int, ItemView] = {}
        inherited = [ordinal for ordinal in ordinals if ordinal <= fold.view.inherited]
        if inherited and fold.parent is not None:
            theirs = {view.ordinal: view for view in await self._items(fold.parent, inherited, {})}
            begun = inherit_items(theirs, fold.view.id)
        views = fold_items(frozenset(ordinals), [by_seq[seq] for seq in seqs], begun)
        return [views[ordinal] for ordinal in ordinals]

    def _check_reached(self, until: Moment, param: str, thread_id: str, read: _PastFold) -> None:
        check_reached(until, param, thread_id, first=read.first, last=read.last, now=self._clock())


def _or_now(as_of: AsOf | None, param: str, *, least: int = 1) -> Moment:
    return moment(as_of, param, least=least) if as_of is not None else NOW


def _goes_back(query: ListMessagesAt) -> bool:
    return query.before is not None and query.after is None


def _answer_of(fold: ThreadAsOf) -> Then:
    commit = fold.last
    if commit is None:
        raise AssertionError("a moment that was reached has a commit")
    return Then(position=commit.position, n=commit.commit.n, at=commit.commit.at)


def _cursor(fold: ThreadAsOf, param: str, message_id: str | None) -> int | None:
    if message_id is None:
        return None
    found = [ordinal for ordinal, item in fold.ids.items() if item == message_id]
    if found:
        return found[-1]
    raise no_cursor(fold.view.id, param, message_id)
