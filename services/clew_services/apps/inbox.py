"""Commands left in the inbox: ``clew.inbox.<tenant>.<command>``, carried out once, whenever a handler is there.

Not a FastStream subscriber, for three reasons found in its version 0.7.8: its pull subscriber creates the
consumer when it is missing, with settings of its own, where Clew only ever uses what ``clew init`` made; in
batches it holds a lone command back until its timeout is over, and otherwise handles all it fetched at once,
in no order; and it fetches without regard to what is still in the works.

Commands of one thread are carried out in the order in which they were left, as far as one process can see:
several processes share the inbox, and each keeps the order of what it was handed. Who depends on the order
across processes says so with ``expected_version``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
import nats.errors
from nats.aio.msg import Msg
from nats.js.client import JetStreamContext

from clew_events.subjects import INBOX_STREAM
from clew_services.apps.carrying import Carrier
from clew_services.apps.lanes import Lanes
from clew_services.apps.sturdy import beside
from clew_services.streams import HANDLERS

if TYPE_CHECKING:
    from clew_services.compose import Clew

LIMIT: Final = 256
"""Commands in the works in one process."""
FETCH: Final = 0.5
"""Seconds that one request for more stays open, and so the longest that stopping waits for it."""
STILL_AT_IT: Final = 10.0
"""Seconds between assurances to the server that a command is being worked on; it waits three times as long."""
DRAIN: Final = 15.0
"""Seconds in which what was taken must be settled or given back once the handler stops."""

_LOG: Final = logging.getLogger("clew.inbox")


class _Thread(msgspec.Struct):
    """The one thing about a command that decides its lane."""

    thread_id: str | None = None


_THREAD: Final = msgspec.json.Decoder(_Thread)


async def serve_inbox(clew: Clew, stop: asyncio.Event, ready: asyncio.Event | None = None) -> None:
    """Carry out what is in the inbox until ``stop`` is set, then settle what was taken and return.

    ``ready`` is set once commands are being taken. Any number of processes may serve side by side.
    """
    nc = await beside(clew.nc, name="clew-inbox")
    try:
        subscription = await nc.jetstream().pull_subscribe_bind(HANDLERS, INBOX_STREAM)
        inbox = _Inbox(Carrier(clew, nc, stop))
        if ready is not None:
            ready.set()
        async with asyncio.TaskGroup() as tasks:
            assuring = tasks.create_task(inbox.assure())
            while not stop.is_set():
                await inbox.room()
                for message in await _fetched(subscription, LIMIT - len(inbox)):
                    inbox.take(message)
            await inbox.finish()
            assuring.cancel()
    finally:
        # Not drained: nats-py would wait for somebody to read the status messages of the last request for more.
        with contextlib.suppress(nats.errors.Error):
            if nc.is_connected:
                await nc.flush()
        await nc.close()


async def _fetched(subscription: JetStreamContext.PullSubscription, most: int) -> list[Msg]:
    try:
        return await subscription.fetch(most, timeout=FETCH)
    except TimeoutError:
        return []
    except nats.errors.Error as fault:
        _LOG.error("the inbox cannot be read: %s", fault)
        await asyncio.sleep(FETCH)
        return []


class _Inbox:
    """What one process has taken from the inbox and not settled yet."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._lanes = Lanes()
        self._held: dict[int, Msg] = {}

    def take(self, message: Msg) -> None:
        seq = message.metadata.sequence.stream
        if seq in self._held:
            # The server lost sight of us for a while. It is being worked on, and once is enough.
            return
        self._held[seq] = message
        self._lanes.put(_lane(message), partial(self._settle, seq, message))

    async def _settle(self, seq: int, message: Msg, clear: bool) -> bool:
        try:
            if clear:
                return await self._carrier.carry(message)
            # What stands before it was given back, so it goes back too and keeps its place.
            await self._carrier.give_back(message)
            return False
        finally:
            del self._held[seq]

    async def assure(self) -> None:
        while True:
            await asyncio.sleep(STILL_AT_IT)
            for message in tuple(self._held.values()):
                with contextlib.suppress(nats.errors.Error):
                    await message.in_progress()

    async def room(self) -> None:
        await self._lanes.room(LIMIT)

    async def finish(self) -> None:
        if not await self._lanes.empty(DRAIN):
            _LOG.warning("stopped before everything taken was settled; it is delivered again")

    def __len__(self) -> int:
        return len(self._lanes)


def _lane(message: Msg) -> str | None:
    # Only to keep an order: what cannot be read is refused in its turn, wherever that is.
    try:
        thread = _THREAD.decode(message.data).thread_id
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return thread and f"{message.subject.split('.', 3)[2]}/{thread}"
