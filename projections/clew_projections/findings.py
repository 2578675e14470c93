"""Findings of ``clew verify`` and ``clew prove``."""

from __future__ import annotations

from msgspec import Struct


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error in a thread or a shard; ``seq`` is its sequence in the shard's stream, if it has one."""

    tenant: str
    thread: str
    code: str
    what: str
    shard: int
    seq: int | None = None
