"""Cursors of the feed: a reader's position in every shard, as text for clients.

A cursor holds the position in each shard, and the shard and hash prefix of the last commit passed. So the server keeps
no state, and a cursor of another log, or of a log that was changed since, is detected. Its checksum covers the tenant:
a cursor of another tenant, or one that was truncated or mistyped, is rejected. The API key decides what may be read; a
forged cursor leads only to commits of the caller's own tenant.

Bytes, in base64 for URLs after ``feed_``: format and order, number of shards, a sequence for each, the shard of the
last commit (or 255) and four bytes of its hash, six bytes of SHA-256 over the tenant and all of this.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from clew_events.commit import record_hash
from clew_events.errors import Invalid
from clew_events.queries import Order

PREFIX: Final = "feed_"
LATEST: Final = "latest"
"""Stands for the cursor after the last commit."""
MARK: Final = 8
"""Hex digits of the hash in a cursor."""

_FORMAT: Final = 1
_DESCENDING: Final = 0x80
_NONE: Final = 255
_SUM: Final = 6


class Mark(Struct, frozen=True):
    """The last commit that a reader passed: its shard and the prefix of its hash; the cursor has its sequence."""

    shard: int
    hash: str


class Cursor(Struct, frozen=True):
    """A position between commits. ``seqs`` has the last sequence passed in each shard; backwards, the lowest one."""

    seqs: tuple[int, ...]
    order: Order = "asc"
    mark: Mark | None = None


def mark_of(body: bytes) -> str:
    """Return the hash prefix of a commit, given its stored body."""
    return record_hash(body)[:MARK]


def first_cursor(shards: int) -> Cursor:
    """Return the cursor before the first commit."""
    return Cursor((0,) * shards)


def encode_cursor(cursor: Cursor, tenant: str) -> str:
    """Encode a cursor for its tenant."""
    raw = bytearray((_FORMAT | (_DESCENDING if cursor.order == "desc" else 0), len(cursor.seqs)))
    for seq in cursor.seqs:
        while seq > 0x7F:
            raw.append(seq & 0x7F | 0x80)
            seq >>= 7  # noqa: PLW2901 - consumed
        raw.append(seq)
    if cursor.mark is None:
        raw.append(_NONE)
    else:
        raw.append(cursor.mark.shard)
        raw += bytes.fromhex(cursor.mark.hash)
    raw += _sum(tenant, raw)
    return PREFIX + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode_cursor(text: str, tenant: str, shards: int, order: Order, param: str = "after") -> Cursor:
    """Decode a cursor.

    Raises:
        Invalid: it is not a cursor, or one of another tenant, another deployment, or the other order.
    """
    raw = _bytes(text)
    if len(raw) < _SUM + 3 or _sum(tenant, raw[:-_SUM]) != raw[-_SUM:]:
        raise _refusal(param, "it is not a cursor of this feed, or it was truncated or changed")
    if raw[0] & ~_DESCENDING != _FORMAT:
        raise _refusal(param, "it was written by another version of Clew")
    if raw[1] != shards:
        raise _refusal(param, f"it is from a deployment with {raw[1]} shards, and this one has {shards}")
    actual: Order = "desc" if raw[0] & _DESCENDING else "asc"
    if actual != order:
        raise _refusal(param, f"it is for order '{actual}', and the query asks for '{order}'")
    rest = iter(raw[2:-_SUM])
    seqs = tuple(_number(rest) for _ in range(shards))
    last = next(rest)
    mark = None if last == _NONE else Mark(last, bytes(rest).hex())
    return Cursor(seqs, actual, mark)


def _number(rest: Iterator[int]) -> int:
    number = shift = 0
    for byte in rest:
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return number


def _bytes(text: str) -> bytes:
    body = text.removeprefix(PREFIX)
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True) if body != text else b""
    except (binascii.Error, ValueError):
        return b""


def _sum(tenant: str, raw: bytes | bytearray) -> bytes:
    return hashlib.sha256(b"clew feed\x00" + tenant.encode() + b"\x00" + raw).digest()[:_SUM]


def _refusal(param: str, why: str) -> Invalid:
    return Invalid(
        f"Invalid '{param}': {why}. Use a cursor from this feed, or leave it out to start from the beginning.",
        code="invalid_cursor",
        param=param,
    )
