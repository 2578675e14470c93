"""Diff: what changed in a thread between two moments, from its commits, which are given from the first on. Pure.

::

    fold = DiffFold(address, since, until)
    for recorded in commits:
        if not fold.add(recorded):
            break
    answer = fold.answer()
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import UNSET

from clew_events.audit_replies import (
    Difference,
    ExpiryChange,
    How,
    ItemChange,
    KeyChange,
    MessageChange,
    Origin,
    ResourceChange,
    StatusChange,
)
from clew_events.commit import Recorded
from clew_events.content import Metadata
from clew_events.errors import TooLarge
from clew_events.events import ThreadEvent
from clew_events.subjects import Address
from clew_projections.api_objects import item_object, shown_message
from clew_projections.apply import advance, advance_items, item_ordinals
from clew_projections.audit.as_of import lists, lost_contents, origin, point
from clew_projections.audit.moments import Moment
from clew_projections.views import ItemView, absent

_NOTHING: Metadata = {}


class DiffFold:
    """Folds commits one by one up to a moment, and tells what changed since an earlier one.

    ``most`` limits the number of commits between the two. What a fork inherits is told of where the fork changes it, if
    it is given by :meth:`inherit`.
    """

    def __init__(self, address: Address, since: Moment, until: Moment, most: int | None = None) -> None:
        self._since = since
        self._until = until
        self._most = most
        self.turned_round = False
        """Whether ``since`` turned out to be later than ``until``."""
        self._before = self._after = absent(*address)
        self._items: dict[int, ItemView] = {}
        self._touched: dict[int, ItemView | None] = {}
        self._commits: list[Origin] = []
        self._erased = False
        self.first: Recorded | None = None
        self.last: Recorded | None = None
        self._start: Recorded | None = None

    def add(self, recorded: Recorded) -> bool:
        """Fold the next commit; return false, and do not fold it, if it is after the later moment.

        Raises:
            Corrupt: it does not continue the thread.
            TooLarge: more than ``most`` commits are between the moments.
        """
        self.first = self.first or recorded
        if not self._until.includes(recorded.commit):
            self.turned_round = self._since.includes(recorded.commit)
            return False
        self._after = advance(self._after, recorded)
        self._erased = self._erased or lost_contents(recorded.commit)
        earlier = self._since.includes(recorded.commit)
        inherited, concerned = self._after.inherited, item_ordinals(recorded.commit)
        wanted = {ordinal for ordinal in concerned if ordinal > inherited or ordinal in self._items}
        changed = advance_items(self._items, recorded.commit, wanted)
        if not earlier:
            for ordinal in changed:
                self._touched.setdefault(ordinal, self._items.get(ordinal))
        self._items |= changed
        if earlier:
            self._before, self._start = self._after, recorded
        else:
            self._commits.append(origin(recorded))
            if self._most is not None and len(self._commits) > self._most:
                raise TooLarge(
                    f"more than {self._most} commits are between the two moments: ask about a shorter time",
                    param="from",
                )
        self.last = recorded
        return True

    def missing(self, recorded: Recorded) -> set[int]:
        """Return the ordinals of what a fork inherits that its next commit changes, and that is not known yet."""
        inherited = self._after.inherited
        clears = any(isinstance(event, ThreadEvent) and event.clears for event in recorded.commit.events)
        touched = range(1, inherited + 1) if clears else item_ordinals(recorded.commit)
        return {ordinal for ordinal in touched if ordinal <= inherited and ordinal not in self._items}

    def inherit(self, items: Mapping[int, ItemView]) -> None:
        """Take items as a fork inherits them."""
        self._items |= items

    def turn(self) -> None:
        """Start a new difference from the current state."""
        self._before, self._start = self._after, self.last
        self._touched, self._commits = {}, []

    def answer(self, limit: int | None = None) -> Difference:
        """Return the difference by the commits added so far, with the newest ``limit`` changed items and commits."""
        before, after = self._before, self._after
        changed = list(self._changed_items())
        left_out, older = (0 if limit is None else max(0, len(all_) - limit) for all_ in (changed, self._commits))
        changes = [_item_change(*each) for each in changed[left_out:]]
        return Difference(
            thread_id=after.id,
            since=point(self._start),
            until=point(self.last),
            status=StatusChange(before=before.status, after=after.status),
            metadata=key_changes(before.metadata, after.metadata),
            tool_resources=_resource_changes(lists(before.tool_resources), lists(after.tool_resources)),
            expires_after=UNSET
            if before.expires_after == after.expires_after
            else ExpiryChange(before=before.expires_after, after=after.expires_after),
            messages=tuple(change for change in changes if isinstance(change, MessageChange)),
            items=tuple(change for change in changes if isinstance(change, ItemChange)),
            commits=tuple(self._commits[older:]),
            erased=self._erased,
            changes_left_out=left_out,
            commits_left_out=older,
        )

    def _changed_items(self) -> Iterable[tuple[str, ItemView | None, ItemView | None]]:
        for ordinal, before in sorted(self._touched.items()):
            after = self._items[ordinal]
            was = before if before is not None and not before.deleted else None
            now = after if not after.deleted and self._after.status != "erased" else None
            # What changed an erased item is not known, but that something did is.
            if was is not None and now is not None and not now.erased and _says_the_same(was, now):
                continue
            yield after.id, was, now


def _item_change(item: str, was: ItemView | None, now: ItemView | None) -> MessageChange | ItemChange:
    old, new = (shown_message(each) if each is not None else None for each in (was, now))
    unshown = (old is None) != (was is None) or (new is None) != (now is None)
    if unshown or (old is not None and old == new and not old.erased):
        objects = (item_object(each) if each is not None else UNSET for each in (was, now))
        return ItemChange(item, _how(was, now), *objects)
    before_keys, after_keys = (each.metadata if each is not None else _NOTHING for each in (old, new))
    metadata = key_changes(before_keys, after_keys)
    return MessageChange(id=item, change=_how(was, now), before=old, after=new, metadata=metadata)


def difference(address: Address, commits: Iterable[Recorded], since: Moment, until: Moment) -> Difference:
    """Return what changed in a thread between two moments, from its commits.

    Raises:
        Corrupt: a commit does not continue those before it.
    """
    fold = DiffFold(address, since, until)
    for recorded in commits:
        if not fold.add(recorded):
            break
    return fold.answer()


def key_changes(before: Metadata, after: Metadata) -> tuple[KeyChange, ...]:
    """Return the metadata keys that differ: first the former keys, then the new ones."""
    keys = dict.fromkeys((*before, *after))
    return tuple(
        KeyChange(key=key, before=before.get(key), after=after.get(key))
        for key in keys
        if before.get(key) != after.get(key)
    )


def _resource_changes(
    before: Mapping[str, tuple[str, ...]], after: Mapping[str, tuple[str, ...]]
) -> tuple[ResourceChange, ...]:
    return tuple(
        ResourceChange(resource=name, before=before.get(name, ()), after=after.get(name, ()))
        for name in sorted({*before, *after})
        if before.get(name, ()) != after.get(name, ())
    )


def _says_the_same(before: ItemView, after: ItemView) -> bool:
    return (before.message, before.body, before.erased) == (after.message, after.body, after.erased)


def _how(before: ItemView | None, after: ItemView | None) -> How:
    if before is None:
        return "added" if after is not None else "added_and_deleted"
    return "changed" if after is not None else "deleted"
