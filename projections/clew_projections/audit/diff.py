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
    KeyChange,
    MessageChange,
    Origin,
    ResourceChange,
    StatusChange,
)
from clew_events.commit import Recorded
from clew_events.content import Metadata
from clew_events.errors import TooLarge
from clew_events.subjects import Address
from clew_projections.api_objects import message_object
from clew_projections.apply import advance, advance_message, concerned_items
from clew_projections.audit.as_of import lists, lost_contents, origin, point
from clew_projections.audit.moments import Moment
from clew_projections.views import MessageView, absent

_NOTHING: Metadata = {}


class DiffFold:
    """Folds commits one by one up to a moment, and tells what changed since an earlier one.

    ``most`` limits the number of commits between the two.
    """

    def __init__(self, address: Address, since: Moment, until: Moment, most: int | None = None) -> None:
        self._since = since
        self._until = until
        self._most = most
        self.turned_round = False
        """Whether ``since`` turned out to be later than ``until``."""
        self._before = self._after = absent(*address)
        self._messages: dict[str, MessageView] = {}
        self._touched: dict[str, MessageView | None] = {}
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
        for message_id in concerned_items(recorded.commit, self._messages):
            view = self._messages.get(message_id)
            if not earlier:
                self._touched.setdefault(message_id, view)
            self._messages[message_id] = advance_message(view, message_id, recorded.commit)
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

    def turn(self) -> None:
        """Start a new difference from the current state."""
        self._before, self._start = self._after, self.last
        self._touched, self._commits = {}, []

    def answer(self) -> Difference:
        """Return the difference by the commits added so far."""
        before, after = self._before, self._after
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
            messages=tuple(self._message_changes()),
            commits=tuple(self._commits),
            erased=self._erased,
        )

    def _message_changes(self) -> Iterable[MessageChange]:
        for message_id, before in sorted(self._touched.items(), key=lambda item: self._messages[item[0]].ordinal):
            after = self._messages[message_id]
            was = before if before is not None and not before.deleted else None
            now = after if not after.deleted and self._after.status != "erased" else None
            old, new = (each.metadata if each is not None else _NOTHING for each in (was, now))
            shown, shown_now = (message_object(each) if each is not None else None for each in (was, now))
            # What changed an erased message is not known, but that something did is.
            if was is not None and now is not None and shown == shown_now and not now.erased:
                continue
            yield MessageChange(
                id=message_id, change=_how(was, now), before=shown, after=shown_now, metadata=key_changes(old, new)
            )


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


def _how(before: MessageView | None, after: MessageView | None) -> How:
    if before is None:
        return "added" if after is not None else "added_and_deleted"
    return "changed" if after is not None else "deleted"
