"""The streams, buckets and consumers of a deployment: created once by ``clew init``, and only verified ever after.

A process that starts refuses a stream that differs from what this file says, and says how it differs, because a
setting changed behind Clew's back (a rollup allowed, an age limit set) is how histories get lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct

from clew_events.errors import Corrupt, Invalid, Unavailable
from clew_events.subjects import (
    EVENTS,
    INBOX,
    INBOX_STREAM,
    LIVE,
    MAX_SHARDS,
    REJECTED,
    REJECTED_STREAM,
    event_stream,
    shard_subjects,
)
from clew_projections.buckets import COMMANDS, MESSAGES, THREADS
from clew_projections.jetstream import JetStream, Refused
from clew_services.keys.ring import KEYS, LIVE_KEYS

SHARDS: Final = "clew.shards"
FORMAT: Final = "clew.format"
PROJECTOR: Final = THREADS
HANDLERS: Final = "handlers"
LEASES: Final = "clew_leases"

SPENT_IDS_KEPT: Final = 25 * 60 * 60
"""Seconds for which callers' command ids are kept beside a thread's last 100: a day is promised."""

_SECOND: Final = 1_000_000_000
_STREAM_NOT_FOUND: Final = 10059
_CONSUMER_NOT_FOUND: Final = 10014
_SERVER_CHOICES: Final = frozenset({"max_msg_size"})

Config = dict[str, object]


class Deployment(Struct, frozen=True):
    """What a running deployment was initialised with."""

    shards: int
    replicas: int


def _log(shard: int, shards: int, replicas: int, max_msg_size: int) -> Config:
    return {
        "name": event_stream(shard),
        "description": "Clew: the log. One message is one commit; nothing here is ever changed or removed.",
        "subjects": [shard_subjects(shard)],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "num_replicas": replicas,
        "max_msg_size": max_msg_size,
        "duplicate_window": 120 * _SECOND,
        "compression": "s2",
        "allow_direct": True,
        "allow_atomic": True,
        "allow_rollup_hdrs": False,
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
        "compression": "s2",
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        # It follows from the log, so no view is worth an fsync. Replicas have no such mode and need none.
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
        "compression": "s2",
        "allow_direct": True,
        "allow_rollup_hdrs": False,
        # Processes hear that a key has changed, and then ask for what it has become.
        "republish": {"src": f"$KV.{KEYS}.>", "dest": f"{LIVE_KEYS}.>", "headers_only": True},
        "metadata": {FORMAT: "1"},
    }


def _leases(replicas: int) -> Config:
    config = _bucket(LEASES, replicas)
    # Unlike a view, a lease that a crash takes back would have two processes believe that they hold it.
    config.pop("persist_mode", None)
    return {**config, "description": "Clew: which process serves the inbox."}


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
        "duplicate_window": 120 * _SECOND,
        "compression": "s2",
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
        "duplicate_window": 120 * _SECOND,
        "compression": "s2",
        "allow_direct": True,
        "metadata": {FORMAT: "1"},
    }


def streams(shards: int, replicas: int, max_msg_size: int) -> Iterator[Config]:
    """Every stream of a deployment, as it must be."""
    for shard in range(shards):
        yield _log(shard, shards, replicas, max_msg_size)
    yield _bucket(THREADS, replicas)
    yield _bucket(MESSAGES, replicas)
    yield _bucket(COMMANDS, replicas, SPENT_IDS_KEPT * _SECOND)
    yield _keys(replicas)
    yield _leases(replicas)
    yield _inbox(replicas, max_msg_size)
    yield _rejected(replicas)


def consumers(shards: int) -> Iterator[tuple[str, Config]]:
    """Every durable consumer of a deployment, with its stream."""
    for shard in range(shards):
        yield event_stream(shard), _consumer(PROJECTOR, "Clew: feeds the projectors.", 10_000)
    yield INBOX_STREAM, _consumer(HANDLERS, "Clew: feeds the handlers of inbox commands.", 2_000)


def _consumer(name: str, description: str, max_ack_pending: int) -> Config:
    return {
        "name": name,
        "durable_name": name,
        "description": description,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": 30 * _SECOND,
        "max_deliver": -1,
        "max_ack_pending": max_ack_pending,
    }


async def init(js: JetStream, *, shards: int = 4, replicas: int = 1, max_msg_size: int) -> list[str]:
    """Create what is missing of a deployment and verify the rest; the names of what was created.

    Safe to repeat, and to interrupt. A deployment that exists keeps the number of shards it was first given.

    Raises:
        Invalid: another number of shards was asked for than the deployment has, or an impossible one.
        Corrupt: something of that name is there and is not as it must be.
    """
    if not 1 <= shards <= MAX_SHARDS:
        raise Invalid(f"'shards' must be between 1 and {MAX_SHARDS}, not {shards}", param="shards")
    first = await _existing(js, event_stream(0))
    if first is not None and (fixed := _shards(first)) != shards:
        raise Invalid(
            f"this deployment was initialised with {fixed} shards, which cannot be changed to {shards}: "
            f"start with --shards {fixed}, or choose another NATS server",
            param="shards",
        )
    made = []
    for config in streams(shards, replicas, max_msg_size):
        name = str(config["name"])
        existing = await _existing(js, name)
        if existing is None:
            await js.api(f"STREAM.CREATE.{name}", config)
            made.append(name)
        else:
            _hold_same(name, config, existing)
    for stream, config in consumers(shards):
        name = str(config["name"])
        existing = await _existing_consumer(js, stream, name)
        if existing is None:
            await js.api(f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config})
            made.append(f"{stream}/{name}")
        else:
            _hold_same(f"{stream}/{name}", config, existing)
    return made


async def verify(js: JetStream) -> Deployment:
    """Hold every stream and consumer against what it must be, changing nothing.

    Raises:
        Unavailable: the deployment is not initialised, or JetStream does not answer.
        Corrupt: a stream or consumer differs; the message names it, the setting, and both values.
    """
    first = await _existing(js, event_stream(0))
    if first is None:
        raise Unavailable("there is no Clew on this NATS server yet: run 'clew init'", code="not_initialised")
    shards, replicas = _shards(first), int(str(first.get("num_replicas", 1)))
    max_msg_size = int(str(first.get("max_msg_size", -1)))
    for config in streams(shards, replicas, max_msg_size):
        name = str(config["name"])
        existing = await _existing(js, name)
        if existing is None:
            raise Corrupt(f"the stream {name} is missing: run 'clew init'", code="missing_stream")
        _hold_same(name, config, existing)
    for stream, config in consumers(shards):
        name = str(config["name"])
        existing = await _existing_consumer(js, stream, name)
        if existing is None:
            raise Corrupt(f"the consumer {stream}/{name} is missing: run 'clew init'", code="missing_consumer")
        _hold_same(f"{stream}/{name}", config, existing)
    return Deployment(shards, replicas)


async def _existing(js: JetStream, name: str) -> Config | None:
    return await _config(js, f"STREAM.INFO.{name}", _STREAM_NOT_FOUND)


async def _existing_consumer(js: JetStream, stream: str, name: str) -> Config | None:
    return await _config(js, f"CONSUMER.INFO.{stream}.{name}", _CONSUMER_NOT_FOUND)


async def _config(js: JetStream, call: str, absent: int) -> Config | None:
    try:
        info = await js.api(call)
    except Refused as refusal:
        if refusal.error.err_code == absent:
            return None
        raise
    config = info["config"]
    if not isinstance(config, dict):
        raise Corrupt(f"{call} answered without a configuration")
    return config


def _shards(config: Config) -> int:
    metadata = config.get("metadata")
    count = metadata.get(SHARDS) if isinstance(metadata, Mapping) else None
    if not isinstance(count, str) or not count.isdigit():
        raise Corrupt(f"the stream {config.get('name')} was not made by 'clew init'", code="foreign_stream")
    return int(count)


def _hold_same(name: str, wanted: Config, found: Config) -> None:
    for setting, value in wanted.items():
        actual = found.get(setting, _ABSENT.get(setting))
        if setting == "description" or setting in _SERVER_CHOICES:
            continue
        if isinstance(value, Mapping) and isinstance(actual, Mapping):
            actual = {key: actual.get(key) for key in value}
        if actual != value:
            raise _changed(name, setting, actual, f"must be {value!r}")
    for setting in _NEVER:
        if actual := found.get(setting):
            raise _changed(name, setting, actual, "must not be set")


def _changed(name: str, setting: str, actual: object, demand: str) -> Corrupt:
    return Corrupt(
        f"{name} was changed: its '{setting}' is {actual!r} and {demand}. "
        "Set it back before starting, or find out who changed it",
        code="changed_stream",
    )


# By these, messages would go, come from elsewhere, or never reach those who read them.
_NEVER: Final = (
    *("allow_msg_ttl", "allow_msg_schedules", "allow_msg_counter", "sealed", "no_ack"),
    *("mirror", "sources", "subject_transform", "discard_new_per_subject"),
    *("filter_subject", "filter_subjects", "headers_only", "pause_until", "inactive_threshold", "deliver_subject"),
)
# What the server leaves out of its answers when it is at its zero value.
_ABSENT: Final[Config] = {
    "allow_rollup_hdrs": False,
    "max_age": 0,
    "allow_direct": False,
    "allow_atomic": False,
}
