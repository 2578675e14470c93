"""The streams and consumers of one generation of buckets: creation, verification, removal."""

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
    """Create the missing streams and consumers of a generation, verify the others, and return the created names.

    Raises:
        Corrupt: a stream or consumer of that name has other settings.
        Unavailable: JetStream does not answer.
    """
    # Consumers last: where a consumer exists, its buckets exist.
    made = await make_streams(js, buckets(number, replicas))
    return made + await make_consumers(js, projector_consumers(number, shards))


async def verify_generation(js: JetStream, number: int, *, shards: int, replicas: int) -> None:
    """Verify the streams and consumers of a generation.

    Raises:
        Corrupt: something is missing or differs.
        Unavailable: JetStream does not answer.
    """
    await check_streams(js, buckets(number, replicas))
    await check_consumers(js, projector_consumers(number, shards))


async def missing_streams(js: JetStream, number: int) -> list[str]:
    """The streams of a generation's buckets that do not exist."""
    streams = [f"KV_{name}" for name in bucket_names(number)]
    return [name for name in streams if await existing_stream(js, name) is None]


async def last_filled(js: JetStream) -> int:
    """The highest number of a generation whose bucket of threads has ever held a message; 0 if there is none.

    Raises:
        Unavailable: JetStream does not answer.
    """
    return max(
        [n for n in await _existing_generations(js) if (await stream_state(js, f"KV_{_threads(n)}")).last_seq],
        default=0,
    )


async def reached(js: JetStream, shard: int) -> int:
    """The highest sequence of a shard that any generation has projected; 0 if none has.

    Raises:
        Unavailable: JetStream does not answer.
    """
    key = checkpoint_key(shard)
    return max(
        [decode_position(key, await Bucket(js, _threads(n)).latest(key)) for n in await _existing_generations(js)],
        default=0,
    )


async def _existing_generations(js: JetStream) -> list[int]:
    """The numbers of the generations whose bucket of threads exists, whether in the record or not."""
    prefix = f"KV_{_threads(1).removesuffix('1')}"
    suffixes = (name.removeprefix(prefix) for name in await js.streams() if name.startswith(prefix))
    return [int(suffix) for suffix in suffixes if suffix.isdecimal()]


def _threads(number: int) -> str:
    return bucket_names(number)[0]


async def remove_generation(js: JetStream, number: int, *, shards: int) -> None:
    """Delete the streams and consumers of a generation. Safe to repeat.

    Raises:
        Unavailable: JetStream does not answer.
    """
    for shard in range(shards):
        await remove_consumer(js, event_stream(shard), projector(number))
    for name in bucket_names(number):
        await remove_stream(js, f"KV_{name}")
