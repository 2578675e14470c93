from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from clew_services.inbox.lanes import Lanes


def work(log: list, name: object, *, settled: bool = True, gate: asyncio.Event | None = None):
    async def run(clear: bool) -> bool:
        if gate is not None:
            await gate.wait()
        log.append((name, clear))
        return settled and clear

    return run


@given(st.lists(st.sampled_from("abc"), max_size=30))
async def test_what_is_in_a_lane_is_done_in_its_order(lanes: list[str]):
    log: list = []
    running = Lanes()
    for number, lane in enumerate(lanes):
        running.put(lane, work(log, (lane, number)))
    assert await running.empty(10)
    for lane in "abc":
        in_lane = [name for (name, _) in log if name[0] == lane]
        assert in_lane == sorted(in_lane)
    assert len(log) == len(lanes)
    assert len(running) == 0


async def test_one_lane_does_not_wait_for_another():
    log: list = []
    gate = asyncio.Event()
    running = Lanes()
    running.put("slow", work(log, 1, gate=gate))
    running.put("slow", work(log, 2))
    running.put("quick", work(log, 3))
    running.put(None, work(log, 4))
    while len(log) < 2:
        await running.wait_any(10)
    assert [name for name, _ in log] == [3, 4]
    gate.set()
    assert await running.empty(10)
    assert [name for name, _ in log] == [3, 4, 1, 2]


async def test_what_follows_something_unsettled_is_told_so_until_the_lane_has_run_empty():
    log: list = []
    running = Lanes()
    running.put("a", work(log, 1, settled=False))
    running.put("a", work(log, 2))
    running.put("a", work(log, 3))
    running.put("b", work(log, 4))
    assert await running.empty(10)
    assert sorted(log) == [(1, True), (2, False), (3, False), (4, True)]
    running.put("a", work(log, 5))
    assert await running.empty(10)
    assert log[-1] == (5, True)


async def test_what_takes_too_long_is_cancelled_and_said_to_be():
    running = Lanes()
    running.put("a", work([], 1, gate=asyncio.Event()))
    running.put("a", work([], 2))
    assert not await running.empty(0.01)
    assert await running.empty(10)
