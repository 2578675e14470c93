"""Streams of an unfinished restore, next to which no deployment may be created or started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from clew_events.errors import Conflict
from clew_projections.generations.alias import GENERATIONS
from clew_projections.nats.jetstream import JetStream
from clew_services.eventstore.stream_config import existing_stream
from clew_services.eventstore.topology import Config

RESTORING: Final = "clew.restoring"
"""The metadata key that marks a stream of an unfinished restore; its value is the backup's name."""


def restoring_backup(config: Config) -> str | None:
    """The backup whose unfinished restore created a stream, if one did."""
    metadata = config.get("metadata")
    name = metadata.get(RESTORING) if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) else None


async def refuse_half(js: JetStream, first: Config | None) -> None:
    """Check that no restore is unfinished; ``first`` is the configuration of the log's first stream, if it exists.

    Raises:
        Conflict: one is.
        Unavailable: JetStream does not answer.
    """
    # Before the log's first stream exists, the first stream that a restore creates.
    known = first if first is not None else await existing_stream(js, f"KV_{GENERATIONS}")
    if (name := restoring_backup(known or {})) is not None:
        raise Conflict(
            f"a restore of the backup {name} was interrupted here: run 'clew restore' with the same folder again",
            code="restore_unfinished",
        )
