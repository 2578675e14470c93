"""Waiting for an event or the clock, and work that is repeated until an event."""

from __future__ import annotations

import asyncio
import logging

import pytest

from clew_events.errors import Unavailable
from clew_projections.wait import cancel, repeat_until, run_until_first, wait_for_event

LOG = logging.getLogger("clew.test")


async def for_ever(ended: asyncio.Event) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.set()


async def test_an_event_is_waited_for_until_it_is_set_or_the_time_is_over() -> None:
    event = asyncio.Event()
    assert not await wait_for_event(event, 0)
    asyncio.get_running_loop().call_soon(event.set)
    assert await wait_for_event(event, 60)
    assert await wait_for_event(event, 0)


async def test_what_has_not_ended_first_is_cancelled_and_waited_for() -> None:
    ended, stop = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().call_soon(stop.set)
    await run_until_first(for_ever(ended), stop.wait())
    assert ended.is_set()


async def test_what_fails_first_is_raised_and_the_others_are_cancelled() -> None:
    ended = asyncio.Event()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise Unavailable("no answer")

    with pytest.raises(Unavailable, match="no answer"):
        await run_until_first(for_ever(ended), fail())
    assert ended.is_set()


async def test_what_fails_while_it_is_cancelled_is_raised() -> None:
    async def fail_at_the_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise Unavailable("not given up")

    with pytest.raises(Unavailable, match="not given up"):
        await run_until_first(fail_at_the_end(), asyncio.sleep(0))


async def test_a_cancelled_task_is_waited_for_and_what_it_raises_instead_is_raised() -> None:
    ended = asyncio.Event()

    async def fail_at_the_end() -> None:
        try:
            await for_ever(ended)
        finally:
            raise Unavailable("not given up")

    task = asyncio.create_task(for_ever(ended))
    await asyncio.sleep(0)
    await cancel(task)
    assert ended.is_set()
    failing = asyncio.create_task(fail_at_the_end())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="not given up"):
        await cancel(failing)


async def test_who_is_cancelled_while_it_cancels_a_task_ends_as_well() -> None:
    cancelling, ended = asyncio.Event(), asyncio.Event()

    async def end_slowly() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelling.set()
            await for_ever(ended)

    async def end_the_other() -> None:
        other = asyncio.create_task(end_slowly())
        await asyncio.sleep(0)
        await cancel(other)
        await asyncio.Event().wait()

    task = asyncio.create_task(end_the_other())
    await cancelling.wait()
    await cancel(task)
    assert task.cancelled()
    assert ended.is_set()


async def test_a_step_is_repeated_until_the_event_and_a_lasting_fault_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stop = asyncio.Event()
    outcomes = iter(["no answer", "no answer", None, "no answer", "no room", None])

    async def step() -> float:
        outcome = next(outcomes, "end")
        if outcome == "end":
            stop.set()
        elif outcome is not None:
            raise Unavailable(outcome)
        return 0.0

    await repeat_until(stop, step, name="the proof", log=LOG, faults=(Unavailable,), pause=0.0)
    assert [record.getMessage() for record in caplog.records if record.name == LOG.name] == [
        "the proof waits: no answer",
        "the proof waits: no answer",
        "the proof waits: no room",
    ]


async def test_a_fault_that_is_not_named_ends_the_repetition() -> None:
    async def step() -> float:
        raise LookupError

    with pytest.raises(LookupError):
        await repeat_until(asyncio.Event(), step, name="it", log=LOG, faults=(Unavailable,), pause=0.0)
