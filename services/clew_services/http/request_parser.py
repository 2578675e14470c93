"""A parser of requests that ignores ``Upgrade``, as RFC 9110, 7.8 permits a server that knows no other protocol.

llhttp takes whatever follows a head with ``Upgrade`` for the other protocol: it says that the request is whole, without
its body, and would read that as the next request. Java's client has such a head in the first request of each connection
without TLS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from httptools import HttpParserUpgrade, HttpRequestParser


class Listener(Protocol):
    """Is told what is parsed."""

    def on_message_begin(self) -> None:
        """A request begins."""

    def on_url(self, url: bytes) -> None:
        """Its target, or some of it."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of its head."""

    def on_headers_complete(self) -> None:
        """Its head is whole."""

    def on_body(self, body: bytes) -> None:
        """Some of its body is there."""

    def on_message_complete(self) -> None:
        """It is whole."""


class RequestParser(HttpRequestParser):
    """Tells ``listener`` what it parses; what follows a head with ``Upgrade`` it hands to ``ignore``."""

    def __init__(self, listener: Listener, ignore: Callable[[bytes], None]) -> None:
        super().__init__(listener)
        self._ignore = ignore
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does, for the requests before

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]
        """Parse on. Raises what the listener raises, and ``HttpParserError``."""
        try:
            super().feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._ignore(data[upgrade.args[0] :])


class AfterHead:
    """Tells a listener what is parsed, but for the first head, which it knows already."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._knows = True

    def on_message_begin(self) -> None:
        """A request begins."""
        if not self._knows:
            self._listener.on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Its target, or some of it."""
        if not self._knows:
            self._listener.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of its head."""
        if not self._knows:
            self._listener.on_header(name, value)

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        if not self._knows:
            self._listener.on_headers_complete()
        self._knows = False

    def on_body(self, body: bytes) -> None:
        """Some of its body is there."""
        self._listener.on_body(body)

    def on_message_complete(self) -> None:
        """It is whole."""
        self._listener.on_message_complete()
