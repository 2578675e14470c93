"""The queries, one method each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar, Unpack

import msgspec

from clew_events import subjects
from clew_events.audit_replies import Blame, Difference
from clew_events.client import decode
from clew_events.client.list_question import ListOptions, question
from clew_events.client.results import MessageFound, MessagesFound, MessagesThen, MessageThen, ThreadFound
from clew_events.client.transport import Requester
from clew_events.list_query import ListThreads
from clew_events.list_reply import ListedThread, ThreadList
from clew_events.objects import Message
from clew_events.queries import (
    AsOf,
    Consistency,
    EventType,
    GetBlame,
    GetDifference,
    GetHistory,
    GetMessage,
    GetMessageAt,
    GetStateAt,
    GetThread,
    ListMessages,
    ListMessagesAt,
    Order,
    Query,
)
from clew_events.replies import Entry, History, Moment

T = TypeVar("T")
_ENCODE: Final = msgspec.json.Encoder().encode
PAGE: Final = 100


class Queries:
    """What threads are, were, and how they came to be so.

    Answers are never behind the log unless ``consistency="eventual"`` allows it; ``at_least`` is the number
    of a commit that the answer must contain. All raise :class:`~clew_events.errors.NotFound` and
    :class:`~clew_events.errors.Invalid` for what is wrong with the question, and
    :class:`~clew_events.errors.Unavailable` when time is up.
    """

    def __init__(self, requester: Requester, *, tenant: str) -> None:
        self._requester = requester
        self.tenant = tenant

    async def _ask(self, name: str, query: Query, read: Callable[[bytes], T]) -> T:
        return await self._requester.ask(subjects.query_subject(self.tenant, name), _ENCODE(query), read)

    async def get_thread(
        self, thread_id: str, *, consistency: Consistency = "strong", at_least: int | None = None
    ) -> ThreadFound:
        """A thread as it is."""
        query = GetThread(thread_id=thread_id, consistency=consistency, at_least=at_least)
        return await self._ask("get_thread", query, decode.thread_found)

    async def wait_for(self, thread_id: str, n: int) -> ThreadFound:
        """A thread once it has come to commit ``n``, which somebody else may be making.

        Raises:
            Unavailable: it has not within this client's timeout.
        """
        return await self.get_thread(thread_id, at_least=n)

    async def list_threads(self, **asked: Unpack[ListOptions]) -> ThreadList:
        """A page of the tenant's threads, by default those created last.

        Take ``at_least`` from what a change answered to see that change in the list.
        """
        return await self.ask_for_threads(question(asked))

    async def ask_for_threads(self, query: ListThreads) -> ThreadList:
        """A page of the tenant's threads, as a question says that was put together elsewhere."""
        return await self._ask("list_threads", query, decode.thread_list)

    async def iter_threads(self, **asked: Unpack[ListOptions]) -> AsyncIterator[ListedThread]:
        """All threads that are asked for, fetched page by page as they are needed."""
        query = msgspec.structs.replace(question(asked), limit=asked.get("limit", PAGE))
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
        """One message as it is."""
        query = GetMessage(thread_id=thread_id, message_id=message_id, consistency=consistency, at_least=at_least)
        return await self._ask("get_message", query, decode.message_found)

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
        """A page of a thread's messages, by default the newest first."""
        query = ListMessages(
            thread_id=thread_id,
            limit=limit,
            order=order,
            after=after,
            before=before,
            consistency=consistency,
            at_least=at_least,
        )
        return await self._ask("list_messages", query, decode.messages_found)

    async def iter_messages(self, thread_id: str, *, order: Order = "asc") -> AsyncIterator[Message]:
        """All messages of a thread, by default the oldest first, fetched page by page as they are needed."""
        after: str | None = None
        while True:
            page = (await self.list_messages(thread_id, limit=PAGE, order=order, after=after)).messages
            for message in page.data:
                yield message
            if not page.has_more:
                return
            after = page.last_id

    async def history(
        self,
        thread_id: str,
        *,
        start: int | None = None,
        limit: int = PAGE,
        order: Order = "asc",
        after: str | None = None,
        before: str | None = None,
        types: Sequence[EventType] = (),
        actor: str | None = None,
        since: int | datetime | None = None,
        until: int | datetime | None = None,
    ) -> History:
        """A page of a thread's commits, by default the oldest first.

        ``start`` is the number of the first, ``after`` and ``before`` are cursors (ids of entries). ``types`` are
        events of which a commit has one at least; ``actor`` may end in ``*``; times are included, and a number is a
        whole second of Unix time. The page after it is at its ``cursor``.
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
            since=since,
            until=until,
        )
        return await self._ask("history", query, decode.history)

    async def iter_history(
        self,
        thread_id: str,
        *,
        start: int | None = None,
        order: Order = "asc",
        types: Sequence[EventType] = (),
        actor: str | None = None,
        since: int | datetime | None = None,
        until: int | datetime | None = None,
    ) -> AsyncIterator[Entry]:
        """All commits of a history, or all that are asked for, fetched page by page as they are needed.

        Raises:
            Corrupt: one is missing from the log, where it should have come. A page of :meth:`history` names those
                that are, and has the others.
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
                since=since,
                until=until,
            )
            for entry in decode.entries(page, order):
                yield entry
            if page.cursor is None:
                return
            start, after = None, page.cursor

    async def state_at(
        self, thread_id: str, *, n: int | None = None, time: datetime | None = None, as_of: AsOf | None = None
    ) -> Moment:
        """A thread as it was after commit ``n``, at the moment ``time``, or ``as_of`` either: exactly one of the three.

        ``as_of`` is a commit's number up to 999,999,999, from there on Unix seconds, or a time; none still to come.
        """
        return await self._ask("state_at", GetStateAt(thread_id=thread_id, n=n, time=time, as_of=as_of), decode.moment)

    async def message_at(self, thread_id: str, message_id: str, as_of: AsOf) -> MessageThen:
        """One message as it was ``as_of`` a moment, as :meth:`state_at` takes it."""
        return await self._ask(
            "message_at", GetMessageAt(thread_id=thread_id, message_id=message_id, as_of=as_of), decode.message_then
        )

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
        """A page of a thread's messages as they were ``as_of`` a moment, as :meth:`state_at` takes it."""
        return await self._ask(
            "messages_at",
            ListMessagesAt(thread_id=thread_id, as_of=as_of, limit=limit, order=order, after=after, before=before),
            decode.messages_then,
        )

    async def diff(self, thread_id: str, since: AsOf = 0, until: AsOf | None = None) -> Difference:
        """What changed after one moment (0: before the beginning) up to another (by default now), and by whom."""
        return await self._ask("diff", GetDifference(thread_id=thread_id, since=since, until=until), decode.difference)

    async def blame(self, thread_id: str, as_of: AsOf | None = None) -> Blame:
        """Who last set each part of a thread, by now or ``as_of`` a moment, and who removed what is gone."""
        return await self._ask("blame", GetBlame(thread_id=thread_id, as_of=as_of), decode.blame)
