"""Coalesced reads of the newest message on subjects of one stream: reads during a request go into one next request.

Most strong reads find nothing new, and thirty subjects cost the server hardly more than one. So a single read is sent
at once, and reads that arrive before its reply are sent together after it: a lone reader waits no longer, and a busy
process sends a fraction of the requests.

A request has one start sequence and returns every message after it. For subjects without a new message, the end of the
stream at that time is cached and used as the start, so that one subject's read does not return old messages of others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from clew_projections.lru_cache import LRUCache
from clew_projections.nats.stream_messages import Newest, StoredMessage

MOST: Final = 256
"""The most reads in one request."""
REMEMBERED: Final = 10_000
"""Subjects of a stream for which it is cached up to where they have nothing new."""
SLOW: Final = 0.1
"""Seconds after which waiting reads are sent although a reply is outstanding."""

Look = Callable[[Sequence[str], int], Awaitable[Newest]]
"""Reads the newest messages on subjects after a sequence."""


class _Question:
    __slots__ = ("after", "answer", "subject")

    def __init__(self, subject: str, after: int, answer: asyncio.Future[StoredMessage | None]) -> None:
        self.subject = subject
        self.after = after
        self.answer = answer


class _Absence(NamedTuple):
    """A subject has no message after ``after`` up to ``up_to``, the end of the stream at the time."""

    after: int
    up_to: int


class NewestReads:
    """Reads one stream. ``lost`` counts the lost connections: the cache is valid for one connection only."""

    def __init__(self, look: Look, lost: Callable[[], int]) -> None:
        self._look = look
        self._lost = lost
        self._found_over = lost()
        self._nothing = LRUCache[str, _Absence](REMEMBERED)
        self._waiting: list[_Question] = []
        self._impatience: asyncio.TimerHandle | None = None
        self._under_way = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def newest(self, subject: str, after: int) -> StoredMessage | None:
        """Read the last message on an exact subject; ``None`` if it is not after a sequence.

        Raises:
            Unavailable: the stream does not answer.
        """
        loop = asyncio.get_running_loop()
        question = _Question(subject, after, loop.create_future())
        if not self._under_way:
            await self._ask([question])
        else:
            self._waiting.append(question)
            if self._impatience is None:
                self._impatience = loop.call_later(SLOW, self._ask_waiting)
        return await question.answer

    def _ask_waiting(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None
        waiting = [each for each in self._waiting if not each.answer.done()]
        self._waiting.clear()
        for group in self._groups(waiting):
            task = asyncio.get_running_loop().create_task(self._ask(group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _groups(self, waiting: Iterable[_Question]) -> Iterator[list[_Question]]:
        """Group the reads that one request can answer: none starts after the end of another's cached range."""
        group: list[_Question] = []
        least = 0
        for each in sorted(waiting, key=lambda question: question.after):
            known = self._answered_up_to(each)
            if group and (each.after > least or len(group) == MOST):
                yield group
                group = []
            least = min(least, known) if group else known
            group.append(each)
        if group:
            yield group

    async def _ask(self, group: Sequence[_Question]) -> None:
        """Send a request for a group, and set the answer or the exception of every question."""
        self._under_way += 1
        try:
            newest = await self._newest(group)
            for each in group:
                last = newest.found.get(each.subject)
                if last is None or last.seq <= each.after:
                    last = None
                    self._remember(each, newest.up_to)
                if not each.answer.done():
                    each.answer.set_result(last)
        except Exception as fault:  # noqa: BLE001 - passed on to the callers
            for each in group:
                if not each.answer.done():
                    each.answer.set_exception(fault)
        finally:
            for each in group:
                each.answer.cancel()
            self._under_way -= 1
            if not self._under_way and self._waiting:
                self._ask_waiting()

    async def _newest(self, group: Sequence[_Question]) -> Newest:
        if self._found_over != self._lost():
            self._found_over = self._lost()
            self._nothing.clear()
        known = [self._answered_up_to(each) for each in group]
        subjects = list(dict.fromkeys(each.subject for each in group))
        newest = await self._look(subjects, min(known))
        if newest.up_to >= max(known) and self._found_over == self._lost():
            return newest
        # The stream ends before a cached end, or the connection was lost meanwhile: it may be another stream, or have
        # lost messages.
        self._nothing.clear()
        return await self._look(subjects, min(each.after for each in group))

    def _answered_up_to(self, question: _Question) -> int:
        """Return the sequence up to which the cache says that the question's subject has nothing new."""
        nothing = self._nothing.get(question.subject)
        if nothing is None or nothing.after > question.after:
            return question.after
        return max(question.after, nothing.up_to)

    def _remember(self, question: _Question, up_to: int) -> None:
        if up_to > question.after:
            self._nothing.put(question.subject, _Absence(question.after, up_to))
