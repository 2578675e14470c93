"""The streams and consumers of one generation of buckets: created, verified and removed."""

from __future__ import annotations

from clew_events.subjects import event_stream
from clew_projections.kv.bucket import Bucket
from clew_projections.kv.key_names import bucket_names, checkpoint_key
from clew_projections.kv.position import decode_position
from clew_projections.nats.jetstream import JetStream, stream_state
from clew_services.eventstore.stream_config import (
    check_consumers,
    check_streams,
    existing_stream,
    make_consumers,
    make_streams,
    remove_consumer,
    remove_stream,
)
from clew_services.eventstore.topology import buckets, projector, projector_consumers


async def make_generation(js: JetStream, number: int, *, shards: int, replicas: int) -> list[str]:
    """Create the missing streams and consumers of a generation, verify the rest, and return the names of the created.

    Raises:
        Corrupt: an existing one differs.
        Unavailable: JetStream does not answer.
    """
    # The consumers last: where they exist, the buckets exist.
    made = await make_streams(js, buckets(number, replicas))
    return made + await make_consumers(js, projector_consumers(number, shards))


async def verify_generation(js: JetStream, number: int, *, shards: int, replicas: int) -> None:
    """Check that a generation is complete, with the right settings.

    Raises:
        Corrupt: a stream or consumer is missing or differs.
        Unavailable: JetStream does not answer.
    """
    await check_streams(js, buckets(number, replicas))
    await check_consumers(js, projector_consumers(number, shards))


async def missing_streams(js: JetStream, number: int) -> list[str]:
    """The missing streams of a generation's buckets."""
    streams = [f"KV_{name}" for name in bucket_names(number)]
    return [name for name in streams if await existing_stream(js, name) is None]


async def last_filled(js: JetStream) -> int:
    """The highest number of a generation whose bucket of threads has ever held a view; 0 if there is none.

    Raises:
        Unavailable: JetStream does not answer.
    """
    return max([n for n in await _there(js) if (await stream_state(js, f"KV_{_threads(n)}")).last_seq], default=0)


async def highest_position(js: JetStream, shard: int) -> int:
    """The highest sequence of a shard that any generation has projected; 0 if none has.

    Raises:
        Unavailable: JetStream does not answer.
    """
    key = checkpoint_key(shard)
    return max([decode_position(key, await Bucket(js, _threads(n)).latest(key)) for n in await _there(js)], default=0)


async def _there(js: JetStream) -> list[int]:
    """The numbers of the generations whose bucket of threads exists, recorded or not."""
    prefix = f"KV_{_threads(1).removesuffix('1')}"
    found = (name.removeprefix(prefix) for name in await js.streams() if name.startswith(prefix))
    return [int(each) for each in found if each.isdecimal()]


def _threads(number: int) -> str:
    return bucket_names(number)[0]


async def remove_generation(js: JetStream, number: int, *, shards: int) -> None:
    """Delete all that exists of a generation. Safe to repeat.

    Raises:
        Unavailable: JetStream does not answer.
    """
    for shard in range(shards):
        await remove_consumer(js, event_stream(shard), projector(number))
    for name in bucket_names(number):
        await remove_stream(js, f"KV_{name}")
