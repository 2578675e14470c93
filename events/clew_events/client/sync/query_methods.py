"""The queries, one method each, as in :mod:`clew_events.client.query_methods`."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Sequence
from datetime import datetime
from typing import TypeVar, Unpack

from clew_events.audit_replies import Blame, Difference
from clew_events.client import client, decode
from clew_events.client.list_question import ListOptions
from clew_events.client.query_methods import PAGE
from clew_events.client.results import MessageFound, MessagesFound, MessagesThen, MessageThen, ThreadFound
from clew_events.client.sync.background import Background
from clew_events.list_query import ListThreads
from clew_events.list_reply import ListedThread, ThreadList
from clew_events.objects import Message
from clew_events.queries import AsOf, Consistency, EventType, Order
from clew_events.replies import Entry, History, Moment

T = TypeVar("T")


class Queries:
    """What threads are, were, and how they came to be so; see :class:`clew_events.client.query_methods.Queries`."""

    def __init__(self, clew: client.Clew, background: Background) -> None:
        self._clew = clew
        self._background = background

    def _run(self, work: Coroutine[None, None, T]) -> T:
        return self._background.run(work)

    def get_thread(
        self, thread_id: str, *, consistency: Consistency = "strong", at_least: int | None = None
    ) -> ThreadFound:
        """A thread as it is."""
        return self._run(self._clew.get_thread(thread_id, consistency=consistency, at_least=at_least))

    def wait_for(self, thread_id: str, n: int) -> ThreadFound:
        """A thread once it has come to commit ``n``, which somebody else may be making.

        Raises:
            Unavailable: it has not within this client's timeout.
        """
        return self._run(self._clew.wait_for(thread_id, n))

    def list_threads(self, **asked: Unpack[ListOptions]) -> ThreadList:
        """A page of the tenant's threads, by default those created last."""
        return self._run(self._clew.list_threads(**asked))

    def ask_for_threads(self, query: ListThreads) -> ThreadList:
        """A page of the tenant's threads, as a question says that was put together elsewhere."""
        return self._run(self._clew.ask_for_threads(query))

    def iter_threads(self, **asked: Unpack[ListOptions]) -> Iterator[ListedThread]:
        """All threads that are asked for, fetched page by page as they are needed."""
        following: ListOptions = {"limit": PAGE, **asked}
        while True:
            page = self.list_threads(**following)
            yield from page.data
            if page.next is None:
                return
            following = {**following, "after": page.next}

    def get_message(
        self,
        thread_id: str,
        message_id: str,
        *,
        consistency: Consistency = "strong",
        at_least: int | None = None,
    ) -> MessageFound:
        """One message as it is."""
        return self._run(self._clew.get_message(thread_id, message_id, consistency=consistency, at_least=at_least))

    def list_messages(
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
        return self._run(
            self._clew.list_messages(
                thread_id,
                limit=limit,
                order=order,
                after=after,
                before=before,
                consistency=consistency,
                at_least=at_least,
            )
        )

    def history(
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
        return self._run(
            self._clew.history(
                thread_id,
                start=start,
                limit=limit,
                order=order,
                after=after,
                before=before,
                types=types,
                actor=actor,
                since=since,
                until=until,
            )
        )

    def state_at(
        self, thread_id: str, *, n: int | None = None, time: datetime | None = None, as_of: AsOf | None = None
    ) -> Moment:
        """A thread as it was after commit ``n``, at the moment ``time``, or ``as_of`` either: exactly one of the three.

        ``as_of`` is a commit's number up to 999,999,999, from there on Unix seconds, or a time; none still to come.
        """
        return self._run(self._clew.state_at(thread_id, n=n, time=time, as_of=as_of))

    def message_at(self, thread_id: str, message_id: str, as_of: AsOf) -> MessageThen:
        """One message as it was ``as_of`` a moment, as :meth:`state_at` takes it."""
        return self._run(self._clew.message_at(thread_id, message_id, as_of))

    def messages_at(
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
        return self._run(self._clew.messages_at(thread_id, as_of, limit=limit, order=order, after=after, before=before))

    def diff(self, thread_id: str, since: AsOf = 0, until: AsOf | None = None) -> Difference:
        """What changed after one moment (0: before the beginning) up to another (by default now), and by whom."""
        return self._run(self._clew.diff(thread_id, since, until))

    def blame(self, thread_id: str, as_of: AsOf | None = None) -> Blame:
        """Who last set each part of a thread, by now or ``as_of`` a moment, and who removed what is gone."""
        return self._run(self._clew.blame(thread_id, as_of))

    def iter_messages(self, thread_id: str, *, order: Order = "asc") -> Iterator[Message]:
        """All messages of a thread, by default the oldest first, fetched page by page as they are needed."""
        after: str | None = None
        while True:
            page = self.list_messages(thread_id, limit=PAGE, order=order, after=after).messages
            yield from page.data
            if not page.has_more:
                return
            after = page.last_id

    def iter_history(
        self,
        thread_id: str,
        *,
        start: int | None = None,
        order: Order = "asc",
        types: Sequence[EventType] = (),
        actor: str | None = None,
        since: int | datetime | None = None,
        until: int | datetime | None = None,
    ) -> Iterator[Entry]:
        """All commits of a history, or all that are asked for, fetched page by page as they are needed.

        Raises:
            Corrupt: one is missing from the log, where it should have come. A page of :meth:`history` names those
                that are, and has the others.
        """
        after: str | None = None
        while True:
            page = self.history(
                thread_id,
                start=start,
                order=order,
                after=after,
                types=types,
                actor=actor,
                since=since,
                until=until,
            )
            yield from decode.entries(page, order)
            if page.cursor is None:
                return
            start, after = None, page.cursor
