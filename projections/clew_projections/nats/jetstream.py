"""JetStream as Clew needs it: guarded publishes, plain API calls, and what can be read, each with typed answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Mapping, Sequence
from secrets import token_hex
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE
from clew_events.errors import Unavailable
from clew_projections.nats.headers import append_headers, encode_headers
from clew_projections.nats.request_mux import Reply, Request
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
_ASKING: Final = re.compile(r"(^|\.)(INFO|NAMES|LIST)(\.|$)")
"""Calls that change nothing."""
_ACK: Final = msgspec.json.Decoder(Ack)
_JSON: Final = msgspec.json.Encoder()


class JetStream(StreamReader):
    """What a connection can ask of JetStream. All calls raise ``Unavailable`` when no answer comes."""

    @property
    def disconnects(self) -> int:
        """How often the connection was lost, since the start."""
        return self._exchange.lost

    async def publish(
        self,
        subject: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Ack:
        """Publish and return the server's answer, which may be a refusal."""
        head = b"" if headers is None else encode_headers(headers)
        return _decode_ack(await self._exchange.one(subject, body, head, timeout or self._timeout), subject)

    async def publish_each(self, messages: Sequence[OutgoingMessage], timeout: float | None = None) -> list[Ack]:
        """Publish messages in one go, each for itself, and return the server's answer to each.

        Raises:
            Timeout: whether all were stored is not known.
            Unavailable: nobody takes one of them, or the connection is down.
            TooLarge: one of them is larger than the server takes; those before it are published.
        """
        requests = [Request(each.subject, each.body, encode_headers(each.headers)) for each in messages]
        replies = await self._exchange.each(requests, timeout or self._timeout)
        return [_decode_ack(reply, each.subject) for reply, each in zip(replies, messages, strict=True)]

    async def publish_batch(self, messages: Sequence[OutgoingMessage], timeout: float | None = None) -> list[Ack]:
        """Store messages of one stream together or not at all (NATS ADR-50); an ack for each, or none if refused.

        Each may be guarded; no two may have the same subject. At most 1,000.

        Raises:
            Timeout: whether they were stored is not known.
            Unavailable: the connection is down.
        """
        batch = token_hex(8)
        *others, (last, end) = (
            (each, append_headers(encode_headers(each.headers), {BATCH_ID: batch, BATCH_SEQUENCE: str(place)}))
            for place, each in enumerate(messages, start=1)
        )
        for each, head in others:
            self._exchange.send(each.subject, each.body, head)
        head = append_headers(end, {BATCH_COMMIT: "1"})
        reply = await self._exchange.one(last.subject, last.body, head, timeout or self._timeout)
        ack = _decode_ack(reply, last.subject)
        if ack.error is not None:
            return []
        first = ack.seq - len(messages) + 1
        return [Ack(stream=ack.stream, seq=seq) for seq in range(first, ack.seq + 1)]

    async def api(self, call: str, request: object = None) -> dict[str, object]:
        """Call ``$JS.API.<call>``. Who did nothing while a leader is elected is asked again.

        So is who says nothing, if the call changes nothing.

        Raises:
            Refused: the server answered with an error.
        """
        body = b"" if request is None else _JSON.encode(request)
        until = now() + self._timeout
        while True:
            reply = await self._call(call, body)
            answer = msgspec.json.decode(reply.data, type=dict[str, object])
            if (found := answer.get("error")) is None:
                return answer
            error = msgspec.convert(found, ApiError)
            if error.err_code != NO_LEADER or now() >= until:
                raise ApiRefusal(error, call)
            await asyncio.sleep(ELECTION)

    async def _call(self, call: str, body: bytes) -> Reply:
        def ask(silence: float) -> Awaitable[Reply]:
            return self._exchange.one(f"$JS.API.{call}", body, timeout=silence)

        return await (self._patiently(ask) if _ASKING.search(call) else ask(self._timeout))

    async def subjects(self, stream: str, pattern: str) -> list[str]:
        """All subjects of a stream that match a pattern and hold a message."""
        found: list[str] = []
        while True:
            request = {"subjects_filter": pattern, "offset": len(found)}
            page = msgspec.convert(await self.api(f"STREAM.INFO.{stream}", request), _SubjectPage)
            found += page.state.subjects
            if not page.state.subjects or len(found) >= page.total:
                return found

    async def streams(self) -> list[str]:
        """The names of all streams there are."""
        found: list[str] = []
        while True:
            page = msgspec.convert(await self.api("STREAM.NAMES", {"offset": len(found)}), _NamesPage)
            found += page.streams or ()
            if not page.streams or len(found) >= page.total:
                return found


def _decode_ack(reply: Reply, subject: str) -> Ack:
    try:
        return _ACK.decode(reply.data)
    except UNREADABLE as fault:
        raise Unavailable(f"no stream took the message on {subject}: {fault}", code="no_stream") from fault


async def stream_state(js: JetStream, stream: str) -> StreamState:
    """What a stream holds, now.

    Raises:
        Refused: there is no such stream.
        Unavailable: JetStream does not answer.
    """
    return (await stream_info(js, stream)).state


async def stream_info(js: JetStream, stream: str) -> StreamInfo:
    """What JetStream says of a stream, now.

    Raises:
        Refused: there is no such stream.
        Unavailable: JetStream does not answer.
    """
    return msgspec.convert(await js.api(f"STREAM.INFO.{stream}"), StreamInfo)


async def find_stream(js: JetStream, stream: str) -> StreamInfo | None:
    """What JetStream says of a stream; nothing if there is none of that name.

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
    """What JetStream says of a consumer, now.

    Raises:
        Refused: there is no such consumer.
        Unavailable: JetStream does not answer.
    """
    return msgspec.convert(await js.api(f"CONSUMER.INFO.{stream}.{name}"), ConsumerInfo)


async def find_consumer(js: JetStream, stream: str, name: str) -> ConsumerInfo | None:
    """What JetStream says of a consumer; nothing if the stream has none of that name.

    Raises:
        Unavailable: JetStream does not answer.
    """
    try:
        return await consumer_info(js, stream, name)
    except ApiRefusal as refusal:
        if refusal.error.err_code == CONSUMER_NOT_FOUND:
            return None
        raise
