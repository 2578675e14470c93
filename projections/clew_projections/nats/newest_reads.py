"""Questions for what is newest on subjects of one stream: those that come while others are under way go in one request.

Most answers to a strong read are that there is nothing new, and a server says that of thirty subjects for hardly more
than of one. So a question that comes alone is asked at once, and those that come before its answer are asked together
as soon as it is there: a lone reader waits no longer, and a busy process asks a fraction as often.

One request has one sequence from which it looks, and brings back whatever stands after it. For subjects that were
found to have nothing new, up to where the stream was then is remembered, so that the request looks from there: nothing
old is brought along for the sake of another subject's question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from clew_projections.lru_cache import LRUCache
from clew_projections.nats.stream_messages import Newest, StoredMessage

MOST: Final = 256
"""Questions that are asked in one request at most."""
REMEMBERED: Final = 10_000
"""Subjects of a stream of which it is remembered up to where they have nothing new."""
SLOW: Final = 0.1
"""Seconds after which an answer that does not come holds up nobody else's question."""

Look = Callable[[Sequence[str], int], Awaitable[Newest]]
"""Looks at some subjects for what stands after a sequence."""


class _Question:
    __slots__ = ("after", "answer", "subject")

    def __init__(self, subject: str, after: int, answer: asyncio.Future[StoredMessage | None]) -> None:
        self.subject = subject
        self.after = after
        self.answer = answer


class _Absence(NamedTuple):
    """What was found of a subject: nothing after ``after``, up to ``up_to``, where the stream ended then."""

    after: int
    up_to: int


class NewestReads:
    """Asks one stream. ``lost`` counts the connections lost so far: what was found over another holds no more."""

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
        """The last message on an exact subject if it stands after a sequence.

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
        """What can be asked together: each was known up to where no other of its group begins to be."""
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
        """Ask for a group, and give every question its answer, or what kept it from one."""
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
        except Exception as fault:  # noqa: BLE001 - whatever it is, it is theirs
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
        # The stream ends before where it ended once, or was asked over another connection meanwhile: it may be another
        # one, or have lost what it had.
        self._nothing.clear()
        return await self._look(subjects, min(each.after for each in group))

    def _answered_up_to(self, question: _Question) -> int:
        """Up to where the question is answered already: from its sequence to there its subject has nothing."""
        nothing = self._nothing.get(question.subject)
        if nothing is None or nothing.after > question.after:
            return question.after
        return max(question.after, nothing.up_to)

    def _remember(self, question: _Question, up_to: int) -> None:
        if up_to > question.after:
            self._nothing.put(question.subject, _Absence(question.after, up_to))
