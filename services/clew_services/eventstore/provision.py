"""The streams, buckets and consumers of a deployment: created once by ``clew init``, and verified at every start.

A process does not start if a stream differs from :mod:`.topology`, and the error says how. A setting that was changed
by others (rollups allowed, an age limit) can destroy histories. In a deployment that is in use, only what follows from
the log is created again: see :mod:`clew_services.eventstore.lost_streams`.
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
from clew_projections.generations.record import Alias
from clew_projections.nats.jetstream import JetStream, stream_info
from clew_services.eventstore import generation_streams
from clew_services.eventstore.lost_streams import known_shards, refuse_half, refuse_lost, replacement
from clew_services.eventstore.stream_config import check_streams, existing_stream, make_streams, shards_of
from clew_services.eventstore.topology import streams

NO_LIMIT: Final = -1
LARGEST_MESSAGE: Final = 2**31 - 1
"""The most bytes of any message of NATS."""


class Deployment(Struct, frozen=True):
    """The layout of a deployment, and its identity.

    ``max_msg_size`` is the most bytes of a commit, headers included.
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
    """Create what a deployment lacks, verify the rest, and return the names of what was created.

    Safe to repeat and to interrupt. An existing deployment keeps its number of shards. If buckets of the live
    generation or the record of generations are gone, the next generation replaces them, and projectors fill it from
    the log. Streams that cannot be derived are not created again once any stream has held a message, unless
    ``accept_loss`` names them.

    Raises:
        Invalid: ``shards`` is out of range or differs from the deployment's; or ``accept_loss`` names another stream.
        Corrupt: a stream, bucket or consumer differs from its configuration, or is lost.
        Conflict: buckets of the live generation are gone while another fold builds the next one; or a restore is not
            finished.
    """
    if not 1 <= shards <= MAX_SHARDS:
        raise Invalid(f"'shards' must be between 1 and {MAX_SHARDS}, not {shards}", param="shards")
    if (fixed := await known_shards(js)) not in {None, shards}:
        raise Invalid(
            f"this deployment has {fixed} shards, which cannot be changed to {shards}: start with --shards {fixed}, or "
            "choose another NATS server",
            param="shards",
        )
    await refuse_half(js, await existing_stream(js, event_stream(0)))
    await refuse_lost(js, shards, accept_loss)
    wanted = [
        await replacement(js, each) if each["name"] in accept_loss else each
        for each in streams(shards, replicas, max_msg_size)
    ]
    made = await make_streams(js, wanted)
    return made + await _generation(js, shards, replicas, fold)


async def _generation(js: JetStream, shards: int, replicas: int, fold: int) -> list[str]:
    alias = Alias(js)
    found = await alias.read()
    if found is None:
        # The record was lost: take a number without views, because it is unknown which fold made them.
        number = 1 + await generation_streams.last_filled(js)
        made = await generation_streams.make_generation(js, number, shards=shards, replicas=replicas)
        await alias.begin(record.first(fold, datetime.now(UTC), number))
        return made
    live = found.record.live
    if not await generation_streams.missing_streams(js, live):
        return await generation_streams.make_generation(js, live, shards=shards, replicas=replicas)
    # Not under the same number: caches of running processes must not apply to the new buckets.
    began = await alias.change(
        lambda each: record.begin_build(each, fold, datetime.now(UTC)) if each.live == live else each
    )
    if (building := began.record.building) is None:
        return []  # another process has done it
    made = await generation_streams.make_generation(js, building.number, shards=shards, replicas=replicas)
    await alias.change(
        lambda each: record.switch_to(each, building.number, datetime.now(UTC)) if each.live == live else each
    )
    return made


async def verify(js: JetStream) -> Deployment:
    """Verify every stream and consumer in use. Read-only.

    Generations that are not live are verified by a switch to them.

    Raises:
        Unavailable: the deployment is not initialised, or JetStream does not answer.
        Conflict: a restore is not finished.
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
    """The identity of a deployment: the digits of its creation time.

    A deployment that was restored from a backup has another identity than the original.
    """
    return re.sub("[^0-9]", "", (await stream_info(js, event_stream(0))).created)
