"""The configuration of streams and consumers: read, created, and compared with what it must be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from clew_events.errors import Corrupt
from clew_projections.nats.jetstream import CONSUMER_NOT_FOUND, STREAM_NOT_FOUND, JetStream, find_consumer, find_stream
from clew_projections.nats.stream_messages import ApiRefusal
from clew_services.eventstore.topology import SHARDS, Config


async def existing_stream(js: JetStream, name: str) -> Config | None:
    """The configuration of a stream, if it exists.

    Raises:
        Unavailable: JetStream does not answer.
    """
    info = await find_stream(js, name)
    return info.config if info is not None else None


async def make_streams(js: JetStream, wanted: Iterable[Config]) -> list[str]:
    """Create missing streams, verify the others, and return the names of the created ones.

    Raises:
        Corrupt: an existing stream differs.
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
    """Create missing consumers, verify the others, and return the names of the created ones.

    Raises:
        Corrupt: an existing consumer differs.
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
    """Check that streams exist with these configurations.

    Raises:
        Corrupt: one is missing or differs; the message names it, and what to do.
        Unavailable: JetStream does not answer.
    """
    for config in wanted:
        name = str(config["name"])
        existing = await existing_stream(js, name)
        if existing is None:
            raise Corrupt(f"the stream {name} is missing: run 'clew init'", code="missing_stream")
        check_same(name, config, existing)


async def check_consumers(js: JetStream, wanted: Iterable[tuple[str, Config]]) -> None:
    """Check that consumers exist with these configurations.

    Raises:
        Corrupt: one is missing or differs; the message names it, and what to do.
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
    await _unless_gone(js, f"STREAM.DELETE.{name}", STREAM_NOT_FOUND)


async def remove_consumer(js: JetStream, stream: str, name: str) -> None:
    """Delete a consumer, if it exists."""
    await _unless_gone(js, f"CONSUMER.DELETE.{stream}.{name}", CONSUMER_NOT_FOUND)


async def _existing_consumer(js: JetStream, stream: str, name: str) -> Config | None:
    info = await find_consumer(js, stream, name)
    return info.config if info is not None else None


async def _unless_gone(js: JetStream, call: str, absent: int) -> None:
    try:
        await js.api(call)
    except ApiRefusal as refusal:
        if refusal.error.err_code != absent:
            raise


_SERVER_CHOICES: Final = frozenset({"max_msg_size", "compression"})
"""Settings that do not affect which messages are kept: they may differ in streams of earlier versions."""


def shards_of(config: Config) -> int:
    """The number of shards of a deployment, from the configuration of a stream of its log.

    Raises:
        Corrupt: the stream was not made by Clew.
    """
    metadata = config.get("metadata")
    count = metadata.get(SHARDS) if isinstance(metadata, Mapping) else None
    if not isinstance(count, str) or not count.isdigit():
        raise Corrupt(f"the stream {config.get('name')} was not made by 'clew init'", code="foreign_stream")
    return int(count)


def check_same(name: str, wanted: Config, found: Config) -> None:
    """Check that a stream or consumer has all settings that Clew requires.

    Raises:
        Corrupt: it has not; the message names it, the setting, and both values.
    """
    for setting, value in wanted.items():
        actual = found.get(setting, _ABSENT.get(setting))
        if setting == "description" or setting in _SERVER_CHOICES:
            continue
        if isinstance(value, Mapping) and isinstance(actual, Mapping):
            actual = {key: actual.get(key) for key in value}
        if actual != value:
            raise _setting_error(name, setting, actual, f"must be {value!r}")
    for setting in _NEVER:
        if actual := found.get(setting):
            raise _setting_error(name, setting, actual, "must not be set")


def _setting_error(name: str, setting: str, actual: object, demand: str) -> Corrupt:
    return Corrupt(
        f"{name} was changed: its '{setting}' is {actual!r} and {demand}. Change it back before the start, and find "
        "out who changed it",
        code="changed_stream",
    )


# These settings remove messages, add messages of other streams, or hide them from readers.
_NEVER: Final = (
    *("allow_msg_ttl", "allow_msg_schedules", "allow_msg_counter", "sealed", "no_ack"),
    *("mirror", "sources", "subject_transform", "discard_new_per_subject"),
    *("filter_subject", "filter_subjects", "headers_only", "pause_until", "inactive_threshold", "deliver_subject"),
)
# The server omits these settings from its answers when they have their zero value.
_ABSENT: Final[Config] = {
    "allow_rollup_hdrs": False,
    "max_age": 0,
    "allow_direct": False,
    "allow_atomic": False,
}
