"""The body of a request, read within limits of size and time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from starlette.types import Receive, Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from clew_events import error_texts
from clew_events.errors import TooLarge

_JSON: Final = "application/json"
_JSON_TYPE: Final = _JSON.encode()
_UTF_8: Final = frozenset({"utf-8", "utf8"})
BODY_DUE: Final = "clew.body_due"
"""The ASGI extension that says at what time of the loop's clock (``at``) a request's body has to be there.

``None`` once all of it is there: most bodies arrive with their headers, and a timer costs more than reading them.
"""


class Incomplete(Exception):
    """The body broke off: the caller left, or sent something that is no body."""


class CallerSlow(Exception):
    """The caller took longer to send a body than the server waits for one."""


class UnsupportedBody(Exception):
    """The body is not plain JSON in UTF-8; ``param`` is the header that says so."""

    def __init__(self, message: str, *, code: str, param: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param


def check_body_form(headers: Mapping[bytes, bytes]) -> None:
    """Check that a body is said to be JSON, in UTF-8 and not compressed, or nothing is said of it.

    Raises:
        Invalid: it is said to be of another media type.
        UnsupportedBody: it is said to be coded otherwise.
    """
    if b"content-encoding" not in headers and headers.get(b"content-type", _JSON_TYPE) == _JSON_TYPE:
        return
    coding = headers.get(b"content-encoding", b"").decode("latin-1").strip()
    if coding.lower() not in {"", "identity"}:
        raise UnsupportedBody(
            f"Unsupported content encoding: '{error_texts.quote_text(coding)}'. Bodies are taken as they are, not "
            "compressed. Please try again without the header 'Content-Encoding'.",
            code="unsupported_content_encoding",
            param="Content-Encoding",
        )
    kind = headers.get(b"content-type", b"").decode("latin-1")
    media_type, *parameters = kind.split(";")
    if media_type.strip().lower() not in {"", _JSON}:
        raise error_texts.unsupported_content_type(kind)
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip(' \t"').lower() not in _UTF_8:
            raise UnsupportedBody(
                f"Unsupported content type: '{error_texts.quote_text(kind, 256)}'. JSON is taken in UTF-8 alone.",
                code="unsupported_content_type",
                param="Content-Type",
            )


class Intake:
    """The body of one request. Of one that is too long no more than ``most`` bytes are ever held.

    It has to be there by the time that the ``scope`` says, if it says one; see :data:`BODY_DUE`.
    """

    __slots__ = ("_body", "_more", "_most", "_receive", "headers", "scope")

    def __init__(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, most: int) -> None:
        self.scope = scope
        self.headers = headers
        self._receive = receive
        self._most = most
        self._body: bytes | None = None
        self._more = True

    async def read(self) -> bytes:
        """The whole body, however often it is asked for.

        Raises:
            TooLarge: there is more, or more is announced, than may be.
            CallerSlow: it did not come in time.
            Incomplete: it broke off.
        """
        if self._body is not None:
            return self._body
        announced = self.headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self._most:
            raise self._too_large()
        body = _take_whole(self._receive)
        if body is None:
            body = await self._gather()
        if len(body) > self._most:
            raise self._too_large()
        self._body = body
        return body

    async def left(self) -> None:
        """Wait until the caller is gone. Nothing else may be asked of this body until then."""
        with contextlib.suppress(Incomplete):
            while True:
                await self._chunk()

    async def _gather(self) -> bytes:
        due: float | None = self.scope.get("extensions", {}).get(BODY_DUE, {}).get("at")
        try:
            async with contextlib.nullcontext() if due is None else asyncio.timeout_at(due):
                body = bytearray(await self._chunk())
                while self._more and len(body) <= self._most:
                    body += await self._chunk()
        except TimeoutError:
            raise CallerSlow from None
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


def _take_whole(receive: Receive) -> bytes | None:
    """The body, if all of it is there already; otherwise it is for ``receive``, which waits and copies."""
    cycle = getattr(receive, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or cycle.more_body or cycle.waiting_for_100_continue:
        return None
    if cycle.disconnected or cycle.response_complete:
        return None
    cycle.flow.resume_reading()
    cycle.message_event.clear()
    body, cycle.body = bytes(cycle.body), bytearray()
    return body
