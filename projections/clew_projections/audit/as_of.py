"""A thread as of a moment, folded from its commits, which are given from the first on, in order. Pure.

No item is folded, so that a long thread need not fit into memory: what is known of each is that it exists, and the
sequences of the commits about it.
"""

from __future__ import annotations

from collections.abc import Mapping

from clew_events.audit_replies import Origin, Point
from clew_events.commit import Commit, Recorded
from clew_events.content import ToolResources
from clew_events.events import Event, ThreadEvent, is_erased, ordinal_of
from clew_events.subjects import Address
from clew_projections.apply import advance
from clew_projections.audit.moments import Moment
from clew_projections.views import ThreadView, absent


class ThreadAsOf:
    """Folds commits one by one up to a moment."""

    def __init__(self, address: Address, until: Moment) -> None:
        self._until = until
        self.view: ThreadView = absent(*address)
        self.places: dict[int, list[int]] = {}
        """By the ordinal of every item that exists, the sequences of the commits about it."""
        self.ids: dict[int, str] = {}
        """The ids of all items added until then, deleted ones included."""
        self.erased = False
        """Whether contents about the thread itself are missing."""
        self.first: Recorded | None = None
        self.last: Recorded | None = None
        self.parent: ThreadAsOf | None = None
        """Of a fork, the thread that it was forked from, as it was then."""

    def inherit(self, parent: ThreadAsOf, last: int) -> None:
        """Begin with what a fork inherits, up to an ordinal. Of that, ``places`` has the fork's own commits alone."""
        self.parent = parent
        self.ids = {ordinal: item for ordinal, item in parent.ids.items() if ordinal <= last}
        self.places = {ordinal: [] for ordinal in parent.places if ordinal <= last}

    def add(self, recorded: Recorded) -> bool:
        """Fold the next commit; return false, and do not fold it, if it is after the moment.

        Raises:
            Corrupt: it does not continue the thread.
        """
        self.first = self.first or recorded
        if not self._until.includes(recorded.commit):
            return False
        self.view = advance(self.view, recorded)
        self.erased = self.erased or has_erased_state(recorded.commit)
        for event in recorded.commit.events:
            self._place(event, recorded.position.seq)
        self.last = recorded
        return True

    def _place(self, event: Event, seq: int) -> None:
        if isinstance(event, ThreadEvent):
            if event.clears:
                self.places.clear()
            for ordinal in event.request.item_ordinals if event.request is not None else ():
                self.places.pop(ordinal, None)
            return
        ordinal = ordinal_of(event)
        if event.effect == "creates":
            self.places[ordinal] = [seq]
            self.ids[ordinal] = event.item
        elif event.effect == "deletes":
            self.places.pop(ordinal, None)
        elif seq not in (places := self.places.get(ordinal, [seq])):
            places.append(seq)


def has_erased_state(commit: Commit) -> bool:
    """Return whether a commit lost what it said about the thread itself."""
    return any(isinstance(event, ThreadEvent) and is_erased(event) for event in commit.events)


def lost_contents(commit: Commit) -> bool:
    """Return whether a commit lost what it said about the thread or its messages."""
    return any(map(is_erased, commit.events))


Lists = Mapping[str, tuple[str, ...]]


def cursor_of(recorded: Recorded) -> str:
    """Return the id of a commit within its thread's history: its number and its sequence."""
    return f"{recorded.commit.n}-{recorded.position.seq}"


def origin(recorded: Recorded) -> Origin:
    """Return a commit as the origin of a change."""
    commit = recorded.commit
    return Origin(
        id=cursor_of(recorded),
        n=commit.n,
        position=recorded.position,
        hash=recorded.hash,
        at=commit.at,
        actor=commit.actor,
        by=commit.by,
        command=commit.command,
        command_id=commit.id,
        reason=commit.reason,
        trace_id=recorded.trace_id,
        reason_erased=commit.reason_erased,
    )


def point(recorded: Recorded | None) -> Point:
    """Return the point after a commit; ``None`` is before the first."""
    if recorded is None:
        return Point(n=0, at=None, position=None)
    return Point(n=recorded.commit.n, at=recorded.commit.at, position=recorded.position)


def lists(resources: ToolResources) -> Lists:
    """Return the tool resources by list name, without empty lists."""
    code, search = resources.code_interpreter, resources.file_search
    every = {
        "code_interpreter.file_ids": code.file_ids if code is not None else (),
        "file_search.vector_store_ids": search.vector_store_ids if search is not None else (),
    }
    return {name: ids for name, ids in every.items() if ids}
