"""Servers that one test after another is lent, each time as empty as a new one.

A server is lent again only if its process and its files were left alone, everybody has hung up, and every stream is
gone. In any other case it is stopped, and the next test gets a new one. So a test needs to say nothing: whoever kills
or freezes a server, or looks into its folder, has it alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Final, TypeVar

from nats.aio.client import Client
from nats.errors import Error as NatsError

from clew_services.embedded.server import EmbeddedServer
from clew_services.host import CannotStart
from support.deployments import connected_client
from support.ports import free_port

T = TypeVar("T")

HANGING_UP: Final = 0.5
"""Seconds in which clients of a test that has ended must be gone from its server."""
TRIALS: Final = 3
"""How often a start is tried: the port may have been taken by somebody else since it was found free."""
PATIENCE: Final = 30.0
"""Seconds a server may take to remove its streams."""
STREAM_FOLDER: Final = Path("nats", "jetstream", "clew", "streams")
KEPT: Final = ".kept"
"""What keeps the folder of streams from being empty: nats-server (2.15.1) removes an empty one some time after it has
answered that the last stream is deleted, and that may be while the next test creates its first."""
_CONNECTIONS: Final = Path("/proc/net/tcp")
_IDLE_STATES: Final = {"06", "0A"}  # TIME_WAIT, LISTEN


class Lent:
    """An :class:`EmbeddedServer` on loan. It can do what that can, on whichever event loop."""

    def __init__(self, server: EmbeddedServer, run: Callable[[Coroutine[None, None, T]], asyncio.Future[T]]) -> None:
        self._server = server
        self._run = run
        self.name = server.name
        self.sync = server.sync
        self.version = server.version
        self.untouched = True

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def data(self) -> Path:
        return self._own().data

    @property
    def pid(self) -> int:
        return self._own().pid

    def kill(self) -> None:
        self._own().kill()

    async def start(self) -> None:
        await self._run(self._own().start())

    async def stop(self) -> None:
        await self._run(self._own().stop())

    async def wait(self) -> int:
        return await self._run(self._own().wait())

    def _own(self) -> EmbeddedServer:
        self.untouched = False
        return self._server


class Lender:
    """Starts servers as they are needed, on an event loop that outlives the tests' own."""

    def __init__(self, folder: Path, *, sync: str) -> None:
        self._folder = folder
        self._sync = sync
        self._begun = 0
        self._free: list[EmbeddedServer] = []
        self._loop = asyncio.new_event_loop()
        # A server dies with the thread that started it, which is therefore one that stays.
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def lent(self) -> Iterator[Lent]:
        """An empty server, for as long as the block lasts."""
        server = self._free.pop() if self._free else self._wait(self._started())
        lent = Lent(server, self._run)
        try:
            yield lent
        finally:
            if lent.untouched and self._wait(emptied(server)):
                self._free.append(server)
            else:
                self._wait(server.stop())

    def close(self) -> None:
        """Stop them all."""
        while self._free:
            self._wait(self._free.pop().stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _started(self) -> EmbeddedServer:
        for _ in range(TRIALS - 1):
            with contextlib.suppress(CannotStart):
                return await self._start()
        return await self._start()

    async def _start(self) -> EmbeddedServer:
        self._begun += 1
        server = EmbeddedServer(self._folder / str(self._begun), port=free_port(), sync=self._sync)
        await server.start()
        (server.data / STREAM_FOLDER / KEPT).mkdir(parents=True)
        return server

    def _run(self, work: Coroutine[None, None, T]) -> asyncio.Future[T]:
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _wait(self, work: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def emptied(server: EmbeddedServer) -> bool:
    """Remove every stream; whether the server is then as good as new."""
    if not await _left_alone(server.port):
        return False
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)  # nats-py goes on trying
            writer.close()
            async with connected_client(server.url) as nc:
                await _remove_streams(nc)
    except (NatsError, OSError, TimeoutError):
        return False
    # Nothing is left, in whichever account; a folder with a dot is one that is about to be removed.
    return not any(server.data.glob("nats/jetstream/*/streams/[!.]*"))


async def _remove_streams(nc: Client) -> None:
    answer = await nc.request("$JS.API.STREAM.NAMES", timeout=PATIENCE)
    for name in json.loads(answer.data)["streams"] or ():
        await nc.request(f"$JS.API.STREAM.DELETE.{name}", timeout=PATIENCE)


async def _left_alone(port: int) -> bool:
    """Whether everybody has hung up, and the server has seen it."""
    if not _CONNECTIONS.exists():
        return False
    deadline = asyncio.get_running_loop().time() + HANGING_UP
    while _connected(port):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.005)
    return True


def _connected(port: int) -> bool:
    at = f":{port:04X}"
    for line in _CONNECTIONS.read_text().splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        if local.endswith(at) and state not in _IDLE_STATES:
            return True
    return False
