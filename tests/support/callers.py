"""A caller of the HTTP API who sends what no client would."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Caller:
    """One connection, used byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def send(self, *pieces: bytes) -> None:
        """Send something."""
        self._writer.writelines(pieces)
        await self._writer.drain()

    async def drip(self, begun: bytes, piece: bytes) -> bytes:
        """Send ``piece`` again and again, until the server closes; all that it said."""
        await self.send(begun)
        dripping = asyncio.create_task(self._drip(piece))
        try:
            return await self.rest()
        finally:
            dripping.cancel()
            await asyncio.wait({dripping})

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        said = b""
        with contextlib.suppress(ConnectionError):
            while some := await self.reader.read(65536):
                said += some
        return said

    async def answer(self) -> tuple[int, bytes]:
        """The next answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().splitlines() if line.startswith(b"content-length:"))
        return int(head[9:12]), await self.reader.readexactly(length)

    async def _drip(self, piece: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await self.send(piece)
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Leave."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


@contextlib.asynccontextmanager
async def calling(url: str, local: str = "127.0.0.1") -> AsyncIterator[Caller]:
    """A connection to the API, closed at the end."""
    host, _, port = url.removeprefix("http://").partition("/")[0].rpartition(":")
    caller = Caller(*await asyncio.open_connection(host, int(port), local_addr=(local, 0)))
    try:
        async with asyncio.timeout(60):
            yield caller
    finally:
        await caller.close()
