"""Whether histories can be folded, not only read: known before any of them is written anywhere.

The ids of all messages are held, some 90 bytes each.
"""

from __future__ import annotations

from clew_events.commit import Commit
from clew_events.errors import Corrupt
from clew_events.events import MessageAdded, MessageDeleted, MessageMetadataUpdated, ThreadCreated
from clew_events.ids import ordinal_of
from clew_events.subjects import Address
from clew_projections.advancing import check_message
from clew_projections.views import ThreadView


class Foldable:
    """Takes commits whose chains are known to be whole, of any number of threads."""

    def __init__(self) -> None:
        self._ids: dict[Address, list[str]] = {}

    def take(self, commit: Commit) -> None:
        """The next commit of its thread.

        Raises:
            Corrupt: no projector could fold it.
        """
        ids = self._ids.setdefault(Address(commit.tenant, commit.thread), [])
        for place, event in enumerate(commit.events):
            if isinstance(event, ThreadCreated) != (commit.n == 1 and place == 0):
                raise _unfoldable(commit, "a thread is created by its first commit, and never again")
            view = ThreadView(id=commit.thread, tenant=commit.tenant, n=commit.n - 1, last_ordinal=len(ids))
            check_message(view, event)
            match event:
                case MessageAdded():
                    ids.append(event.message.id)
                case MessageMetadataUpdated() | MessageDeleted():
                    if ids[ordinal_of(event.message_id) - 1] != event.message_id:
                        raise _unfoldable(commit, f"it changes message {event.message_id}, which was never added")
                case _:
                    pass
        if not commit.events:
            raise _unfoldable(commit, "it has no events")


def _unfoldable(commit: Commit, why: str) -> Corrupt:
    return Corrupt(f"thread {commit.thread}: commit {commit.n} cannot be folded: {why}", code="unfoldable_commit")
