"""Workers: several processes with the same roles; those for HTTP share a port, and the kernel spreads connections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from clew_services.host.ports import SHARES, refuse_taken
from clew_services.metrics import counter_files
from clew_services.process import readiness
from clew_services.process.signals import until_signalled
from clew_services.process.supervisor import Part, ServiceProcess, keep
from clew_services.settings import Settings

_REMEDY: Final = "Choose another with --http (CLEW_HTTP), or port 0."


async def start_all(
    roles: tuple[str, ...], environment: Mapping[str, str], count: int, start: Callable[[Part], Awaitable[None]]
) -> dict[str, str]:
    """Start ``count`` workers, the first before the others; its announcement, such as the port that they share."""
    if count > 1:
        environment = {**environment, SHARES: "yes"}
    first = ServiceProcess(roles, environment, number=1 if count > 1 else None)
    await start(first)
    shared = {"CLEW_HTTP": first.facts["http"]} if "http" in first.facts else {}
    # Clients know the port from now on, so a restarted worker must use it again.
    first.environment.update(shared)
    # Only one process can listen on the metrics address; it serves the metrics of all.
    metrics = environment.get("CLEW_METRICS", "on")
    environment_of_others = {**environment, **shared, "CLEW_METRICS": metrics if metrics == "on" else "off"}
    others = [ServiceProcess(roles, environment_of_others, number=number) for number in range(2, count + 1)]
    await asyncio.gather(*(start(worker) for worker in others))
    return first.facts


async def serve_workers(roles: Sequence[str], settings: Settings) -> None:
    """Run ``settings.workers`` processes with these roles until a signal; one that dies is restarted.

    Raises:
        CannotStart: something prevents the start. Nothing is left running.
    """
    if "api" in roles:
        refuse_taken(*settings.http_address, purpose="the HTTP API", remedy=_REMEDY)
    parts: list[Part] = []
    async with until_signalled(parts), contextlib.AsyncExitStack() as stack:
        counts = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clew-")))

        async def start(part: Part) -> None:
            parts.append(part)
            stack.push_async_callback(part.stop)
            await part.start()

        chosen = {f"CLEW_{name.upper()}": str(value) for name, value in msgspec.structs.asdict(settings).items()}
        announce_to = os.environ.pop(readiness.VARIABLE, None)
        environment = {
            **os.environ,
            **(counter_files.reset_folder(counts) if settings.metrics != "off" else {}),
            **chosen,
            "CLEW_WORKERS": "1",
        }
        facts = await start_all(tuple(roles), environment, settings.workers, start)
        if announce_to is not None:
            os.environ[readiness.VARIABLE] = announce_to
            readiness.announce_ready(facts)
        async with asyncio.TaskGroup() as keepers:
            for part in parts:
                keepers.create_task(keep(part))
