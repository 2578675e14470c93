"""One HTTP load generator for everybody: kept connections, a request each at a time, and as little work as can be.

It understands what the contenders answer with (a length, chunks, or no body) and nothing else of HTTP. What it costs
itself is the same for all of them, and a fast server feels it more than a slow one does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, cast

from msgspec import Struct

from bench.peers.measuring import Run

PATIENCE: Final = 20.0
"""Seconds that requests under way get when the time is up."""


class Request(Struct, frozen=True):
    """A whole request as bytes, and what a right answer to it contains, at least so many times."""

    raw: bytes
    expect: bytes
    times: int = 1

    def answered_by(self, status: int, body: bytes) -> bool:
        """Whether it succeeded."""
        return 200 <= status < 300 and (
            self.expect in body if self.times == 1 else body.count(self.expect) >= self.times
        )


class Load:
    """A closed loop over so many connections, by time or by number."""

    def __init__(self, host: str, port: int, request: Callable[[int], Request], *, keep: bool = False) -> None:
        self._host = host
        self._port = port
        self._request = request
        self._keep = keep
        self.bodies: list[bytes] = []
        self.latencies: list[int] = []
        self.failed = 0
        self.failure = ""
        self._number = 0
        self._limit = 0
        self._until = 0.0
        self._last = 0.0
        self._busy = 0
        self._done: asyncio.Future[None] | None = None

    async def run(self, connections: int, *, seconds: float = 0.0, count: int = 0) -> Run:
        """Load for so many seconds, or until ``count`` requests were answered."""
        loop = asyncio.get_running_loop()
        made = [
            (await loop.create_connection(lambda: _Connection(self), self._host, self._port))[1]
            for _ in range(connections)
        ]
        self._done = loop.create_future()
        self._limit = count
        started = self._last = time.perf_counter()
        self._until = started + seconds
        self._busy = connections
        for each in made:
            each.next()
        try:
            await asyncio.wait_for(asyncio.shield(self._done), (600 if count else seconds) + PATIENCE)
        except TimeoutError:
            pass
        finally:
            for each in made:
                each.close()
        return Run(
            count=len(self.latencies),
            elapsed=self._last - started,
            latencies=self.latencies,
            failed=self.failed,
            failure=self.failure,
            unfinished=self._busy,
        )

    def take(self) -> Request | None:
        """The next request, or nothing when it is enough."""
        if self._number >= self._limit if self._limit else time.perf_counter() >= self._until:
            self._left()
            return None
        self._number += 1
        return self._request(self._number)

    def answered(self, sent: float, status: int, body: bytes, request: Request) -> None:
        """Count an answer."""
        self._last = time.perf_counter()
        if request.answered_by(status, body):
            self.latencies.append(round((self._last - sent) * 1e6))
            if self._keep:
                self.bodies.append(body)
        else:
            self.lost(f"HTTP {status}: {body[:200].decode(errors='replace')}")

    def lost(self, why: str) -> None:
        """Count a failure."""
        self.failed += 1
        self.failure = self.failure or why

    def hung_up(self, why: str) -> None:
        """Count a failure, and go on without the connection."""
        self.lost(why)
        self._left()

    def _left(self) -> None:
        self._busy -= 1
        if not self._busy and self._done is not None and not self._done.done():
            self._done.set_result(None)


class _Connection(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._asked: Request | None = None
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        if self._asked is not None:
            self._asked = None
            self._load.hung_up(f"connection closed: {exc}")
        self._transport = None

    def close(self) -> None:
        """Hang up; what was not answered is counted by whoever waited for it."""
        self._asked = None
        if self._transport is not None:
            self._transport.abort()

    def next(self) -> None:
        """Send the next request, if there is one."""
        if self._transport is None:
            self._load.hung_up("connection closed")
            return
        request = self._load.take()
        if request is not None:
            self._asked = request
            self._sent = time.perf_counter()
            self._transport.write(request.raw)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        lines = bytes(self._buffer[:head]).lower()
        body = self._buffer[head + 4 :]
        at = lines.find(b"\r\ncontent-length:")
        if at >= 0:
            end = lines.find(b"\r\n", at + 17)
            if len(body) < int(lines[at + 17 : end if end >= 0 else None]):
                return
        elif b"\r\ntransfer-encoding: chunked" in lines and not body.endswith(b"0\r\n\r\n"):
            return
        status, whole, asked = int(lines[9:12]), bytes(body), self._asked
        self._buffer.clear()
        self._asked = None
        if asked is not None:
            self._load.answered(self._sent, status, whole, asked)
            self.next()
