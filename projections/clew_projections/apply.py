"""Apply a commit to the view of its thread, to the places of its items, and to the view of a message. Pure.

A commit that does not continue a view is rejected as ``Corrupt``: a wrong number, thread, tenant or chain, or an
impossible message.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Final, TypeVar, assert_never

from msgspec.structs import replace

from clew_events.commit import Commit, Recorded
from clew_events.errors import Corrupt
from clew_events.events import (
    Effect,
    ErasedItemEvent,
    Event,
    ItemAdded,
    ItemDeleted,
    ItemEvent,
    ItemMetadataUpdated,
    ItemReplaced,
    ThreadEvent,
)
from clew_events.ids import is_message_id, ordinal_of
from clew_projections.fold import apply_difference, evolve
from clew_projections.places import (
    LARGE,
    Places,
    add_event,
    add_large,
    first_of_page,
    is_full,
    page_number,
)
from clew_projections.views import MessageView, SpentId, StoredView, ThreadView

REMEMBERED_COMMANDS: Final = 100
View = TypeVar("View", bound=ThreadView)


def advance(view: View, recorded: Recorded) -> View:
    """Return the view after the thread's next commit; the places of a stored view stay as they are.

    Raises:
        Corrupt: the commit is not the thread's next (wrong number, thread, tenant or chain), or concerns an impossible
            message.
    """
    commit = recorded.commit
    check_continues(view, recorded)
    for event in commit.events:
        check_message(view, event)
        view = evolve(view, event)
    spent = SpentId(commit.id, recorded.position.seq)
    return replace(
        view,
        n=commit.n,
        seq=recorded.position.seq,
        hash=recorded.hash,
        created_at=view.created_at or commit.at,
        updated_at=commit.at,
        last_active_at=commit.at if is_activity(commit) else view.last_active_at,
        deleted_at=None if view.status in {"absent", "open"} else view.deleted_at or commit.at,
        commands=(*view.commands[1 - REMEMBERED_COMMANDS :], spent),
    )


def advance_stored(
    view: StoredView, pages: dict[int, Places], recorded: Recorded
) -> tuple[StoredView, dict[int, Places]]:
    """Return what is stored after the thread's next commit: the view, and ``pages`` with the full ones that it changes.

    ``pages`` must have the :func:`older_pages` of the commit. One that is newer than the commit stays as it is.

    Raises:
        Corrupt: as :func:`advance`.
    """
    after, seq = advance(view, recorded), recorded.position.seq
    recent, full, changed = view.recent, list(view.pages), dict[int, Places]()
    for ordinal, effect in _item_effects(recorded.commit, after.last_ordinal):
        number = page_number(ordinal)
        if number == len(full):
            recent = _add(recent, ordinal, effect, recorded)
            if is_full(recent):
                changed[number] = recent
                full.append(seq)
                recent = Places(first=first_of_page(number + 1))
            continue
        full[number] = seq
        if number not in pages or pages[number].seq < seq:
            changed[number] = _add(changed.get(number) or pages[number], ordinal, effect, recorded)
    return replace(after, recent=recent, pages=tuple(full)), {**pages, **changed} if changed else pages


def _item_effects(commit: Commit, last_ordinal: int) -> Iterator[tuple[int, Effect]]:
    """Yield what a commit does to single items, by ordinal; what is cleared is not named."""
    for event in commit.events:
        if isinstance(event, ItemEvent):
            yield ordinal_of(event.item), event.effect
        elif event.request is not None:
            for item in event.request.items or ():
                if is_message_id(item) and 1 <= (ordinal := ordinal_of(item)) <= last_ordinal:
                    yield ordinal, "deletes"


def _add(run: Places, ordinal: int, effect: Effect, recorded: Recorded) -> Places:
    seq = recorded.position.seq
    if recorded.size > LARGE and seq not in run.large[-1:]:
        run = add_large(run, seq)
    return add_event(run, ordinal, effect, seq)


def older_pages(view: StoredView, commits: Iterable[Recorded]) -> set[int]:
    """Return the numbers of the pages that are stored under keys of their own and that commits after a view change."""
    items = (item for each in commits for item in message_ids(each.commit))
    numbers = {page_number(ordinal_of(item)) for item in items if is_message_id(item)}
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


def check_message(view: ThreadView, event: Event) -> None:
    """Check that an added message has the next ordinal, and that a changed message was added before.

    Raises:
        Corrupt: it does not, or was not; or the message's id does not encode its ordinal, which is the key of its view.
    """
    match event:
        case ThreadEvent():
            return
        case ItemAdded(ordinal=ordinal) | ErasedItemEvent(ordinal=int(ordinal)):
            right = ordinal == view.last_ordinal + 1 and is_message_id(event.item) and ordinal_of(event.item) == ordinal
        case ItemReplaced() | ItemMetadataUpdated() | ItemDeleted() | ErasedItemEvent():
            right = is_message_id(event.item) and 1 <= ordinal_of(event.item) <= view.last_ordinal
        case _:
            assert_never(event)
    if not right:
        raise Corrupt(
            f"thread {view.id}: commit {view.n + 1} concerns message {event.item!r}, which cannot exist there",
            code="unknown_message",
        )


def message_ids(commit: Commit) -> tuple[str, ...]:
    """Return the ids of the messages that a commit adds, changes, deletes or has erased, each once."""
    items: list[str] = []
    for event in commit.events:
        if isinstance(event, ItemEvent):
            items.append(event.item)
        elif event.request is not None:
            items += event.request.items or ()
    return tuple(dict.fromkeys(items))


def is_activity(commit: Commit) -> bool:
    """Return whether somebody makes use of the thread by a commit, which puts off when an unused thread expires."""
    return all(event.active for event in commit.events if isinstance(event, ThreadEvent))


def clears_items(commit: Commit) -> bool:
    """Return whether a commit deletes all items that the thread had before it."""
    return any(isinstance(event, ThreadEvent) and event.clears for event in commit.events)


def restores_thread(commit: Commit) -> bool:
    """Return whether a commit has a deleted thread there again."""
    return any(isinstance(event, ThreadEvent) and event.restores for event in commit.events)


def concerned_items(commit: Commit, known: Iterable[str]) -> tuple[str, ...]:
    """Return the ids of the items that a commit adds, changes or deletes; of those that it clears, the ``known``."""
    return tuple(dict.fromkeys((*(known if clears_items(commit) else ()), *message_ids(commit))))


def deleted_message_ids(commit: Commit) -> tuple[str, ...]:
    """Return the ids of the messages that a commit deletes."""
    return tuple(event.item for event in commit.events if isinstance(event, ItemEvent) and event.effect == "deletes")


def advance_message(view: MessageView | None, message_id: str, commit: Commit) -> MessageView:
    """Return a message's view after a commit that concerns it; ``view`` is ``None`` before the message is added.

    A commit that the view already contains changes nothing.

    Raises:
        Corrupt: the commit changes a message that was never added.
    """
    if view is not None and view.id != message_id:
        raise _never_added(commit, message_id)
    if view is not None and commit.n <= view.n:
        return view
    for event in commit.events:
        view = _message_after(view, message_id, commit, event)
    if view is None:
        raise _never_added(commit, message_id)
    return view


def fold_items(ordinals: Container[int], commits: Iterable[Recorded]) -> dict[int, MessageView]:
    """Fold messages by ordinal from the commits about them, in order; other events are ignored.

    Raises:
        Corrupt: a commit changes a message under another id than it was added under.
    """
    views: dict[int, MessageView] = {}
    for recorded in commits:
        commit = recorded.commit
        for event in commit.events:
            if isinstance(event, ThreadEvent):
                if event.clears or event.request is not None:
                    views = {ordinal: _after_thread_event(view, commit, event) for ordinal, view in views.items()}
            elif (ordinal := ordinal_of(event.item)) in ordinals:
                before = views.get(ordinal)
                if before is not None and before.id != event.item:
                    raise _never_added(commit, event.item)
                if (after := _message_after(before, event.item, commit, event)) is not None:
                    views[ordinal] = after
    return views


def _message_after(view: MessageView | None, message_id: str, commit: Commit, event: Event) -> MessageView | None:
    if isinstance(event, ThreadEvent):
        return _after_thread_event(view, commit, event) if view is not None else None
    if event.item != message_id:
        return view
    match event:
        case ItemAdded(message=added):
            return MessageView(
                id=event.item,
                thread=commit.thread,
                ordinal=event.ordinal,
                n=commit.n,
                created_at=commit.at,
                role=added.role,
                content=added.content,
                attachments=added.attachments,
                metadata=added.metadata,
            )
        case ItemReplaced(message=now) if view is not None:
            return replace(
                view,
                n=commit.n,
                role=now.role,
                content=now.content,
                attachments=now.attachments,
                metadata=now.metadata,
            )
        case ItemMetadataUpdated() if view is not None:
            return replace(view, n=commit.n, metadata=apply_difference(view.metadata, event.set, event.unset))
        case ItemDeleted() if view is not None:
            return _deleted(view, commit)
        case ErasedItemEvent(ordinal=int(ordinal)):
            return MessageView(
                id=event.item,
                thread=commit.thread,
                ordinal=ordinal,
                n=commit.n,
                created_at=commit.at,
                role="user",
                content=(),
                metadata={},
                erased=True,
            )
        case ErasedItemEvent() if view is not None:
            return replace(view, n=commit.n, erased=True)
        case ItemReplaced() | ItemMetadataUpdated() | ItemDeleted() | ErasedItemEvent():
            return view
        case _:
            assert_never(event)


def _after_thread_event(view: MessageView, commit: Commit, event: ThreadEvent) -> MessageView:
    if (request := event.request) is not None and view.id in (request.items or ()):
        return replace(_deleted(view, commit), erasure=request.erasure)
    return _deleted(view, commit) if event.clears and not view.deleted else view


def _deleted(view: MessageView, commit: Commit) -> MessageView:
    return replace(delete_message(view), n=commit.n)


def delete_message(view: MessageView) -> MessageView:
    """Return the view of a message that is deleted, whichever commit did it."""
    return replace(view, content=(), attachments=(), metadata={}, deleted=True)


def _never_added(commit: Commit, message_id: str) -> Corrupt:
    return Corrupt(
        f"thread {commit.thread}: commit {commit.n} changes message {message_id}, which was never added",
        code="unknown_message",
    )
