"""Which of Clew's own functions one warm request enters in the process that answers it, and a command in its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from bench.http_load import Connections, request_bytes
from bench.service import KEY, Service, service

_PROBE: Final = Path(__file__).parent / "probe"
_BODY: Final = b'{"metadata":{"user":"ada"}}'
_MESSAGE: Final = b'{"role":"user","content":"How warm is it?"}'
_PAGE: Final = 20
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
    post_message: Entered
    get_page: Entered
    verify: Entered


async def passed(tree: Path) -> Passed:
    """Start the Clew of a tree by the programs of its ``.venv``, and look at it at work."""
    program = tree / ".venv" / "bin" / "clew"
    with tempfile.TemporaryDirectory(prefix="clew-house-") as folder:
        notes = Path(folder)
        environment = {"PYTHONPATH": str(_PROBE), "CLEW_HOUSE_TREE": str(tree), "CLEW_HOUSE_NOTES": folder}
        async with (
            service(program=program, data=notes / "data") as running,
            _api(program, running, environment | {"CLEW_DATA": str(notes / "data")}) as connections,
        ):
            pid = int((notes / "pid").read_text())

            async def watched(method: str, path: str, body: bytes = b"") -> Entered:
                return await _request(connections, pid, notes, lambda: request_bytes(method, path, KEY, body))

            _, made = await connections.request(request_bytes("POST", "/v1/threads", KEY, _BODY))
            thread = f"/v1/threads/{msgspec.json.decode(made)['id']}"
            seen = {
                "post": await watched("POST", "/v1/threads", _BODY),
                "get": await watched("GET", thread),
                "post_message": await watched("POST", f"{thread}/messages", _MESSAGE),
                "get_page": await watched("GET", f"{thread}/messages?limit={_PAGE}"),
            }
            arguments = ("verify", "--all", "--nats", running.nats)
            process = await asyncio.create_subprocess_exec(
                program, *arguments, env={**os.environ, **environment}, stdout=asyncio.subprocess.DEVNULL, cwd=notes
            )
            if code := await process.wait():
                raise RuntimeError(f"clew {' '.join(arguments)} ended with {code}")
        return Passed(**seen, verify=_read(notes))


@contextlib.asynccontextmanager
async def _api(program: Path, running: Service, environment: Mapping[str, str]) -> AsyncIterator[Connections]:
    """A process with role api and the probe in it: those of ``clew up`` are forked, and load no probe."""
    settings = {"CLEW_NATS": running.nats, "CLEW_HTTP": "127.0.0.1:0", "CLEW_API_KEYS": f"{KEY}:bench"}
    process = await asyncio.create_subprocess_exec(
        program, "serve", "api", env={**os.environ, **settings, **environment}, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        while (found := re.search(rb"ready http ([\d.]+):(\d+)", line := await process.stderr.readline())) is None:
            if not line:
                raise RuntimeError(f"clew serve api ended with {await process.wait()}")
        connections = Connections(found[1].decode(), int(found[2]))
        yield connections
        await connections.close()
    finally:
        process.terminate()
        await process.wait()


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
