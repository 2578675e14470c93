"""Diagnosis of a broken history from its bodies alone. Pure: it needs no server.

A commit's hash is stored only in its successor. So where two neighbours do not fit, the one whose hash the next commit
names counts as intact, and the other is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from clew_events.subjects import Address
from clew_projections.integrity.links import NOTHING, Link, Tip, continues

Tampering = Literal[
    "altered",
    "missing",
    "inserted",
    "duplicated",
    "reordered",
    "moved",
    "time_backwards",
    "unreadable_commit",
    "unknown_event",
    "unknown_format",
]
"""The kind of damage: the code of a finding."""


class Diagnosis(Struct, frozen=True):
    """The first error in a history: its kind, its sequence, and the reason."""

    code: str
    seq: int
    what: str


def diagnose(owner: Address, links: Iterable[Link]) -> Diagnosis | None:
    """Return the first error in a thread's history, given all its links in log order; ``None`` if it is intact."""
    history = tuple(links)
    tip = NOTHING
    for place, one in enumerate(history):
        if not continues(tip, owner, one):
            return _diagnose_link(owner, history, place, tip)
        tip = Tip(one.n, one.hash, one.at)
    return None


def _diagnose_link(owner: Address, history: Sequence[Link], place: int, tip: Tip) -> Diagnosis:
    one = history[place]
    if one.fault is not None:
        return Diagnosis(one.fault.code, one.seq, one.fault.message)
    if one.owner is not None and one.owner != owner:
        whose = f"commit {one.n} of thread {one.owner.thread} of tenant {one.owner.tenant}"
        return Diagnosis("moved", one.seq, f"its body says that it is {whose}")
    for earlier in history[:place]:
        if earlier.hash == one.hash:
            again = f"commit {one.n} is here again, byte for byte as at sequence {earlier.seq}"
            return Diagnosis("duplicated", one.seq, again)
    if one.n > tip.n + 1:
        return _diagnose_jump(history[place:], tip)
    if one.n <= tip.n:
        return _inserted(one, f"a second commit {one.n}, which differs from the one before")
    if one.prev == tip.hash:
        return Diagnosis("time_backwards", one.seq, f"commit {one.n} was made at {one.at}, before commit {tip.n}")
    return _diagnose_break(history, place, tip)


def _diagnose_jump(rest: Sequence[Link], tip: Tip) -> Diagnosis:
    one = rest[0]
    if one.prev == tip.hash and tip.n:
        return Diagnosis(
            "altered", one.seq, f"commit {tip.n + 1}, by the hash it names, says that it is commit {one.n}"
        )
    for later in rest[1:]:
        if later.n == tip.n + 1 and later.prev == tip.hash:
            return Diagnosis("reordered", one.seq, f"commit {one.n} is stored before the older commit {later.n}")
    gone = f"commit {tip.n + 1}" if one.n == tip.n + 2 else f"commits {tip.n + 1} to {one.n - 1}"
    return Diagnosis("missing", one.seq, f"{gone} should be before commit {one.n}, and nothing is")


def _diagnose_break(history: Sequence[Link], place: int, tip: Tip) -> Diagnosis:
    one = history[place]
    follower = history[place + 1] if place + 1 < len(history) else None
    if tip.hash is None:
        return Diagnosis("altered", one.seq, f"commit {one.n} is the first, and names a predecessor")
    if follower is not None and follower.prev == tip.hash:
        return _inserted(one, f"commit {one.n} does not follow commit {tip.n}, and the one after it does")
    if follower is None:
        return Diagnosis(
            "altered",
            one.seq,
            f"commit {one.n} names another predecessor than commit {tip.n} before it: one of the two was altered",
        )
    if follower.prev != one.hash:
        return Diagnosis("altered", one.seq, f"commit {one.n} fits neither the one before it nor the one after it")
    return Diagnosis(
        "altered",
        history[place - 1].seq,
        f"commit {tip.n} is not the one that commit {one.n}, at sequence {one.seq}, names as its predecessor",
    )


def _inserted(one: Link, why: str) -> Diagnosis:
    return Diagnosis("inserted", one.seq, why)
