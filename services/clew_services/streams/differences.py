"""Holding what is there against what must be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from clew_events.errors import Corrupt
from clew_services.streams.wanted import SHARDS, Config

_SERVER_CHOICES: Final = frozenset({"max_msg_size", "compression"})
"""What says nothing of what is kept: streams that were made when Clew chose otherwise stay as they are."""


def shards_of(config: Config) -> int:
    """How many shards a deployment was given when its first stream was made.

    Raises:
        Corrupt: this stream is none of Clew's.
    """
    metadata = config.get("metadata")
    count = metadata.get(SHARDS) if isinstance(metadata, Mapping) else None
    if not isinstance(count, str) or not count.isdigit():
        raise Corrupt(f"the stream {config.get('name')} was not made by 'clew init'", code="foreign_stream")
    return int(count)


def hold_same(name: str, wanted: Config, found: Config) -> None:
    """Hold that a stream or consumer is what it must be, as far as that is ours to say.

    Raises:
        Corrupt: it is not; the message names it, the setting, and both values.
    """
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
