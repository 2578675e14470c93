"""Questions for what is newest, asked together: in how few requests, and with the answers that each alone would get."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from clew_events.errors import Unavailable
from clew_projections.nats.newest_reads import SLOW, NewestReads
from clew_projections.nats.stream_messages import Newest, StoredMessage


class Stream:
    """A stream in memory, as a server tells of it, and every request for it."""

    def __init__(self) -> None:
        self.lasts: dict[str, int] = {}
        self.end = 0
        self.asked: list[tuple[tuple[str, ...], int]] = []
        self.lost = 0
        self.fault: Exception | None = None
        self.held: set[str] = set()
        self.brought = 0
        self.together = NewestReads(self.look, lambda: self.lost)

    def store(self, subject: str) -> int:
        """Store a message; its sequence."""
        self.end += 1
        self.lasts[subject] = self.end
        return self.end

    async def look(self, subjects: Sequence[str], after: int) -> Newest:
        """What a server answers with."""
        self.asked.append((tuple(subjects), after))
        found = {
            each: StoredMessage(self.lasts[each], each, b"", {}) for each in subjects if self.lasts.get(each, 0) > after
        }
        up_to = self.end if any(each in self.lasts for each in subjects) else 0
        self.brought += len(found)
        await asyncio.sleep(0)
        while not self.held.isdisjoint(subjects):
            await asyncio.sleep(0.01)
        if self.fault is not None:
            raise self.fault
        return Newest(found, up_to)

    async def newest(self, subject: str, after: int) -> int | None:
        """The sequence of what is newest."""
        found = await self.together.newest(subject, after)
        return found.seq if found is not None else None


async def test_a_question_alone_is_asked_at_once() -> None:
    stream = Stream()
    seq = stream.store("a")
    assert await stream.newest("a", 0) == seq
    assert await stream.newest("a", seq) is None
    assert await stream.newest("nowhere", 0) is None
    assert stream.asked == [(("a",), 0), (("a",), seq), (("nowhere",), 0)]


async def test_questions_that_come_while_another_is_under_way_go_in_one_request() -> None:
    stream = Stream()
    seqs = {f"s{number}": stream.store(f"s{number}") for number in range(40)}
    for subject, seq in seqs.items():  # what it takes to know where each has nothing
        assert await stream.newest(subject, seq) is None
    stream.asked.clear()
    assert await asyncio.gather(*(stream.newest(*each) for each in seqs.items())) == [None] * 40
    assert [len(subjects) for subjects, _ in stream.asked] == [1, 39]
    assert stream.brought == 0


async def test_nothing_old_is_brought_along_for_anothers_sake() -> None:
    stream = Stream()
    seqs = {f"s{number}": stream.store(f"s{number}") for number in range(40)}
    assert await asyncio.gather(*(stream.newest(*each) for each in seqs.items())) == [None] * 40
    assert stream.brought == 0


async def test_whoever_asks_hears_of_everything_stored_before() -> None:
    stream, dice = Stream(), random.Random(7)
    subjects = [f"s{number}" for number in range(12)]
    known = dict.fromkeys(subjects, 0)

    async def reader() -> None:
        for _ in range(400):
            subject = dice.choice(subjects)
            after, there = known[subject], stream.lasts.get(subject, 0)
            found = await stream.newest(subject, after)
            assert (found or after) >= there
            if dice.random() < 0.7:  # or it was asked for nothing, and is asked for again
                known[subject] = max(known[subject], found or 0)
            if dice.random() < 0.3:
                stream.store(dice.choice(subjects))

    await asyncio.gather(*(reader() for _ in range(16)))


async def test_a_stream_that_ends_before_where_it_ended_is_asked_anew() -> None:
    stream = Stream()
    seq = stream.store("a")
    for _ in range(100):
        stream.store("b")
    assert await stream.newest("a", seq) is None
    stream.end = 50  # it was brought back from a backup, and goes on from there
    stream.lasts["a"] = 51
    stream.end = 51
    assert await stream.newest("a", seq) == 51


async def test_what_was_found_over_a_lost_connection_is_forgotten() -> None:
    stream = Stream()
    seq = stream.store("a")
    for _ in range(100):
        stream.store("b")
    assert await stream.newest("a", seq) is None
    stream.lasts["a"] = 51  # another stream by now, and longer already
    stream.lost += 1
    assert await stream.newest("a", seq) == 51


async def test_what_fails_is_told_to_all_who_asked_and_to_nobody_later() -> None:
    stream = Stream()
    seq = stream.store("a")
    stream.fault = Unavailable("gone")
    found = await asyncio.gather(*(stream.newest("a", seq) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(each, Unavailable) for each in found)
    stream.fault = None
    assert await stream.newest("a", seq) is None


async def test_whoever_stops_waiting_takes_nobody_along() -> None:
    stream = Stream()
    seq = stream.store("a")
    stream.held.add("a")
    asked = [asyncio.create_task(stream.newest("a", seq - 1)) for _ in range(4)]
    await asyncio.sleep(0)
    asked[0].cancel()
    await asyncio.sleep(0)
    asked[1].cancel()
    stream.held.clear()
    first, second, third, fourth = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert isinstance(second, asyncio.CancelledError)
    assert (third, fourth) == (seq, seq)


async def test_an_answer_that_does_not_come_holds_up_nobody_for_long() -> None:
    stream = Stream()
    seq = stream.store("slow")
    other = stream.store("other")
    stream.held.add("slow")
    slow = asyncio.create_task(stream.newest("slow", seq))
    await asyncio.sleep(0)
    async with asyncio.timeout(SLOW + 20):
        assert await stream.newest("other", other) is None
    assert not slow.done()
    stream.held.clear()
    assert await slow is None


@pytest.mark.parametrize("count", [257, 700])
async def test_very_many_questions_go_in_several_requests(count: int) -> None:
    stream = Stream()
    for number in range(count):
        stream.store(f"s{number}")
    found = await asyncio.gather(*(stream.newest(f"s{number}", 0) for number in range(count)))
    assert found == list(range(1, count + 1))
    assert max(len(subjects) for subjects, _ in stream.asked) <= 256
    assert len(stream.asked) <= 2 + count // 256
