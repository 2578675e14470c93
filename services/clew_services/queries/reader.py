"""The reader answers queries. Answers are as fresh as the log unless the caller asks for eventual consistency."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TypeVar, assert_never

from msgspec.structs import replace

from clew_events.checkpoint_messages import GetCheckpoint, GetProof, ListCheckpoints
from clew_events.commit import Position
from clew_events.error_texts import name_history, no_thread
from clew_events.errors import Corrupt, Invalid, NotFound, Unavailable
from clew_events.list_query import Condition, ForkTest, ListDue, ListHolds, ListRetention, ListThreads
from clew_events.list_reply import DuePage, HoldPage, RetentionList
from clew_events.queries import (
    GetBlame,
    GetDifference,
    GetErasure,
    GetFeed,
    GetHistory,
    GetItem,
    GetItemAt,
    GetMessage,
    GetMessageAt,
    GetStateAt,
    GetThread,
    ListErasures,
    ListItems,
    ListItemsAt,
    ListMessages,
    ListMessagesAt,
    Query,
)
from clew_events.replies import Answer, Feed, Found, History, Moment
from clew_events.subjects import Address
from clew_projections import feed
from clew_projections.api_objects import item_object, item_page, message_page, retrieved_thread, shown_message
from clew_projections.apply import advance
from clew_projections.audit.as_of import has_erased_state
from clew_projections.history.histories import Histories
from clew_projections.history.stretch import check_unbroken
from clew_projections.index import WrittenList
from clew_projections.page_size import PageBytes, ShownPage, default_page_bytes
from clew_projections.state.current import CurrentState
from clew_projections.state.state_reads import CurrentThread, span
from clew_projections.views import ItemView, ThreadView, absent
from clew_services.checkpoints.checkpoint_answers import CheckpointQueries
from clew_services.erasure.erasure_answers import ErasureQueries
from clew_services.queries import feed_pages
from clew_services.queries.history_pages import HistoryPages, hint_of
from clew_services.queries.lists import Lists
from clew_services.queries.past import Past
from clew_services.retention.due_threads import DueThreads, due_page
from clew_services.threads.cache import Memory
from clew_services.threads.decide import no_cursor, no_item, no_message

T = TypeVar("T")
FIRST_READ: Final = 21
"""Items of a page that are read before it is known how long they are: those of a page of the default length."""
READ_AHEAD: Final = 256
"""Ordinals that are read at once where many items of a page are deleted."""
RECENT: Final = 5.0
"""Seconds for which an eventual read of a thread is answered from memory."""


class Reader:
    """Answers queries."""

    def __init__(
        self,
        current: CurrentState,
        histories: Histories,
        memory: Memory,
        *,
        pages: HistoryPages,
        past: Past,
        feeds: feed.Feed | None,
        lists: Lists,
        checkpoints: CheckpointQueries | None,
        erasures: ErasureQueries | None,
        page_bytes: PageBytes = default_page_bytes,
    ) -> None:
        self._current = current
        self._histories = histories
        self._feeds = feeds
        self._memory = memory
        self._pages = pages
        self.past = past
        self._lists = lists
        self._due = DueThreads(lists, current, lists.tenants)
        self._checkpoints = checkpoints
        self._erasures = erasures
        self._page_bytes = page_bytes

    async def answer(self, tenant: str, query: Query) -> Answer | WrittenList:  # noqa: C901, PLR0912 - one case a query
        """The answer to a query.

        Raises:
            NotFound: the thread or message does not exist or was deleted.
            Invalid: a cursor or a moment is invalid.
            Unavailable: the log does not answer, or has not reached ``at_least``.
            Corrupt: the thread's history cannot be read.
        """
        match query:
            case GetThread():
                return await self.thread(tenant, query)
            case ListThreads():
                return await self.threads(tenant, query)
            case ListHolds():
                return await self.holds(tenant, query)
            case ListRetention():
                return await self.retention(tenant)
            case ListDue():
                return await self.due(tenant, query)
            case GetMessage():
                return await self.message(tenant, query)
            case GetItem():
                return await self.item(tenant, query)
            case ListItems():
                return await self.items(tenant, query)
            case ListMessages():
                return await self.messages(tenant, query)
            case GetHistory():
                return await self.history(tenant, query)
            case GetStateAt():
                return await self.state_at(tenant, query)
            case GetFeed():
                return await self.feed(tenant, query)
            case ListCheckpoints() | GetCheckpoint() | GetProof():
                return await self._checkpoint_queries().answer(tenant, query)
            case ListErasures() | GetErasure():
                return await self._erasure_queries().answer(tenant, query)
            case ListMessagesAt() | GetMessageAt() | ListItemsAt() | GetItemAt() | GetDifference() | GetBlame():
                return await self.past.answer(tenant, query)
            case _:
                assert_never(query)

    async def thread(self, tenant: str, query: GetThread) -> Found:
        """The current state of a thread."""
        address = Address(tenant, query.thread_id)
        view = await self._recent(address) if self._may_be_late(address, query) else None
        if view is None or view.n < (query.at_least or 0):
            view = self._memory.recall(address) or await self._current.cached_view(address)
            try:
                view = await self._current.catch_up(view)
            except Corrupt:
                self._memory.forget(address)  # after a repair it is read again
                raise
            self._memory.remember(view)
        self._check_open(view, query.thread_id, query.at_least)
        return Found(position=self._position(view), n=view.n, thread=retrieved_thread(view))

    def _may_be_late(self, address: Address, query: GetThread | GetMessage | GetItem | ListMessages) -> bool:
        return query.consistency == "eventual" and not self._histories.may_be_erased(address)

    async def _recent(self, address: Address) -> ThreadView:
        """A thread's view that is at most :data:`RECENT` seconds older than what the bucket has."""
        if (recent := self._memory.recall(address, within=RECENT)) is not None:
            return recent
        stored = await self._current.cached_view(address)
        self._memory.remember(stored)
        known = self._memory.recall(address)
        return known if known is not None and known.n > stored.n else stored

    async def threads(self, tenant: str, query: ListThreads) -> WrittenList:
        """A page of a tenant's threads."""
        return await self._lists.threads(tenant, query)

    async def forks(self, tenant: str, thread_id: str, query: ListThreads) -> WrittenList:
        """A page of the threads that were forked from one, deleted or not, of those that match the query.

        Raises:
            NotFound: the thread does not exist and never did.
        """
        if (await self._current.read_current(Address(tenant, thread_id))).thread.status == "absent":
            raise no_thread(thread_id)
        forked = Condition(forked_from=ForkTest(eq=thread_id))
        where = forked if query.where is None else Condition(every=(forked, query.where))
        return await self.threads(tenant, replace(query, where=where))

    async def holds(self, tenant: str, query: ListHolds) -> HoldPage:
        """A page of a tenant's threads that have legal holds, and its standing holds; or those of one thread."""
        if query.thread_id is None:
            return await self._lists.holds(tenant, query)
        view = (await self._current.read_current(Address(tenant, query.thread_id))).thread
        if view.status == "absent":
            raise no_thread(query.thread_id)
        return await self._lists.holds_of(view, query.hold, self._position(view))

    async def retention(self, tenant: str) -> RetentionList:
        """A tenant's policies of retention."""
        return await self._lists.retention(tenant)

    async def due(self, tenant: str, query: ListDue) -> DuePage:
        """A page of a tenant's threads that are due to be deleted or erased."""
        rules = await self._lists.tenants.state(tenant)
        return await due_page(self._due, tenant, rules, query, datetime.now(UTC))

    async def message(self, tenant: str, query: GetMessage) -> Found:
        """The current state of a message."""
        present, view = await self._item(tenant, query, query.message_id)
        message = shown_message(view) if view is not None else None
        if message is None:
            raise no_message(query.message_id)
        return Found(position=self._position(present.thread), n=present.thread.n, message=message)

    async def item(self, tenant: str, query: GetItem) -> Found:
        """The current state of an item."""
        present, view = await self._item(tenant, query, query.item_id)
        if view is None:
            raise no_item(query.thread_id, query.item_id)
        return Found(position=self._position(present.thread), n=present.thread.n, item=item_object(view))

    async def _item(
        self, tenant: str, query: GetMessage | GetItem, item_id: str
    ) -> tuple[CurrentThread, ItemView | None]:
        present = await self._open(Address(tenant, query.thread_id), query)
        view = await self._current.item(present, item_id)
        return present, None if view is None or view.gone else view

    async def messages(self, tenant: str, query: ListMessages) -> Found:
        """A page of messages, fewer than ``limit`` if they are long.

        A cursor may name a deleted message, but not one that the thread never had.
        """
        view, page, backward = await self._page(tenant, query, shown_message)
        messages = message_page(page.data, more=page.more, backward=backward)
        return Found(position=self._position(view), n=view.n, inherits=view.inherited > 0, messages=messages)

    async def items(self, tenant: str, query: ListItems) -> Found:
        """A page of items, with cursors as in :meth:`messages`."""
        view, page, backward = await self._page(tenant, query, item_object)
        items = item_page(page, backward=backward)
        return Found(position=self._position(view), n=view.n, inherits=view.inherited > 0, items=items)

    async def _page(
        self, tenant: str, query: ListMessages, show: Callable[[ItemView], T | None]
    ) -> tuple[ThreadView, ShownPage[T], bool]:
        present = await self._open(Address(tenant, query.thread_id), query)
        view = present.thread
        remaining = span(
            view.last_ordinal,
            query.order,
            await self._cursor(present, "after", query.after),
            await self._cursor(present, "before", query.before),
        )
        page = ShownPage[T](query.limit, self._page_bytes())
        ahead = min(page.estimate_rest(), FIRST_READ)
        while not (remaining.empty or page.more):
            ordinals = remaining.next_places(ahead)
            views = await self._current.items(present, ordinals)
            for ordinal in ordinals:
                if ordinal in views:
                    page.take(views[ordinal], show)
            remaining = remaining.without(ordinals)
            many_deleted = len(views) < len(ordinals) // 2
            ahead = page.estimate_rest(READ_AHEAD if many_deleted else None)
        return view, page, remaining.goes_back(query.order)

    async def history(self, tenant: str, query: GetHistory) -> History:
        """A page of a thread's commits; deleted threads included."""
        return await self._pages.page(tenant, query)

    async def state_at(self, tenant: str, query: GetStateAt) -> Moment:
        """A thread as of a commit or a time, folded from the log."""
        if query.as_of is not None:
            return await self.past.thread(tenant, query.thread_id, query.as_of)
        if (query.n is None) == (query.time is None):
            raise Invalid("Say either 'n' or 'time', not both.", code="invalid_value", param="n")
        if query.time is not None and query.time.tzinfo is None:
            raise Invalid("Invalid 'time': a time zone is missing, as in '…Z'.", param="time")
        address = Address(tenant, query.thread_id)
        await self._histories.refresh()
        view, hint = absent(*address), await hint_of(address, self._memory, self._current)
        erased = False
        async for recorded in check_unbroken(hint, self._histories.after(address, 0)):
            if query.time is not None and recorded.commit.at > query.time:
                break
            view = advance(view, recorded)
            erased = erased or has_erased_state(recorded.commit)
            if view.n == query.n:
                break
        if view.updated_at is None or (query.n is not None and view.n < query.n):
            raise NotFound(
                f"{name_history(query.thread_id, capital=True)} had no such moment: it "
                + (f"has {view.n} commits." if view.n else "was not there yet, or never."),
                code="moment_not_found",
            )
        return Moment(
            position=self._position(view),
            n=view.n,
            at=view.updated_at,
            thread=retrieved_thread(view, erased=erased) if view.status == "open" else None,
            message_count=view.messages,
        )

    async def feed(self, tenant: str, query: GetFeed) -> Feed:
        """A page of all of a tenant's commits; see :class:`clew_projections.feed.Feed` for their order."""
        if self._feeds is None:
            raise Invalid("A pack has no feed: ask a deployment.", code="no_feed")
        return await feed_pages.page(self._feeds, tenant, query)

    def _checkpoint_queries(self) -> CheckpointQueries:
        if self._checkpoints is None:
            raise Invalid("A pack answers no queries for checkpoints: ask a deployment.", code="no_checkpoints")
        return self._checkpoints

    def _erasure_queries(self) -> ErasureQueries:
        if self._erasures is None:
            raise Invalid("A pack answers no queries for erasures: ask a deployment.", code="no_erasures")
        return self._erasures

    async def _open(self, address: Address, query: GetMessage | GetItem | ListMessages) -> CurrentThread:
        present: CurrentThread | None = None
        if self._may_be_late(address, query):
            present = await self._current.read_cached(address)
        if present is None or present.thread.n < (query.at_least or 0):
            present = await self._current.read_current(address)
        self._memory.remember(present.thread)
        self._check_open(present.thread, address.thread, query.at_least)
        return present

    def _check_open(self, view: ThreadView, thread: str, at_least: int | None) -> None:
        if view.n < (at_least or 0):
            raise Unavailable(
                f"{name_history(thread)} is at version {view.n}, and {at_least} was asked for",
                code="not_there_yet",
            )
        if view.status != "open":
            raise no_thread(thread)

    async def _cursor(self, present: CurrentThread, param: str, message_id: str | None) -> int | None:
        if message_id is None:
            return None
        item = await self._current.item(present, message_id)
        if item is not None:
            return item.ordinal
        raise no_cursor(present.thread.id, param, message_id)

    def _position(self, view: ThreadView) -> Position:
        return Position(self._histories.shard(Address(view.tenant, view.id)), view.seq)
