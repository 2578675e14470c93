"""The streams, buckets and consumers of a deployment: created once by ``clew init``, and only verified ever after.

A process that starts refuses a stream that differs from what this file says, and says how it differs, because a
setting changed behind Clew's back (a rollup allowed, an age limit set) is how histories get lost.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from clew_events.errors import Corrupt, Invalid, Unavailable
from clew_events.subjects import MAX_SHARDS, event_stream
from clew_projections.jetstream import JetStream, Refused
from clew_services.streams.differences import hold_same, shards_of
from clew_services.streams.wanted import Config, consumers, streams

_STREAM_NOT_FOUND: Final = 10059
_CONSUMER_NOT_FOUND: Final = 10014


class Deployment(Struct, frozen=True):
    """What a running deployment was initialised with."""

    shards: int
    replicas: int


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
    if first is not None and (fixed := shards_of(first)) != shards:
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
            hold_same(name, config, existing)
    for stream, config in consumers(shards):
        name = str(config["name"])
        existing = await _existing_consumer(js, stream, name)
        if existing is None:
            await js.api(f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config})
            made.append(f"{stream}/{name}")
        else:
            hold_same(f"{stream}/{name}", config, existing)
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
    shards, replicas = shards_of(first), int(str(first.get("num_replicas", 1)))
    max_msg_size = int(str(first.get("max_msg_size", -1)))
    for config in streams(shards, replicas, max_msg_size):
        name = str(config["name"])
        existing = await _existing(js, name)
        if existing is None:
            raise Corrupt(f"the stream {name} is missing: run 'clew init'", code="missing_stream")
        hold_same(name, config, existing)
    for stream, config in consumers(shards):
        name = str(config["name"])
        existing = await _existing_consumer(js, stream, name)
        if existing is None:
            raise Corrupt(f"the consumer {stream}/{name} is missing: run 'clew init'", code="missing_consumer")
        hold_same(f"{stream}/{name}", config, existing)
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
