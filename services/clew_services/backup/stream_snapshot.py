"""JetStream's snapshot and restore of a whole stream, which nats-py does not support.

The server sends a snapshot in chunks. Each is acknowledged on its reply subject, whose last tokens are its size and its
number; a shorter last chunk needs no acknowledgement. An empty message ends the snapshot; its headers may have a
status, where 204 is success. For a restore each chunk is sent as a request; the answer to an empty one at the end holds
the stream's state.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from msgspec import Struct
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from clew_events.errors import Unavailable
from clew_projections.nats.stream_messages import ApiError, ApiRefusal
from clew_services.nats_connection import Connection

CHUNK: Final = 512 * 1024
"""Bytes of a chunk: half of the default max_payload of a server."""
WINDOW: Final = 8 * 1024 * 1024
"""Bytes that the server sends ahead of acknowledgements, and so the most that is buffered here."""
WHOLE: Final = 600.0
"""Timeout, in seconds, of requests for which the server may read a whole stream."""
SILENCE: Final = 30.0
"""Timeout, in seconds, of a chunk, or of the answer to one."""
_FOUND: Final = 5.0
"""Seconds in which all servers of a cluster know the subject on which chunks are received."""
_OVER: Final = frozenset({None, "204"})


class State(Struct, frozen=True):
    """The state of a stream. ``last_seq`` is the last sequence that it ever assigned."""

    messages: int = 0
    first_seq: int = 0
    last_seq: int = 0


class Description(Struct, frozen=True):
    """A stream at the beginning of its snapshot. Messages stored while it is taken may be in it, too."""

    config: dict[str, object]
    state: State


class _SnapshotAnswer(Struct, frozen=True):
    deliver_subject: str = ""


@asynccontextmanager
async def snapshot(connection: Connection, stream: str) -> AsyncIterator[tuple[Description, AsyncIterator[bytes]]]:
    """Begin a snapshot: the stream's description, and its chunks, to be read to their end.

    Consumers are not included. The server does not verify what it sends: damage is found at restore or verification.

    Raises:
        ApiRefusal: there is no such stream.
        Unavailable: the snapshot was not begun, or broke off.
    """
    nc, inbox = connection.nc, connection.nc.new_inbox()
    try:
        subscription = await nc.subscribe(inbox)
        try:
            options = {"deliver_subject": inbox, "no_consumers": True}
            request = {**options, "chunk_size": CHUNK, "window_size": WINDOW}
            answer = await _call(connection, f"STREAM.SNAPSHOT.{stream}", request, WHOLE)
            yield msgspec.convert(answer, Description), _chunks(connection, stream, subscription)
        finally:
            await subscription.unsubscribe()
    except NatsError as fault:
        raise Unavailable(f"the snapshot of {stream} broke off: {fault}", code="snapshot_broken") from fault


async def _chunks(connection: Connection, stream: str, subscription: Subscription) -> AsyncIterator[bytes]:
    made, number = connection.made, 0
    while True:
        try:
            message = await subscription.next_msg(SILENCE)
        except (NatsError, TimeoutError) as fault:
            raise _broken(stream, f"no chunk for {SILENCE:g} s, or the connection was lost") from fault
        if connection.made != made:
            raise _broken(stream, "the connection to NATS was lost")
        if not message.data:
            status = (message.headers or {}).get("Status")
            if status not in _OVER:
                raise _broken(stream, f"the server says {status} {(message.headers or {}).get('Description', '')}")
            return
        number += 1
        if message.reply:
            if message.reply.rpartition(".")[2] != str(number):
                raise _broken(stream, f"a chunk was lost before {message.reply}")
            await connection.nc.publish(message.reply)
        yield message.data


def _broken(stream: str, why: str) -> Unavailable:
    return Unavailable(f"the snapshot of {stream} broke off: {why}", code="snapshot_broken")


async def restore(connection: Connection, description: Description, chunks: AsyncIterable[bytes]) -> State:
    """Create a stream from a snapshot's chunks, with the configuration of ``description``, and return its state.

    If this is interrupted, the server discards the chunks, and the stream does not exist.

    Raises:
        ApiRefusal: the stream exists, or the server cannot restore it from these chunks.
        Unavailable: the server does not answer.
    """
    stream = str(description.config["name"])
    try:
        opened = await _call(connection, f"STREAM.RESTORE.{stream}", description, SILENCE)
        subject = msgspec.convert(opened, _SnapshotAnswer).deliver_subject
        async for chunk in chunks:
            answered = (await _send_chunk(connection, subject, chunk, SILENCE)).data
            if answered:
                raise Unavailable(f"the server accepts no more of {stream}: {answered.decode(errors='replace')}")
        answer = _decode_answer(await _send_chunk(connection, subject, b"", WHOLE), f"restoring {stream}")
        return msgspec.convert(answer["state"], State)
    except (NatsError, TimeoutError) as fault:
        raise Unavailable(f"{stream} is not restored, the server does not answer: {fault!r}") from fault


async def _send_chunk(connection: Connection, subject: str, body: bytes, seconds: float) -> Msg:
    until = asyncio.get_running_loop().time() + _FOUND
    while True:
        try:
            return await connection.nc.request(subject, body, timeout=seconds)
        except NoRespondersError:
            if asyncio.get_running_loop().time() >= until:
                raise
            await asyncio.sleep(0.05)


async def _call(connection: Connection, call: str, request: object, seconds: float) -> dict[str, object]:
    body = msgspec.json.encode(request)
    return _decode_answer(await connection.nc.request(f"$JS.API.{call}", body, timeout=seconds), call)


def _decode_answer(message: Msg, what: str) -> dict[str, object]:
    answer = msgspec.json.decode(message.data, type=dict[str, object])
    if (error := answer.get("error")) is not None:
        raise ApiRefusal(msgspec.convert(error, ApiError), what)
    return answer
