"""Cursors of the feed: how far a reader is in every shard, in a form to be handed out and taken back.

A cursor names the sequence reached in each shard, and the last commit that was passed with the beginning of its hash.
So it needs no memory of the server's, and one from another log, or from what has become another since, is noticed. Its
own sum covers the tenant: a cursor of somebody else's, or one that was cut off or mistyped, is refused, and never taken
for another place. What a key may read is decided by the key; a forged cursor leads only to one's own commits.

Bytes, in base64 for URLs after ``feed_``: format and order, shards, a number for each, which was last (or 255) and four
bytes of its hash, six bytes of SHA-256 over tenant and all of this.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from clew_events.commit import body_hash
from clew_events.errors import Invalid
from clew_events.queries import Order

PREFIX: Final = "feed_"
LATEST: Final = "latest"
"""Stands for the cursor after everything there is."""
MARK: Final = 8
"""Hex digits of the hash that a cursor keeps."""

_FORMAT: Final = 1
_DESCENDING: Final = 0x80
_NONE: Final = 255
_SUM: Final = 6


class Mark(Struct, frozen=True):
    """The commit that a reader passed last: its shard, where the cursor has its sequence, and its hash's start."""

    shard: int
    hash: str


class Cursor(Struct, frozen=True):
    """A place between commits. ``seqs`` has the last sequence passed in each shard; going backwards, the lowest one."""

    seqs: tuple[int, ...]
    order: Order = "asc"
    mark: Mark | None = None


def mark_of(body: bytes) -> str:
    """What a cursor keeps of a commit, given its stored body."""
    return body_hash(body)[:MARK]


def first_cursor(shards: int) -> Cursor:
    """Before everything."""
    return Cursor((0,) * shards)


def encode_cursor(cursor: Cursor, tenant: str) -> str:
    """A cursor as its tenant may be given it."""
    raw = bytearray((_FORMAT | (_DESCENDING if cursor.order == "desc" else 0), len(cursor.seqs)))
    for seq in cursor.seqs:
        while seq > 0x7F:
            raw.append(seq & 0x7F | 0x80)
            seq >>= 7  # noqa: PLW2901 - eaten up
        raw.append(seq)
    if cursor.mark is None:
        raw.append(_NONE)
    else:
        raw.append(cursor.mark.shard)
        raw += bytes.fromhex(cursor.mark.hash)
    raw += _sum(tenant, raw)
    return PREFIX + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode_cursor(text: str, tenant: str, shards: int, order: Order, param: str = "after") -> Cursor:
    """A cursor that was handed out before.

    Raises:
        Invalid: it was not, or to another tenant, for another deployment, or for the other order.
    """
    raw = _bytes(text)
    if len(raw) < _SUM + 3 or _sum(tenant, raw[:-_SUM]) != raw[-_SUM:]:
        raise _refusal(param, "it is no cursor of this feed, or it was cut off or changed")
    if raw[0] & ~_DESCENDING != _FORMAT:
        raise _refusal(param, "it was written by another version of Clew")
    if raw[1] != shards:
        raise _refusal(param, f"it is from a deployment with {raw[1]} shards, and this one has {shards}")
    found: Order = "desc" if raw[0] & _DESCENDING else "asc"
    if found != order:
        raise _refusal(param, f"it was given out for order '{found}', and '{order}' is asked for")
    rest = iter(raw[2:-_SUM])
    seqs = tuple(_number(rest) for _ in range(shards))
    last = next(rest)
    mark = None if last == _NONE else Mark(last, bytes(rest).hex())
    return Cursor(seqs, found, mark)


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
        f"Invalid '{param}': {why}. Give one that this feed gave you, or leave it out to begin anew.",
        code="invalid_cursor",
        param=param,
    )
