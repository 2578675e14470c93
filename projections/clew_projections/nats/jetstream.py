"""JetStream for Clew: guarded publishes, API calls, and reads, with typed replies."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from secrets import token_hex
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE
from clew_events.errors import Unavailable
from clew_projections.nats.headers import encode_headers
from clew_projections.nats.request_mux import Reply, Request, Waiter, check_answered
from clew_projections.nats.stream_messages import (
    BATCH_COMMIT,
    BATCH_ID,
    BATCH_SEQUENCE,
    Ack,
    ApiError,
    ApiRefusal,
    ConsumerInfo,
    OutgoingMessage,
    StreamInfo,
    StreamState,
)
from clew_projections.nats.stream_reads import ELECTION, NO_LEADER, StreamReader, now


class _SubjectPage(Struct, frozen=True):
    class State(Struct, frozen=True):
        subjects: dict[str, int] = {}

    state: State
    total: int = 0


class _NamesPage(Struct, frozen=True):
    streams: tuple[str, ...] | None = None
    total: int = 0


STREAM_NOT_FOUND: Final = 10059
CONSUMER_NOT_FOUND: Final = 10014
STORE_FAILED: Final = 10049
"""The error code for a stream that could not be created. nats-server (2.15.1) removes the folder of an account's
streams after it has answered that the last one is deleted, and a stream that is created meanwhile has no folder."""
_PASSING: Final = frozenset({NO_LEADER, STORE_FAILED})
_READ_ONLY: Final = re.compile(r"(^|\.)(INFO|NAMES|LIST)(\.|$)")
"""API calls that change nothing."""
_ACK: Final = msgspec.json.Decoder(Ack)
_JSON: Final = msgspec.json.Encoder()
_BATCHED: Final = b"%%b%b: %%b\r\n%b: %%d\r\n%%b\r\n" % (BATCH_ID.encode(), BATCH_SEQUENCE.encode())
_COMMITTED: Final = b"%b: 1\r\n" % BATCH_COMMIT.encode()


class JetStream(StreamReader):
    """Calls to JetStream over one connection. All of them raise ``Unavailable`` when no reply comes."""

    @property
    def disconnects(self) -> int:
        """The number of times the connection was lost, since the start."""
        return self._exchange.lost

    async def publish(
        self,
        subject: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Ack:
        """Publish a message and return the server's ack, which may be an error."""
        head = b"" if headers is None else encode_headers(headers)
        return await self.store(Request(subject, body, head), timeout or self._timeout)

    async def store(self, request: Request, timeout: float) -> Ack:
        """Publish an encoded message; see :meth:`publish`."""
        return decode_ack(await self._exchange.one(*request, timeout), request.subject)

    async def publish_each(self, messages: Sequence[Request], timeout: float | None = None) -> list[Ack]:
        """Publish independent messages in one write, and return the ack of each.

        Raises:
            Timeout: it is unknown whether all were stored.
            Unavailable: no stream takes one of them, or the connection is down.
            TooLarge: one of them is larger than the server accepts; those before it are published.
        """
        replies = await self._exchange.each(messages, timeout or self._timeout)
        return [decode_ack(reply, message.subject) for reply, message in zip(replies, messages, strict=True)]

    async def publish_batch(self, messages: Sequence[OutgoingMessage], timeout: float | None = None) -> list[Ack]:
        """Store messages of one stream atomically (NATS ADR-50); returns an ack for each, or no acks if refused.

        Each may be guarded; no two may have the same subject. At most 1,000.

        Raises:
            Timeout: it is unknown whether they were stored.
            Unavailable: the connection is down.
        """
        requests = [Request(message.subject, message.body, encode_headers(message.headers)) for message in messages]
        return await self.store_batch(requests, timeout or self._timeout)

    def begin(self, waiting: Waiter, request: Request, timeout: float) -> Callable[[], None]:
        """Publish an encoded message for whose ack somebody waits; see :meth:`.request_mux.RequestMux.begin`."""
        return self._exchange.begin(waiting, request, timeout)

    async def store_batch(self, requests: Sequence[Request], timeout: float) -> list[Ack]:
        """Store encoded messages, each with headers, atomically; see :meth:`publish_batch`."""
        batch = token_hex(8).encode()
        *others, last = requests
        for place, each in enumerate(others, start=1):
            self._exchange.send(each.subject, each.body, _BATCHED % (each.head[:-2], batch, place, b""))
        head = _BATCHED % (last.head[:-2], batch, len(requests), _COMMITTED)
        reply = await self._exchange.one(last.subject, last.body, head, timeout)
        ack = decode_ack(reply, last.subject)
        if ack.error is not None:
            return []
        first = ack.seq - len(requests) + 1
        return [Ack(stream=ack.stream, seq=seq) for seq in range(first, ack.seq + 1)]

    async def api(self, call: str, request: object = None) -> dict[str, object]:
        """Call ``$JS.API.<call>``. Retries while no leader is elected (10008), or a stream has no folder (10049).

        A call that changes nothing is also retried when no reply comes.

        Raises:
            ApiRefusal: the server answered with an error.
        """
        body = b"" if request is None else _JSON.encode(request)
        until = now() + self._timeout
        while True:
            reply = await self._call(call, body)
            answer = msgspec.json.decode(reply.data, type=dict[str, object])
            if (refusal := answer.get("error")) is None:
                return answer
            error = msgspec.convert(refusal, ApiError)
            if error.err_code not in _PASSING or now() >= until:
                raise ApiRefusal(error, call)
            await asyncio.sleep(ELECTION)

    async def _call(self, call: str, body: bytes) -> Reply:
        def ask(silence: float) -> Awaitable[Reply]:
            return self._ask_api(f"$JS.API.{call}", body, silence)

        return await (self._retry_patiently(ask) if _READ_ONLY.search(call) else ask(self._timeout))

    async def subjects(self, stream: str, pattern: str) -> dict[str, int]:
        """Return all subjects of a stream that match a pattern and hold a message, and how many each holds."""
        subjects: dict[str, int] = {}
        while True:
            request = {"subjects_filter": pattern, "offset": len(subjects)}
            page = msgspec.convert(await self.api(f"STREAM.INFO.{stream}", request), _SubjectPage)
            subjects |= page.state.subjects
            if not page.state.subjects or len(subjects) >= page.total:
                return subjects

    async def streams(self) -> list[str]:
        """Return the names of all streams."""
        names: list[str] = []
        while True:
            page = msgspec.convert(await self.api("STREAM.NAMES", {"offset": len(names)}), _NamesPage)
            names += page.streams or ()
            if not page.streams or len(names) >= page.total:
                return names


