"""The names of the buckets and of what is in them.

Each generation has three (see :mod:`clew_projections.generations`), with its number at the end of their names.

``clew_threads_v1`` holds a :class:`~clew_projections.views.ThreadView` under ``<tenant>.<thread>``, and keys of the
projector's own that begin with ``_`` (which no tenant does). ``clew_messages_v1`` holds a
:class:`~clew_projections.views.MessageView` under ``<tenant>.<thread>.<ordinal>``, ordinals being dense, so a page of
messages is one request that names exactly the keys wanted. ``clew_commands_v1`` is described in
:mod:`clew_projections.kv.command_ids`.
"""

from __future__ import annotations

from typing import Final

from clew_events import ids
from clew_events.subjects import Address, is_addressable

CHECKPOINTS: Final = "_checkpoint"
PARKED: Final = "_parked"
PROVED: Final = "_proved"


def bucket_names(generation: int) -> tuple[str, str, str]:
    """The names of a generation's buckets: of threads, messages and command ids."""
    return f"clew_threads_v{generation}", f"clew_messages_v{generation}", f"clew_commands_v{generation}"


THREADS, MESSAGES, COMMANDS = bucket_names(1)
"""The buckets that a deployment begins with."""


def thread_key(address: Address) -> str:
    """The key of a thread's view."""
    return f"{address.tenant}.{address.thread}"


def message_key(address: Address, ordinal: int) -> str:
    """The key of a message's view."""
    return f"{address.tenant}.{address.thread}.{ordinal}"


def checkpoint_key(shard: int) -> str:
    """The key that says up to which sequence of a shard every view is written."""
    return f"{CHECKPOINTS}.{shard:02d}"


def proved_key(shard: int) -> str:
    """The key that says how far a shard was compared with the log."""
    return f"{PROVED}.{shard:02d}"


def parked_key(address: Address) -> str:
    """The key that says that a thread's history cannot be folded, and why."""
    if not is_addressable(address):
        return f"{PARKED}._.{ids.derive_id('long-', *address)}"
    return f"{PARKED}.{address.tenant}.{address.thread}"
