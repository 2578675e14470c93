"""What a process remembers, and how its writers take turns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from clew_events.subjects import Address
from clew_projections.views import ThreadView, absent
from clew_services.threads.cache import Memory, Turns


def view(thread: str, n: int) -> ThreadView:
    return replace(absent("default", thread), n=n, seq=n * 10, status="open")


def address(thread: str) -> Address:
    return Address("default", thread)


def test_what_was_remembered_is_recalled() -> None:
    memory = Memory()
    memory.remember(view("a", 1))
    assert memory.recall(address("a")) == view("a", 1)
    assert memory.recall(address("b")) is None
    assert memory.recall(Address("other", "a")) is None


def test_a_later_view_replaces_an_earlier_one_and_not_the_other_way_round() -> None:
    memory = Memory()
    for n in (2, 1, 3, 2):
        memory.remember(view("a", n))
    assert memory.recall(address("a")) == view("a", 3)
    assert len(memory) == 1


def test_absent_threads_are_not_kept() -> None:
    memory = Memory()
    memory.remember(absent("default", "a"))
    assert memory.recall(address("a")) is None
    assert len(memory) == 0


def test_what_was_remembered_long_ago_is_not_recalled_as_recent() -> None:
    now = [0.0]
    memory = Memory(clock=lambda: now[0])
    memory.remember(view("a", 2))
    now[0] = 5.0
    assert memory.recall(address("a"), within=5.0) == view("a", 2)
    now[0] = 6.0
    assert memory.recall(address("a"), within=5.0) is None
    memory.remember(view("a", 1))
    assert memory.recall(address("a"), within=5.0) is None
    assert memory.recall(address("a")) == view("a", 2)
    memory.remember(view("a", 2))
    assert memory.recall(address("a"), within=5.0) == view("a", 2)


def test_a_forgotten_thread_may_be_remembered_at_an_earlier_commit() -> None:
    memory = Memory()
    memory.remember(view("a", 5))
    memory.forget(address("a"))
    assert memory.recall(address("a")) is None
    memory.forget(address("a"))
    memory.remember(view("a", 2))
    assert memory.recall(address("a")) == view("a", 2)


def test_the_thread_used_longest_ago_is_forgotten_first() -> None:
    memory = Memory(limit=2)
    memory.remember(view("a", 1))
    memory.remember(view("b", 1))
    memory.recall(address("a"))
    memory.remember(view("c", 1))
    assert [memory.recall(address(thread)) is not None for thread in "abc"] == [True, False, True]
    assert len(memory) == 2


@contextlib.asynccontextmanager
async def turn(turns: Turns, thread: str) -> AsyncIterator[None]:
    await turns.take(address(thread))
    try:
        yield
    finally:
        turns.pass_on(address(thread))


async def test_writers_of_one_thread_take_turns_in_the_order_they_came() -> None:
    turns = Turns()
    seen: list[str] = []

    async def write(name: str) -> None:
        async with turn(turns, "a"):
            seen.append(f"{name} in")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            seen.append(f"{name} out")

    await asyncio.gather(*(write(name) for name in "xyz"))
    assert seen == ["x in", "x out", "y in", "y out", "z in", "z out"]


async def test_writers_of_different_threads_do_not_wait_for_each_other() -> None:
    turns = Turns()
    both = asyncio.Barrier(2)

    async def write(thread: str) -> None:
        async with turn(turns, thread):
            await both.wait()

    await asyncio.gather(write("a"), write("b"))


async def test_a_turn_ends_with_an_error_and_with_a_cancelled_writer() -> None:
    turns = Turns()
    with pytest.raises(LookupError):
        async with turn(turns, "a"):
            raise LookupError
    held = asyncio.Event()

    async def hold() -> None:
        async with turn(turns, "a"):
            held.set()
            await asyncio.Event().wait()

    async def wait_in_vain() -> None:
        async with turn(turns, "a"):
            raise AssertionError("it was not this one's turn")

    holder = asyncio.create_task(hold())
    await held.wait()
    waiter = asyncio.create_task(wait_in_vain())
    await asyncio.sleep(0)
    for task in (waiter, holder):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with turn(turns, "a"):
        pass


async def test_a_writer_that_is_cancelled_as_its_turn_comes_passes_it_on() -> None:
    turns = Turns()
    await turns.take(address("a"))
    first, second = (asyncio.create_task(turns.take(address("a"))) for _ in range(2))
    await asyncio.sleep(0)
    turns.pass_on(address("a"))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    turns.pass_on(address("a"))
    assert not turns._waiting


async def test_nothing_is_kept_of_threads_that_nobody_writes() -> None:
    turns = Turns()
    for thread in map(str, range(100)):
        async with turn(turns, thread):
            pass
    assert not turns._waiting
