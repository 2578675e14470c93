"""The settings of a deployment's streams, buckets and consumers. A stored format: existing deployments have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clew_events.subjects import (
    CHECKPOINT,
    CHECKPOINT_STREAM,
    ERASED,
    ERASED_STREAM,
    ERASURES,
    EVENTS,
    INBOX,
    INBOX_STREAM,
    LIVE,
    LIVE_ERASURES,
    REJECTED,
    REJECTED_STREAM,
    event_stream,
    shard_subjects,
)
from clew_projections.generations.record import GENERATIONS, LIVE_GENERATIONS
from clew_projections.kv.key_names import SNAPSHOT_BUCKET, SNAPSHOT_STREAM, bucket_names
from clew_services.api_keys.key_bucket import KEYS, LIVE_KEYS

SHARDS: Final = "clew.shards"
FORMAT: Final = "clew.format"
LEASES: Final = "clew_leases"

SPENT_IDS_KEPT: Final = 25 * 60 * 60
"""Seconds for which callers' command ids are kept in addition to a thread's last 100; a day is promised."""

_SECOND: Final = 1_000_000_000
DUPLICATE_WINDOW: Final = 120 * _SECOND
"""The server's own deduplication window, in nanoseconds; Clew's idempotency lasts longer."""
SHORTEST_WINDOW: Final = _SECOND // 10
"""The shortest window that a server accepts; none would be better where several tenants publish to one stream."""

COMPRESSION: Final = "none"
"""No stream is compressed: single messages are read at random, and for each that is not in its cache the server would
decompress a block of 8 MB (measured: 4 to 25 ms against 0.3 to 2); and what was erased can be looked for in the files.
"""

Config = dict[str, object]


def _log(shard: int, shards: int, replicas: int, max_msg_size: int) -> Config:
    return {
        "name": event_stream(shard),
        "description": "Clew: the log. One message is one commit; nothing is removed but by an erasure.",
        "subjects": [shard_subjects(shard)],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "num_replicas": replicas,
        "max_msg_size": max_msg_size,
        "duplicate_window": DUPLICATE_WINDOW,
        "compression": COMPRESSION,
        "allow_direct": True,
        "allow_atomic": True,
        "allow_rollup_hdrs": False,
        # A sweep purges the beginning of a shard. Who may do so is for permissions to say.
        "deny_purge": False,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msgs_per_subject": -1,
        "republish": {"src": f"{EVENTS}.>", "dest": f"{LIVE}.evt.>"},
        "metadata": {SHARDS: str(shards), FORMAT: "1"},
    }


def _bucket(name: str, replicas: int, max_age: int = 0) -> Config:
    return {
        "name": f"KV_{name}",
        "description": "Clew: current state, a projection of the log. It can be rebuilt; do not write to it.",
        "subjects": [f"$KV.{name}.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "num_replicas": replicas,
        "max_msgs_per_subject": 1,
        "max_age": max_age,
        "compression": COMPRESSION,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        # Views can be derived from the log, so none is worth an fsync. Replicated streams have no such mode.
        **({"persist_mode": "async"} if replicas == 1 else {}),
        "metadata": {FORMAT: "1"},
    }


def _keys(replicas: int) -> Config:
    return {
        "name": f"KV_{KEYS}",
        "description": "Clew: API keys, as far as they are kept. Made and revoked by 'clew keys'.",
        "subjects": [f"$KV.{KEYS}.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "num_replicas": replicas,
        "max_msgs_per_subject": 1,
        "max_age": 0,
        "compression": COMPRESSION,
        "allow_direct": True,
        "allow_rollup_hdrs": False,
        # Processes are notified that a key has changed, and then read it.
        "republish": {"src": f"$KV.{KEYS}.>", "dest": f"{LIVE_KEYS}.>", "headers_only": True},
        "metadata": {FORMAT: "1"},
    }


def _generations(replicas: int) -> Config:
    return {
        **_keys(replicas),
        "name": f"KV_{GENERATIONS}",
        "description": "Clew: which generation of buckets is live. Changed by 'clew rebuild'.",
        "subjects": [f"$KV.{GENERATIONS}.>"],
        "republish": {"src": f"$KV.{GENERATIONS}.>", "dest": f"{LIVE_GENERATIONS}.>", "headers_only": True},
    }


def _leases(replicas: int) -> Config:
    config = _bucket(LEASES, replicas)
    # A lease that is lost in a crash could be held by two processes, so it is synced.
    config.pop("persist_mode", None)
    return {**config, "description": "Clew: which process serves the inbox."}


def _snapshots(replicas: int) -> Config:
    return {
        "name": SNAPSHOT_STREAM,
        "description": "Clew: snapshots of the index, an object store. Derived from the log; do not write to it.",
        "subjects": [f"$O.{SNAPSHOT_BUCKET}.C.>", f"$O.{SNAPSHOT_BUCKET}.M.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "num_replicas": replicas,
        "max_age": 0,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        **({"persist_mode": "async"} if replicas == 1 else {}),
        "metadata": {FORMAT: "1"},
    }


def _inbox(replicas: int, max_msg_size: int) -> Config:
    return {
        "name": INBOX_STREAM,
        "description": "Clew: commands waiting to be carried out.",
        "subjects": [f"{INBOX}.*.*"],
        "retention": "workqueue",
        "storage": "file",
        "discard": "new",
        "num_replicas": replicas,
        "max_msg_size": max_msg_size,
        "max_msgs": 1_000_000,
        "max_age": 0,
        # Deduplication compares message ids across tenants: one tenant's message could suppress another's.
        "duplicate_window": SHORTEST_WINDOW,
        "compression": COMPRESSION,
        "allow_direct": True,
        "metadata": {FORMAT: "1"},
    }


def _rejected(replicas: int) -> Config:
    return {
        "name": REJECTED_STREAM,
        "description": "Clew: inbox commands that were refused, and why.",
        "subjects": [f"{REJECTED}.*.*.*"],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "num_replicas": replicas,
        "max_msgs": 1_000_000,
        "max_age": 0,
        "duplicate_window": DUPLICATE_WINDOW,
        "compression": COMPRESSION,
        "allow_direct": True,
        "metadata": {FORMAT: "1"},
    }


def _checkpoints(replicas: int) -> Config:
    return {
        "name": CHECKPOINT_STREAM,
        "description": "Clew: signed checkpoints of the log. Nothing here is ever changed or removed.",
        "subjects": [f"{CHECKPOINT}.*"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "num_replicas": replicas,
        "duplicate_window": DUPLICATE_WINDOW,
        "compression": COMPRESSION,
        "allow_direct": True,
        "allow_rollup_hdrs": False,
        "deny_delete": True,
        "deny_purge": True,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msgs_per_subject": -1,
        "republish": {"src": f"{CHECKPOINT}.>", "dest": f"{LIVE}.checkpoint.>"},
        "metadata": {FORMAT: "1"},
    }


def _erased(replicas: int) -> Config:
    return {
        "name": ERASED_STREAM,
        "description": "Clew: commits that were erased or swept out of the log, and the erasures. Belongs to the log.",
        "subjects": [f"{ERASED}.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "num_replicas": replicas,
        "duplicate_window": DUPLICATE_WINDOW,
        "compression": COMPRESSION,
        "allow_direct": True,
        "allow_atomic": True,  # a sweep stores many commits at once
        "allow_rollup_hdrs": False,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msgs_per_subject": -1,
        # Processes are notified that an erasure was requested, and then read it.
        "republish": {"src": f"{ERASURES}.>", "dest": f"{LIVE_ERASURES}.>", "headers_only": True},
        "metadata": {FORMAT: "1"},
    }


def streams(shards: int, replicas: int, max_msg_size: int) -> Iterator[Config]:
    """The configurations of all streams of a deployment except those of its generations.

    The inbox comes last: publishers write to it as soon as it exists, and a message in any stream must imply that all
    others were created; see :mod:`clew_services.eventstore.lost_streams`.
    """
    for shard in range(shards):
        yield _log(shard, shards, replicas, max_msg_size)
    yield _keys(replicas)
    yield _generations(replicas)
    yield _snapshots(replicas)
    yield _leases(replicas)
    yield _rejected(replicas)
    yield _checkpoints(replicas)
    yield _erased(replicas)
    yield _inbox(replicas, max_msg_size)


def buckets(generation: int, replicas: int) -> Iterator[Config]:
    """The configurations of the streams of a generation's buckets."""
    threads, commands = bucket_names(generation)
    yield _bucket(threads, replicas)
    yield _bucket(commands, replicas, SPENT_IDS_KEPT * _SECOND)


def projector_consumers(generation: int, shards: int) -> Iterator[tuple[str, Config]]:
    """The streams and configurations of the durable consumers of a generation's projectors."""
    name = projector(generation)
    for shard in range(shards):
        # Messages of a process that died are redelivered after ``ack_wait``. Redelivery is harmless, so it may be
        # short; it must be well below the time after which a projection without progress is reported as stuck.
        yield (
            event_stream(shard),
            {
                "name": name,
                "durable_name": name,
                "description": "Clew: feeds the projectors.",
                "deliver_policy": "all",
                "ack_policy": "explicit",
                "ack_wait": 10 * _SECOND,
                "max_deliver": -1,
                "max_ack_pending": 10_000,
            },
        )


def projector(generation: int) -> str:
    """The name of a generation's consumers: that of its bucket of threads."""
    return bucket_names(generation)[0]
