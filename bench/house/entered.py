"""Which of Clew's own functions one warm request enters in the process that answers it, and a command in its own."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from bench.http_load import Connections, request_bytes
from bench.service import KEY, service

_PROBE: Final = Path(__file__).parent / "probe"
_BODY: Final = b'{"metadata":{"user":"ada"}}'
_WARM: Final = 20
"""Requests before the one that is looked at."""
_TIMES: Final = 5
"""How often it is looked at: what is entered each time belongs to the request, and the rest to what runs beside it."""


class Entered(Struct, frozen=True):
    """Functions as ``file:name``, each once; modules by name; instructions of the interpreter, by function."""

    functions: frozenset[str]
    imported: frozenset[str]
    steps: dict[str, int]

    @property
    def files(self) -> frozenset[str]:
        """The files of the functions."""
        return frozenset(each.partition(":")[0] for each in self.functions)


class Passed(Struct, frozen=True, kw_only=True):
    """What was entered for each kind of request, and for the command."""

    post: Entered
    get: Entered
    verify: Entered


async def passed(tree: Path) -> Passed:
    """Start the Clew of a tree by the programs of its ``.venv``, and look at it at work."""
    program = tree / ".venv" / "bin" / "clew"
    with tempfile.TemporaryDirectory(prefix="clew-house-") as folder:
        notes = Path(folder)
        environment = {"PYTHONPATH": str(_PROBE), "CLEW_HOUSE_TREE": str(tree), "CLEW_HOUSE_NOTES": folder}
        async with service(extra=environment, program=program) as running:
            connections = Connections(running.host, running.port)
            pid = int((notes / "pid").read_text())
            try:
                post = await _request(connections, pid, notes, lambda: request_bytes("POST", "/v1/threads", KEY, _BODY))
                _, made = await connections.request(request_bytes("POST", "/v1/threads", KEY, _BODY))
                thread: str = msgspec.json.decode(made)["id"]
                get = await _request(
                    connections, pid, notes, lambda: request_bytes("GET", f"/v1/threads/{thread}", KEY)
                )
            finally:
                await connections.close()
            arguments = ("verify", "--all", "--nats", running.nats)
            process = await asyncio.create_subprocess_exec(
                program, *arguments, env={**os.environ, **environment}, stdout=asyncio.subprocess.DEVNULL, cwd=notes
            )
            if code := await process.wait():
                raise RuntimeError(f"clew {' '.join(arguments)} ended with {code}")
        return Passed(post=post, get=get, verify=_read(notes))


async def _request(connections: Connections, pid: int, notes: Path, request: Callable[[], bytes]) -> Entered:
    async def ask() -> None:
        status, body = await connections.request(request())
        if status != 200:
            raise RuntimeError(f"{status}: {body!r}")

    for _ in range(_WARM):
        await ask()
    seen = [await _watched(ask, pid, notes) for _ in range(_TIMES)]
    functions = frozenset.intersection(*(each.functions for each in seen))
    least = min(seen, key=lambda each: sum(each.steps.values()))
    return Entered(functions, least.imported, least.steps)


async def _watched(ask: Callable[[], Awaitable[None]], pid: int, notes: Path) -> Entered:
    os.kill(pid, signal.SIGUSR1)
    await _appears(notes / "begun")
    await ask()
    os.kill(pid, signal.SIGUSR2)
    await _appears(notes / "entered")
    (notes / "begun").unlink()
    return _read(notes)


def _read(notes: Path) -> Entered:
    found = msgspec.json.decode((notes / "entered").read_bytes(), type=Entered)
    (notes / "entered").unlink()
    return found


async def _appears(file: Path) -> None:
    async with asyncio.timeout(10):
        while not file.exists():
            await asyncio.sleep(0.005)
