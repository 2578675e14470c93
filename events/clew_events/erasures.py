"""Erasures: what is sent about them, what a certificate says, and which contents an erasure takes. Pure.

An erasure is requested by a commit of its thread with an :class:`~clew_events.events.ErasureRequested`. It takes
contents of the thread's earlier commits, and follows from that event and their records alone: so whoever has the chain
can tell which contents may be gone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from clew_events.codec import CONTENTS
from clew_events.commit import Commit, Position
from clew_events.events import ErasureRequested, Event, ItemEvent, type_of

COMMAND: Final = 0
"""The number of a command's own content among those of its commit; that of event ``i`` has number ``i``, from 1."""

Status = Literal["requested", "erased", "completed", "failed"]
"""How far an erasure is: requested and refused to readers; gone from the log and all state; gone from every disk."""


class Erasure(Struct, frozen=True, kw_only=True):
    """An erasure of a thread, or of the message ``message_id`` of it.

    ``code`` is why, as the caller said. ``n`` and ``position`` are those of the commit that requests it, and null until
    that is known to be in the log. ``commits`` counts the commits that have lost contents so far. ``fault`` is why it
    failed, or what it waits for. ``left`` is what could not be overwritten: the certificate will say so.
    ``certificate`` is the SHA-256 of the signed certificate, in hex.
    """

    id: str
    object: Literal["erasure"] = "erasure"
    status: Status
    thread_id: str
    message_id: str | None = None
    code: str | None = None
    actor: str
    by: str
    n: int | None = None
    position: Position | None = None
    commits: int = 0
    requested_at: datetime
    erased_at: datetime | None = None
    completed_at: datetime | None = None
    fault: str | None = None
    left: tuple[str, ...] = ()
    certificate: str | None = None

    @property
    def request(self) -> ErasureRequested:
        """The event that requests it, but for the ordinals of its item."""
        items = None if self.message_id is None else (self.message_id,)
        return ErasureRequested(erasure=self.id, items=items, code=self.code)


class Certificate(Struct, frozen=True, kw_only=True):
    """What a signed certificate says: which contents were erased, when, where, and what is known to remain.

    ``n`` and ``hash`` are those of the commit that requested it. ``first`` and ``last`` are the first and the last
    commit that lost contents, ``commits`` how many did, ``contents`` how many contents went, and ``seals`` the SHA-256
    over their seals: one line for each in the order of the log, ended by a line feed. ``done`` says what was done, and
    ``remains`` what is known to remain and for how long, both for people.
    """

    format: Literal[1] = 1
    erasure: str
    tenant: str
    thread: str
    items: tuple[str, ...] | None
    code: str | None
    n: int
    hash: str
    first: int | None
    last: int | None
    commits: int
    contents: int
    seals: str
    requested_at: datetime
    erased_at: datetime
    completed_at: datetime
    done: tuple[str, ...]
    remains: tuple[str, ...]


class SignedCertificate(Struct, frozen=True, kw_only=True):
    """A certificate. ``note`` is the signed text with its signatures, and ``keys`` made those.

    ``says`` is the text, read; the signatures are not verified here: that takes the public key.
    """

    says: Certificate
    keys: tuple[str, ...]
    note: str


class RetrievedErasure(Erasure, frozen=True, kw_only=True):
    """An erasure with its certificate, which is null until the erasure is completed."""

    signed: SignedCertificate | None = None


class ErasurePage(Struct, frozen=True, kw_only=True):
    """A page of erasures, newest first. While it ``has_more``, ``last_id`` is the ``after`` of the next page."""

    object: Literal["list"] = "list"
    data: tuple[Erasure, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool


def lines_to_erase(commit: Commit, request: ErasureRequested) -> tuple[int, ...]:
    """Return the numbers of the contents of an earlier commit of the thread that an erasure takes, erased ones too.

    The command's own content goes from a commit about what is erased, where no content of an event stays.
    """
    has_content = [number for number, event in enumerate(commit.events, start=1) if type_of(event) in CONTENTS]
    taken = [number for number in has_content if _is_about(commit.events[number - 1], request.items)]
    has_reason = commit.reason is not None or commit.reason_erased
    takes_reason = taken == has_content and any(_is_about(event, request.items) for event in commit.events)
    return (COMMAND, *taken) if has_reason and takes_reason else tuple(taken)


def _is_about(event: Event, items: tuple[str, ...] | None) -> bool:
    return items is None or (isinstance(event, ItemEvent) and event.item in items)
