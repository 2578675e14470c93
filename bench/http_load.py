"""The smallest HTTP client that keeps its connections: a general one would be measured along with the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bench.load import Measured, closed_loop


class Connections:
    """A pool of kept-open connections to one host, one request at a time on each."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def request(self, raw: bytes) -> tuple[int, bytes]:
        """Send a whole request as bytes; the status and the body of the answer."""
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection(self._host, self._port)
        writer.write(raw)
        head = await reader.readuntil(b"\r\n\r\n")
        at = head.lower().index(b"content-length:") + 15
        body = await reader.readexactly(int(head[at : head.index(b"\r\n", at)]))
        self._idle.append((reader, writer))
        return int(head[9:12]), body

    async def close(self) -> None:
        """Close every connection."""
        for _, writer in self._idle:
            writer.close()
            await writer.wait_closed()


def request_bytes(method: str, path: str, key: str, body: bytes = b"") -> bytes:
    """A request as the openai SDK would send it, less the headers that only say who it is."""
    return (
        f"{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\nopenai-beta: assistants=v2\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


async def http_load(host: str, port: int, request: Callable[[int], bytes], *, workers: int, seconds: float) -> Measured:
    """Closed-loop load over HTTP; any answer but 200 ends the run."""
    connections = Connections(host, port)

    async def operation(number: int) -> None:
        status, body = await connections.request(request(number))
        if status != 200:
            raise RuntimeError(f"{status}: {body!r}")

    try:
        return await closed_loop(operation, workers=workers, seconds=seconds)
    finally:
        await connections.close()
