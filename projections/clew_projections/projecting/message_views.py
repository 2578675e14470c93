"""Writing the views of messages. Each carries the number of the commit that last changed it, so no write goes back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from clew_events.commit import Recorded
from clew_events.errors import Corrupt
from clew_events.ids import ordinal_of
from clew_events.subjects import Address
from clew_projections.advancing import advance_message, touched
from clew_projections.buckets.bucket import WRITES_AT_ONCE, Bucket, LostRace, Value, message_key
from clew_projections.histories.history import Histories
from clew_projections.views import MessageView, decode_message, encode


class MessageViews:
    """The bucket of messages, as the projector writes it."""

    def __init__(self, bucket: Bucket, histories: Histories) -> None:
        self._bucket = bucket
        self._histories = histories

    async def write(self, address: Address, commits: Sequence[Recorded]) -> None:
        """Bring every message that some commits of a thread touch at least up to the last of them.

        Raises:
            Corrupt: a commit changes a message that was never added.
            Unavailable: the bucket or the log does not answer.
        """
        changes: dict[str, list[Recorded]] = {}
        for recorded in commits:
            for message_id in touched(recorded.commit):
                changes.setdefault(message_id, []).append(recorded)
        if len(changes) == 1:
            ((message_id, concerned),) = changes.items()
            await self._write(address, message_id, concerned)
            return
        some = list(changes.items())
        for start in range(0, len(some), WRITES_AT_ONCE):
            await asyncio.gather(*(self._write(address, *change) for change in some[start : start + WRITES_AT_ONCE]))

    async def _write(self, address: Address, message_id: str, commits: Sequence[Recorded]) -> None:
        key = message_key(address, ordinal_of(message_id))
        stored: Value | None = None
        # The first try takes the message for a new one; if it is not, the fold or the guard says so.
        while True:
            try:
                after = await self._fold(address, message_id, stored, commits)
                if after is not None:
                    await self._bucket.put(key, encode(after), stored.revision if stored is not None else 0)
            except LostRace:
                stored = await self._bucket.latest(key)
                continue
            return

    async def _fold(
        self, address: Address, message_id: str, stored: Value | None, commits: Sequence[Recorded]
    ) -> MessageView | None:
        """The view to be stored instead of what is; ``None`` if that may stay."""
        before: MessageView | None = None
        if stored is not None and stored.body:
            try:
                before = decode_message(stored.body)
            except Corrupt:
                return await self._from_log(address, message_id, commits)
        try:
            after = _advanced(before, message_id, commits)
        except Corrupt:
            if before is not None:
                raise
        else:
            return after if after is not before else None
        # A change to a message that is not new: continue from what the bucket has, or failing that from the log.
        value = await self._bucket.latest(message_key(address, ordinal_of(message_id)))
        if value is not None and value.body:
            raise LostRace(message_id)
        return await self._from_log(address, message_id, commits)

    async def _from_log(self, address: Address, message_id: str, commits: Sequence[Recorded]) -> MessageView:
        view = await self._histories.message_at(address, message_id, commits[-1].commit.n)
        return _advanced(view, message_id, commits)


def _advanced(before: MessageView | None, message_id: str, commits: Sequence[Recorded]) -> MessageView:
    view = before
    for recorded in commits:
        view = advance_message(view, message_id, recorded.commit)
    if view is None:
        raise AssertionError("a message is written because of a commit")
    return view
