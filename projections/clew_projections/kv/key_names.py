"""The names of the buckets and of their keys.

Each generation has three buckets (see :mod:`clew_projections.generations`), whose names end with its number.

``clew_threads_v1`` holds a :class:`~clew_projections.views.ThreadView` under ``<tenant>.<thread>``, and the projector's
own keys, which begin with ``_`` (no tenant does). ``clew_messages_v1`` holds a
:class:`~clew_projections.views.MessageView` under ``<tenant>.<thread>.<ordinal>``; ordinals are dense, so a page of
messages is one request with exactly its keys. :mod:`clew_projections.kv.command_ids` describes ``clew_commands_v1``.
"""

from __future__ import annotations

from typing import Final

from clew_events import ids
from clew_events.subjects import Address, is_addressable

CHECKPOINTS: Final = "_checkpoint"
PARKED: Final = "_parked"
PROVED: Final = "_proved"

SNAPSHOT_BUCKET: Final = "clew_index"
"""The object store of the index's snapshots; see :mod:`clew_projections.indexer.snapshots`."""
SNAPSHOT_STREAM: Final = f"OBJ_{SNAPSHOT_BUCKET}"


def bucket_names(generation: int) -> tuple[str, str, str]:
    """Return the names of a generation's buckets: threads, messages, command ids."""
    return f"clew_threads_v{generation}", f"clew_messages_v{generation}", f"clew_commands_v{generation}"


THREADS, MESSAGES, COMMANDS = bucket_names(1)
"""The buckets of a deployment's first generation."""


def thread_key(address: Address) -> str:
    """Return the key of a thread's view."""
    return f"{address.tenant}.{address.thread}"


def message_key(address: Address, ordinal: int) -> str:
    """Return the key of a message's view."""
    return f"{address.tenant}.{address.thread}.{ordinal}"


def checkpoint_key(shard: int) -> str:
    """Return the key of the projector's position in a shard: every view up to this sequence is written."""
    return f"{CHECKPOINTS}.{shard:02d}"


def proved_key(shard: int) -> str:
    """Return the key of the state of a shard's continuous consistency proof."""
    return f"{PROVED}.{shard:02d}"


def parked_key(address: Address) -> str:
    """Return the key of the record that a thread is parked because its history cannot be folded."""
    if not is_addressable(address):
        return f"{PARKED}._.{ids.derive_id('long-', *address)}"
    return f"{PARKED}.{address.tenant}.{address.thread}"
