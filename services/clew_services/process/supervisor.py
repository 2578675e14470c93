"""Supervision of child processes: started, stopped, and restarted when they die."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from signal import SIGKILL
from typing import Final, Protocol

from clew_events.backoff import delays
from clew_services.host import CannotStart
from clew_services.host.terminate import signal, terminate
from clew_services.host.tether import tether_command
from clew_services.metrics import counter_files
from clew_services.process import readiness

DRAIN: Final = 20.0
"""Seconds that a part may take to finish work in progress before it is killed."""
START: Final = 60.0
"""Seconds in which a part must be ready."""
SETTLED: Final = 30.0
"""Seconds after which a part's death counts as a new fault, and the backoff begins again."""

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

    ``environment`` is its whole environment; ``facts`` is its announcement when it was ready. ``number`` distinguishes
    workers with the same roles.
    """

    def __init__(self, roles: tuple[str, ...], environment: Mapping[str, str], *, number: int | None = None) -> None:
        which = () if number is None else (str(number),)
        self.name = " ".join(("serve", *roles, *which))
        self.environment = {**environment, counter_files.PROCESS: "-".join((*roles, *which))}
        self.facts: dict[str, str] = {}
        self._roles = roles
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it and return when it is ready.

        Raises:
            CannotStart: it ended, or was not ready in time; its own error is on standard error.
        """
        ours, theirs = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *tether_command([sys.executable, "-m", "clew_services.cli", "serve", *self._roles]),
                env={**self.environment, readiness.VARIABLE: str(theirs)},
                stdin=DEVNULL, pass_fds=(theirs,),
                start_new_session=True,  # Ctrl-C goes to the parent, which shuts down in order
            )  # fmt: skip
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
