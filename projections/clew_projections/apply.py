"""Apply a commit to the view of its thread, to the places of its items, and to the views of items. Pure.

A commit that does not continue a view is rejected as ``Corrupt``: a wrong number, thread, tenant or chain, or an
impossible item.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final, TypeVar, assert_never

from msgspec import Raw
from msgspec.structs import replace

from clew_events import ids
from clew_events.commit import Commit, Recorded
from clew_events.content import Message
from clew_events.errors import Corrupt
from clew_events.events import (
    AboutItem,
    Effect,
    ErasedItemEvent,
    Event,
    ItemAdded,
    ItemDeleted,
    ItemEvent,
    ItemMetadataUpdated,
    ItemReplaced,
    ThreadEvent,
    ordinal_of,
)
from clew_projections.fold import ThreadState, apply_difference, evolve
from clew_projections.places import (
    LARGE,
    Places,
    add_event,
    add_large,
    add_overlaid,
    add_own,
    first_of_page,
    is_full,
    page_number,
)
from clew_projections.views import ItemView, SpentId, StoredView, ThreadView, change_metadata

REMEMBERED_COMMANDS: Final = 100
View = TypeVar("View", bound=ThreadView)


def advance(view: View, recorded: Recorded) -> View:
    """Return the view after the thread's next commit; the places of a stored view stay as they are.

    Raises:
        Corrupt: the commit is not the thread's next (wrong number, thread, tenant or chain), or concerns an impossible
            item.
    """
    commit = recorded.commit
    check_continues(view, recorded)
    for event in commit.events:
        check_item(view, event)
        view = evolve(view, event)
    spent = SpentId(commit.id, recorded.position.seq)
    created_at = view.created_at or _original_time(commit)
    return replace(
        view,
        n=commit.n,
        seq=recorded.position.seq,
        hash=recorded.hash,
        created_at=created_at,
        imported_at=commit.at if view.n == 0 and created_at < commit.at else view.imported_at,
        updated_at=commit.at,
        last_active_at=commit.at if is_activity(commit) else view.last_active_at,
        deleted_at=None if view.status in {"absent", "open"} else view.deleted_at or commit.at,
        commands=(*view.commands[1 - REMEMBERED_COMMANDS :], spent),
    )


def _original_time(first: Commit) -> datetime:
    """When the thread of a first commit was created, here or, if it was imported, where it was before."""
    times = [event.original_time for event in first.events if isinstance(event, ThreadEvent)]
    return min([first.at, *filter(None, times)])


def advance_stored(
    view: StoredView, pages: dict[int, Places], recorded: Recorded
) -> tuple[StoredView, dict[int, Places]]:
    """Return what is stored after the thread's next commit: the view, and ``pages`` with the full ones that it changes.

    ``pages`` must have the :func:`older_pages` of the commit. One that is newer than the commit stays as it is.

    Raises:
        Corrupt: as :func:`advance`.
    """
    after, seq = advance(view, recorded), recorded.position.seq
    recent, full, own, changed = view.recent, view.pages, view.own, dict[int, Places]()
    overlay, inherited = view.overlay, after.inherited
    if inherited and view.n == 0:
        recent, overlay = Places(first=first_of_page(0, inherited)), Places()
    for ordinal, effect, item in _item_effects(recorded.commit):
        number = page_number(ordinal, inherited)
        if not 1 <= ordinal <= after.last_ordinal:
            continue  # An erasure of what was never there.
        if number < 0:
            overlay = add_overlaid(_add(overlay or Places(), ordinal, effect, item, recorded), seq)
        elif number == len(full):
            recent = _add(recent, ordinal, effect, item, recorded)
            if is_full(recent):
                changed[number] = recent
                full = (*full, seq)
                own = (*(own or ()), number) if recent.own else own
                recent = Places(first=first_of_page(number + 1, inherited))
        else:
            full = (*full[:number], seq, *full[number + 1 :])
            if number not in pages or pages[number].seq < seq:
                changed[number] = _add(changed.get(number) or pages[number], ordinal, effect, item, recorded)
    after = replace(after, recent=recent, pages=full, own=own, overlay=overlay)
    return after, {**pages, **changed} if changed else pages


def _item_effects(commit: Commit) -> Iterator[tuple[int, Effect, str]]:
    """Yield what a commit does to single items, by ordinal, with the ids of those added; not what it clears."""
    for event in commit.events:
        if isinstance(event, ItemEvent):
            yield ordinal_of(event), event.effect, event.item
        elif (request := event.request) is not None:
            for ordinal in request.item_ordinals:
                yield ordinal, "deletes", ""


def _add(run: Places, ordinal: int, effect: Effect, item: str, recorded: Recorded) -> Places:
    seq = recorded.position.seq
    if recorded.size > LARGE and seq not in run.large[-1:]:
        run = add_large(run, seq)
    if effect == "creates" and ids.ordinal_of(item) != ordinal:
        run = add_own(run, ordinal, ids.fingerprint(item))
    return add_event(run, ordinal, effect, seq)


def older_pages(view: StoredView, commits: Iterable[Recorded]) -> set[int]:
    """Return the numbers of the pages that are stored under keys of their own and that commits after a view change."""
    if not view.pages:
        return set()
    inherited = view.inherited
    numbers = {page_number(ordinal, inherited) for each in commits for ordinal in item_ordinals(each.commit)}
    return {number for number in numbers if 0 <= number < len(view.pages)}


def check_continues(view: ThreadView, recorded: Recorded) -> None:
    """Check that a commit is the next link of a thread's chain.

    Raises:
        Corrupt: it is not; the message names the first field that differs.
    """
    commit = recorded.commit
    expected = (view.tenant, view.id, view.n + 1, view.hash)
    actual = (commit.tenant, commit.thread, commit.n, commit.prev)
    if actual == expected:
        return
    for field, ours, theirs in zip(("tenant", "thread", "n", "prev"), expected, actual, strict=True):
        if ours != theirs:
            raise Corrupt(
                f"thread {view.id}: the commit at sequence {recorded.position.seq} of shard "
                f"{recorded.position.shard} has {field} {theirs!r} instead of {ours!r}",
                code="broken_chain",
            )


def check_item(view: ThreadView, event: Event) -> None:
    """Check that an added item has the next ordinal, and that a changed item was added before.

    Raises:
        Corrupt: it does not, or was not.
    """
    match event:
        case ThreadEvent():
            return
        case ItemAdded() | ItemReplaced() | ItemMetadataUpdated() | ItemDeleted() | ErasedItemEvent():
            ordinal = ordinal_of(event)
        case _:
            assert_never(event)
    right = ordinal == view.last_ordinal + 1 if event.effect == "creates" else 1 <= ordinal <= view.last_ordinal
    if not right or not ids.is_item_id(event.item):
        raise Corrupt(
            f"thread {view.id}: commit {view.n + 1} concerns item {event.item!r}, which cannot exist there",
            code="unknown_message",
        )


def item_ids(commit: Commit) -> tuple[str, ...]:
    """Return the ids of the items that a commit adds, changes, deletes or has erased, each once."""
    named: list[str] = []
    for event in commit.events:
        if isinstance(event, ItemEvent):
            named.append(event.item)
        elif event.request is not None:
            named += event.request.items or ()
    return tuple(dict.fromkeys(named))


def item_ordinals(commit: Commit) -> tuple[int, ...]:
    """Return the ordinals of the items that a commit adds, changes, deletes or has erased, each once."""
    return tuple(dict.fromkeys(ordinal for ordinal, _, _ in _item_effects(commit)))


def deleted_ordinals(commit: Commit) -> set[int]:
    """Return the ordinals of the items that a commit deletes or has erased one by one, not those that it clears."""
    return {ordinal for ordinal, effect, _ in _item_effects(commit) if effect == "deletes"}


def added_ordinals(commit: Commit, items: Container[str]) -> set[int]:
    """Return the ordinals of the items that a commit adds under some ids."""
    added = (event for event in commit.events if isinstance(event, ItemEvent) and event.effect == "creates")
    return {ordinal_of(event) for event in added if event.item in items}


def is_activity(commit: Commit) -> bool:
    """Return whether somebody makes use of the thread by a commit, which puts off when an unused thread expires."""
    return all(event.active for event in commit.events if isinstance(event, ThreadEvent))


def restores_thread(commit: Commit) -> bool:
    """Return whether a commit has a deleted thread there again."""
    return any(isinstance(event, ThreadEvent) and event.restores for event in commit.events)


def advance_items(
    known: Mapping[int, ItemView], commit: Commit, wanted: Container[int] | None = None
) -> dict[int, ItemView]:
    """Return, by ordinal, the items that a commit adds, changes or deletes, as they are after it.

    ``known`` are those before it; one that contains the commit already is left out. Only ``wanted`` ordinals are
    taken, by default all.

    Raises:
        Corrupt: the commit changes an item that was never added, or under another id.
    """
    changed: dict[int, ItemView] = {}
    for event in commit.events:
        if isinstance(event, ThreadEvent):
            if event.clears:
                before = {ordinal: view for ordinal, view in known.items() if view.n < commit.n} | changed
                changed |= {ordinal: _deleted(view, commit) for ordinal, view in before.items() if not view.deleted}
            if (request := event.request) is not None and request.items is not None:
                for ordinal in request.item_ordinals:
                    if wanted is None or ordinal in wanted:
                        erased = _known_item(changed.get(ordinal) or known.get(ordinal), request.items, commit)
                        changed[ordinal] = replace(_deleted(erased, commit), erasure=request.erasure)
            continue
        ordinal = ordinal_of(event)
        if wanted is not None and ordinal not in wanted:
            continue
        view = changed.get(ordinal)
        if view is None and (view := known.get(ordinal)) is not None and view.n >= commit.n:
            continue
        changed[ordinal] = _item_after(view, commit, event)
    return changed


def own_ordinals(view: ThreadState) -> range:
    """Return the ordinals of the items that were added in a thread itself, and not inherited."""
    return range(view.inherited + 1, view.last_ordinal + 1)


def inherit_items(items: Mapping[int, ItemView], thread: str) -> dict[int, ItemView]:
    """Return items as a fork shows them, those of other threads as if its first commit had added them."""
    return {
        ordinal: view if view.thread == thread else replace(view, thread=thread, n=1) for ordinal, view in items.items()
    }


def fold_items(
    ordinals: Container[int], commits: Iterable[Recorded], inherited: Mapping[int, ItemView] | None = None
) -> dict[int, ItemView]:
    """Fold items by ordinal from the commits about them, in order; events about others are ignored.

    ``inherited`` are those that a fork inherits, as its first commit shows them.

    Raises:
        Corrupt: a commit changes an item that was never added, or under another id.
    """
    return fold_commits(ordinals, (recorded.commit for recorded in commits), inherited)


def fold_commits(
    ordinals: Container[int], commits: Iterable[Commit], inherited: Mapping[int, ItemView] | None = None
) -> dict[int, ItemView]:
    """Fold items as :func:`fold_items`, from commits wherever they stand."""
    views = dict(inherited or {})
    for commit in commits:
        views.update(advance_items(views, commit, ordinals))
    return views


def _item_after(view: ItemView | None, commit: Commit, event: AboutItem) -> ItemView:
    match event:
        case ItemAdded():
            return ItemView(
                id=event.item,
                thread=commit.thread,
                ordinal=event.ordinal,
                n=commit.n,
                created_at=event.original_time or commit.at,
                message=event.message if isinstance(event.message, Message) else None,
                body=event.body if isinstance(event.body, Raw) else None,
            )
        case ItemReplaced():
            # What a fork wrote in place of an item is known, though what it inherits is erased.
            return replace(
                _known_item(view, (event.item,), commit),
                n=commit.n,
                erased=False,
                message=event.message if isinstance(event.message, Message) else None,
                body=event.body if isinstance(event.body, Raw) else None,
            )
        case ItemMetadataUpdated():
            before = _known_item(view, (event.item,), commit)
            return change_metadata(
                replace(before, n=commit.n), apply_difference(before.metadata, event.set, event.unset)
            )
        case ItemDeleted():
            return _deleted(_known_item(view, (event.item,), commit), commit)
        case ErasedItemEvent():
            if event.effect == "creates":
                ordinal = ordinal_of(event)
                view = ItemView(id=event.item, thread=commit.thread, ordinal=ordinal, n=commit.n, created_at=commit.at)
            return replace(_known_item(view, (event.item,), commit), n=commit.n, erased=True)
        case _:
            assert_never(event)


def _known_item(view: ItemView | None, named: tuple[str, ...], commit: Commit) -> ItemView:
    if view is None or view.id not in named:
        raise Corrupt(
            f"thread {commit.thread}: commit {commit.n} changes item {', '.join(named)}, which was never added",
            code="unknown_message",
        )
    return view


def _deleted(view: ItemView, commit: Commit) -> ItemView:
    return replace(delete_item(view), n=commit.n)


def delete_item(view: ItemView) -> ItemView:
    """Return the view of an item that is deleted, whichever commit did it."""
    return replace(view, message=None, body=None, deleted=True)
