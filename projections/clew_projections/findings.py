"""What a check of the record found wrong: in which thread, where, and what."""

from __future__ import annotations

from msgspec import Struct


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that is not as it must be; ``seq`` is the place in the shard's stream, where there is one."""

    tenant: str
    thread: str
    code: str
    what: str
    shard: int
    seq: int | None = None
