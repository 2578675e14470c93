"""A whole Clew for the bench, as a user starts it: ``clew up`` on free ports and a fresh folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from msgspec import Struct

KEY = "key-of-the-benchmark"
IDLE = 0.15
"""Seconds of processor time in a second that are no work: timers, and questions whether there is any."""


class Service(Struct, frozen=True):
    """Where it listens, and the process that everything else descends from."""

    host: str
    port: int
    nats: str
    pid: int


@contextlib.asynccontextmanager
async def service(
    sync: str = "always",
    extra: Mapping[str, str] | None = None,
    *,
    data: Path | None = None,
    patience: float = 60,
    program: Path | None = None,
) -> AsyncIterator[Service]:
    """``clew up`` until it is ready, on ``data`` or else on a folder of its own; stopped at the end.

    ``program`` is the ``clew`` of another installation, else this one's.
    """
    with tempfile.TemporaryDirectory(prefix="clew-bench-") as fresh:
        environment = {
            "PATH": "/usr/bin:/bin",
            "CLEW_DATA": str(data or fresh),
            "CLEW_HTTP": "127.0.0.1:0",
            "CLEW_NATS": "embedded:0",
            "CLEW_SYNC": sync,
            "CLEW_API_KEYS": f"{KEY}:bench",
            **(extra or {}),
        }
        process = await asyncio.create_subprocess_exec(
            program or Path(sys.executable).with_name("clew"), "up", env=environment, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            line = (await asyncio.wait_for(process.stdout.readline(), patience)).decode()
            found = re.search(r"http://([\d.]+):(\d+)/v1\s+(nats://\S+)", line)
            if found is None:
                raise RuntimeError(f"clew up said {line!r}")
            secret = Path(data or fresh, "nats-url")  # which older installations do not have, nor need
            nats = secret.read_text(encoding="utf-8").strip() if secret.exists() else found[3]
            yield Service(found[1], int(found[2]), nats, process.pid)
        finally:
            process.terminate()
            await process.wait()


def descendants(root: int) -> list[int]:
    """A process and all that it has started, directly or not, itself first (Linux)."""
    found = [root]
    for pid in found:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(each) for each in children.read_text().split()]
    return found


def computed(root: int) -> float:
    """Seconds of processor time that a process and its descendants have taken (Linux)."""
    ticks = 0
    for pid in descendants(root):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def computed_by_process(root: int) -> dict[str, float]:
    """Seconds of processor time that a process and its descendants have taken themselves, by what they are (Linux)."""
    found: dict[str, float] = {}
    for pid, name in by_process(root).items():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            found[name] = found.get(name, 0.0) + sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return found


async def at_rest(root: int) -> None:
    """Wait until a process and its descendants have hardly anything left to do (Linux)."""
    done = computed(root)
    while True:
        await asyncio.sleep(1.0)
        before, done = done, computed(root)
        if done - before < IDLE:
            return


def by_process(root: int) -> dict[int, str]:
    """What a process and its descendants are, by process id (Linux)."""
    found: dict[int, str] = {}
    for pid in descendants(root):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            found[pid] = " ".join(word for word in map(_short, words) if word)
    return found


def memory(root: int) -> dict[str, float]:
    """Megabytes of a process and its descendants, by what they are; each has its part of what several share (Linux)."""
    found: dict[str, float] = {}
    for pid, name in by_process(root).items():
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            resident = next(line for line in lines if line.startswith("Pss:"))
            found[name] = found.get(name, 0.0) + int(resident.split()[1]) / 1024
    return found


def _short(word: str) -> str:
    name = word.rsplit("/", 1)[-1]
    return (
        ""
        if word.startswith("-") or name.startswith("python") or name.endswith((".conf", "clew", "clew_services.cli"))
        else name
    )
