"""The rules: the events that a command on a thread in a given state leads to. Pure: no clock, no random ids, no I/O.

A command that would change nothing leads to no events and succeeds.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Final, assert_never

from msgspec import UNSET, Raw, Struct, UnsetType

from clew_events import error_texts, ids
from clew_events.commands import (
    AddItems,
    AddMessage,
    ClearItems,
    CompleteErasure,
    CreateThread,
    DeleteItem,
    DeleteMessage,
    DeleteThread,
    EraseMessage,
    EraseThread,
    ErasureCommand,
    ForkThread,
    ItemCommand,
    MessageCommand,
    OnThread,
    PlaceHold,
    PopItem,
    ReleaseHold,
    ReplaceItem,
    RestoreThread,
    UpdateMessage,
    UpdateThread,
)
from clew_events.content import ExpiresAfter, Metadata
from clew_events.error_texts import name_history, no_thread
from clew_events.errors import AlreadyErased, AlreadyExists, Forked, Held, Invalid, NotFound
from clew_events.events import (
    ErasureCompleted,
    ErasureRequested,
    Event,
    ExpiryUpdated,
    ForkedFrom,
    HoldPlaced,
    HoldReleased,
    ItemAdded,
    ItemDeleted,
    ItemMetadataUpdated,
    ItemReplaced,
    ItemsCleared,
    MetadataUpdated,
    ThreadCreated,
    ThreadDeleted,
    ThreadRestored,
    ToolResourcesUpdated,
)
from clew_events.items import read_item
from clew_events.requests import MAX_PAIRS, ExpiresAfterIn, MetadataIn, MetadataPatch, NewMessage
from clew_projections.fold import ThreadState, apply_difference
from clew_projections.views import ItemView, ThreadView
from clew_services.threads import stored_content
from clew_services.threads.limits import DEFAULT, Limits, check_add, check_create, check_room
from clew_services.threads.stored_content import message_of

Creation = CreateThread | ForkThread
Holding = PlaceHold | ReleaseHold
NAMED_FORKS: Final = 5
"""Forks that an error names; all are counted."""


class Origin(Struct, frozen=True):
    """What a fork is made of: its parent as it was then, the last ordinal that is inherited, and how many items are."""

    thread: ThreadView
    ordinal: int
    items: int


class Descendant(Struct, frozen=True):
    """A fork that shows what is to be erased, and the legal hold that it is under, if it is."""

    fork: str
    hold: str | None = None


def decide(  # noqa: C901, PLR0912 - one case a command
    command: OnThread,
    thread: str,
    command_id: str,
    state: ThreadState,
    items: Sequence[ItemView] = (),
    *,
    standing: Sequence[str] = (),
    limits: Limits = DEFAULT,
    origin: Origin | None = None,
    forks: Sequence[Descendant] = (),
) -> tuple[Event, ...]:
    """The events that carry out a command on a thread in a state; none if nothing changes.

    New ids are derived from ``thread`` and ``command_id``. ``items`` are those that the thread has or had under the ids
    that the command names, oldest first; for ``PopItem``, its newest. ``standing`` are the standing
    legal holds that cover the thread, where it is to be erased, and ``forks`` show what is. ``origin`` is what a fork
    is made of.

    Raises:
        NotFound: the thread or the item does not exist or was deleted, or the thread has no such hold.
        AlreadyExists: a thread with the requested id exists or existed, or an item with that of a new one exists.
        Invalid: the thread would exceed a limit, an item cannot be kept, or the reason of an erasure is no code.
        AlreadyErased: what is to be erased, restored or held was erased before.
        Held: a legal hold forbids the erasure.
        Forked: forks show what is to be erased, and the command does not allow that; or a fork inherits it.
        TooLarge: a message is longer than ``limits`` allows.
    """
    seed = (thread, command_id)
    if isinstance(command, Creation):
        if state.erasure is not None:
            raise already_erased(name_history(thread, capital=True), state.erasure)
        if state.status != "absent":
            raise thread_exists(thread)
        if isinstance(command, ForkThread):
            return _fork(command, origin)
        if command.messages:
            check_create(limits, command.messages)
        if command.items:
            check_room(limits, thread, 0, len(command.items))
        return _create(command, seed)
    if isinstance(command, ErasureCommand):
        _check_erasable(command, state, standing)
        return _erase(command, state, items, seed, forks)
    if isinstance(command, RestoreThread):
        _check_unerased(thread, state)
        return () if state.status == "open" else (ThreadRestored(),)
    if isinstance(command, Holding):
        return _decide_hold(command, state)
    if isinstance(command, CompleteErasure):
        return (ErasureCompleted(erasure=command.erasure, certificate=command.certificate),)
    if state.status != "open":
        raise no_thread(thread, erased=state.status == "erased")
    match command:
        case UpdateThread():
            return _update(command, state)
        case DeleteThread():
            return (ThreadDeleted(),)
        case AddMessage():
            check_add(limits, thread, state.messages, command.message)
            return _add(command, state, seed)
        case UpdateMessage():
            return _update_message(command, _present(items, command))
        case DeleteMessage() | DeleteItem():
            return (_delete(_present(items, command)),)
        case AddItems():
            check_room(limits, thread, state.messages, len(command.items))
            there = frozenset(item.id for item in items if not item.deleted)
            return _add_items(command.items, state.last_ordinal, there, seed)
        case ReplaceItem():
            return _replace(command, _present(items, command))
        case PopItem():
            return tuple(map(_delete, items))
        case ClearItems():
            return (ItemsCleared(),) if state.messages else ()
        case _:
            assert_never(command)


def _create(command: CreateThread, seed: tuple[str, ...]) -> tuple[Event, ...]:
    messages = command.messages or ()
    tools = stored_content.with_attachments(
        stored_content.created_resources(command.tool_resources, *seed), messages, *seed
    )
    return (
        ThreadCreated(metadata=command.metadata or {}, tool_resources=tools),
        *_update_expiry(command.expires_after, None),
        *[_add_message(new, ordinal, seed) for ordinal, new in enumerate(messages, start=1)],
        *(_add_items(command.items, len(messages), frozenset(), seed) if command.items else ()),
    )


def _fork(command: ForkThread, origin: Origin | None) -> tuple[Event, ...]:
    parent = origin.thread if origin is not None else None
    if origin is None or parent is None or parent.status != "open" or parent.hash is None:
        raise no_thread(command.parent)
    forked = ForkedFrom(
        thread=command.parent,
        n=parent.n,
        hash=parent.hash,
        seq=parent.seq,
        ordinal=origin.ordinal,
        items=origin.items,
        cleared=min(parent.cleared, origin.ordinal),
    )
    metadata = parent.metadata if isinstance(command.metadata, UnsetType) else command.metadata or {}
    return (ThreadCreated(forked_from=forked, metadata=metadata, tool_resources=parent.tool_resources),)


def _update(command: UpdateThread, state: ThreadState) -> tuple[Event, ...]:
    events: list[Event] = []
    to_set, to_unset = _difference(state.metadata, command.metadata, command.patch)
    if to_set or to_unset:
        events.append(MetadataUpdated(set=to_set, unset=to_unset))
    if command.tool_resources is not UNSET:
        tools = stored_content.updated_resources(state.tool_resources, command.tool_resources)
        if tools != state.tool_resources:
            events.append(ToolResourcesUpdated(tool_resources=tools))
    if command.expires_after is not UNSET:
        events += _update_expiry(command.expires_after, state.expires_after)
    return tuple(events)


def _update_expiry(requested: ExpiresAfterIn | None, current: ExpiresAfter | None) -> tuple[Event, ...]:
    wanted = ExpiresAfter(requested.anchor, requested.days) if requested is not None else None
    return (ExpiryUpdated(expires_after=wanted),) if wanted != current else ()


def _add(command: AddMessage, state: ThreadState, seed: tuple[str, ...]) -> tuple[Event, ...]:
    if command.message.thread_id not in {None, command.thread_id}:
        other = command.message.thread_id
        raise Invalid(
            f"Invalid 'thread_id': '{other}'. The message is added to '{command.thread_id}'.", param="thread_id"
        )
    added = _add_message(command.message, state.last_ordinal + 1, seed)
    tools = stored_content.with_attachments(state.tool_resources, (command.message,), *seed)
    if tools == state.tool_resources:
        return (added,)
    return (added, ToolResourcesUpdated(tool_resources=tools))


def _add_message(new: NewMessage, ordinal: int, seed: tuple[str, ...]) -> ItemAdded:
    return ItemAdded(item=ids.item_id(ordinal, *seed, str(ordinal)), ordinal=ordinal, message=message_of(new))


def _add_items(items: Sequence[Raw], last: int, there: Container[str], seed: tuple[str, ...]) -> tuple[Event, ...]:
    """The events that add items behind the ordinal ``last``; ``there`` are the ids that exist."""
    added: dict[str, ItemAdded] = {}
    for index, raw in enumerate(items):
        new, ordinal = read_item(raw, f"items[{index}]"), last + 1 + index
        item = new.id
        if item is None:
            prefix = ids.ITEM_PREFIXES.get(new.type, "item")
            item = ids.item_id(ordinal, *seed, str(ordinal), prefix=prefix)
        elif item in added:
            first = added[item].ordinal - last - 1
            raise Invalid(
                f"Duplicate item found with id {item}, in 'items[{first}]' and 'items[{index}]'. Remove duplicate "
                "items from your input and try again.",
                param=f"items[{index}].id",
            )
        elif item in there:
            why = f"{name_history(seed[0], capital=True)} has an item with id '{item}' already."
            raise AlreadyExists(why, param=f"items[{index}].id")
        added[item] = ItemAdded(item=item, ordinal=ordinal, body=new.body)
    return tuple(added.values())


def _replace(command: ReplaceItem, item: ItemView) -> tuple[Event, ...]:
    new = read_item(command.item, "item")
    if new.id is not None and new.id != item.id:
        why = f"Invalid 'item.id': '{new.id}'. The item that is replaced has the id '{item.id}'."
        raise Invalid(why, param="item.id")
    if item.body == new.body:
        return ()
    return (ItemReplaced(item=item.id, ordinal=_ordinal(item), body=new.body),)


def _delete(item: ItemView) -> ItemDeleted:
    return ItemDeleted(item=item.id, ordinal=_ordinal(item))


def _ordinal(item: ItemView) -> int | UnsetType:
    """The ordinal that stands in the record, where the id does not carry it."""
    return UNSET if ids.ordinal_of(item.id) == item.ordinal else item.ordinal


def _update_message(command: UpdateMessage, message: ItemView) -> tuple[Event, ...]:
    to_set, to_unset = _difference(message.metadata, command.metadata, command.patch)
    if not to_set and not to_unset:
        return ()
    return (ItemMetadataUpdated(item=message.id, ordinal=_ordinal(message), set=to_set, unset=to_unset),)


def _check_erasable(command: ErasureCommand, state: ThreadState, standing: Sequence[str]) -> None:
    """Check that something of a thread may be erased, for the reason that is given."""
    if command.reason is not None and not ids.is_code(command.reason):
        raise error_texts.malformed_value("reason", command.reason, ids.CODE_FORM)
    thread = command.thread_id
    _check_unerased(thread, state)
    if state.holds:
        raise under_hold(thread, f"legal hold '{state.holds[0]}'")
    if standing:
        raise under_hold(thread, f"standing legal hold '{standing[0]}'")


def _erase(
    command: ErasureCommand,
    state: ThreadState,
    items: Sequence[ItemView],
    seed: tuple[str, ...],
    forks: Sequence[Descendant],
) -> tuple[Event, ...]:
    erasure = ids.derive_id("erasure_", *seed)
    if isinstance(command, EraseThread):
        _check_forks(command, forks)
        gone: tuple[Event, ...] = (ThreadDeleted(),) if state.status == "open" else ()
        return (*gone, ErasureRequested(erasure=erasure, items=None, code=command.reason))
    if not items:
        raise _not_found(command)
    last = items[-1]
    # What a fork itself wrote about an item is stored in the fork.
    if last.ordinal <= state.inherited and last.n == 1 and not isinstance(state.forked_from, UnsetType):
        raise inherited_item(last.id, state.forked_from.thread)
    if last.erasure is not None:
        raise already_erased(f"{'Message' if isinstance(command, EraseMessage) else 'Item'} '{last.id}'", last.erasure)
    _check_forks(command, forks)
    ordinals = tuple(item.ordinal for item in items)
    named = UNSET if ordinals == (ids.ordinal_of(last.id),) else ordinals
    request = ErasureRequested(erasure=erasure, items=(last.id,), code=command.reason, ordinals=named)
    return (request,) if last.deleted else (_delete(last), request)


def _check_forks(command: ErasureCommand, forks: Sequence[Descendant]) -> None:
    """Check that forks which show what is to be erased are under no hold, and may lose it."""
    for fork in forks:
        if fork.hold is not None:
            raise under_hold(command.thread_id, f"{fork.hold} of its fork '{fork.fork}'")
    if forks and not command.forks:
        raise has_forks(command.thread_id, [fork.fork for fork in forks])


def _decide_hold(command: PlaceHold | ReleaseHold, state: ThreadState) -> tuple[Event, ...]:
    thread, hold = command.thread_id, command.hold
    _check_unerased(thread, state)
    if isinstance(command, PlaceHold):
        return () if hold in state.holds else (HoldPlaced(hold=hold),)
    if hold not in state.holds:
        raise NotFound(f"{name_history(thread, capital=True)} has no legal hold '{hold}'.", code="hold_not_found")
    return (HoldReleased(hold=hold),)


def _check_unerased(thread: str, state: ThreadState) -> None:
    """Check that a thread was created, and not erased since."""
    if state.status == "absent":
        raise no_thread(thread)
    if state.erasure is not None:
        raise already_erased(name_history(thread, capital=True), state.erasure)


def _present(items: Sequence[ItemView], command: MessageCommand | ItemCommand) -> ItemView:
    """The item that a command names, which is there; a message must be one that the Threads API can show."""
    item = items[-1] if items else None
    if item is None or item.gone or (isinstance(command, MessageCommand) and item.shown is None):
        raise _not_found(command)
    return item


def _not_found(command: MessageCommand | ItemCommand) -> NotFound:
    return (
        no_message(command.about) if isinstance(command, MessageCommand) else no_item(command.thread_id, command.about)
    )


def _difference(
    current: Metadata, whole: MetadataIn | UnsetType | None, patch: MetadataPatch | UnsetType
) -> tuple[Metadata, tuple[str, ...]]:
    """The keys to set and to unset that make ``current`` what the request asks for."""
    wanted = current
    if whole is not UNSET:
        wanted = whole or {}
    if patch is not UNSET:
        wanted = apply_difference(wanted, patch.set, patch.unset)
        if len(wanted) > MAX_PAIRS:
            raise error_texts.too_many_properties("metadata", MAX_PAIRS, len(wanted))
    to_set = {key: value for key, value in wanted.items() if current.get(key) != value}
    return to_set, tuple(key for key in current if key not in wanted)


def no_message(message_id: str) -> NotFound:
    """The error for a message that does not exist or was deleted."""
    return NotFound(f"No message found with id '{message_id}'.", code="message_not_found")


def no_item(thread: str, item_id: str) -> NotFound:
    """The error for an item that does not exist or was deleted."""
    if ids.is_conversation_id(thread):
        return NotFound(f"Item with id '{item_id}' not found in conversation.", code="item_not_found")
    return NotFound(f"No item found with id '{item_id}'.", code="item_not_found")


def no_version(at: int, n: int) -> Invalid:
    """The error for forking a thread at a version that it does not have yet."""
    return Invalid(f"Invalid 'at': the thread has no version {at}, it is at version {n}.", param="at")


def inherited_item(item_id: str, parent: str) -> Forked:
    """The error for erasing an item in a fork that inherits it."""
    why = f"Item '{item_id}' is inherited from {name_history(parent)} and is stored only there: erase it there."
    return Forked(why, code="inherited_item")


def under_hold(thread: str, hold: str) -> Held:
    """The error for erasing what is under a legal hold."""
    return Held(f"{name_history(thread, capital=True)} is under the {hold}: it cannot be erased until released.")


def has_forks(thread: str, forks: Sequence[str]) -> Forked:
    """The error for erasing what forks show as well."""
    named = ", ".join(f"'{fork}'" for fork in forks[:NAMED_FORKS]) + (", …" if len(forks) > NAMED_FORKS else "")
    return Forked(
        f"What is to be erased of {name_history(thread)} is shown by {len(forks)} forks as well, which would lose it: "
        f"{named}. With 'forks': true it is erased all the same."
    )


def no_cursor(thread: str, param: str, item_id: str) -> NotFound:
    """The error for the cursor ``param`` of a page of items or messages that the thread never had."""
    if ids.is_conversation_id(thread):
        why = f"Invalid '{param}': item with id '{item_id}' not found in conversation."
        return NotFound(why, code="item_not_found", param=param)
    return NotFound(f"No message found with id '{item_id}'.", code="message_not_found", param=param)


def already_erased(what: str, erasure: str) -> AlreadyErased:
    """The error for erasing, restoring or holding what was erased before."""
    return AlreadyErased(f"{what} was erased already, or is being erased, by the erasure '{erasure}'.")


def thread_exists(thread: str) -> AlreadyExists:
    """The error for creating a thread with an id that is or was in use."""
    what = "conversation" if ids.is_conversation_id(thread) else "thread"
    return AlreadyExists(f"A {what} with id '{thread}' exists already, or did once.", param="thread_id")
