"""Supervision of child processes: started, stopped at a signal, and restarted when they die.

``clew up`` supervises its parts with it, and ``clew serve --workers N`` its workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM
from typing import Final, Protocol

from clew_events.backoff import delays
from clew_services.host import CannotStart
from clew_services.host.ports import SHARES, refuse_taken
from clew_services.host.terminate import Child, signal, terminate
from clew_services.metrics import counter_files
from clew_services.process import readiness
from clew_services.process.fork_server import Launch
from clew_services.settings import Settings

DRAIN: Final = 20.0
"""Seconds that a part may take to finish work in progress before it is killed."""
START: Final = 60.0
"""Seconds in which a part must be ready."""
SETTLED: Final = 30.0
"""Seconds after which a part's death counts as a new fault, and the backoff begins again."""

_SIGNALS: Final = (SIGINT, SIGTERM, SIGHUP)
_LOG: Final = logging.getLogger("clew.up")


class Part(Protocol):
    """A supervised part: it can be started, can die, and can be restarted."""

    @property
    def name(self) -> str:
        """The name for operators."""

    async def start(self) -> None:
        """Start or restart it, and return when it is ready; raises ``CannotStart`` if it fails."""

    async def wait(self) -> int:
        """Wait until it has ended; its return code."""

    async def stop(self) -> None:
        """Stop it, within a time limit."""

    def kill(self) -> None:
        """Kill it, if it runs."""


class ServiceProcess:
    """``clew serve ROLE...`` as a child process that ends with this one.

    ``launch`` starts it, and ``environment`` is its whole environment; ``facts`` is its announcement when it was ready.
    ``number`` distinguishes workers with the same roles.
    """

    def __init__(
        self, launch: Launch, roles: tuple[str, ...], environment: Mapping[str, str], *, number: int | None = None
    ) -> None:
        which = () if number is None else (str(number),)
        self.name = " ".join(("serve", *roles, *which))
        self.environment = {**environment, counter_files.PROCESS: "-".join((*roles, *which))}
        self.facts: dict[str, str] = {}
        self._launch = launch
        self._roles = roles
        self._process: Child | None = None

    async def start(self) -> None:
        """Start it and return when it is ready.

        Raises:
            CannotStart: it ended, or was not ready in time; its own error is on standard error.
        """
        ours, theirs = os.pipe()
        try:
            environment = {**self.environment, readiness.VARIABLE: str(theirs)}
            self._process = await self._launch(self._roles, environment, theirs)
        finally:
            os.close(theirs)
        try:
            async with asyncio.timeout(START):
                facts = await readiness.read_announcement(ours)
        except TimeoutError:
            await terminate(self._process, 0)
            raise CannotStart(f"'clew {self.name}' was not ready after {START:.0f} s") from None
        except BaseException:
            self.kill()
            raise
        if facts is None:
            raise CannotStart(f"'clew {self.name}' did not get ready: it ended with {await self.wait()}")
        self.facts = facts

    async def wait(self) -> int:
        """Wait until it has ended; its return code."""
        assert self._process is not None, "not started"
        code = await self._process.wait()
        counter_files.remove_process_files(self.environment)
        return code

    async def stop(self) -> None:
        """Stop it; it may finish work in progress for at most :data:`DRAIN` seconds."""
        if self._process is not None:
            await terminate(self._process, DRAIN)

    def kill(self) -> None:
        """Kill it, if it runs."""
        if self._process is not None:
            signal(self._process, SIGKILL)


@contextlib.asynccontextmanager
async def until_signalled(parts: Sequence[Part]) -> AsyncIterator[None]:
    """End the block, without an error, at the first signal; at the second, kill the parts that are still stopping."""
    loop, task, stopping = asyncio.get_running_loop(), asyncio.current_task(), False
    assert task is not None

    def stop() -> None:
        nonlocal stopping
        if stopping:
            _LOG.warning("stopping at once")
            for part in parts:
                part.kill()
        else:
            stopping = True
            task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    except asyncio.CancelledError:
        if not stopping:
            raise
        task.uncancel()
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def keep(part: Part) -> None:
    """Restart a part whenever it dies, with backoff, until cancelled. The part must have been started."""
    loop = asyncio.get_running_loop()
    pauses = delays(first=0.1, longest=10.0)
    while True:
        since = loop.time()
        code = await part.wait()
        if loop.time() - since > SETTLED:
            pauses = delays(first=0.1, longest=10.0)
        _LOG.error("%s ended unexpectedly (%s), starting it again", part.name, code)
        while True:
            await asyncio.sleep(next(pauses))
            try:
                await part.start()
            except (CannotStart, OSError) as fault:
                _LOG.error("%s does not start: %s", part.name, fault)
            else:
                _LOG.warning("%s runs again", part.name)
                break


_REMEDY: Final = "Choose another with --http (CLEW_HTTP), or port 0."


async def start_all(
    launch: Launch,
    roles: tuple[str, ...],
    environment: Mapping[str, str],
    count: int,
    start: Callable[[Part], Awaitable[None]],
) -> dict[str, str]:
    """Start ``count`` workers, the first before the others; its announcement, such as the port that they share."""
    if count > 1:
        environment = {**environment, SHARES: "yes"}
    first = ServiceProcess(launch, roles, environment, number=1 if count > 1 else None)
    await start(first)
    shared = {"CLEW_HTTP": first.facts["http"]} if "http" in first.facts else {}
    # Clients know the port from now on, so a restarted worker must use it again.
    first.environment.update(shared)
    # Only one process can listen on the metrics address; it serves the metrics of all.
    metrics = environment.get("CLEW_METRICS", "on")
    environment_of_others = {**environment, **shared, "CLEW_METRICS": metrics if metrics == "on" else "off"}
    others = [ServiceProcess(launch, roles, environment_of_others, number=number) for number in range(2, count + 1)]
    await asyncio.gather(*(start(worker) for worker in others))
    return first.facts


async def serve_workers(roles: Sequence[str], settings: Settings, launch: Launch) -> None:
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

        announce_to = os.environ.pop(readiness.VARIABLE, None)
        environment = {
            **os.environ,
            **(counter_files.reset_folder(counts) if settings.metrics != "off" else {}),
            **settings.environment,
            "CLEW_WORKERS": "1",
        }
        facts = await start_all(launch, tuple(roles), environment, settings.workers, start)
        if announce_to is not None:
            os.environ[readiness.VARIABLE] = announce_to
            readiness.announce_ready(facts)
        async with asyncio.TaskGroup() as keepers:
            for part in parts:
                keepers.create_task(keep(part))
