"""Links: what a stored body says of its own place in a chain, and whether it continues what stands before it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct

from clew_events.codec import decode
from clew_events.commit import Commit, body_hash
from clew_events.errors import Corrupt, Fault, to_fault
from clew_events.subjects import Address


class Link(Struct, frozen=True, kw_only=True):
    """A stored body in a chain: where it was found, its hash, and what it says; only a ``fault`` if it says nothing."""

    seq: int
    hash: str
    owner: Address | None = None
    n: int = 0
    prev: str | None = None
    at: datetime | None = None
    fault: Fault | None = None


class Tip(Struct, frozen=True, gc=False):
    """The end of a chain so far: the last commit's number, hash and time."""

    n: int
    hash: str | None
    at: datetime | None


NOTHING: Final = Tip(0, None, None)
"""The end of a chain that has not begun."""


def link(body: bytes, seq: int) -> Link:
    """A stored body as a link, readable or not."""
    try:
        commit = decode(body)
    except Corrupt as fault:
        return Link(seq=seq, hash=body_hash(body), fault=to_fault(fault))
    owner = Address(commit.tenant, commit.thread)
    return Link(seq=seq, hash=body_hash(body), owner=owner, n=commit.n, prev=commit.prev, at=commit.at)


def follow(tip: Tip, owner: Address, body: bytes) -> Tip | None:
    """The end of a thread's chain after one more stored body, or nothing if that body does not continue it."""
    try:
        commit = decode(body)
    except Corrupt:
        return None
    return Tip(commit.n, body_hash(body), commit.at) if _continues(tip, owner, commit) else None


def continues(tip: Tip, owner: Address, one: Link) -> bool:
    """Whether a link is the next of a thread's chain."""
    return (
        one.fault is None
        and (one.owner, one.n, one.prev) == (owner, tip.n + 1, tip.hash)
        and (tip.at is None or one.at is None or one.at >= tip.at)
    )


def _continues(tip: Tip, owner: Address, commit: Commit) -> bool:
    return (
        commit.n == tip.n + 1
        and commit.prev == tip.hash
        and commit.thread == owner.thread
        and commit.tenant == owner.tenant
        and (tip.at is None or commit.at >= tip.at)
    )
