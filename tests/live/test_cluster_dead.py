"""Three servers, one of which falls silent: its machine died, and nobody was told. The other two go on.

In a soak so does the process that was connected to the dead one, which takes longer to find out.
"""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from clew_events.errors import Unavailable
from clew_events.subjects import event_stream
from clew_services.compose import Clew
from clew_services.threads.result import Outcome
from support.behind import Life
from support.cluster import Cluster, leader_of, operating
from support.truth import projecting
from support.waiting import eventually
from support.writers import Writer

# Who does not answer nats-py's greeting is left open by it until it is collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize(
    "everybody", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["those elsewhere", "everybody"]
)
async def test_a_machine_that_dies_without_a_word_is_done_without(
    cluster: Cluster, clews: list[Clew], auditor: Clew, everybody: bool
) -> None:
    life = Life([f"thread_{n}" for n in range(3)], 1)
    async with operating(cluster) as operator:
        dead = cluster.number_of(await leader_of(operator, event_stream(0)))

    async def is_right(clew: Clew) -> bool:
        return await life.wrong_answers(clew) == []

    async def written(clew: Clew) -> Outcome | None:
        try:
            return await Writer(clew.handler).set("thread_0", "through", "all")
        except Unavailable:
            return None

    async def is_read() -> bool:
        await life.read(next(clew for number, clew in enumerate(clews, start=1) if number != dead))
        return True

    async with projecting(clews[dead % 3]):
        await life.go_on(clews[0], 40)
        cluster.nodes[dead].freeze()
        going_on = [clew for number, clew in enumerate(clews, start=1) if number != dead or everybody]
        await asyncio.gather(*(eventually(partial(is_right, clew)) for clew in going_on))
        await asyncio.gather(*(eventually(partial(written, clew)) for clew in going_on))
        await eventually(is_read)
        for clew in going_on:
            await eventually(partial(is_right, clew))
            assert await life.wrong_repeats(clew) == []
