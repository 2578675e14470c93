"""The names of the buckets and of their keys.

Each generation has two buckets (see :mod:`clew_projections.generations`), whose names end with its number.

``clew_threads_v1`` holds a :class:`~clew_projections.views.StoredView` under ``<tenant>.<thread>``, full pages of
:class:`~clew_projections.places.Places` under ``<tenant>.<thread>.<number>``, and the projector's own keys, which begin
with ``_`` (no tenant does). :mod:`clew_projections.kv.command_ids` describes ``clew_commands_v1``.
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


def bucket_names(generation: int) -> tuple[str, str]:
    """Return the names of a generation's buckets: threads, command ids."""
    return f"clew_threads_v{generation}", f"clew_commands_v{generation}"


THREADS, COMMANDS = bucket_names(1)
"""The buckets of a deployment's first generation."""


def thread_key(address: Address) -> str:
    """Return the key of a thread's view."""
    return f"{address.tenant}.{address.thread}"


def page_key(address: Address, number: int) -> str:
    """Return the key of a full page of a thread's places."""
    return f"{address.tenant}.{address.thread}.{number}"


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
