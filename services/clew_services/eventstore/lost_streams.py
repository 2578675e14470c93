"""Lost streams: those that a deployment in use cannot do without, and that only a backup can bring back.

A stream that follows from the log (the buckets of a generation, the record of generations, leases, snapshots of the
index) is created again where it is missing. The others hold what exists nowhere else: the log, what erasures left of
it, its signed checkpoints, the API keys, the commands in the inbox and the rejected ones. An empty stream in place of
one of these would hide the loss, and new commits would get sequences of lost ones.

The first ``clew init`` writes its first message, the record of generations, when all streams exist. So if any stream
has ever held a message, all of them existed once.

Streams of an unfinished restore are never used for a deployment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

from clew_events.errors import Conflict, Corrupt, Invalid
from clew_events.subjects import (
    CHECKPOINT_STREAM,
    ERASED_STREAM,
    INBOX_STREAM,
    MAX_SHARDS,
    REJECTED_STREAM,
    event_stream,
)
from clew_projections.generations.record import GENERATIONS
from clew_projections.nats.jetstream import JetStream, find_stream
from clew_services.api_keys.key_bucket import KEYS
from clew_services.eventstore import generation_streams
from clew_services.eventstore.stream_config import existing_stream, shards_of
from clew_services.eventstore.topology import Config

RESTORING: Final = "clew.restoring"
"""Metadata of a stream of an unfinished restore: the name of the backup."""


def restoring_backup(config: Config) -> str | None:
    """The name of the backup, if a stream is of an unfinished restore."""
    metadata = config.get("metadata")
    found = metadata.get(RESTORING) if isinstance(metadata, Mapping) else None
    return found if isinstance(found, str) else None


async def refuse_half(js: JetStream, first: Config | None) -> None:
    """Check that there is no unfinished restore; ``first`` is the log's first stream, if it exists.

    Raises:
        Conflict: there is one.
        Unavailable: JetStream does not answer.
    """
    # A restore creates this stream first, and the log's first stream last.
    known = first if first is not None else await existing_stream(js, f"KV_{GENERATIONS}")
    if (name := restoring_backup(known or {})) is not None:
        raise Conflict(
            f"the restore of the backup {name} is not finished: run 'clew restore' with the same folder again",
            code="restore_unfinished",
        )


BESIDE: Final = (ERASED_STREAM, CHECKPOINT_STREAM, f"KV_{KEYS}", INBOX_STREAM, REJECTED_STREAM)
"""The streams besides the log that cannot be derived."""
MARGIN: Final = 1_000_000
"""The most commits that a lost shard may have had after those that the buckets know of."""
_LOG: Final = event_stream(0).removesuffix("00")
_RECORD: Final = f"KV_{GENERATIONS}"


def irreplaceable(shards: int) -> tuple[str, ...]:
    """The streams of a deployment that only a backup can bring back."""
    return (*(event_stream(shard) for shard in range(shards)), *BESIDE)


async def known_shards(js: JetStream) -> int | None:
    """The number of shards, as any stream of the log has it; ``None`` if there is no such stream.

    Raises:
        Corrupt: a stream of that name was not made by Clew.
        Unavailable: JetStream does not answer.
    """
    first = await existing_stream(js, event_stream(0))
    if first is not None:
        return shards_of(first)
    others = await asyncio.gather(*(existing_stream(js, event_stream(shard)) for shard in range(1, MAX_SHARDS)))
    return next((shards_of(each) for each in others if each is not None), None)


async def refuse_lost(js: JetStream, shards: int, accepted: Collection[str] = ()) -> None:
    """Check that a deployment in use has lost no stream that cannot be derived, unless its loss is ``accepted``.

    Raises:
        Corrupt: it has; the message names the streams, and how to recover them.
        Invalid: ``accepted`` names a stream that can be derived, or that no deployment has.
        Unavailable: JetStream does not answer.
    """
    needed = irreplaceable(shards)
    for name in accepted:
        if name not in needed:
            raise Invalid(
                f"--accept-loss: {name} is not one of the streams that cannot be derived: {', '.join(needed)}",
                code="unknown_stream",
                param="accept_loss",
            )
    # In this order: once a stream has held a message, all streams exist, even while others initialise a deployment.
    if not await is_in_use(js, shards):
        return
    lost = [name for name in needed if name not in accepted and await find_stream(js, name) is None]
    if lost:
        names = ", ".join(lost)
        options = " ".join(f"--accept-loss {name}" for name in lost)
        raise Corrupt(
            f"lost: {names}. This deployment has been in use, and its data cannot be derived from anything else, so no "
            "empty stream was made. Stop all writers, and recover it: start the NATS server with the data that it had, "
            "or restore a backup to an empty server with 'clew restore'. Only if there is no backup: "
            f"'clew init {options}' continues with an empty stream, and the data stays lost",
            code="missing_stream",
        )


async def is_in_use(js: JetStream, shards: int) -> bool:
    """Whether a deployment was initialised here: any stream that cannot be derived has held a message.

    Raises:
        Unavailable: JetStream does not answer.
    """
    names = (*irreplaceable(shards), _RECORD)
    infos = await asyncio.gather(*(find_stream(js, name) for name in names))
    return any(info.state.last_seq for info in infos if info is not None)


async def replacement(js: JetStream, config: Config) -> Config:
    """The configuration of a stream that replaces a lost one.

    No sequence of the log is used twice: views, indexes, cursors and checkpoints that name one must not find another
    commit there. So a shard begins :data:`MARGIN` after the last sequence that any bucket knows of.

    Raises:
        Unavailable: JetStream does not answer.
    """
    name = str(config["name"])
    if not name.startswith(_LOG):
        return config
    return {
        **config,
        "first_seq": await generation_streams.highest_position(js, int(name.removeprefix(_LOG))) + MARGIN + 1,
    }
