"""Streams of a restore that is not finished: where they are, nobody makes a deployment around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from clew_events.errors import Conflict
from clew_projections.generations.alias import GENERATIONS
from clew_projections.nats.jetstream import JetStream
from clew_services.eventstore.stream_config import existing_stream
from clew_services.eventstore.topology import Config

RESTORING: Final = "clew.restoring"
"""The metadata of a stream that a restore has brought which is not finished: the backup's name."""


def restoring_backup(config: Config) -> str | None:
    """Of which backup's unfinished restore a stream is, if it is of one."""
    metadata = config.get("metadata")
    found = metadata.get(RESTORING) if isinstance(metadata, Mapping) else None
    return found if isinstance(found, str) else None


async def refuse_half(js: JetStream, first: Config | None) -> None:
    """Refuse to go on where a restore was broken off; ``first`` is the log's first stream, if that is there.

    Raises:
        Conflict: one was.
        Unavailable: JetStream does not answer.
    """
    # The first stream that a restore brings, as long as there is none of the last.
    known = first if first is not None else await existing_stream(js, f"KV_{GENERATIONS}")
    if (name := restoring_backup(known or {})) is not None:
        raise Conflict(
            f"a restore of the backup {name} was broken off here: run 'clew restore' with the same folder again",
            code="restore_unfinished",
        )
