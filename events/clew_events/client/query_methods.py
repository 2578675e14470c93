"""The queries, one method each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Final, Unpack

import msgspec
from msgspec import Raw

from clew_events.audit_replies import Blame, Difference
from clew_events.checkpoint_messages import (
    CheckpointPage,
    GetCheckpoint,
    GetProof,
    KeptProof,
    ListCheckpoints,
    SignedCheckpoint,
)
from clew_events.client.decode import entries
from clew_events.client.method_options import ListOptions, build_query
from clew_events.client.results import (
    ItemFound,
    ItemsFound,
    ItemsThen,
    ItemThen,
    MessageFound,
    MessagesFound,
    MessagesThen,
    MessageThen,
    ThreadFound,
)
from clew_events.client.transport import Caller
from clew_events.erasures import Erasure, ErasurePage, RetrievedErasure, Status
from clew_events.errors import Invalid
from clew_events.list_query import ListDue, ListHolds, ListRetention, ListThreads
from clew_events.list_reply import DuePage, DueThread, HoldPage, ListedThread, RetentionList, ThreadList
from clew_events.objects import HeldThread, Message
from clew_events.queries import (
    AsOf,
    Consistency,
    EventType,
    GetBlame,
    GetDifference,
    GetErasure,
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
    Order,
)
from clew_events.replies import Entry, History, Moment

PAGE: Final = 100


class QueryMethods(Caller):
    """Reads the present and the past of threads, and what proves it.

    Answers about the present are never behind the log unless ``consistency="eventual"`` permits it; ``at_least`` is the
    number of a commit that the answer must include.

    All raise :class:`~clew_events.errors.NotFound` for what does not exist, :class:`~clew_events.errors.Invalid` for
    parameters that are not valid, and :class:`~clew_events.errors.Unavailable` on a timeout.
    """

    async def get_thread(
        self, thread_id: str, *, consistency: Consistency = "strong", at_least: int | None = None
    ) -> ThreadFound:
        """A thread as it is now."""
        query = GetThread(thread_id=thread_id, consistency=consistency, at_least=at_least)
        return await self._ask(query, ThreadFound)

    async def wait_for(self, thread_id: str, n: int) -> ThreadFound:
        """A thread once it has reached commit ``n``, which another client may be about to make.

        Raises:
            Unavailable: it has not reached it within this client's timeout.
        """
        return await self.get_thread(thread_id, at_least=n)

    async def list_threads(self, **options: Unpack[ListOptions]) -> ThreadList:
        """A page of the tenant's threads, by default newest first.

        The page's ``next`` is the ``after`` of the next page, and its ``previous`` the ``before`` of the previous one.
        To see a change in the list, give the ``position`` that the change returned as ``at_least``.
        """
        return await self.ask_for_threads(build_query(options))

    async def ask_for_threads(self, query: ListThreads) -> ThreadList:
        """A page of the tenant's threads, for a query that was built elsewhere."""
        return await self._ask(query, ThreadList)

    async def iter_threads(self, **options: Unpack[ListOptions]) -> AsyncGenerator[ListedThread]:
        """All threads that match, or all after ``after``. Pages are fetched as they are needed.

        Raises:
            Invalid: ``before`` is given without ``after``: going back, use :meth:`list_threads`, or the other order.
        """
        if options.get("before") is not None and options.get("after") is None:
            raise Invalid(
                "Invalid 'before': iter_threads goes forward, so it takes 'before' only together with 'after'. To go "
                "back, give the place as 'after' in the other order.",
                param="before",
            )
        query = msgspec.structs.replace(build_query(options), limit=options.get("limit", PAGE))
        while True:
            page = await self.ask_for_threads(query)
            for thread in page.data:
                yield thread
            if page.next is None:
                return
            query = msgspec.structs.replace(query, after=page.next)

    async def get_message(
        self,
        thread_id: str,
        message_id: str,
        *,
        consistency: Consistency = "strong",
        at_least: int | None = None,
    ) -> MessageFound:
        """One message as it is now."""
        query = GetMessage(thread_id=thread_id, message_id=message_id, consistency=consistency, at_least=at_least)
        return await self._ask(query, MessageFound)

    async def list_messages(
        self,
        thread_id: str,
        *,
        limit: int = 20,
        order: Order = "desc",
        after: str | None = None,
        before: str | None = None,
        consistency: Consistency = "strong",
        at_least: int | None = None,
    ) -> MessagesFound:
        """A page of a thread's messages, by default newest first; fewer than ``limit`` if they are long.

        ``after`` and ``before`` are message ids; with ``before`` alone it is the page right before that message. Ask
        again, with its ``last_id`` as ``after``, while it ``has_more``.
        """
        query = ListMessages(
            thread_id=thread_id,
            limit=limit,
            order=order,
            after=after,
            before=before,
            consistency=consistency,
            at_least=at_least,
        )
        return await self._ask(query, MessagesFound)

    async def iter_messages(self, thread_id: str, *, order: Order = "asc") -> AsyncGenerator[Message]:
        """All messages of a thread, by default oldest first. Pages are fetched as they are needed."""
        after: str | None = None
        while True:
            page = (await self.list_messages(thread_id, limit=PAGE, order=order, after=after)).messages
            for message in page.data:
                yield message
            if not page.has_more:
                return
            after = page.last_id

    async def get_item(
        self,
        thread_id: str,
        item_id: str,
        *,
        consistency: Consistency = "strong",
        at_least: int | None = None,
    ) -> ItemFound:
        """One item as it is now."""
        query = GetItem(thread_id=thread_id, item_id=item_id, consistency=consistency, at_least=at_least)
        return await self._ask(query, ItemFound)

    async def list_items(
        self,
        thread_id: str,
        *,
        limit: int = 20,
        order: Order = "desc",
        after: str | None = None,
        before: str | None = None,
        consistency: Consistency = "strong",
        at_least: int | None = None,
    ) -> ItemsFound:
        """A page of a thread's items of all types, as :meth:`list_messages` has those of messages."""
        query = ListItems(
            thread_id=thread_id,
            limit=limit,
            order=order,
            after=after,
            before=before,
            consistency=consistency,
            at_least=at_least,
        )
        return await self._ask(query, ItemsFound)

    async def iter_items(self, thread_id: str, *, order: Order = "asc") -> AsyncGenerator[Raw]:
        """All items of a thread, by default oldest first. Pages are fetched as they are needed."""
        after: str | None = None
        while True:
            page = (await self.list_items(thread_id, limit=PAGE, order=order, after=after)).items
            for item in page.data:
                yield item
            if not page.has_more:
                return
            after = page.last_id

    async def history(
        self,
        thread_id: str | None = None,
        *,
        start: int | None = None,
        limit: int = PAGE,
        order: Order = "asc",
        after: str | None = None,
        before: str | None = None,
        types: Sequence[EventType] = (),
        actor: str | None = None,
        by: str | None = None,
        since: int | datetime | None = None,
        until: int | datetime | None = None,
        stored: bool = False,
    ) -> History:
        """A page of a thread's commits, by default oldest first; fewer than ``limit`` if they are long.

        Without a thread they are those of the tenant's own history: its policies of retention and its standing holds.
        ``start`` is the number of the first commit; ``after`` and ``before`` are cursors (ids of entries). ``types``
        selects commits with at least one of these events. ``actor`` and ``by`` may end in ``*``. ``since`` and
        ``until`` are inclusive; a number is a whole second of Unix time. The page's ``cursor`` is the ``after`` of the
        next page, and its ``previous`` the ``before`` of the previous one. ``stored`` asks for each commit's stored
        body too.
        """
        query = GetHistory(
            thread_id=thread_id,
            start=start,
            limit=limit,
            order=order,
            after=after,
            before=before,
            types=tuple(types),
            actor=actor,
            by=by,
            since=since,
            until=until,
            stored=stored,
        )
        return await self._ask(query, History)

    async def iter_history(
        self,
        thread_id: str | None = None,
        *,
        start: int | None = None,
        order: Order = "asc",
        types: Sequence[EventType] = (),
        actor: str | None = None,
        by: str | None = None,
        since: int | datetime | None = None,
        until: int | datetime | None = None,
    ) -> AsyncGenerator[Entry]:
        """All commits of a history that match. Pages are fetched as they are needed.

        Raises:
            Corrupt: the next commit is missing from the log. A page of :meth:`history` names the missing commits and
                holds the others.
        """
        after: str | None = None
        while True:
            page = await self.history(
                thread_id,
                start=start,
                order=order,
                after=after,
                types=types,
                actor=actor,
                by=by,
                since=since,
                until=until,
            )
            for entry in entries(page, order):
                yield entry
            if page.cursor is None:
                return
            start, after = None, page.cursor

    async def state_at(
        self, thread_id: str, *, n: int | None = None, time: datetime | None = None, as_of: AsOf | None = None
    ) -> Moment:
        """A thread as it was after commit ``n``, at ``time``, or ``as_of`` either. Give exactly one of the three.

        ``as_of`` is a time, or a number: up to 999,999,999 of a commit, from there on Unix seconds. It is not in the
        future.
        """
        return await self._ask(GetStateAt(thread_id=thread_id, n=n, time=time, as_of=as_of), Moment)

    async def message_at(self, thread_id: str, message_id: str, as_of: AsOf) -> MessageThen:
        """One message as it was ``as_of`` a commit or time, as in :meth:`state_at`."""
        return await self._ask(GetMessageAt(thread_id=thread_id, message_id=message_id, as_of=as_of), MessageThen)

    async def messages_at(
        self,
        thread_id: str,
        as_of: AsOf,
        *,
        limit: int = 20,
        order: Order = "desc",
        after: str | None = None,
        before: str | None = None,
    ) -> MessagesThen:
        """A page of a thread's messages as they were ``as_of`` a commit or time, as in :meth:`state_at`."""
        return await self._ask(
            ListMessagesAt(thread_id=thread_id, as_of=as_of, limit=limit, order=order, after=after, before=before),
            MessagesThen,
        )

    async def item_at(self, thread_id: str, item_id: str, as_of: AsOf) -> ItemThen:
        """One item as it was ``as_of`` a commit or time, as in :meth:`state_at`."""
        return await self._ask(GetItemAt(thread_id=thread_id, item_id=item_id, as_of=as_of), ItemThen)

    async def items_at(
        self,
        thread_id: str,
        as_of: AsOf,
        *,
        limit: int = 20,
        order: Order = "desc",
        after: str | None = None,
        before: str | None = None,
    ) -> ItemsThen:
        """A page of a thread's items as they were ``as_of`` a commit or time, as in :meth:`state_at`."""
        return await self._ask(
            ListItemsAt(thread_id=thread_id, as_of=as_of, limit=limit, order=order, after=after, before=before),
            ItemsThen,
        )

    async def diff(
        self, thread_id: str, since: AsOf = 0, until: AsOf | None = None, *, limit: int | None = None
    ) -> Difference:
        """What changed after ``since`` (0: before the first commit) up to ``until`` (None: now), and who changed it.

        Of the changed items and the commits the newest ``limit``, or all.
        """
        return await self._ask(GetDifference(thread_id=thread_id, since=since, until=until, limit=limit), Difference)

    async def blame(self, thread_id: str, as_of: AsOf | None = None, *, limit: int | None = None) -> Blame:
        """Who last set each part of a thread, now or ``as_of`` a commit or time, and who removed what is gone.

        Of the items the newest ``limit``, or all.
        """
        return await self._ask(GetBlame(thread_id=thread_id, as_of=as_of, limit=limit), Blame)

    async def list_checkpoints(self, *, limit: int = 20, after: int | None = None) -> CheckpointPage:
        """A page of the log's signed checkpoints, newest first, from the first one or ``after`` the one of a number.

        The client checks no signature. Check what it returns with ``clew checkpoint check`` or a program of your own,
        and a key that you trust.
        """
        return await self._ask(ListCheckpoints(limit=limit, after=after), CheckpointPage)

    async def iter_checkpoints(self) -> AsyncGenerator[SignedCheckpoint]:
        """All checkpoints, newest first. Pages are fetched as they are needed."""
        after: int | None = None
        while True:
            page = await self.list_checkpoints(limit=PAGE, after=after)
            for checkpoint in page.data:
                yield checkpoint
            if not page.has_more:
                return
            after = page.data[-1].number

    async def get_checkpoint(self, number: int | None = None) -> SignedCheckpoint:
        """A signed checkpoint by its number, or the latest.

        Raises:
            NotFound: there is none.
        """
        return await self._ask(GetCheckpoint(number=number), SignedCheckpoint)

    async def proof(self, thread_id: str | None = None) -> KeptProof:
        """An inclusion proof of a thread's head under the latest checkpoint. The first one of a large log is slow.

        Without a thread it is of the tenant's own history.

        Raises:
            NotFound: there is no checkpoint yet, or none that includes the thread.
            Corrupt: the log differs from what was signed.
        """
        return await self._ask(GetProof(thread_id=thread_id), KeptProof)

    async def list_erasures(
        self, *, limit: int = 20, after: str | None = None, status: Status | None = None, thread_id: str | None = None
    ) -> ErasurePage:
        """A page of the tenant's erasures, newest first, from the newest or ``after`` the one of an id.

        Ask again, with its ``last_id`` as ``after``, while it ``has_more``.
        """
        query = ListErasures(limit=limit, after=after, status=status, thread_id=thread_id)
        return await self._ask(query, ErasurePage)

    async def iter_erasures(
        self, *, status: Status | None = None, thread_id: str | None = None
    ) -> AsyncGenerator[Erasure]:
        """All erasures of the tenant, newest first. Pages are fetched as they are needed."""
        after: str | None = None
        while True:
            page = await self.list_erasures(limit=PAGE, after=after, status=status, thread_id=thread_id)
            for erasure in page.data:
                yield erasure
            if not page.has_more:
                return
            after = page.last_id

    async def get_erasure(self, erasure_id: str) -> RetrievedErasure:
        """An erasure as it is now, with its certificate if it is completed.

        The client checks no signature; see :meth:`list_checkpoints`.

        Raises:
            NotFound: there is none.
        """
        return await self._ask(GetErasure(erasure_id=erasure_id), RetrievedErasure)

    async def list_retention(self) -> RetentionList:
        """All policies of retention of the tenant, by their names."""
        return await self._ask(ListRetention(), RetentionList)

    async def list_due(
        self, *, until: datetime | int | None = None, limit: int = 20, after: str | None = None
    ) -> DuePage:
        """A page of the threads that are due to be deleted or erased now, or ``until`` another time.

        It may have fewer than ``limit``, or none, while it ``has_more``: then ``next`` is the ``after`` of the next.

        Raises:
            Invalid: ``after`` is no cursor.
            Unavailable: the index cannot be read.
        """
        return await self._ask(ListDue(until=until, limit=limit, after=after), DuePage)

    async def iter_due(self, *, until: datetime | int | None = None) -> AsyncGenerator[DueThread]:
        """All threads that are due now, or ``until`` another time. Pages are fetched as they are needed."""
        after: str | None = None
        while True:
            page = await self.list_due(until=until, limit=PAGE, after=after)
            for due in page.data:
                yield due
            if not page.has_more:
                return
            after = page.next

    async def list_holds(
        self,
        *,
        hold: str | None = None,
        thread_id: str | None = None,
        limit: int = 20,
        after: str | None = None,
        at_least: str | None = None,
    ) -> HoldPage:
        """A page of the threads that have legal holds, deleted ones too, by their ids; with ``hold``, that one.

        The first page also has the standing holds. With ``thread_id`` they are those of this thread, and that cover it.
        Ask again, with its ``last_id`` as ``after``, while it ``has_more``. ``at_least`` is as in :meth:`list_threads`.
        """
        query = ListHolds(hold=hold, thread_id=thread_id, limit=limit, after=after, at_least=at_least)
        return await self._ask(query, HoldPage)

    async def iter_holds(self, *, hold: str | None = None, at_least: str | None = None) -> AsyncGenerator[HeldThread]:
        """All threads that have legal holds, by their ids. Pages are fetched as they are needed."""
        after: str | None = None
        while True:
            page = await self.list_holds(hold=hold, limit=PAGE, after=after, at_least=at_least)
            for held in page.data:
                yield held
            if not page.has_more:
                return
            after = page.last_id
