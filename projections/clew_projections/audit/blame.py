"""Blame: who last set each part of a thread, from its commits, which are given from the first on, in order. Pure.

::

    fold = BlameFold(address, until)
    for recorded in commits:
        if not fold.add(recorded):
            break
    answer = fold.answer()
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import assert_never

from msgspec import UNSET, Raw, Struct, UnsetType

from clew_events.audit_replies import Blame, ExpirySet, KeyRemoved, KeySet, MessageBlame, Origin, ResourceSet
from clew_events.commit import Recorded
from clew_events.content import Message, Metadata, ToolResources
from clew_events.errors import Corrupt
from clew_events.events import (
    AboutItem,
    ErasedItemEvent,
    ErasedThreadEvent,
    ErasureCompleted,
    ErasureRequested,
    Event,
    ExpiryUpdated,
    HoldPlaced,
    HoldReleased,
    ItemAdded,
    ItemDeleted,
    ItemMetadataUpdated,
    ItemReplaced,
    ItemsCleared,
    MetadataUpdated,
    TenantEvent,
    ThreadCreated,
    ThreadDeleted,
    ThreadRestored,
    ToolResourcesUpdated,
    ordinal_of,
)
from clew_events.items import metadata_of
from clew_events.subjects import Address
from clew_projections.apply import advance
from clew_projections.audit.as_of import lists, lost_contents, origin, point
from clew_projections.audit.moments import Moment
from clew_projections.views import absent


class _Keys:
    """The metadata of a thread or an item, key by key."""

    def __init__(self) -> None:
        self._set: dict[str, KeySet] = {}
        self._removed: dict[str, KeyRemoved] = {}

    def change(self, changed: Metadata, gone: Iterable[str], by: Origin) -> None:
        for key, value in changed.items():
            self._removed.pop(key, None)
            self._set[key] = KeySet(key=key, value=value, by=by)
        for key in gone:
            if (was := self._set.pop(key, None)) is not None:
                self._removed[key] = KeyRemoved(key=key, value=was.value, set_by=was.by, by=by)

    def replace(self, metadata: Metadata, by: Origin) -> None:
        """Take a whole metadata; keys that keep their value keep their origin."""
        now = {key: each.value for key, each in self._set.items()}
        changed = {key: value for key, value in metadata.items() if now.get(key) != value}
        self.change(changed, [key for key in now if key not in metadata], by)

    @property
    def there(self) -> tuple[KeySet, ...]:
        return tuple(self._set.values())

    @property
    def removed(self) -> tuple[KeyRemoved, ...]:
        return tuple(self._removed.values())


class _Item(Struct):
    id: str
    added: Origin
    changed: Origin
    keys: _Keys
    replaced: Origin | None = None
    deleted: Origin | None = None


class BlameFold:
    """Folds commits one by one up to a moment, and tells the origin of each part of the thread.

    Of what a fork inherits it tells where the fork changes it, as if the fork's first commit had added it.
    """

    def __init__(self, address: Address, until: Moment) -> None:
        self._until = until
        self._view = absent(*address)
        self._created: Origin | None = None
        self._deleted: Origin | None = None
        self._keys = _Keys()
        self._resources: dict[str, ResourceSet] = {}
        self._expiry: ExpirySet | UnsetType = UNSET
        self._items: dict[int, _Item] = {}
        self._erased = False
        self.first: Recorded | None = None
        self.last: Recorded | None = None

    def add(self, recorded: Recorded) -> bool:
        """Fold the next commit; return false, and do not fold it, if it is after the moment.

        Raises:
            Corrupt: it does not continue the thread.
        """
        self.first = self.first or recorded
        if not self._until.includes(recorded.commit):
            return False
        self._view = advance(self._view, recorded)
        self._erased = self._erased or lost_contents(recorded.commit)
        by = origin(recorded)
        for event in recorded.commit.events:
            self._blame(event, by)
        self.last = recorded
        return True

    def _blame(self, event: Event, by: Origin) -> None:  # noqa: C901, PLR0912 - one case an event
        match event:
            case ThreadCreated():
                self._created = by
                self._keys.change(event.metadata, (), by)
                self._resource(event.tool_resources, by)
            case MetadataUpdated():
                self._keys.change(event.set, event.unset, by)
            case ToolResourcesUpdated():
                self._resource(event.tool_resources, by)
            case ExpiryUpdated():
                self._expiry = ExpirySet(value=event.expires_after, by=by)
            case ItemAdded():
                self._add(event, by).keys.change(_metadata(event), (), by)
            case ItemMetadataUpdated():
                item = self._item(event)
                item.changed = by
                item.keys.change(event.set, event.unset, by)
            case ItemReplaced():
                item = self._item(event)
                item.changed = item.replaced = by
                item.keys.replace(_metadata(event), by)
            case ItemDeleted():
                item = self._item(event)
                item.changed = item.deleted = by
            case ItemsCleared():
                for item in self._items.values():
                    if item.deleted is None:
                        item.changed = item.deleted = by
            case ThreadDeleted():
                self._deleted = by
            case ThreadRestored():
                self._deleted = None
            case HoldPlaced() | HoldReleased() | ErasureRequested() | ErasureCompleted() | TenantEvent():
                pass  # They change no part of the thread.
            case ErasedThreadEvent():
                self._created = by if event.effect == "creates" else self._created
            case ErasedItemEvent():
                item = self._add(event, by) if event.effect == "creates" else self._item(event)
                item.changed = by
                item.replaced = by if event.replaces else item.replaced
            case _:
                assert_never(event)

    def _add(self, event: AboutItem, by: Origin) -> _Item:
        return self._items.setdefault(ordinal_of(event), _Item(event.item, by, by, _Keys()))

    def _item(self, event: AboutItem) -> _Item:
        item = self._items.get(ordinal_of(event))
        if item is None and self._created is not None and ordinal_of(event) <= self._view.inherited:
            return self._add(event, self._created)  # A fork inherits it.
        if item is None or item.id != event.item:
            raise Corrupt(
                f"thread {self._view.id}: commit {self._view.n} changes item {event.item}, which was never added",
                code="unknown_message",
            )
        return item

    def _resource(self, resources: ToolResources, by: Origin) -> None:
        now = lists(resources)
        for name in {*self._resources, *now}:
            was = self._resources.get(name)
            value = now.get(name, ())
            if was is None or was.value != value:
                self._resources[name] = ResourceSet(resource=name, value=value, by=by)

    def answer(self, limit: int | None = None) -> Blame:
        """Return the origins by the commits added so far, of the newest ``limit`` items.

        Raises:
            Corrupt: no commit was added, or none created the thread.
        """
        if self._created is None:
            raise Corrupt(f"thread {self._view.id}: its history has no beginning", code="missing_commit")
        left_out = 0 if limit is None else max(0, len(self._items) - limit)
        return Blame(
            thread_id=self._view.id,
            at=point(self.last),
            created=self._created,
            deleted=self._deleted,
            metadata=self._keys.there,
            removed=self._keys.removed,
            tool_resources=tuple(self._resources[name] for name in sorted(self._resources)),
            expires_after=self._expiry,
            messages=tuple(
                MessageBlame(
                    id=item.id,
                    added=item.added,
                    replaced=item.replaced,
                    changed=item.changed,
                    deleted=item.deleted,
                    metadata=item.keys.there,
                    removed=item.keys.removed,
                )
                for item in islice(self._items.values(), left_out, None)
            ),
            erased=self._erased,
            left_out=left_out,
        )


def _metadata(event: ItemAdded | ItemReplaced) -> Metadata:
    if isinstance(event.message, Message):
        return event.message.metadata
    return metadata_of(event.body) if isinstance(event.body, Raw) else {}


def blame(address: Address, commits: Iterable[Recorded], until: Moment) -> Blame:
    """Return the origin of each part of a thread as of a moment, from its commits.

    Raises:
        Corrupt: a commit does not continue those before it, or there is none.
    """
    fold = BlameFold(address, until)
    for recorded in commits:
        if not fold.add(recorded):
            break
    return fold.answer()
