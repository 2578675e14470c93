"""One HTTP connection: limits on headers, body, pipelining and time, and the answer when a limit is exceeded.

uvicorn reads HTTP with httptools, without such limits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from itertools import chain
from typing import Any, Final, NoReturn

from httptools import parse_url
from msgspec import Struct
from starlette.types import Message, Send
from uvicorn import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from clew_services.http import error_responses
from clew_services.http.caller_limits import ConnectionLimit, StreamPlace
from clew_services.http.request_body import BODY_DUE
from clew_services.http.request_parser import AfterHead, RequestParser
from clew_services.http.responses import NOT_KEPT, Answer

HEAD_BYTES: Final = 64 * 1024
"""Bytes of a request's line and headers. The same bounds what comes in a row and is no body, such as trailer fields."""
HEAD_FIELDS: Final = 256
"""Header fields of a request."""
PIPELINED: Final = 64
"""Requests that may wait on one connection for the answer to the one before."""
LINGER_BYTES: Final = 64 * 1024 * 1024
"""Bytes that are still taken in, and dropped, after a request was answered without them, before the connection ends."""
LEAST: Final = 16 * 1024
"""Bytes of an answer that a caller takes within ``Patience.answer``, if there are so many."""
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_CONTROL: Final = bytes({*range(32), 127} - {9})
"""Control characters, of which a header may have the tab alone."""


class Patience(Struct, frozen=True, kw_only=True):
    """Seconds that a caller may take.

    ``request`` from the first byte of a request to the last of its body, ``head`` of these to the end of its headers,
    and to begin with the first request; ``idle`` between an answer and the next request; ``linger`` to send what is not
    wanted any more, and to close; ``answer`` to take at least :data:`LEAST` bytes of an answer.
    """

    request: float = 60.0
    head: float = 30.0
    idle: float = 75.0
    linger: float = 5.0
    answer: float = 60.0

    @classmethod
    def of(cls, request: float) -> Patience:
        """That of a server which waits ``request`` seconds for a request."""
        default = cls()
        return cls(request=request, head=min(request, default.head))


class _TooMuch(Exception):
    """Ends the parsing; what is answered is kept beside."""


