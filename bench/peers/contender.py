"""Who races: what can be asked of a contender, whichever way it is asked."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from bench.peers.http_load import Load, Request
from bench.peers.measuring import Run, decoded
from bench.peers.processes import CannotRace

ROOT = Path(__file__).parents[2]


class Place(Struct, frozen=True):
    """Where environments are, and where a contender may put its data."""

    environments: Path
    data: Path

    def folder(self, name: str) -> Path:
        """A fresh folder for a contender's data."""
        folder = self.data / name
        folder.mkdir(mode=0o755)
        return folder


class About(Struct, frozen=True, kw_only=True):
    """What the table says of a contender besides figures.

    ``durable`` is whether an answer means that the disk has it; ``stored`` is how, and where that is known from.
    ``set_up`` is what was done differently from its own first steps, and why.
    """

    name: str
    version: str
    durable: bool
    stored: str
    set_up: str = ""


class Operations(Protocol):
    """What a contender can be made to do. Each operation counts itself; see :class:`Run`."""

    @property
    def lanes(self) -> frozenset[str]:
        """The kinds of lanes it takes part in: ``create``, ``get``, ``update``, ``list``, ``append``, ``replay``,
        ``turn-agents`` and ``turn-adk``.
        """
        ...

    async def fill(self, count: int) -> Run:
        """Make so many threads, outside any measurement.

        Raises:
            CannotRace: that fails.
        """
        ...

    async def run(self, lane: str, workers: int, seconds: float) -> Run:
        """One closed loop of a lane."""
        ...


class Contender(Struct):
    """A contender that runs. ``roots`` are its processes; ``stored`` is how many threads it has been given."""

    about: About
    operations: Operations
    roots: tuple[int, ...]
    stored: int = 0


class Http(Struct, frozen=True):
    """An HTTP API, as whole requests. ``find_id`` finds the id of a thread that was just made in the answer.

    ``newest`` is the request for the newest twenty, as far as the API has such a thing.
    """

    host: str
    port: int
    create: Request
    get: Callable[[str], bytes]
    update: Callable[[str, int], Request]
    newest: Request
    find_id: re.Pattern[bytes]


class OverHttp:
    """Threads over HTTP; gets and updates go over all that were made by :meth:`fill`, one after the other."""

    lanes = frozenset({"create", "get", "update", "list"})

    def __init__(self, api: Http) -> None:
        self._api = api
        self._ids: list[str] = []
        self._turn = 0

    async def fill(self, count: int) -> Run:
        """Make threads and remember their ids."""
        load = Load(self._api.host, self._api.port, lambda _: self._api.create, keep=True)
        made = await load.run(8, count=count)
        if made.failed:
            raise CannotRace(f"{made.failed} of {count} threads could not be made: {made.failure}")
        for body in load.bodies:
            found = self._api.find_id.search(body)
            if found is None:
                raise CannotRace(f"a thread was made without an id in the answer: {body[:200]!r}")
            self._ids.append(found[1].decode())
        return made

    async def run(self, lane: str, workers: int, seconds: float) -> Run:
        """One closed loop."""
        # So that a run does not ask again for what the one before left in some cache first.
        self._turn = (self._turn + 7919) % max(1, len(self._ids))
        requests: dict[str, Callable[[int], Request]] = {
            "create": lambda _: self._api.create,
            "get": lambda number: self._get(self._one(number)),
            "update": lambda number: self._api.update(self._one(number), number),
            "list": lambda _: self._api.newest,
        }
        return await Load(self._api.host, self._api.port, requests[lane]).run(workers, seconds=seconds)

    def _one(self, number: int) -> str:
        return self._ids[(self._turn + number) % len(self._ids)]

    def _get(self, thread: str) -> Request:
        return Request(self._api.get(thread), thread.encode())


def http_request(method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> bytes:
    """A request as bytes, with no header that is not needed."""
    raw = msgspec.json.encode(body) if body is not None else b""
    named = {
        "host": "localhost",
        "content-type": "application/json",
        "content-length": str(len(raw)),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + raw


class Driven:
    """A library or server that is driven from its own environment; see :mod:`bench.peers.drivers`."""

    def __init__(
        self, process: asyncio.subprocess.Process, facts: Mapping[str, str], log: Path, lanes: frozenset[str]
    ) -> None:
        self._process = process
        self._log = log
        self.facts = facts
        self.lanes = lanes

    @property
    def pid(self) -> int:
        """The driver's process."""
        return self._process.pid

    async def fill(self, count: int) -> Run:
        """Append so many threads."""
        return await self._order({"do": "append", "workers": 8, "count": count})

    async def run(self, lane: str, workers: int, seconds: float) -> Run:
        """One closed loop, or one replay, which takes as long as it takes."""
        return await self._order({"do": lane, "workers": workers, "seconds": seconds})

    async def _order(self, order: Mapping[str, object]) -> Run:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        said = await line_of(self._process, 600)
        if not said:
            raise CannotRace(f"its driver ended: {self._log.read_text(errors='replace')[-400:]}")
        return decoded(said)


@contextlib.asynccontextmanager
async def driver(
    command: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
    *,
    log: Path,
    lanes: frozenset[str] = frozenset({"append", "replay"}),
) -> AsyncIterator[Driven]:
    """A driver until it says what it drives; it ends when its orders do.

    Raises:
        CannotRace: it ended by itself.
    """
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **(environment or {})},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
            limit=1 << 28,
        )
    try:
        try:
            facts = msgspec.json.decode(await line_of(process, 60), type=dict[str, str])
        except (msgspec.DecodeError, TimeoutError) as error:
            raise CannotRace(f"its driver ended: {log.read_text(errors='replace')[-400:]}") from error
        yield Driven(process, facts, log, lanes)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 30)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def line_of(process: asyncio.subprocess.Process, patience: float) -> bytes:
    """The next line that a process says."""
    assert process.stdout is not None
    return await asyncio.wait_for(process.stdout.readline(), patience)


Enter = Callable[[Place, contextlib.AsyncExitStack], Awaitable[Contender]]
"""Sets a contender up and starts it; the stack ends it.

Raises :class:`CannotRace` when it cannot take part here.
"""
