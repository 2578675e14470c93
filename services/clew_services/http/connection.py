"""One connection of a caller: how long it waits for what, and what it answers where no request comes of it.

uvicorn reads HTTP with httptools, which holds whatever a caller sends as headers, for as long as that takes.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from clew_services.http import errors
from clew_services.http.answers import Answer

IDLE: Final = 75
"""Seconds for which a connection is kept between requests."""
HEAD_BYTES: Final = 64 * 1024
"""Bytes that a request's line and headers may have before more of them is awaited."""
HEAD_PATIENCE: Final = 30.0
"""Seconds that they may take to arrive."""


class Connection(HttpToolsProtocol):
    """A connection that does not wait for ever, nor hold everything."""

    _awaited = True
    """Whether the head of a request is what comes next, or has begun to come."""
    _head = 0
    _late: asyncio.TimerHandle | None = None

    @property
    def untaken(self) -> int:
        """Bytes of answers that the caller has not taken yet, beyond what the system keeps for them."""
        return self.transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, but not for ever."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_PATIENCE, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        super().data_received(data)
        if not self._awaited or self.transport.is_closing():
            return
        self._head += len(data)
        if self._head > HEAD_BYTES:
            self._refuse(errors.envelope(431, f"The request's headers are too large: at most {HEAD_BYTES} bytes."))
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_PATIENCE, self.timeout_keep_alive_handler)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._awaited = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._awaited = False
        self._arrived()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(errors.envelope(400, msg))

    def _arrived(self) -> None:
        self._head = 0
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _refuse(self, answer: Answer) -> None:
        headers = (*answer.headers, (b"content-length", b"%d" % len(answer.body)), (b"connection", b"close"))
        lines = b"".join(b"%b: %b\r\n" % each for each in headers)
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[answer.status], lines, answer.body))
        self.transport.close()
