"""Trying alone what is in doubt, on a bucket of one key."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest
from nats.aio.msg import Msg

from clew_events.errors import Unavailable
from clew_projections.kv.bucket import Bucket, LostRace, Value
from clew_services.inbox.poison import MOST, Note, Trials
from clew_services.lease import LeaseLost


class OneKey:
    def __init__(self) -> None:
        self.value: Value | None = None
        self.is_away = False

    @property
    def note(self) -> Note:
        assert self.value is not None
        return msgspec.json.decode(self.value.body, type=Note)

    async def latest(self, _: str) -> Value | None:
        return self.value

    async def put(self, _key: str, body: bytes, revision: int) -> int:
        if self.is_away:
            raise Unavailable("the bucket is away")
        await asyncio.sleep(0)
        if revision != (self.value.revision if self.value is not None else 0):
            raise LostRace
        self.value = Value(body, revision + 1)
        return revision + 1


def message(seq: int) -> Msg:
    place = SimpleNamespace(sequence=SimpleNamespace(stream=seq), timestamp=SimpleNamespace(timestamp=lambda: 1.0))
    return cast("Msg", SimpleNamespace(metadata=place))


async def led(bucket: OneKey, holder: str, handed_out: int) -> Trials:
    trials = Trials(cast("Bucket", bucket), holder)
    await trials.begin(handed_out, last_seq=9)
    return trials


async def test_where_nothing_is_in_doubt_nothing_is_noted_and_nobody_waits() -> None:
    bucket = OneKey()
    trials = await led(bucket, "a", 0)
    async with trials.attempt(message(1)), trials.attempt(message(2)):
        pass
    assert bucket.value is None


async def test_what_is_in_doubt_is_tried_while_nothing_else_is() -> None:
    trials = await led(OneKey(), "a", 2)
    order: list[str] = []
    go_on = asyncio.Event()

    async def tried(seq: int) -> None:
        async with trials.attempt(message(seq)):
            order.append(f"{seq} begins")
            await go_on.wait()
            order.append(f"{seq} ends")

    tasks = [asyncio.create_task(tried(seq)) for seq in (3, 1, 4, 2)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert order == ["3 begins"]
    go_on.set()
    await asyncio.gather(*tasks)
    for seq in (1, 2):
        place = order.index(f"{seq} begins")
        assert order[place + 1] == f"{seq} ends"


async def test_who_dies_of_a_try_is_counted_by_whoever_leads_next_and_after_some_it_is_given_up() -> None:
    bucket = OneKey()
    for number in range(MOST):
        trials = await led(bucket, f"process {number}", 2)
        assert trials.poison_fault(message(1)) is None
        alive = trials.attempt(message(1))
        await alive.__aenter__()  # and never out again
    trials = await led(bucket, "another", 2)
    assert trials.poison_fault(message(1)) is not None
    assert trials.poison_fault(message(2)) is None
    await trials.give_up(message(1))
    assert bucket.note == Note(holder="another", handed_out=2)


async def test_what_is_in_doubt_stays_so_though_the_next_term_was_handed_nothing() -> None:
    bucket = OneKey()
    await led(bucket, "a", 2)
    trials = await led(bucket, "b", 0)
    async with trials.attempt(message(2)):
        assert bucket.note.trying is not None
    async with trials.attempt(message(3)):
        assert bucket.note.trying is None


async def test_a_death_that_was_found_is_noted_before_anything_is_tried() -> None:
    bucket = OneKey()
    first = await led(bucket, "a", 1)
    await first.attempt(message(1)).__aenter__()
    for holder in "bc":
        await led(bucket, holder, 0)
        assert list(bucket.note.deaths.values()) == [1]


async def test_a_note_about_an_inbox_that_was_there_before_this_one_says_nothing() -> None:
    bucket = OneKey()
    await led(bucket, "a", 9)
    trials = Trials(cast("Bucket", bucket), "b")
    await trials.begin(0, last_seq=3)
    async with trials.attempt(message(1)):
        assert bucket.note.trying is None


@pytest.mark.parametrize("fault", [Unavailable("the log is away"), ValueError("unforeseen"), asyncio.CancelledError()])
async def test_a_try_that_ends_otherwise_is_held_against_nobody(fault: BaseException) -> None:
    bucket = OneKey()
    for number in range(MOST + 2):
        trials = await led(bucket, f"process {number}", 1)
        with pytest.raises(type(fault)):
            async with trials.attempt(message(1)):
                raise fault
        assert bucket.note.trying is None
        assert trials.poison_fault(message(1)) is None


async def test_who_could_not_take_a_note_back_does_so_later() -> None:
    bucket = OneKey()
    trials = await led(bucket, "a", 1)
    async with trials.attempt(message(1)):
        bucket.is_away = True
    assert bucket.note.trying is not None
    bucket.is_away = False
    await trials.acquit()
    assert bucket.note.trying is None


async def test_who_was_replaced_tries_nothing_more() -> None:
    bucket = OneKey()
    trials, successor = await led(bucket, "a", 1), await led(bucket, "b", 1)
    async with successor.attempt(message(1)):
        pass
    with pytest.raises(LeaseLost):
        async with trials.attempt(message(1)):
            raise AssertionError("it was tried")


async def test_giving_one_up_does_not_get_in_the_way_of_trying_another() -> None:
    bucket = OneKey()
    for number in range(MOST):
        await (await led(bucket, f"process {number}", 2)).attempt(message(1)).__aenter__()
    trials = await led(bucket, "another", 2)

    async def tried() -> None:
        async with trials.attempt(message(2)):
            assert bucket.note.trying is not None

    await asyncio.gather(tried(), trials.give_up(message(1)))
    assert bucket.note == Note(holder="another", handed_out=2)
