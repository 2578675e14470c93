"""The present from views: a thread and its messages as of the latest acknowledged commit.

A view, wherever it comes from, is a fold up to some commit; asking the log for what came after and folding that on top
gives the present. So a projector that lags, or does not run, makes answers dearer and never late.

Messages need one thing more. The projector writes the messages of a commit before the thread's view, so a message read
*after* a thread's view from the bucket holds at least every commit that view holds; the tail supplies the rest. Where
a server that died may have lost messages, the tail begins earlier; and a view that is missing or cannot be read is
made again from the log.

On a cluster a message may be read from a replica that lags behind the one that the thread was read from. So the
checkpoint is read along with messages, in the same answer: it says up to where this very replica has them, and the log
supplies the rest.
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
from clew_projections.history.histories import Histories, News
from clew_projections.kv.bucket import Bucket, Value
from clew_projections.kv.command_ids import SpentIds
from clew_projections.kv.key_names import checkpoint_key, message_key, thread_key
from clew_projections.kv.lost_views import Doubts
from clew_projections.kv.position import decode_position
from clew_projections.lru_cache import LRUCache
from clew_projections.state.state_reads import Outgrown, Present
from clew_projections.views import MessageView, SpentId, ThreadView, absent, decode_message, decode_thread

SEEN: Final = 20_000
"""Views kept as the bucket last had them. It only ever goes on from there, so they tell which messages it holds."""

_LOG: Final = logging.getLogger("clew.state")


class StateFromViews:
    """Reads the present from one generation's buckets and the log."""

    def __init__(
        self, threads: Bucket, messages: Bucket, spent: SpentIds, histories: Histories, doubts: Doubts
    ) -> None:
        self._threads = threads
        self._messages = messages
        self._spent = spent
        self._histories = histories
        self._doubts = doubts
        self._seen = LRUCache[Address, ThreadView](SEEN)

    async def cached_view(self, address: Address) -> Present:
        """A thread as the bucket has it, which may lag; an absent one if it has no view that can be read."""
        view = await self._view(address)
        return Present(view, (), view.seq, self)

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

    async def caught_up(self, view: ThreadView) -> ThreadView:
        """A view brought up to the latest commit: one request when it is there already, or one commit short."""
        address = Address(view.tenant, view.id)
        news = await self._histories.news(address, view.seq)
        if news is None:
            return view
        if news.alone:
            return advance(view, news.recorded)
        projected = await self._view(address)
        if projected.n > view.n:
            view = projected
        async for commit in self._histories.after(address, view.seq):
            view = advance(view, commit)
        return view

    async def present(self, address: Address) -> Present:
        """A thread at its latest commit, together with what reading its messages takes.

        The bucket is read only if what it once said of this thread is more than one commit behind.
        """
        seen = self._seen.get(address)
        view = seen if seen is not None else await self._view(address)
        sure, news = await self._after(address, view)
        if news is not None and not news.alone and seen is not None:
            view = await self._view(address)
            sure, news = await self._after(address, view)
        if news is None:
            return Present(view, (), sure, self)
        tail = [news.recorded] if news.alone else await self._histories.tail(address, sure)
        for commit in tail:
            if commit.position.seq > view.seq:
                view = advance(view, commit)
        return Present(view, tuple(tail), sure, self)

    async def _after(self, address: Address, view: ThreadView) -> tuple[int, News | None]:
        """Up to where the messages of a view are in the bucket for certain, and the latest commit after that."""
        sure = await self._doubts.sure(self._histories.shard(address), view.seq)
        return sure, await self._histories.news(address, sure)

    async def messages(self, present: Present, ordinals: Sequence[int]) -> dict[int, MessageView]:
        """The messages at some ordinals, of those that were ever added, none older than ``present``."""
        thread = present.thread
        address = Address(thread.tenant, thread.id)
        keys = {message_key(address, ordinal): ordinal for ordinal in ordinals}
        stored, unprojected = await self._stored_messages(present, address, keys)
        views = {keys[key]: view for key, value in stored.items() if (view := _readable(value.body)) is not None}
        for recorded in unprojected:
            for message_id in message_ids(recorded.commit):
                ordinal = ordinal_of(message_id)
                if ordinal in views or (ordinal in ordinals and adds_message(recorded.commit, message_id)):
                    views[ordinal] = advance_message(views.get(ordinal), message_id, recorded.commit)
        if lost := {ordinal for ordinal in ordinals if 1 <= ordinal <= thread.last_ordinal} - views.keys():
            # Every ordinal has its view, deleted or not. One that is not there is not projected again by itself.
            again = await self._histories.messages_at(address, lost, thread.n)
            views |= {view.ordinal: view for view in again.values()}
        return views

    async def _stored_messages(
        self, present: Present, address: Address, keys: Iterable[str]
    ) -> tuple[dict[str, Value], Sequence[Recorded]]:
        """What the bucket of messages has under some keys, and the commits that it may not hold there."""
        if not self._messages.replicated:
            return await self._messages.get_many(keys), present.unprojected
        mark = checkpoint_key(self._histories.shard(address))
        stored, value = await self._messages.get_marked(keys, mark)
        held = decode_position(mark, value)
        if held >= present.sure:
            return stored, present.unprojected
        return stored, await self._histories.tail(address, held)

    async def outgrown(self, address: Address) -> Outgrown:
        """The marks of the command ids that are kept, which are those of all commits up to some sequence at least.

        That is the view's, unless a server that died may have lost some.
        """
        view = await self._view(address)
        sure = await self._doubts.sure(self._histories.shard(address), view.seq)
        return Outgrown(await self._spent.marks(address), sure)

    async def spent(self, address: Address, command_id: str) -> SpentId | None:
        """What is kept of a command id."""
        return await self._spent.find(address, command_id)


def _readable(body: bytes) -> MessageView | None:
    try:
        return decode_message(body) if body else None
    except Corrupt:
        return None
