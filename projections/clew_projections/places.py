"""Where a thread's items are: for each, the sequences of the commits about it. A stored format. Pure.

Items are read from the log by these sequences. Everything is a sequence, so what is newer than a view is cut back to
the view's moment by leaving out what is after the view's own.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from clew_events.codec import UNREADABLE
from clew_events.errors import Corrupt
from clew_events.events import Effect

PAGE: Final = 256
"""Ordinals in a page."""
LARGE: Final = 64 * 1024
"""Bytes of a commit's body from which on it is listed as large, and read with few others at a time."""
MOST_CHANGES: Final = 2048
"""The most sequences of changes in one run; items that are changed beyond that are folded from the history."""
MOST_DELETED: Final = 1024
"""The most of what it inherits that a fork lists as deleted or scattered; beyond that its history says what it did."""
ALL: Final = (0,)
"""What is ``scattered`` in the places of a fork that lists nothing of what it did to what it inherits."""


class Places(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The commits about a run of items, whose ordinals begin with ``first``.

    ``added`` has for each item the sequence of the commit that added it. By ordinal, ``deleted`` has that of the commit
    that deleted it, and ``changed`` those of all others about it. ``scattered`` are the ordinals of items
    with too many changes to list. ``large`` are the sequences of commits with more than 64 KiB. ``seq`` is that of the
    last commit about any of these items. ``own`` has the ordinals of the items whose id does not carry it, by the
    fingerprint of the id: an id may have been used again, and two ids may have the same.
    """

    first: int = 1
    added: tuple[int, ...] = ()
    changed: dict[int, tuple[int, ...]] = {}
    deleted: dict[int, int] = {}
    scattered: tuple[int, ...] = ()
    large: tuple[int, ...] = ()
    own: dict[str, tuple[int, ...]] = {}
    seq: int = 0


class ItemPlace(Struct, frozen=True):
    """The sequences of the commits from which an item is folded, oldest first, and whether it is deleted.

    Of a deleted item the commits between the first and the one that deleted it are left out. There are no sequences if
    the history has to be searched for them.
    """

    seqs: tuple[int, ...] = ()
    deleted: bool = False


def page_number(ordinal: int, inherited: int = 0) -> int:
    """Return the number of the page that an ordinal is in, counted from 0.

    It is negative for an ordinal that a fork has ``inherited``, as the last of those that it has, or one before it.
    """
    return (ordinal - inherited - 1) // PAGE


def first_of_page(number: int, inherited: int = 0) -> int:
    """Return the first ordinal of a page."""
    return number * PAGE + inherited + 1


def is_full(run: Places) -> bool:
    """Whether a run has as many items as a page."""
    return len(run.added) == PAGE


def find_place(run: Places, ordinal: int, until: int) -> ItemPlace | None:
    """Return where an item is, as of a sequence; ``None`` if the run does not have it."""
    index = ordinal - run.first
    if not 0 <= index < len(run.added) or run.added[index] > until:
        return None
    if ordinal in run.scattered:
        return ItemPlace(deleted=run.deleted.get(ordinal, until + 1) <= until)
    changes = find_changes(run, ordinal, until)
    return replace(changes, seqs=(run.added[index], *changes.seqs))


def find_changes(run: Places, ordinal: int, until: int) -> ItemPlace:
    """Return the commits about an item after the one that added it, as of a sequence; it is not scattered."""
    deleted = run.deleted.get(ordinal, until + 1)
    changes = tuple(seq for seq in run.changed.get(ordinal, ()) if seq <= until)
    if deleted > until:
        return ItemPlace(changes)
    return ItemPlace((deleted, *(seq for seq in changes if seq > deleted)), deleted=True)


def add_event(run: Places, ordinal: int, effect: Effect, seq: int) -> Places:
    """Return a run after an event about one of its items, or the one that follows, in the commit at a sequence.

    A run that adds nothing takes changes of any item.
    """
    if effect == "creates":
        return replace(run, added=(*run.added, seq), seq=seq)
    if effect == "deletes" and ordinal not in run.deleted:
        return replace(run, deleted={**run.deleted, ordinal: seq}, seq=seq)
    changes = run.changed.get(ordinal, ())
    added = run.added[ordinal - run.first] if run.added else None
    if ordinal in run.scattered or seq in {added, run.deleted.get(ordinal), *changes[-1:]}:
        return replace(run, seq=seq)
    if sum(map(len, run.changed.values())) >= MOST_CHANGES:
        others = {each: seqs for each, seqs in run.changed.items() if each != ordinal}
        return replace(run, changed=others, scattered=(*run.scattered, ordinal), seq=seq)
    return replace(run, changed={**run.changed, ordinal: (*changes, seq)}, seq=seq)


def add_overlaid(overlay: Places, seq: int) -> Places:
    """Return what a fork did to what it inherits, after a change at a sequence, or that it is too much to list."""
    if overlay.scattered == ALL or len(overlay.deleted) + len(overlay.scattered) > MOST_DELETED:
        return Places(scattered=ALL, seq=seq)
    return overlay


def add_own(run: Places, ordinal: int, fingerprint: str) -> Places:
    """Return a run with the fingerprint of the id of one of its items, or of the one that follows."""
    return replace(run, own={**run.own, fingerprint: (*run.own.get(fingerprint, ()), ordinal)})


def add_large(run: Places, seq: int) -> Places:
    """Return a run after a large commit about its items."""
    return replace(run, large=(*run.large, seq))


def cut_back(run: Places, until: int) -> Places | None:
    """Return a full run as it was at a sequence; ``None`` if that can no longer be told."""
    if run.seq <= until:
        return run
    if run.scattered:
        return None
    changed = {ordinal: tuple(seq for seq in seqs if seq <= until) for ordinal, seqs in run.changed.items()}
    deleted = {ordinal: seq for ordinal, seq in run.deleted.items() if seq <= until}
    changed = {ordinal: seqs for ordinal, seqs in changed.items() if seqs}
    return replace(
        run,
        changed=changed,
        deleted=deleted,
        large=tuple(seq for seq in run.large if seq <= until),
        seq=max((*run.added, *deleted.values(), *(seqs[-1] for seqs in changed.values()))),
    )


_DECODER: Final = msgspec.json.Decoder(Places)


def decode_page(body: bytes, number: int, inherited: int = 0) -> Places:
    """Decode a full page from its bytes in the bucket; ``inherited`` is the last ordinal that the thread inherits.

    Raises:
        Corrupt: the bytes are not that page. A rebuild makes the bucket again from the log.
    """
    try:
        page = _DECODER.decode(body)
    except UNREADABLE as fault:
        raise Corrupt(f"not a page of a thread: {fault}", code="unreadable_view") from fault
    if page.first != first_of_page(number, inherited) or not is_full(page):
        raise Corrupt(f"not page {number} of a thread", code="unreadable_view")
    return page
