"""A wire between client and server that can be cut at the worst moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal
from urllib.parse import urlsplit

Cut = Literal["request", "answer"]


class Proxy:
    """Forwards bytes both ways, until it is told to lose some.

    ``lose("answer", b"clew.evt.")`` lets the next bytes to the server that contain the pattern pass, throws the
    server's answer to them away, and then drops the connection. ``lose("request", …)`` drops it before they pass.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._armed: list[tuple[Cut, bytes]] = []
        self._pumps: set[asyncio.Task[None]] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self.swallowed: list[bytes] = []
        """What the server said and nobody heard."""
        self.url = ""
        self._listener: asyncio.Server | None = None
        self._port_here = 0

    async def up(self) -> None:
        """Take connections, on the same port as before."""
        self._listener = await asyncio.start_server(self.serve, "127.0.0.1", self._port_here)
        self._port_here = self._listener.sockets[0].getsockname()[1]
        self.url = f"nats://127.0.0.1:{self._port_here}"

    async def down(self) -> None:
        """Drop every connection, and take none until ``up``."""
        if self._listener is not None:
            self._listener.close()
            await self._listener.wait_closed()
        await self.stop()

    def lose(self, what: Cut, pattern: bytes) -> None:
        """Lose what concerns the next bytes with this pattern. Several calls come into force one after the other."""
        self._armed.append((what, pattern))

    async def serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        """One connection."""
        serving = asyncio.current_task()
        assert serving is not None
        self._serving.add(serving)
        try:
            await self._serve(client, answers)
        finally:
            self._serving.discard(serving)

    async def _serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        server, requests = await asyncio.open_connection(self._host, self._port)
        wire = _Wire(self, answers, requests)
        pumps = {
            asyncio.create_task(wire.to_server(client)),
            asyncio.create_task(wire.to_client(server)),
        }
        self._pumps |= pumps
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        self._pumps -= pumps
        for writer in (answers, requests):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def next_cut(self, data: bytes) -> Cut | None:
        """Whether these bytes are the ones to cut at."""
        if self._armed and self._armed[0][1] in data:
            return self._armed.pop(0)[0]
        return None

    async def stop(self) -> None:
        """Drop every connection."""
        for pump in tuple(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, *self._serving, return_exceptions=True)


class _Wire:
    def __init__(self, proxy: Proxy, answers: asyncio.StreamWriter, requests: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._answers = answers
        self._requests = requests
        self._deaf = False

    async def to_server(self, client: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await client.read(65536):
                cut = None if self._deaf else self._proxy.next_cut(data)
                if cut == "request":
                    return
                self._deaf = self._deaf or cut == "answer"
                self._requests.write(data)
                await self._requests.drain()

    async def to_client(self, server: asyncio.StreamReader) -> None:
        heard = b""
        with suppress(OSError):
            while data := await server.read(65536):
                if self._deaf:
                    heard += data
                    if b'"stream":' in heard:
                        self._proxy.swallowed.append(heard)
                        return
                    continue
                self._answers.write(data)
                await self._answers.drain()


@asynccontextmanager
async def between(url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of a NATS server."""
    target = urlsplit(url)
    assert target.hostname is not None
    assert target.port is not None
    proxy = Proxy(target.hostname, target.port)
    await proxy.up()
    try:
        yield proxy
    finally:
        await proxy.down()
