"""A deployment's streams, buckets and consumers: created once by ``clew init``, verified at every start.

A process refuses to start if the settings of a stream differ, and names the difference: a setting changed by others (a
rollup allowed, an age limit set) can lose history. Once a deployment has been in use, only streams that can be derived
from the log are created again: see :mod:`clew_services.eventstore.lost_streams`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from clew_events.errors import Corrupt, Invalid, Unavailable
from clew_events.subjects import MAX_SHARDS, event_stream
from clew_projections.fold import FOLD
from clew_projections.generations import record
from clew_projections.generations.alias import Alias
from clew_projections.nats.jetstream import JetStream
from clew_services.eventstore import generation_streams
from clew_services.eventstore.lost_streams import known_shards, refuse_lost, replacement
from clew_services.eventstore.stream_config import check_streams, existing_stream, make_streams, shards_of
from clew_services.eventstore.topology import streams
from clew_services.eventstore.unfinished_restore import refuse_half

NO_LIMIT: Final = -1
LARGEST_MESSAGE: Final = 2**31 - 1
"""The most bytes of any NATS message."""


class Deployment(Struct, frozen=True):
    """The settings of a deployment since its first init, and its ``identity`` among others.

    ``max_msg_size`` is the limit of a commit in bytes, headers included.
    """

    shards: int
    replicas: int
    max_msg_size: int
    identity: str


async def init(
    js: JetStream,
    *,
    shards: int = 4,
    replicas: int = 1,
    max_msg_size: int,
    fold: int = FOLD,
    accept_loss: Collection[str] = (),
) -> list[str]:
    """Create what is missing of a deployment, verify the rest, and return the names of what was created.

    Safe to repeat and to interrupt. The number of shards is fixed at the first init. Where buckets of the live
    generation, or the record of which is live, are missing, the next generation replaces them, and projectors fill it
    from the log. Streams that only a backup can restore are never created again once any stream has held a message,
    except those named in ``accept_loss``.

    Raises:
        Invalid: the number of shards is out of range or is not that of the deployment; or ``accept_loss`` names a
            stream that cannot be lost.
        Corrupt: a stream or consumer has other settings, or is lost.
        Conflict: buckets of the live generation are missing, and another fold is building the next; or a restore is
            not finished here.
    """
    if not 1 <= shards <= MAX_SHARDS:
        raise Invalid(f"'shards' must be between 1 and {MAX_SHARDS}, not {shards}", param="shards")
    if (fixed := await known_shards(js)) not in {None, shards}:
        raise Invalid(
            f"this deployment was initialised with {fixed} shards, which cannot be changed to {shards}: "
            f"start with --shards {fixed}, or choose another NATS server",
            param="shards",
        )
    await refuse_half(js, await existing_stream(js, event_stream(0)))
    await refuse_lost(js, shards, accept_loss)
    wanted = [
        await replacement(js, config) if config["name"] in accept_loss else config
        for config in streams(shards, replicas, max_msg_size)
    ]
    made = await make_streams(js, wanted)
    return made + await _generation(js, shards, replicas, fold)


async def _generation(js: JetStream, shards: int, replicas: int, fold: int) -> list[str]:
    alias = Alias(js)
    existing = await alias.read()
    if existing is None:
        # If the record was lost: a number after all that hold views, since their folds are unknown.
        number = 1 + await generation_streams.last_filled(js)
        made = await generation_streams.make_generation(js, number, shards=shards, replicas=replicas)
        await alias.begin(record.first(fold, datetime.now(UTC), number))
        return made
    live = existing.record.live
    if not await generation_streams.missing_streams(js, live):
        return await generation_streams.make_generation(js, live, shards=shards, replicas=replicas)
    # Another number: running processes must not apply what they cached of the lost buckets to new ones.
    began = await alias.change(
        lambda current: record.begin_build(current, fold, datetime.now(UTC)) if current.live == live else current
    )
    if (building := began.record.building) is None:
        return []  # another process has done it
    made = await generation_streams.make_generation(js, building.number, shards=shards, replicas=replicas)
    await alias.change(
        lambda current: (
            record.switch_to(current, building.number, datetime.now(UTC)) if current.live == live else current
        )
    )
    return made


async def verify(js: JetStream) -> Deployment:
    """Verify the settings of every stream and consumer in use; changes nothing.

    Of the generations only the live one is verified; others are verified when they become live.

    Raises:
        Unavailable: the deployment is not initialised, or JetStream does not answer.
        Conflict: a restore is not finished here.
        Corrupt: a stream or consumer differs; the message names it, the setting, and both values.
    """
    first = await existing_stream(js, event_stream(0))
    if first is None:
        await refuse_lost(js, await known_shards(js) or 1)
        raise Unavailable("there is no Clew on this NATS server yet: run 'clew init'", code="not_initialised")
    await refuse_half(js, first)
    shards, replicas = shards_of(first), int(str(first.get("num_replicas", 1)))
    max_msg_size = int(str(first.get("max_msg_size", NO_LIMIT)))
    try:
        await check_streams(js, streams(shards, replicas, max_msg_size))
    except Corrupt:
        await refuse_lost(js, shards)
        raise
    while True:
        live = (await Alias(js).read_record()).record.live
        try:
            await generation_streams.verify_generation(js, live, shards=shards, replicas=replicas)
        except Corrupt:
            if (await Alias(js).read_record()).record.live == live:
                raise
            continue  # another generation has become live meanwhile
        most = max_msg_size if max_msg_size != NO_LIMIT else LARGEST_MESSAGE
        return Deployment(shards, replicas, most, await identity(js))


async def identity(js: JetStream) -> str:
    """The deployment's time of creation, in digits; identifies it among the deployments of all servers.

    A deployment restored from a backup has another identity.
    """
    return re.sub("[^0-9]", "", str((await js.api(f"STREAM.INFO.{event_stream(0)}"))["created"]))
