"""Run the projectors of the live generation, through switches, and only if its fold is this process's."""

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
    """Run projectors of the live generation until ``stop`` is set; batches in progress are finished first.

    After a switch the projectors of the new generation start at once, and those of the old one end.
    """
    async with asyncio.TaskGroup() as running:
        while not stop.is_set():
            generation, ended = live.current, asyncio.Event()
            if generation.foreign:
                _LOG.error(
                    "generation %d was made by fold %d, not by that of this version of Clew: it is not projected here, "
                    "and reads come from the log. Run 'clew rebuild threads' with the version that is to stay",
                    generation.number,
                    generation.generation.fold,
                )
            else:
                for projector in projectors(generation):
                    running.create_task(projector.run(ended))
            await run_until_first(stop.wait(), live.wait_for_switch(generation))
            ended.set()
