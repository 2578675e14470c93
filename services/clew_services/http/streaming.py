"""Answers without an end: sent as they come about, until their reader leaves or may not read any more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from starlette.types import Send

from clew_events.errors import Unauthorized
from clew_services.http.answers import Headers
from clew_services.http.intake import Intake


async def streamed(
    send: Send, intake: Intake, chunks: AsyncIterator[bytes], headers: Headers, admits: Callable[[], object]
) -> None:
    """Send an answer that goes on until ``chunks`` end, the caller leaves, or ``admits`` raises ``Unauthorized``.

    A caller who is slow to take it holds ``chunks`` back, so no more of it is kept than the connection has room for.
    """

    async def sending() -> None:
        with contextlib.suppress(Unauthorized):
            async for chunk in chunks:
                admits()
                await send({"type": "http.response.body", "body": chunk, "more_body": True})

    try:
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        parts = {asyncio.create_task(sending()), asyncio.create_task(intake.left())}
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
    finally:
        await closed(chunks)
    for part in done:
        part.result()
    with contextlib.suppress(OSError, RuntimeError):  # there may be nobody left
        await send({"type": "http.response.body", "body": b""})


async def closed(chunks: AsyncIterator[bytes]) -> None:
    """End what was to be sent, whether any of it was or not."""
    if (close := getattr(chunks, "aclose", None)) is not None:
        await close()
