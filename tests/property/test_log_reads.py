"""Whatever was erased, in whatever order, by an eraser that may be killed: the log is read as it was, without it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from clew_events import subjects
from clew_events.subjects import Address
from clew_projections.history import erased_commits, log_reads
from clew_projections.history.log_reads import LogReads
from clew_projections.nats import stream_reads
from clew_services.compose import connect
from support.deployments import deployed
from support.erasing import ErasedLog, Step

THREADS = [Address("acme", "thread_a"), Address("acme", "thread_b"), Address("globex", "thread_c")]

threads = st.sampled_from(THREADS)
appends = st.builds(Step, thread=threads)
losses = st.builds(
    Step,
    thread=threads,
    erase=st.integers(0, 9),
    numbers=st.sets(st.integers(0, 2), min_size=1).map(tuple),
    stop=st.none() | st.integers(1, 4),
    more=st.sets(st.integers(0, 2)).map(tuple),
)
sweeps = st.builds(
    Step,
    thread=threads,
    erase=st.none() | st.just(0),
    stop=st.none() | st.integers(1, 9),
    sweep=st.integers(1, 12),
)
whole = st.builds(lambda thread: [Step(thread=thread, erase=number) for number in range(9)], threads)
lives = st.builds(
    lambda first, rest: [*first, *(step for steps in rest for step in steps)],
    st.lists(appends, min_size=4, max_size=10),
    st.lists(st.one_of(whole, *(each.map(lambda step: [step]) for each in (appends, losses, sweeps))), max_size=8),
)


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little is read at once, so that short histories go beyond it."""
    monkeypatch.setattr(erased_commits, "AT_ONCE", 2)
    monkeypatch.setattr(log_reads, "AT_ONCE", 2)
    monkeypatch.setattr(log_reads, "NEAR", 2)
    monkeypatch.setattr(log_reads, "STEPS", 1)
    monkeypatch.setattr(log_reads, "LONG", 1)
    monkeypatch.setattr(log_reads, "PAGE", 1)
    monkeypatch.setattr(stream_reads, "READS_A_PAGE", 1)
    monkeypatch.setattr(subjects, "ERASED_BLOCK", 5)
    monkeypatch.setattr(erased_commits, "ERASED_BLOCK", 5)
    monkeypatch.setattr(erased_commits, "_LIST_AGAIN", 3)


async def lived(life: list[Step], limit: int, *, replicated: bool) -> None:
    with TemporaryDirectory() as folder:
        async with deployed(Path(folder), shards=1) as server, connect(server.url, name="test") as clew:
            log = ErasedLog(clew)
            other = LogReads(clew.connection.exchange, replicated=replicated)
            for number, step in enumerate(life):
                await log.step(step)
                if number % 8 == 7:
                    await log.check(limit)
            await log.check(limit)
            await log.check(limit, other)


@pytest.mark.usefixtures("little")
@settings(
    max_examples=6,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
@given(lives, st.integers(1, 6), st.booleans())
def test_every_read_of_a_log_that_lost_contents_is_that_of_the_log_as_it_was(
    life: list[Step], limit: int, replicated: bool
) -> None:
    asyncio.run(lived(life, limit, replicated=replicated))
