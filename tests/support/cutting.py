"""A wire between an HTTP client and the API that loses requests and answers, each at the moment that is asked for."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

from clew_events.commands import Command
from clew_services.compose import Clew
from clew_services.compose.roles import compose_api
from clew_services.http.retries import Attempt
from clew_services.threads.handler import Commands
from clew_services.threads.result import Outcome

Fate = Literal["pass", "never arrives", "caller leaves", "answer is lost"]
LEAVES = "00-" + "c" * 32 + "-" + "1" * 16 + "-01"
"""The trace that the wire writes on a request whose caller will not stay for the answer."""


class Cutting:
    """Forwards requests and answers. Each first attempt meets the next of its ``fates``; the rest pass.

    A caller who leaves does so when the API has the whole request; :class:`Patient` waits for that.
    """

    def __init__(self, host: str, port: int, fates: Iterable[Fate]) -> None:
        self._server = (host, port)
        self.fates = deque(fates)
        self.met: list[tuple[Fate, bytes]] = []
        self.url = ""
        self.behind = f"http://{host}:{port}"
        self._open: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client's."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        upstream, requests = await asyncio.open_connection(*self._server)
        try:
            while await self._one(reader, writer, upstream, requests):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            for each in (requests, writer):
                each.close()
                with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                    await each.wait_closed()
            self._open.discard(task)

    async def close(self) -> None:
        """Close every connection."""
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open)

    async def _one(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: asyncio.StreamReader,
        requests: asyncio.StreamWriter,
    ) -> bool:
        head, body = await message(reader)
        first = b"\r\nx-stainless-retry-count: 0\r\n" in head.lower()
        fate = self.fates.popleft() if self.fates and first else "pass"
        self.met.append((fate, head.partition(b" HTTP/")[0]))
        if fate == "never arrives":
            return False
        marked = f"traceparent: {LEAVES}\r\n\r\n".encode() if fate == "caller leaves" else b"\r\n"
        requests.write(head[:-2] + marked + body)
        await requests.drain()
        if fate == "caller leaves":
            return False
        answer = await _unless_left(reader, upstream)
        if fate == "answer is lost":
            return False
        writer.write(b"".join(answer))
        await writer.drain()
        return True


async def _unless_left(reader: asyncio.StreamReader, upstream: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The answer to a client who says nothing meanwhile, and is no more there when they hang up."""
    answer, left = asyncio.create_task(message(upstream)), asyncio.create_task(reader.read(1))
    try:
        await asyncio.wait({answer, left}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ConnectionResetError
        return answer.result()
    finally:
        for task in (answer, left):
            task.cancel()
        await asyncio.wait({answer, left})


async def message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A whole message of HTTP/1.1: its head, and a body as long as the head says."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    return head, await reader.readexactly(length)


@asynccontextmanager
async def cutting(url: str, fates: Iterable[Fate] = ()) -> AsyncIterator[Cutting]:
    """Such a wire to ``url``; its own ``url`` is on a free port."""
    parts = urlsplit(url)
    wire = Cutting(parts.hostname or "", parts.port or 0, fates)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        server.close()
        await wire.close()


class Patient:
    """Clew, whose answer to a caller about to leave is not ready before they have left.

    With ``late``, such a command is not even begun before its repetition is done.
    """

    def __init__(self, clew: Clew, *, late: bool = False) -> None:
        self._parts = compose_api(clew, 0)
        self.handler: Commands = self
        self._commands = clew.handler
        self._late = late
        self._left: dict[str, asyncio.Event] = {}
        self._repeated: dict[str, asyncio.Event] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parts, name)

    def lost(self, attempt: Attempt) -> None:
        """An attempt is known to have told nobody."""
        self._left.setdefault(attempt.id, asyncio.Event()).set()

    async def handle(
        self, tenant: str, command: Command, *, actor: str = "", by: str = "", trace: str | None = None, **_: object
    ) -> Outcome:
        assert command.id is not None
        leaving = trace == LEAVES
        if leaving and self._late:
            await self._repeated.setdefault(command.id, asyncio.Event()).wait()
        done = await self._commands.handle(tenant, command, actor=actor)
        if leaving:
            await self._left.setdefault(command.id, asyncio.Event()).wait()
        else:
            self._repeated.setdefault(command.id, asyncio.Event()).set()
        return done
