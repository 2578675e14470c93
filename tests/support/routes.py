"""Wires between the servers of a cluster on which one of them can be kept behind: it hears that it is, and not of what.

The servers copy streams to each other in messages of Raft. To a server that is to lag everything passes but those that
carry something to store. It goes on to hear from the leaders, so it elects nobody, and has clients; it knows that it
lacks something, asks for it, and does not get it before it is let go.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

ENTRIES: Final = slice(40, 42)
"""Where an append entry says how many entries it has; none makes it a heartbeat."""
LONGEST: Final = 16 * 1024 * 1024
_NAME: Final = re.compile(rb'"server_name":"([^"]*)"')
_CATCHING_UP: Final = b"$NRG.CR."
_APPENDING: Final = b"$NRG.AE."


class Routes:
    """What stands between the servers. ``behind`` are the names of those that lag, ``groups`` is in what."""

    def __init__(self) -> None:
        self.behind: frozenset[str] = frozenset()
        self.groups: frozenset[str] = frozenset()
        self.kept = 0
        """Messages that did not pass."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="routes")
        self._listeners: list[asyncio.Server] = []
        self._open: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Take connections from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Drop all of them."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        for listener in self._listeners:
            listener.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def before(self, name: str, address: str) -> str:
        """An address at which the server of a name is reached by the others."""
        return asyncio.run_coroutine_threadsafe(self._before(name, address), self._loop).result()

    async def _before(self, name: str, address: str) -> str:
        host, _, port = address.rpartition(":")

        async def serve(caller: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._open.add(task)
            try:
                await self._between(name, (caller, answers), host, int(port))
            finally:
                self._open.discard(task)

        listener = await asyncio.start_server(serve, "127.0.0.1", 0, limit=LONGEST)
        self._listeners.append(listener)
        return f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"

    async def _between(
        self, called: str, caller: tuple[asyncio.StreamReader, asyncio.StreamWriter], host: str, port: int
    ) -> None:
        writers = [caller[1]]
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            server = await asyncio.open_connection(host, port, limit=LONGEST)
            writers.append(server[1])
            names = [called, ""]
            pumps = [
                asyncio.create_task(self._pump(caller[0], server[1], names, 0)),
                asyncio.create_task(self._pump(server[0], caller[1], names, 1)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        for writer in writers:
            writer.close()

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, names: list[str], to: int
    ) -> None:
        """Forward one direction. ``names`` are those of the two servers, of which the one ``to`` is spoken to."""
        while line := await source.readuntil(b"\r\n"):
            if to == 0 and not names[1] and (named := _NAME.search(line)) is not None:
                names[1] = named[1].decode()  # The first that the caller names is itself; the others it tells of.
            body = b""
            if line.startswith((b"RMSG ", b"HMSG ")):
                body = await source.readexactly(int(line.rsplit(None, 1)[1]) + 2)
                if self._keeps(line, body, names[to]):
                    self.kept += 1
                    continue
            target.write(line + body)
            await target.drain()

    def _keeps(self, line: bytes, body: bytes, to: str) -> bool:
        if to not in self.behind:
            return False
        for word in line.split()[1:3]:
            if word.startswith(_CATCHING_UP):
                return True
            if word.startswith(_APPENDING) and word[len(_APPENDING) :].decode() in self.groups:
                return body[ENTRIES] != b"\0\0"
        return False


@contextmanager
def routes() -> Iterator[Routes]:
    """Such wires, for as long as the block lasts."""
    made = Routes()
    made.start()
    try:
        yield made
    finally:
        made.stop()