def decode_ack(reply: Reply, subject: str) -> Ack:
    """Decode the server's ack of a message.

    Raises:
        Unavailable: no stream took the message.
    """
    if not reply.data:
        check_answered(reply, subject)
    try:
        return _ACK.decode(reply.data)
    except UNREADABLE as fault:
        raise Unavailable(f"no stream took the message on {subject}: {fault}", code="no_stream") from fault


async def stream_state(js: JetStream, stream: str) -> StreamState:
    """Read the current state of a stream.

    Raises:
        ApiRefusal: there is no such stream.
        Unavailable: JetStream does not answer.
    """
    return (await stream_info(js, stream)).state


async def stream_info(js: JetStream, stream: str) -> StreamInfo:
    """Read the configuration and the state of a stream.

    Raises:
        ApiRefusal: there is no such stream.
        Unavailable: JetStream does not answer.
    """
    return msgspec.convert(await js.api(f"STREAM.INFO.{stream}"), StreamInfo)


async def find_stream(js: JetStream, stream: str) -> StreamInfo | None:
    """Read the configuration and the state of a stream; ``None`` if it does not exist.

    Raises:
        Unavailable: JetStream does not answer.
    """
    try:
        return await stream_info(js, stream)
    except ApiRefusal as refusal:
        if refusal.error.err_code == STREAM_NOT_FOUND:
            return None
        raise


async def consumer_info(js: JetStream, stream: str, name: str) -> ConsumerInfo:
    """Read the configuration and the state of a consumer.

    Raises:
        ApiRefusal: there is no such consumer.
        Unavailable: JetStream does not answer.
    """
    return msgspec.convert(await js.api(f"CONSUMER.INFO.{stream}.{name}"), ConsumerInfo)


async def find_consumer(js: JetStream, stream: str, name: str) -> ConsumerInfo | None:
    """Read the configuration and the state of a consumer; ``None`` if it does not exist.

    Raises:
        Unavailable: JetStream does not answer.
    """
    try:
        return await consumer_info(js, stream, name)
    except ApiRefusal as refusal:
        if refusal.error.err_code == CONSUMER_NOT_FOUND:
            return None
        raise