class _Output:
    """The transport as a cycle uses it, with a ``close`` and an ``is_closing`` of the connection."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None], is_closing: Callable[[], bool]) -> None:
        self.write, self.abort = transport.write, transport.abort
        self.close, self.is_closing = close, is_closing


class _Cycle(RequestResponseCycle):
    """A request and its answer.

    An answer to a request whose body is not there ends the connection. Some callers count on that, and never send the
    rest: those that wait for ``100 Continue``, and proxies whose own caller has left, which may send another's request
    instead (HAProxy 2.6 does).
    """

    async def send(self, message: Message) -> None:  # type: ignore[override]
        """Send the head, or some of the body. With HTTP/1.0, which has no chunks, it ends with the connection."""
        if not self.response_started and self.more_body:
            self.keep_alive = False
        if self.scope["http_version"] == "1.0":
            self.chunked_encoding, self.expected_content_length = False, len(message.get("body", b""))
        await super().send(message)  # type: ignore[arg-type]


class Connection(HttpToolsProtocol):
    """A connection that neither waits for ever nor holds everything. Somebody has to ``look`` after it now and then."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        patience: Patience,
        ceiling: ConnectionLimit,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.parser = RequestParser(self, self.ignore_upgrade)
        self._patience = patience
        self._ceiling = ceiling
        self._seat: StreamPlace | None = None
        self._due = float("inf")  # when what the caller has to do next must be done
        self._began = 0.0
        self._arriving = False  # a request has begun, and is not whole
        self._in_head = True  # its headers are not whole, or no request has begun
        self._due_of_body: dict[object, object] = {}
        self._bare = 0  # bytes since something came of them
        self._dropped = 0
        self._body_to_come = b""  # the fields that say how long it is, where the head has ``Upgrade``
        self._fruitful = False
        self._refused = False
        self._ends = False  # all is said, and the caller gets to read it
        self._instead: Answer | None = None
        self._untaken: tuple[float, int] | None = None

    @property
    def untaken(self) -> int:
        """Bytes of answers that the caller has not taken yet, beyond what the system keeps for them."""
        return self.transport.get_write_buffer_size()

    def look(self, now: float) -> None:
        """Close the connection if its caller is late with anything at ``now``, by the loop's clock."""
        if self._takes_nothing(now):
            self.transport.abort()
        elif now >= self._due and not self.transport.is_closing():
            self._give_up(now)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, if there is room for one more connection."""
        super().connection_made(transport)
        self._output: Any = _Output(transport, self._close_late, self._is_closing)
        self._due = self.loop.time() + self._patience.head
        taken = self._ceiling.take(self.client[0] if self.client else "")
        if isinstance(taken, Answer):
            self._write(taken)
            transport.close()
        else:
            self._seat = taken

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room for another."""
        if self._seat is not None:
            self._seat.leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, within bounds."""
        if self._refused:
            self._drop(data)
            return
        self._fruitful = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        self._bare = 0 if self._fruitful else self._bare + len(data)
        if self._bare > HEAD_BYTES:
            self._refuse(_large_head() if self._in_head else _large_trailers())
        elif self._ends:
            self._drop(data)

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._ends:
            raise _TooMuch
        if len(self.pipeline) >= PIPELINED:
            self._end(
                error_responses.envelope(400, f"Too many requests at once: at most {PIPELINED} wait for an answer.")
            )
        self._arriving = self._in_head = True
        self._began = self.loop.time()
        self._due = self._began + self._patience.head
        self.url, self.headers = b"", []

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of its head. One that comes after the body, as a trailer, is no header and is dropped."""
        if not self._in_head:
            return
        headers = self.headers
        if len(headers) >= HEAD_FIELDS:
            self._end(_large_head())
        headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        headers = self.headers
        if sum(map(len, chain.from_iterable(headers))) > HEAD_BYTES:
            self._end(_large_head())
        fields = combine_fields(headers)
        hosts = 1 if len(fields) == len(headers) and b"host" in fields else [name for name, _ in headers].count(b"host")
        if hosts > 1 or (not hosts and self.parser.get_http_version() != "1.0"):
            self._end(error_responses.envelope(400, f"A request has one header 'Host', and this one has {hosts}."))
        if fields.get(b"transfer-encoding", b"chunked").strip().lower() != b"chunked":
            self._end(error_responses.envelope(501, "The only Transfer-Encoding that is understood is 'chunked'."))
        self._begin(expected=b"expect" in fields and _waits(fields[b"expect"]))
        if self.parser.should_upgrade():
            self._body_to_come = b"\r\n".join(b"%b: %b" % each for each in headers if each[0] in _FRAMING)
        self._in_head, self._fruitful = False, True
        # Whoever answers goes by the request's own limit; this is for when nobody does.
        self._due = self._began + self._patience.request + self._patience.linger

    def ignore_upgrade(self, rest: bytes) -> None:
        """Go on with HTTP/1.1 behind a head with ``Upgrade``: with the body, if there is one, and the next request."""
        if self._body_to_come:
            head = (self.parser.get_method(), self.parser.get_http_version().encode(), self._body_to_come)
            self._body_to_come = b""
            self.parser = RequestParser(AfterHead(self), self.ignore_upgrade)
            self.parser.feed_data(b"%b / HTTP/%b\r\n%b\r\n\r\n" % head)
        if rest:
            self.parser.feed_data(rest)

    def _begin(self, *, expected: bool) -> None:
        """Answer the request, or have it wait for those before it; ``expected`` if it waits to be told to go on.

        uvicorn does the same, and looks for what is not used here: web sockets, a root path, a limit of its own.
        """
        url, version = parse_url(self.url), self.parser.get_http_version()
        self._due_of_body = {"at": self._began + self._patience.request}
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "method": self.parser.get_method().decode("ascii"),
            "scheme": self.scheme,  # type: ignore[typeddict-item]
            "path": url.path.decode("ascii"),
            "raw_path": url.path,
            "query_string": url.query or b"",
            "root_path": "",
            "headers": self.headers,
            "client": self.client,
            "server": self.server,
            "extensions": {BODY_DUE: self._due_of_body},
        }
        answered = self._is_answered  # whatever came before
        self.cycle = _Cycle(
            scope=self.scope,
            transport=self._output,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=expected and version != "1.0",  # RFC 9110, 10.1.1
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if answered:
            self._start(self.cycle)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _start(self, cycle: RequestResponseCycle) -> None:
        task = self.loop.create_task(cycle.run_asgi(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_body(self, body: bytes) -> None:
        """Some of its body is there."""
        self._fruitful = True
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        """It is whole."""
        if self._body_to_come:
            return  # llhttp says so of the head alone
        self._arriving, self._in_head, self._fruitful = False, True, True
        self._due_of_body["at"] = None
        cycle = self.cycle
        if self._ends:
            self.transport.close()
            return
        if cycle.response_complete:
            self._due = self.loop.time() + self._patience.idle
        else:
            self._due = float("inf")
            cycle.more_body = False
            cycle.message_event.set()
        if not self.parser.should_keep_alive():  # which a trailer can say as well, and nothing is parsed after it
            cycle.keep_alive = False
            if cycle.response_complete:
                self.transport.close()

    def on_response_complete(self) -> None:
        """Go on to the request that waits, or wait for the next one.

        uvicorn sets a timer here for the next request, and cancels it when that begins. ``look`` does without.
        """
        if self._is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start(self.pipeline.pop()[0])
        elif not self._arriving:  # otherwise the next one has begun
            self._due = self.loop.time() + self._patience.idle

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or too much of it."""
        self._refuse(self._instead or error_responses.envelope(400, msg))

    def _takes_nothing(self, now: float) -> bool:
        untaken = self.untaken
        # Otherwise more is written all the while, and how much is taken is not to be seen.
        if not untaken or not (self.flow.write_paused or self.transport.is_closing() or self._is_answered):
            self._untaken = None
        elif self._untaken is None or untaken <= self._untaken[1] - LEAST:
            self._untaken = now, untaken
        else:
            return now - self._untaken[0] >= self._patience.answer
        return False

    @property
    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]

    def _give_up(self, now: float) -> None:
        if self._ends:
            self.transport.close()
        elif self.pipeline:
            self._due = now + self._patience.request  # nothing is read meanwhile, so it is not the caller who is late
        elif self._in_head and not self._is_answered:
            self._close_after_answer()
        else:
            self.transport.close()

    def _end(self, answer: Answer) -> NoReturn:
        """Parse no further.

        Raises:
            _TooMuch: always.
        """
        self._instead = answer
        raise _TooMuch

    def _refuse(self, answer: Answer) -> None:
        """Answer instead of the request that was arriving, and close; what came before it is answered first."""
        if self._ends:
            self.transport.close()
            return
        self._refused = True
        if self._in_head and not self._is_answered:
            self._close_after_answer()
        elif not self._in_head and (self.pipeline or self.cycle.response_started):
            self.transport.close()
        else:
            self._write(answer)
            if not self._is_answered:  # whoever works on it finds the caller gone
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            self._linger()

    def _write(self, answer: Answer) -> None:
        headers = (*answer.headers, *NOT_KEPT, (b"content-length", b"%d" % len(answer.body)), (b"connection", b"close"))
        lines = b"".join(b"%b: %b\r\n" % each for each in headers)
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[answer.status], lines, answer.body))

    def _close_after_answer(self) -> None:
        self._refused = True
        self.cycle.keep_alive = False

    def _is_closing(self) -> bool:
        return self._ends or self.transport.is_closing()

    def _close_late(self) -> None:
        """Close when what is being sent has been taken in."""
        if self._arriving:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Say no more, and take in and drop what comes for a while.

        To close before all of it has come is a reset, by which callers lose what they were told.
        """
        self._ends = True
        self._due = self.loop.time() + self._patience.linger
        self.pipeline.clear()
        self.flow.resume_reading()
        if self.transport.can_write_eof():  # not over TLS
            self.transport.write_eof()

    def _drop(self, data: bytes) -> None:
        self._dropped += len(data)
        if self._dropped > LINGER_BYTES:
            self.transport.close()


def _waits(expectations: bytes) -> bool:
    """Whether a caller waits to be told to go on."""
    return b"100-continue" in [each.strip() for each in expectations.lower().split(b",")]


def combine_fields(lines: Collection[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The header fields of a request by their names. A field of several lines is one list, as RFC 9110, 5.3 has it."""
    fields = dict(lines)
    if len(fields) < len(lines):
        fields = {}
        for name, value in lines:
            fields[name] = value if name not in fields else fields[name] + b", " + value
    return fields


def write_whole(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
    """Write an answer at once, and return whether that was possible; otherwise it is for ``send``.

    uvicorn looks at each header by itself, and writes head and body apart: two system calls, and two packets.
    """
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or cycle.scope["method"] == "HEAD":
        return False
    if cycle.response_started or cycle.disconnected or cycle.flow.write_paused:
        return False
    if cycle.more_body or not cycle.keep_alive:
        return False
    lines = [*cycle.default_headers, *headers]
    head = b"%b: %b\r\n" * len(lines) % tuple(chain.from_iterable(lines))
    if len(head.translate(None, _CONTROL)) + 2 * len(lines) != len(head):
        return False  # there are more than those that end lines: uvicorn refuses that
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(b"".join((STATUS_LINE[status], head, b"\r\n", body)))
    cycle.message_event.set()
    cycle.on_response()
    return True


def hang_up(send: Send) -> bool:
    """End an answer that has begun before its end, so that nobody takes it for whole; whether there is a connection."""
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle):
        return False
    cycle.transport.abort()
    return True


def _large_head() -> Answer:
    return error_responses.envelope(
        431, f"The request's headers are too large: at most {HEAD_BYTES} bytes, and {HEAD_FIELDS} fields."
    )


def _large_trailers() -> Answer:
    return error_responses.envelope(
        400, f"Between or after the pieces of a body, at most {HEAD_BYTES} bytes can be something else."
    )
