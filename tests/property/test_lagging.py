"""However far the projections are behind, whatever they lost and whoever remembers what: no answer is ever wrong.

A few lives are lived through each time, the same ones; in a soak others, as many as there are seconds for.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st

from clew_projections import apply, places
from clew_projections.history import stretch
from clew_projections.nats import stream_reads
from clew_services.embedded.server import EmbeddedServer
from clew_services.eventstore import topology
from clew_services.queries import history_pages, reader
from clew_services.threads import idempotency
from support.lagging import (
    SHORTEST_WINDOW,
    THREADS,
    Again,
    Burst,
    Crash,
    Erase,
    Project,
    Restart,
    Sign,
    Step,
    Together,
    World,
    Write,
)
from support.lasting import SECONDS
from support.simulation import commands, creations, erasures

EXAMPLES = 10
"""Each life is some hundred calls and questions, and takes a second and a half of a core."""

processes = st.integers(0, 2)
projectors = st.integers(0, 1)
threads = st.sampled_from(THREADS)
writes = st.builds(Write, thread=threads, process=processes, command=commands)
wanted = st.builds(Write, thread=threads, process=processes, command=erasures)
erased = st.builds(Erase, process=projectors, stop=st.none() | st.integers(1, 60))
lost = st.integers(0, 9)
steps: st.SearchStrategy[Step] = st.one_of(
    writes,
    writes,
    wanted,
    wanted,
    erased,
    st.builds(Again, which=st.integers(0, 50), process=processes, other=st.sampled_from([False, False, True])),
    st.builds(Burst, thread=threads, process=processes, count=st.integers(2, 12)),
    st.builds(Project, process=projectors, writes=st.none() | st.integers(1, 12), checkpoint=st.booleans()),
    st.builds(Project, process=projectors, writes=st.none() | st.integers(1, 12), checkpoint=st.booleans()),
    st.builds(Crash, lost=st.tuples(lost, lost)),
    st.builds(Restart, process=processes),
    st.just(Sign()),
    st.builds(
        Together, writes=st.lists(writes | wanted, min_size=1, max_size=8).map(tuple), projector=st.none() | projectors
    ),
    st.builds(
        Together,
        writes=st.lists(writes, min_size=1, max_size=8).map(tuple),
        projector=st.none() | projectors,
        worker=erased,
    ),
)
begun = st.builds(Write, thread=threads, process=processes, command=creations)
lives = st.builds(
    lambda first, rest: [*first, *rest],
    st.lists(begun, min_size=1, max_size=3),
    st.lists(steps, min_size=6, max_size=16),
)


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is remembered, read ahead or looked at is little, so that short histories go beyond it."""
    monkeypatch.setattr(apply, "REMEMBERED_COMMANDS", 4)
    monkeypatch.setattr(places, "PAGE", 3)
    monkeypatch.setattr(places, "MOST_CHANGES", 4)
    monkeypatch.setattr(idempotency, "REMEMBERED_COMMANDS", 4)
    monkeypatch.setattr(stream_reads, "READS_A_PAGE", 1)
    monkeypatch.setattr(stretch, "AHEAD", 3)
    monkeypatch.setattr(history_pages, "AHEAD", 3)
    monkeypatch.setattr(reader, "READ_AHEAD", 2)
    monkeypatch.setattr(topology, "DUPLICATE_WINDOW", SHORTEST_WINDOW)


async def lived(url: str, life: list[Step], seed: int) -> None:
    async with World(url, seed) as world:
        for step in life:
            await world.live_through(step)
        await world.end()


@pytest.mark.timeout(300 + SECONDS)
@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("seconds", [0, pytest.param(SECONDS, marks=pytest.mark.soak)], ids=["a few", "soak"])
def test_no_answer_is_ever_wrong(seconds: float) -> None:
    until = monotonic() + seconds

    with TemporaryDirectory() as data:
        runner = asyncio.Runner()
        server = EmbeddedServer(Path(data), sync="2m")
        runner.run(server.start())

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            suppress_health_check=[*HealthCheck],
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
            derandomize=not seconds,
            database=None,
            verbosity=Verbosity.normal,
        )
        @given(lives, st.integers(0, 10**6))
        def any_life(life: list[Step], seed: int) -> None:
            runner.run(lived(server.url, life, seed))

        try:
            any_life()
            while monotonic() < until:
                any_life()
        finally:
            runner.run(server.stop())
            runner.close()
