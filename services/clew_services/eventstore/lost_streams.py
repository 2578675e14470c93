"""Lost streams: those that only a backup can restore, and how their loss is found.

A stream that can be derived from the log (the buckets of a generation, the record of generations, leases, snapshots of
the index) is created again wherever it is missing. The others hold what exists nowhere else: the log, its signed
checkpoints, the API keys, the commands that the inbox has acknowledged, and the rejected commands. An empty stream in
their place would hide the loss, and a new log would reuse the sequences of lost commits.

The first ``clew init`` writes its first message, the record of generations, when every stream exists. So where any
stream has ever held a message, all of them existed once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.errors import Corrupt, Invalid
from clew_events.subjects import CHECKPOINT_STREAM, INBOX_STREAM, MAX_SHARDS, REJECTED_STREAM, event_stream
from clew_projections.generations.alias import GENERATIONS
from clew_projections.nats.jetstream import JetStream
from clew_services.api_keys.key_bucket import KEYS
from clew_services.eventstore import generation_streams
from clew_services.eventstore.stream_config import existing_stream, shards_of, stream_info
from clew_services.eventstore.topology import Config

BESIDE: Final = (CHECKPOINT_STREAM, f"KV_{KEYS}", INBOX_STREAM, REJECTED_STREAM)
"""The streams other than the log that only a backup can restore."""
MARGIN: Final = 1_000_000
"""Upper bound of the commits of a lost shard after the last one that any bucket has."""
_LOG: Final = event_stream(0).removesuffix("00")
_RECORD: Final = f"KV_{GENERATIONS}"


class _State(Struct, frozen=True):
    last_seq: int = 0


def irreplaceable(shards: int) -> tuple[str, ...]:
    """The streams of a deployment that only a backup can restore."""
    return (*(event_stream(shard) for shard in range(shards)), *BESIDE)


async def known_shards(js: JetStream) -> int | None:
    """The number of shards, as recorded in any stream of the log; ``None`` if there is no such stream.

    Raises:
        Corrupt: a stream of that name was not created by Clew.
        Unavailable: JetStream does not answer.
    """
    first = await existing_stream(js, event_stream(0))
    if first is not None:
        return shards_of(first)
    others = await asyncio.gather(*(existing_stream(js, event_stream(shard)) for shard in range(1, MAX_SHARDS)))
    return next((shards_of(config) for config in others if config is not None), None)


async def refuse_lost(js: JetStream, shards: int, accepted: Collection[str] = ()) -> None:
    """Check that no irreplaceable stream of a deployment in use is missing, except those whose loss is ``accepted``.

    Raises:
        Corrupt: one is missing; the message names it and the ways to restore it.
        Invalid: ``accepted`` names a stream that can be created again, or that no deployment has.
        Unavailable: JetStream does not answer.
    """
    needed = irreplaceable(shards)
    for name in accepted:
        if name not in needed:
            raise Invalid(
                f"--accept-loss: {name} is none of the streams that only a backup can restore: {', '.join(needed)}",
                code="unknown_stream",
                param="accept_loss",
            )
    # In this order: once any stream has held a message, all exist, even if several processes run the first init.
    if not await is_in_use(js, shards):
        return
    lost = [name for name in needed if name not in accepted and await stream_info(js, name) is None]
    if lost:
        names = ", ".join(lost)
        options = " ".join(f"--accept-loss {name}" for name in lost)
        raise Corrupt(
            f"lost: {names}. This deployment has been in use, and only a backup can restore what was there, so nothing "
            "was created in its place. Stop all writers, and start the NATS server with the data that it had, or "
            "restore a backup to an empty server with 'clew restore'. Only if there is no backup: "
            f"'clew init {options}' goes on with an empty stream, and what was lost stays lost",
            code="missing_stream",
        )


async def is_in_use(js: JetStream, shards: int) -> bool:
    """Whether a first ``init`` was finished here: an irreplaceable stream or the record has held a message.

    Raises:
        Unavailable: JetStream does not answer.
    """
    names = (*irreplaceable(shards), _RECORD)
    infos = await asyncio.gather(*(stream_info(js, name) for name in names))
    return any(msgspec.convert(info["state"], _State).last_seq for info in infos if info is not None)


async def replacement(js: JetStream, config: Config) -> Config:
    """The configuration of a stream that replaces a lost one.

    No sequence of the log is used twice: a view, an index, a cursor or a checkpoint that names one must not find
    another commit there. So a replaced shard begins :data:`MARGIN` after the last commit that any bucket has.

    Raises:
        Unavailable: JetStream does not answer.
    """
    name = str(config["name"])
    if not name.startswith(_LOG):
        return config
    return {**config, "first_seq": await generation_streams.reached(js, int(name.removeprefix(_LOG))) + MARGIN + 1}
