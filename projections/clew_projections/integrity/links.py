"""Links of a thread's hash chain, and the check that a stored body continues the chain."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE, check_canonical, decode, decode_canonical
from clew_events.commit import Commit, record_hash, record_of
from clew_events.errors import Corrupt, Fault, to_fault
from clew_events.events import ForkedFrom
from clew_events.subjects import Address


class Link(Struct, frozen=True, kw_only=True):
    """A stored body in a chain: its sequence, its hash, and its own fields; only a ``fault`` if it is unreadable."""

    seq: int
    hash: str
    owner: Address | None = None
    n: int = 0
    prev: str | None = None
    at: datetime | None = None
    forked_from: ForkedFrom | None = None
    fault: Fault | None = None


class Tip(Struct, frozen=True, gc=False):
    """The current end of a chain: the last commit's number, hash and time."""

    n: int
    hash: str | None
    at: datetime | None = None


class _Place(Struct, frozen=True, gc=False):
    tenant: str
    thread: str
    n: int
    prev: str | None


_PLACE: Final = msgspec.json.Decoder(_Place)

NOTHING: Final = Tip(0, None)
"""The end of an empty chain."""


def link(body: bytes, seq: int) -> Link:
    """Return a stored body as a link, readable or not."""
    try:
        commit = decode(body)
        check_canonical(body)
    except Corrupt as fault:
        return Link(seq=seq, hash=record_hash(body), fault=to_fault(fault))
    owner = Address(commit.tenant, commit.thread)
    return Link(
        seq=seq,
        hash=record_hash(body),
        owner=owner,
        n=commit.n,
        prev=commit.prev,
        at=commit.at,
        forked_from=commit.forked_from,
    )


def follow(tip: Tip, owner: Address, body: bytes) -> Tip | None:
    """Return the end of a thread's chain after one more stored body; ``None`` if the body does not continue it.

    Only a body's place in the chain is read, so a commit of a newer Clew with unknown events continues a chain too:
    every version finds the same heads in the same log.
    """
    try:
        place = _PLACE.decode(record_of(body))
    except UNREADABLE:
        return None
    if (place.n, place.prev, place.thread, place.tenant) != (tip.n + 1, tip.hash, owner.thread, owner.tenant):
        return None
    return Tip(place.n, record_hash(body))


def place_of(body: bytes) -> int:
    """Return the number of the commit in a stored body.

    Raises:
        Corrupt: the body has no number.
    """
    try:
        return _PLACE.decode(record_of(body)).n
    except UNREADABLE as fault:
        raise Corrupt(f"not a commit: {fault}", code="unreadable_commit") from fault


def read_next(tip: Tip, owner: Address, body: bytes) -> tuple[Commit, Tip] | None:
    """Return the commit in a stored body that continues a thread's chain, and the end of the chain after it.

    ``None`` if it is not fully readable. Stricter than :func:`follow`, and also ``None`` if its time goes backwards.
    Contents may be missing.
    """
    try:
        commit, digest = decode_canonical(body)
    except Corrupt:
        return None
    fits = (
        commit.n == tip.n + 1
        and commit.prev == tip.hash
        and commit.thread == owner.thread
        and commit.tenant == owner.tenant
        and (tip.at is None or commit.at >= tip.at)
    )
    return (commit, Tip(commit.n, digest, commit.at)) if fits else None


def continues(tip: Tip, owner: Address, one: Link) -> bool:
    """Whether a link is the next of a thread's chain."""
    return (
        one.fault is None
        and (one.owner, one.n, one.prev) == (owner, tip.n + 1, tip.hash)
        and (tip.at is None or one.at is None or one.at >= tip.at)
    )
