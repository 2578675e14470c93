"""Taking in a request's body, within limits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from starlette.types import Receive

from clew_events.errors import TooLarge

PATIENCE: Final = 60.0
"""Seconds a caller may take to send a body."""


class CallerGone(Exception):
    """The caller left before the request was whole; nobody is there to be answered."""


class CallerSlow(Exception):
    """The caller took longer than :data:`PATIENCE` to send a body."""


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, most: int) -> bytes:
    """The whole body, of at most ``most`` bytes; of a longer one no more than that is ever held.

    Raises:
        TooLarge: there is more, or more is announced.
        CallerSlow: it did not come in time.
        CallerGone: it never came.
    """
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > most:
        raise _too_large(most)
    try:
        async with asyncio.timeout(PATIENCE):
            return await _read(receive, most)
    except TimeoutError:
        raise CallerSlow from None


async def _read(receive: Receive, most: int) -> bytes:
    body = bytearray()
    while (message := await receive())["type"] != "http.disconnect":
        chunk: bytes = message.get("body", b"")
        if len(body) + len(chunk) > most:
            raise _too_large(most)
        if not body and not message.get("more_body", False):
            return chunk
        body += chunk
        if not message.get("more_body", False):
            return bytes(body)
    raise CallerGone


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"Request body is too large: at most {most} bytes are taken.")
