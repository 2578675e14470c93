"""A thread as it was at a moment. Pure: give it the thread's commits from the first on, in order.

Contents of messages are kept only of those that are wanted, so that a long thread does not have to fit into memory;
of the others it is known whether they were there, and which commits are about them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from clew_events.audit_replies import Origin, Point
from clew_events.commit import Recorded
from clew_events.content import ToolResources
from clew_events.ids import ordinal_of
from clew_events.subjects import Address
from clew_projections.apply import adds_message, advance, advance_message, deleted_message_ids, message_ids
from clew_projections.audit.moments import Moment
from clew_projections.views import MessageView, ThreadView, absent


class ThreadAsOf:
    """Takes commits one by one until a moment. ``keep`` are the ordinals of the messages that are wanted whole."""

    def __init__(self, address: Address, until: Moment, keep: Container[int] = ()) -> None:
        self._until = until
        self._keep = keep
        self.view: ThreadView = absent(*address)
        self.messages: dict[int, MessageView] = {}
        self.places: dict[int, list[int]] = {}
        """Of every message that is there, the sequences of the commits about it."""
        self.ids: dict[int, str] = {}
        """The ids of all messages there ever were by then."""
        self.first: Recorded | None = None
        self.last: Recorded | None = None

    def add(self, recorded: Recorded) -> bool:
        """Take the next commit; false if it lies behind the moment, and so is not taken.

        Raises:
            Corrupt: it does not continue what came before.
        """
        self.first = self.first or recorded
        if not self._until.includes(recorded.commit):
            return False
        self.view = advance(self.view, recorded)
        for message_id in message_ids(recorded.commit):
            ordinal = ordinal_of(message_id)
            self.ids.setdefault(ordinal, message_id)
            self.places.setdefault(ordinal, []).append(recorded.position.seq)
            if ordinal in self._keep:
                self.messages[ordinal] = advance_message(self.messages.get(ordinal), message_id, recorded.commit)
        for message_id in deleted_message_ids(recorded.commit):
            self.places.pop(ordinal_of(message_id), None)
        self.last = recorded
        return True


def messages_of(ordinals: Container[int], commits: Iterable[Recorded]) -> dict[int, MessageView]:
    """Messages by ordinal, from the commits about them, in order; what else these say is passed over.

    Raises:
        Corrupt: a commit changes a message that was never added.
    """
    found: dict[int, MessageView] = {}
    for recorded in commits:
        for message_id in message_ids(recorded.commit):
            ordinal = ordinal_of(message_id)
            if ordinal in ordinals and (ordinal in found or adds_message(recorded.commit, message_id)):
                found[ordinal] = advance_message(found.get(ordinal), message_id, recorded.commit)
    return found


Lists = Mapping[str, tuple[str, ...]]


def cursor_of(recorded: Recorded) -> str:
    """The id of a commit within its thread's history: its number, and the sequence where it is found at once."""
    return f"{recorded.commit.n}-{recorded.position.seq}"


def origin(recorded: Recorded) -> Origin:
    """A commit as the cause of something."""
    commit = recorded.commit
    return Origin(
        id=cursor_of(recorded),
        n=commit.n,
        position=recorded.position,
        hash=recorded.hash,
        at=commit.at,
        actor=commit.actor,
        command=commit.command,
        command_id=commit.id,
        trace_id=recorded.trace_id,
    )


def point(recorded: Recorded | None) -> Point:
    """The point after a commit; ``None`` is before the first."""
    if recorded is None:
        return Point(n=0, at=None, position=None)
    return Point(n=recorded.commit.n, at=recorded.commit.at, position=recorded.position)


def lists(resources: ToolResources) -> Lists:
    """What tools may use, list by list, those with nothing in them left out."""
    code, search = resources.code_interpreter, resources.file_search
    every = {
        "code_interpreter.file_ids": code.file_ids if code is not None else (),
        "file_search.vector_store_ids": search.vector_store_ids if search is not None else (),
    }
    return {name: ids for name, ids in every.items() if ids}
