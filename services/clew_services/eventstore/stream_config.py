"""Streams and consumers: reading their settings, creating them, checking them, removing them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from clew_events.errors import Corrupt
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.stream_messages import ApiRefusal
from clew_services.eventstore.topology import SHARDS, Config

_STREAM_NOT_FOUND: Final = 10059
_CONSUMER_NOT_FOUND: Final = 10014


async def existing_stream(js: JetStream, name: str) -> Config | None:
    """The configuration of a stream, if it exists.

    Raises:
        Unavailable: JetStream does not answer.
    """
    return await _config(js, f"STREAM.INFO.{name}", _STREAM_NOT_FOUND)


async def stream_info(js: JetStream, name: str) -> dict[str, object] | None:
    """The info of a stream, with its ``config`` and its ``state``; ``None`` if it does not exist.

    Raises:
        Unavailable: JetStream does not answer.
    """
    return await _call_unless_absent(js, f"STREAM.INFO.{name}", _STREAM_NOT_FOUND)


async def make_streams(js: JetStream, wanted: Iterable[Config]) -> list[str]:
    """Create the missing streams, check the others, and return the names of those created.

    Raises:
        Corrupt: one has other settings.
        Unavailable: JetStream does not answer.
    """
    made = []
    for config in wanted:
        name = str(config["name"])
        existing = await existing_stream(js, name)
        if existing is None:
            await js.api(f"STREAM.CREATE.{name}", config)
            made.append(name)
        else:
            check_same(name, config, existing)
    return made


async def make_consumers(js: JetStream, wanted: Iterable[tuple[str, Config]]) -> list[str]:
    """Create the missing consumers, check the others, and return the names ``stream/consumer`` of those created.

    Raises:
        Corrupt: one has other settings.
        Unavailable: JetStream does not answer.
    """
    made = []
    for stream, config in wanted:
        name = str(config["name"])
        existing = await _existing_consumer(js, stream, name)
        if existing is None:
            await js.api(f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config})
            made.append(f"{stream}/{name}")
        else:
            check_same(f"{stream}/{name}", config, existing)
    return made


async def check_streams(js: JetStream, wanted: Iterable[Config]) -> None:
    """Check that streams exist with the wanted settings.

    Raises:
        Corrupt: one is missing or differs; the message names it and what to do.
        Unavailable: JetStream does not answer.
    """
    for config in wanted:
        name = str(config["name"])
        existing = await existing_stream(js, name)
        if existing is None:
            raise Corrupt(f"the stream {name} is missing: run 'clew init'", code="missing_stream")
        check_same(name, config, existing)


async def check_consumers(js: JetStream, wanted: Iterable[tuple[str, Config]]) -> None:
    """Check that consumers exist with the wanted settings.

    Raises:
        Corrupt: one is missing or differs; the message names it and what to do.
        Unavailable: JetStream does not answer.
    """
    for stream, config in wanted:
        name = str(config["name"])
        existing = await _existing_consumer(js, stream, name)
        if existing is None:
            raise Corrupt(f"the consumer {stream}/{name} is missing: run 'clew init'", code="missing_consumer")
        check_same(f"{stream}/{name}", config, existing)


async def remove_stream(js: JetStream, name: str) -> None:
    """Delete a stream, if it exists."""
    await _call_unless_absent(js, f"STREAM.DELETE.{name}", _STREAM_NOT_FOUND)


async def remove_consumer(js: JetStream, stream: str, name: str) -> None:
    """Delete a consumer, if it exists."""
    await _call_unless_absent(js, f"CONSUMER.DELETE.{stream}.{name}", _CONSUMER_NOT_FOUND)


async def _existing_consumer(js: JetStream, stream: str, name: str) -> Config | None:
    return await _config(js, f"CONSUMER.INFO.{stream}.{name}", _CONSUMER_NOT_FOUND)


async def _config(js: JetStream, call: str, absent: int) -> Config | None:
    info = await _call_unless_absent(js, call, absent)
    if info is None:
        return None
    config = info["config"]
    if not isinstance(config, dict):
        raise Corrupt(f"{call} answered without a configuration")
    return config


async def _call_unless_absent(js: JetStream, call: str, absent: int) -> dict[str, object] | None:
    try:
        return await js.api(call)
    except ApiRefusal as refusal:
        if refusal.error.err_code == absent:
            return None
        raise


_SERVER_CHOICES: Final = frozenset({"max_msg_size", "compression"})
"""Settings that do not affect what is kept, and are not compared: Clew may have chosen others for older streams."""


def shards_of(config: Config) -> int:
    """The number of shards that is recorded in a stream of the log.

    Raises:
        Corrupt: the stream was not created by Clew.
    """
    metadata = config.get("metadata")
    count = metadata.get(SHARDS) if isinstance(metadata, Mapping) else None
    if not isinstance(count, str) or not count.isdigit():
        raise Corrupt(f"the stream {config.get('name')} was not made by 'clew init'", code="foreign_stream")
    return int(count)


def check_same(name: str, wanted: Config, existing: Config) -> None:
    """Check the settings of a stream or consumer, as far as Clew determines them.

    Raises:
        Corrupt: one differs; the message names the stream or consumer, the setting, and both values.
    """
    for setting, value in wanted.items():
        actual = existing.get(setting, _ABSENT.get(setting))
        if setting == "description" or setting in _SERVER_CHOICES:
            continue
        if isinstance(value, Mapping) and isinstance(actual, Mapping):
            actual = {key: actual.get(key) for key in value}
        if actual != value:
            raise _setting_error(name, setting, actual, f"must be {value!r}")
    for setting in _NEVER:
        if actual := existing.get(setting):
            raise _setting_error(name, setting, actual, "must not be set")


def _setting_error(name: str, setting: str, actual: object, demand: str) -> Corrupt:
    return Corrupt(
        f"{name} was changed: its '{setting}' is {actual!r} and {demand}. "
        "Set it back before starting, or find out who changed it",
        code="changed_stream",
    )


# With these, messages would expire, come from other streams, or not reach their readers.
_NEVER: Final = (
    *("allow_msg_ttl", "allow_msg_schedules", "allow_msg_counter", "sealed", "no_ack"),
    *("mirror", "sources", "subject_transform", "discard_new_per_subject"),
    *("filter_subject", "filter_subjects", "headers_only", "pause_until", "inactive_threshold", "deliver_subject"),
)
# Values of settings that the server omits from its answers.
_ABSENT: Final[Config] = {
    "allow_rollup_hdrs": False,
    "max_age": 0,
    "allow_direct": False,
    "allow_atomic": False,
}
