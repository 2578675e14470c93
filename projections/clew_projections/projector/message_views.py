"""Writes of the views of messages. Each view holds the number of the commit that last changed it, so none goes back.

A message that a commit adds is assumed to be new: its view follows from the commit alone, and the write is guarded by
the absence of the key. If that fails, the view is read from the bucket, or else from the log, and written in the next
round. A round is one batch of reads and one of writes, for any number of messages and threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from clew_events.commit import Recorded
from clew_events.errors import Corrupt
from clew_events.ids import ordinal_of
from clew_events.subjects import Address
from clew_projections.apply import advance_message, message_ids
from clew_projections.history.histories import Histories
from clew_projections.kv.bucket import Bucket, Fault, LostRace, Value, Write
from clew_projections.kv.key_names import message_key
from clew_projections.views import MessageView, decode_message, encode


class _Change(Struct):
    """What some commits of a thread do to one message, and what is known of it."""

    address: Address
    key: str
    message_id: str
    commits: list[Recorded]
    stored: Value | None = None
    looked: bool = False
    """Whether the bucket was asked, in which case ``stored`` is what it has."""

    def after(self, before: MessageView | None) -> MessageView:
        """The view that follows from these commits on one before.

        Raises:
            Corrupt: there is none before, and they do not begin with the message.
        """
        view = before
        for recorded in self.commits:
            view = advance_message(view, self.message_id, recorded.commit)
        if view is None:
            raise AssertionError("a message is written because of a commit")
        return view


class MessageViews:
    """The bucket of messages, as the projector writes it."""

    def __init__(self, bucket: Bucket, histories: Histories) -> None:
        self._bucket = bucket
        self._histories = histories

    async def write(self, commits: Mapping[Address, Sequence[Recorded]]) -> dict[Address, Fault]:
        """Bring every message that some commits of some threads touch at least up to the last of these.

        Why that could not be done is returned by thread: a message was never added or is too large, or was refused.

        Raises:
            Unavailable: the bucket or the log does not answer.
        """
        faults: dict[Address, Fault] = {}
        left = [change for address, some in commits.items() for change in _changes(address, some)]
        while left and (left := await self._round(left, faults)):
            await self._look(left)
        return faults

    async def _round(self, changes: Iterable[_Change], faults: dict[Address, Fault]) -> list[_Change]:
        """Write what can be written, and return what has to be looked at first."""
        again: list[_Change] = []
        writing: list[_Change] = []
        writes: list[Write] = []
        for change in changes:
            try:
                body = await self._body(change)
            except Corrupt as fault:
                faults[change.address] = fault
                continue
            if body is None:
                again.append(change)
            elif body:
                writing.append(change)
                writes.append(Write(change.key, body, change.stored.revision if change.stored else 0))
        for change, outcome in zip(writing, await self._bucket.put_all(writes), strict=True):
            if isinstance(outcome, LostRace):
                again.append(change)
            elif not isinstance(outcome, int):
                faults[change.address] = outcome
        return again

    async def _look(self, changes: Iterable[_Change]) -> None:
        by_key = {change.key: change for change in changes}
        found = await self._bucket.latest_of(by_key)
        for key, change in by_key.items():
            change.stored, change.looked = found.get(key), True

    async def _body(self, change: _Change) -> bytes | None:
        """The value to be stored; empty if what is stored may stay, and ``None`` if it has to be looked at first."""
        before: MessageView | None = None
        if change.stored is not None and change.stored.body:
            try:
                before = decode_message(change.stored.body)
            except Corrupt:
                return await self._from_log(change)
        try:
            after = change.after(before)
        except Corrupt:
            if before is not None:
                raise
            # A change to a message that is not new.
            return await self._from_log(change) if change.looked else None
        return encode(after) if after is not before else b""

    async def _from_log(self, change: _Change) -> bytes:
        until = change.commits[-1].commit.n
        return encode(change.after(await self._histories.message_at(change.address, change.message_id, until)))


def _changes(address: Address, commits: Sequence[Recorded]) -> Iterable[_Change]:
    changes: dict[str, _Change] = {}
    for recorded in commits:
        for message_id in message_ids(recorded.commit):
            change = changes.get(message_id)
            if change is None:
                key = message_key(address, ordinal_of(message_id))
                changes[message_id] = _Change(address, key, message_id, [recorded])
            else:
                change.commits.append(recorded)
    return changes.values()
