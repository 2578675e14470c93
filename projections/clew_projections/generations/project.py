"""Feeding the live generation, whichever that is, and only with the fold that makes its views."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from clew_projections.generations.generation import GenerationBuckets, LiveGeneration
from clew_projections.projector.projector import Projector
from clew_projections.wait import run_until_first

_LOG: Final = logging.getLogger("clew.generations")


async def project_live(
    live: LiveGeneration, projectors: Callable[[GenerationBuckets], list[Projector]], stop: asyncio.Event
) -> None:
    """Run projectors of the live side until ``stop`` is set; what is in hand is finished first.

    After a switch those of the new side begin at once, and those of the old one end.
    """
    async with asyncio.TaskGroup() as running:
        while not stop.is_set():
            side, over = live.side, asyncio.Event()
            if side.foreign:
                _LOG.error(
                    "generation %d was made by fold %d, which is not that of this version of Clew, so it is not "
                    "projected into here; answers come from the log. Run 'clew rebuild threads' with the version that "
                    "is to stay",
                    side.number,
                    side.generation.fold,
                )
            else:
                for each in projectors(side):
                    running.create_task(each.run(over))
            await run_until_first(stop.wait(), live.wait_for_switch(side))
            over.set()
