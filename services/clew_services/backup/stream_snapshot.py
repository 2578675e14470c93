"""JetStream's snapshot and restore of a whole stream, which nats-py has no helper for.

The server sends a snapshot in chunks, each to be acknowledged at its reply subject, of which the last tokens are its
size and its number; a shorter last one asks for no acknowledgement. Then comes an empty message, with a status in its
headers if there is anything to say: 204 is the good one. A restore goes the other way: each chunk is a request, and an
empty one at the end is answered with the stream as it is then.
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
"""Bytes of a chunk: half of what a server takes that nobody has configured."""
WINDOW: Final = 8 * 1024 * 1024
"""Bytes that the server sends ahead of the acknowledgements, and so what is held here at most."""
WHOLE: Final = 600.0
"""Seconds for what may make the server go through a whole stream."""
SILENCE: Final = 30.0
"""Seconds without a chunk, or an answer to one, after which it is given up."""
_FOUND: Final = 5.0
"""Seconds that the servers of a cluster may take to know where the one is that takes the chunks."""
_OVER: Final = frozenset({None, "204"})


class State(Struct, frozen=True):
    """What a stream held. ``last_seq`` is also the last sequence it ever gave."""

    messages: int = 0
    first_seq: int = 0
    last_seq: int = 0


class Description(Struct, frozen=True):
    """A stream at the moment of its snapshot. What came while it was taken may be in the snapshot, too."""

    config: dict[str, object]
    state: State


class _SnapshotAnswer(Struct, frozen=True):
    deliver_subject: str = ""


@asynccontextmanager
async def snapshot(connection: Connection, stream: str) -> AsyncIterator[tuple[Description, AsyncIterator[bytes]]]:
    """Begin a snapshot: what the stream is, and its chunks, to be read to their end.

    Consumers are left out. The server does not look at what it sends: damage shows when it is restored, or verified.

    Raises:
        Refused: there is no such stream.
        Unavailable: the snapshot does not come, or broke off.
    """
    nc, inbox = connection.nc, connection.nc.new_inbox()
    try:
        subscription = await nc.subscribe(inbox)
        try:
            wanted = {"deliver_subject": inbox, "no_consumers": True}
            request = {**wanted, "chunk_size": CHUNK, "window_size": WINDOW}
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
            raise _broken(stream, f"nothing came for {SILENCE:g} s, or the connection was lost") from fault
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
    """Make a stream of a snapshot's chunks, configured as ``description`` says; what it holds then.

    If this is broken off, the server forgets what it was given, and there is no such stream.

    Raises:
        Refused: there is a stream of that name, or the server cannot make one of these chunks.
        Unavailable: the server does not answer.
    """
    stream = str(description.config["name"])
    try:
        opened = await _call(connection, f"STREAM.RESTORE.{stream}", description, SILENCE)
        subject = msgspec.convert(opened, _SnapshotAnswer).deliver_subject
        async for chunk in chunks:
            said = (await _send_chunk(connection, subject, chunk, SILENCE)).data
            if said:
                raise Unavailable(f"the server takes no more of {stream}: {said.decode(errors='replace')}")
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
