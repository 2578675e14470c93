"""Taking in a request's body, within limits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from starlette.types import Receive

from clew_events.errors import TooLarge

PATIENCE: Final = 60.0
"""Seconds a caller may take to send a body."""
LINGER: Final = 5.0
"""Seconds for which the rest of a body is still taken in, and dropped, when the answer is out already."""
LINGER_BYTES: Final = 64 * 1024 * 1024


class Incomplete(Exception):
    """The body broke off: the caller left, or sent something that is no body."""


class CallerSlow(Exception):
    """The caller took longer than :data:`PATIENCE` to send a body."""


class Intake:
    """The body of one request. Of one that is too long no more than ``most`` bytes are ever held."""

    __slots__ = ("_body", "_headers", "_more", "_most", "_receive")

    def __init__(self, headers: Mapping[bytes, bytes], receive: Receive, most: int) -> None:
        self._headers = headers
        self._receive = receive
        self._most = most
        self._body: bytes | None = None
        self._more = b"content-length" in headers or b"transfer-encoding" in headers

    async def read(self) -> bytes:
        """The whole body, however often it is asked for.

        Raises:
            TooLarge: there is more, or more is announced, than may be.
            CallerSlow: it did not come in time.
            Incomplete: it broke off.
        """
        if self._body is not None:
            return self._body
        announced = self._headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self._most:
            raise self._too_large()
        try:
            async with asyncio.timeout(PATIENCE):
                self._body = await self._whole()
        except TimeoutError:
            self._more = False
            raise CallerSlow from None
        return self._body

    async def left(self) -> None:
        """Wait until the caller is gone. Nothing else may be asked of this body until then."""
        with contextlib.suppress(Incomplete):
            while True:
                await self._chunk()

    async def drop(self) -> None:
        """Take in what is left and drop it: a connection closed on a caller who still sends loses them the answer."""
        dropped = 0
        with contextlib.suppress(TimeoutError, Incomplete):
            async with asyncio.timeout(LINGER):
                while self._more and dropped < LINGER_BYTES:
                    dropped += len(await self._chunk())

    async def _whole(self) -> bytes:
        body = bytearray(await self._chunk())
        while self._more and len(body) <= self._most:
            body += await self._chunk()
        if len(body) > self._most:
            raise self._too_large()
        return bytes(body)

    async def _chunk(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._more = False
            raise Incomplete
        self._more = message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    def _too_large(self) -> TooLarge:
        return TooLarge(f"Request body is too large: at most {self._most} bytes are taken.")
