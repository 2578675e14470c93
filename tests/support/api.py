"""The HTTP API on a port of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from clew_services.api_keys import Keys
from clew_services.compose import Clew
from clew_services.compose.roles import compose_api
from clew_services.http.app import ApiParts
from clew_services.http.http_server import serve_http
from clew_services.settings import Settings

ACME, GLOBEX = "sk-test-of-acme-inc", "sk-test-of-globex"
KEYS = Keys.parse(f"{ACME}:acme,{GLOBEX}:globex")


@contextlib.asynccontextmanager
async def served(clew: Clew | ApiParts, settings: Settings | None = None, keys: Keys = KEYS) -> AsyncIterator[str]:
    """The API on a free port of this machine; its address, such as ``http://127.0.0.1:45678``."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    parts = compose_api(clew, (settings or Settings()).stuck_after) if isinstance(clew, Clew) else clew
    serving = asyncio.create_task(serve_http(parts, keys, "127.0.0.1", 0, settings=settings, ready=ready.set_result))
    await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    try:
        yield ready.result()
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def raw(url: str, request: bytes) -> bytes:
    """Bytes sent as they are over one connection, and all that came back until the server closed it."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        async with asyncio.timeout(60):
            return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
