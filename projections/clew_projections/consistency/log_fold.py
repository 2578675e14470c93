"""A thread folded from the log as of its view's commit, with the number of later commits."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec import Struct

from clew_events.commit import Recorded
from clew_events.errors import Corrupt
from clew_events.events import ItemEvent, ordinal_of
from clew_events.subjects import Address
from clew_projections.apply import advance_items, advance_stored, own_ordinals
from clew_projections.places import Places
from clew_projections.views import ItemView, StoredView, absent_stored


class FoldedThread(Struct, kw_only=True):
    """A thread as of commit ``n``, or of its last one if it has fewer, with its full pages, and the items it wrote.

    ``logged`` counts all its commits. ``next_seq`` is where the commit after ``n`` stands, if there is one. ``erasing``
    if one after ``n`` requests an erasure: the log then no longer has all that a view of ``n`` shows. ``fault`` says
    why the history cannot be folded further.
    """

    view: StoredView
    pages: dict[int, Places] = {}
    items: dict[int, ItemView] = {}
    logged: int = 0
    next_seq: int | None = None
    erasing: bool = False
    fault: Corrupt | None = None


async def fold(address: Address, history: AsyncIterator[Recorded], n: int) -> FoldedThread:
    """Fold a history up to commit ``n`` and count the rest.

    Raises:
        Unavailable: the log does not answer.
    """
    folded = FoldedThread(view=absent_stored(*address))
    try:
        async for recorded in history:
            folded.logged += 1
            if folded.view.n < n:
                fold_commit(folded, recorded)
            else:
                folded.next_seq = folded.next_seq or recorded.position.seq
                folded.erasing = folded.erasing or recorded.commit.requests_erasure
    except Corrupt as fault:
        folded.fault = fault
    return folded


def fold_commit(folded: FoldedThread, recorded: Recorded) -> None:
    """Fold a thread's next commit.

    Raises:
        Corrupt: it does not continue the thread; nothing was changed.
    """
    view, pages = advance_stored(folded.view, folded.pages, recorded)
    commit, items = recorded.commit, folded.items
    # Of what a fork inherits, its history says what it replaced.
    replaced = {
        ordinal_of(event): ItemView(id=event.item, thread=view.id, ordinal=ordinal_of(event), n=0, created_at=commit.at)
        for event in commit.events
        if isinstance(event, ItemEvent) and event.replaces
    }
    known = {**replaced, **items} if replaced.keys() - items.keys() else items
    changed = advance_items(known, commit, {*own_ordinals(view), *known.keys()})
    folded.view, folded.pages = view, pages
    folded.items |= changed
