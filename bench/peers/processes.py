"""The contenders' processes: started, waited for, measured and ended (Linux)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

TICKS: Final = os.sysconf("SC_CLK_TCK")
AT_REST: Final = 0.1
"""The share of a core below which a contender is taken to have finished what it was asked."""
PATIENCE: Final = 60.0
"""Seconds it gets for that."""


class CannotRace(Exception):
    """A contender cannot take part; the message says why, and what would change it."""


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def server(
    command: Sequence[str | Path],
    *,
    port: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    patience: float = 120.0,
) -> AsyncIterator[int]:
    """A server until it takes connections; its process id. It and what it started are ended at the end.

    Raises:
        CannotRace: it ended by itself, or took too long; the message has the end of what it said.
    """
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=said, stderr=said, env=_environment(environment), cwd=folder, start_new_session=True
        )
    try:
        until = time.monotonic() + patience
        while not await _accepts(port):
            if process.returncode is not None or time.monotonic() > until:
                ended = f"ended with {process.returncode}" if process.returncode is not None else "did not get ready"
                raise CannotRace(f"{Path(command[0]).name} {ended}: {_end_of(log)}")
            await asyncio.sleep(0.1)
        yield process.pid
    finally:
        await _end(process)


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    # Not our own: a rival must not find Clew's settings or packages.
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, **(more or {})}


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _end(process: asyncio.subprocess.Process) -> None:
    everybody = tree([process.pid])
    for number, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 15)):
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), patience)
    for pid in everybody - {process.pid}:
        with contextlib.suppress(OSError):
            if os.getpgid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)


def _end_of(log: Path) -> str:
    return " / ".join(log.read_text(errors="replace").splitlines()[-4:])[-600:]


def tree(roots: Iterable[int]) -> set[int]:
    """These processes and everything that descends from them."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found


def cpu_seconds(roots: Iterable[int]) -> float:
    """Processor time they have spent so far, with that of children that have ended."""
    ticks = 0
    for pid in tree(roots):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += sum(int(each) for each in fields[11:15])
    return ticks / TICKS


def memory(roots: Iterable[int]) -> float:
    """Resident megabytes; what they share is counted once."""
    kilobytes = 0
    for pid in tree(roots):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kilobytes += int(line.split()[1])
    return kilobytes / 1024


async def at_rest(roots: Sequence[int]) -> None:
    """Wait until they have nothing left to do, so that nobody's work is done in another's turn; not for ever."""
    until = time.monotonic() + PATIENCE
    before, step = cpu_seconds(roots), 0.2
    while time.monotonic() < until:
        await asyncio.sleep(step)
        now = cpu_seconds(roots)
        if now - before <= AT_REST * step:
            return
        before = now
