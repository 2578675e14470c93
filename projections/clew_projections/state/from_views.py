"""Current state from views: a thread and its messages as of the latest acknowledged commit.

A view is a fold up to some commit. The tail of the log, folded on top, gives the current state. So a projector that
lags or does not run makes reads more expensive, and never stale.

The projector writes the messages of a commit before the thread's view, so a message read *after* a thread's view from
the bucket contains at least every commit of that view; the tail supplies the rest. Where a server that died may have
lost messages, the tail begins earlier. A missing or unreadable view is made again from the log.

On a cluster a message may come from a replica that lags behind the replica that answered for the thread. So messages
are read together with the position, in the same reply: it says up to where this replica has them, and the log supplies
the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from clew_events.commit import Recorded
from clew_events.errors import Corrupt
from clew_events.ids import ordinal_of
from clew_events.subjects import Address
from clew_projections.apply import adds_message, advance, advance_message, message_ids
from clew_projections.history.histories import Histories, LatestCommit
from clew_projections.kv.bucket import Bucket, Value
from clew_projections.kv.command_ids import SpentIds
from clew_projections.kv.key_names import checkpoint_key, message_key, thread_key
from clew_projections.kv.lost_views import Doubts
from clew_projections.kv.position import decode_position
from clew_projections.lru_cache import LRUCache
from clew_projections.state.state_reads import CurrentThread, OlderCommandIds
from clew_projections.views import MessageView, SpentId, ThreadView, absent, decode_message, decode_thread

SEEN: Final = 20_000
"""Cached views, as last read from the bucket, which only moves forward: they tell which messages it holds."""

_LOG: Final = logging.getLogger("clew.state")


class StateFromViews:
    """Reads current state from one generation's buckets and the log."""

    def __init__(
        self, threads: Bucket, messages: Bucket, spent: SpentIds, histories: Histories, doubts: Doubts
    ) -> None:
        self._threads = threads
        self._messages = messages
        self._spent = spent
        self._histories = histories
        self._doubts = doubts
        self._seen = LRUCache[Address, ThreadView](SEEN)

    async def read_cached(self, address: Address) -> CurrentThread:
        """Read a thread's view from the bucket, which may lag; it is absent if there is no readable view."""
        view = await self._view(address)
        return CurrentThread(view, (), view.seq, self)

    async def _view(self, address: Address) -> ThreadView:
        value = await self._threads.get(thread_key(address))
        if value is None or not value.body:
            return absent(*address)
        try:
            view = decode_thread(value.body)
        except Corrupt as fault:
            _LOG.warning("reading thread %s of tenant %s from the log: %s", address.thread, address.tenant, fault)
            return absent(*address)
        self._seen.put(address, view)
        return view

    async def catch_up(self, view: ThreadView) -> ThreadView:
        """Bring a view up to the latest commit: one request if it is current already, or one commit short."""
        address = Address(view.tenant, view.id)
        latest = await self._histories.read_latest(address, view.seq)
        if latest is None:
            return view
        if latest.alone:
            return advance(view, latest.recorded)
        projected = await self._view(address)
        if projected.n > view.n:
            view = projected
        async for commit in self._histories.after(address, view.seq):
            view = advance(view, commit)
        return view

    async def read_current(self, address: Address) -> CurrentThread:
        """Read a thread at its latest commit.

        The bucket is read only if the cached view is missing or more than one commit behind.
        """
        seen = self._seen.get(address)
        view = seen if seen is not None else await self._view(address)
        sure, latest = await self._after(address, view)
        if latest is not None and not latest.alone and seen is not None:
            view = await self._view(address)
            sure, latest = await self._after(address, view)
        if latest is None:
            return CurrentThread(view, (), sure, self)
        tail = [latest.recorded] if latest.alone else await self._histories.tail(address, sure)
        for commit in tail:
            if commit.position.seq > view.seq:
                view = advance(view, commit)
        return CurrentThread(view, tuple(tail), sure, self)

    async def _after(self, address: Address, view: ThreadView) -> tuple[int, LatestCommit | None]:
        """Return the sequence up to which the bucket surely holds a view's messages, and the latest commit after it."""
        sure = await self._doubts.sure(self._histories.shard(address), view.seq)
        return sure, await self._histories.read_latest(address, sure)

    async def messages(self, current: CurrentThread, ordinals: Sequence[int]) -> dict[int, MessageView]:
        """Read messages by ordinal, none older than ``current``; ordinals never added are left out."""
        thread = current.thread
        address = Address(thread.tenant, thread.id)
        keys = {message_key(address, ordinal): ordinal for ordinal in ordinals}
        stored, unprojected = await self._stored_messages(current, address, keys)
        views = {keys[key]: view for key, value in stored.items() if (view := _readable(value.body)) is not None}
        for recorded in unprojected:
            for message_id in message_ids(recorded.commit):
                ordinal = ordinal_of(message_id)
                if ordinal in views or (ordinal in ordinals and adds_message(recorded.commit, message_id)):
                    views[ordinal] = advance_message(views.get(ordinal), message_id, recorded.commit)
        if lost := {ordinal for ordinal in ordinals if 1 <= ordinal <= thread.last_ordinal} - views.keys():
            # Every ordinal has a view, deleted or not. A missing view is not projected again by itself.
            rebuilt = await self._histories.messages_at(address, lost, thread.n)
            views |= {view.ordinal: view for view in rebuilt.values()}
        return views

    async def _stored_messages(
        self, current: CurrentThread, address: Address, keys: Iterable[str]
    ) -> tuple[dict[str, Value], Sequence[Recorded]]:
        """Read keys of the bucket of messages, and the commits that these values may not contain."""
        if not self._messages.replicated:
            return await self._messages.get_many(keys), current.unprojected
        mark = checkpoint_key(self._histories.shard(address))
        stored, value = await self._messages.get_marked(keys, mark)
        position = decode_position(mark, value)
        if position >= current.sure:
            return stored, current.unprojected
        return stored, await self._histories.tail(address, position)

    async def read_older_ids(self, address: Address) -> OlderCommandIds:
        """Read the marks of the stored command ids: at least those of all commits up to the returned sequence.

        That is the sequence of the view, unless a server that died may have lost ids.
        """
        view = await self._view(address)
        sure = await self._doubts.sure(self._histories.shard(address), view.seq)
        return OlderCommandIds(await self._spent.marks(address), sure)

    async def find_spent(self, address: Address, command_id: str) -> SpentId | None:
        """Return what is stored about a command id; ``None`` if nothing is."""
        return await self._spent.find(address, command_id)


def _readable(body: bytes) -> MessageView | None:
    try:
        return decode_message(body) if body else None
    except Corrupt:
        return None
