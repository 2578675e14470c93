"""Taking commands from the inbox while leading, all of them and in order, and putting each thread's in a lane."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.client import JetStreamContext

from clew_events.errors import Unavailable
from clew_events.subjects import INBOX_STREAM
from clew_services.apps.inbox.carrying import Carrier
from clew_services.apps.inbox.lanes import Lanes
from clew_services.apps.inbox.lease import MARGIN, Lease
from clew_services.apps.inbox.trials import Trials
from clew_services.streams.wanted import HANDLERS

if TYPE_CHECKING:
    from clew_services.compose import Clew

LIMIT: Final = 256
"""Commands in the works."""
FETCH: Final = MARGIN / 2
"""Seconds that one request for more stays open, and so the longest that stopping waits for it.

It is over before anybody else can lead, so that it cannot be answered with what is theirs by then.
"""
STILL_AT_IT: Final = 10.0
"""Seconds between assurances to the server that a command is being worked on; it waits three times as long."""
DRAIN: Final = 15.0
"""Seconds in which what was taken must be settled once the handler stops; the rest is delivered again."""

_LOG: Final = logging.getLogger("clew.inbox")


class OutOfOrder(Exception):
    """A delivery went elsewhere, or came when it should not have: what was taken is not all there is to take."""


class _Thread(msgspec.Struct):
    """The one thing about a command that decides its lane."""

    thread_id: str | None = None


class _Delivered(msgspec.Struct):
    consumer_seq: int
    stream_seq: int


class _State(msgspec.Struct):
    last_seq: int


_THREAD: Final = msgspec.json.Decoder(_Thread)


async def lead(
    clew: Clew, nc: Client, lease: Lease, trials: Trials, stop: asyncio.Event, *, ready: asyncio.Event | None = None
) -> None:
    """Carry out what is in the inbox, from the first that is not settled, until ``stop`` is set.

    Raises:
        Lost: the lease is gone.
        OutOfOrder: it is to be begun anew.
        Unavailable: the inbox does not answer.
    """
    before = await clew.js.api(f"CONSUMER.INFO.{INBOX_STREAM}.{HANDLERS}")
    await trials.begin(msgspec.convert(before["delivered"], _Delivered).stream_seq)
    reset = await clew.js.api(f"CONSUMER.RESET.{INBOX_STREAM}.{HANDLERS}")
    delivered = msgspec.convert(reset["delivered"], _Delivered).consumer_seq
    info = await clew.js.api(f"STREAM.INFO.{INBOX_STREAM}")
    perhaps_tried = msgspec.convert(info["state"], _State).last_seq
    subscription = await _subscribed(nc)
    taken = _Taken(Carrier(clew, nc, lease, trials, stop, perhaps_tried=perhaps_tried), delivered)
    assuring = asyncio.create_task(taken.assure())
    if ready is not None:
        ready.set()
    try:
        while not stop.is_set():
            await taken.room()
            lease.check()
            for message in await _fetched(subscription, LIMIT - len(taken)):
                taken.take(message)
        await taken.finish()
    finally:
        assuring.cancel()
        taken.abandon()
        with contextlib.suppress(nats.errors.Error):
            await subscription.unsubscribe()


async def _subscribed(nc: Client) -> JetStreamContext.PullSubscription:
    try:
        return await nc.jetstream().pull_subscribe_bind(HANDLERS, INBOX_STREAM)
    except (nats.errors.Error, TimeoutError) as fault:
        raise Unavailable(f"the inbox cannot be read: {fault}") from fault


async def _fetched(subscription: JetStreamContext.PullSubscription, most: int) -> list[Msg]:
    try:
        return await subscription.fetch(most, timeout=FETCH)
    except TimeoutError:
        return []
    except nats.errors.Error as fault:
        _LOG.error("the inbox cannot be read: %s", fault)
        await asyncio.sleep(FETCH)
        return []


class _Taken:
    """What was taken since the consumer was reset, and is not settled yet."""

    def __init__(self, carrier: Carrier, delivered: int) -> None:
        self._carrier = carrier
        self._lanes = Lanes()
        self._held: dict[int, Msg] = {}
        self._delivered = delivered
        self._newest = 0

    def take(self, message: Msg) -> None:
        seq, delivery = message.metadata.sequence.stream, message.metadata.sequence.consumer
        if delivery != self._delivered + 1:
            raise OutOfOrder(f"delivery {delivery} came after {self._delivered}")
        self._delivered = delivery
        if seq in self._held:
            # The server lost sight of us for a while. It is being worked on, and once is enough.
            return
        if seq <= self._newest:
            raise OutOfOrder(f"message {seq} came after {self._newest}")
        self._newest = seq
        self._held[seq] = message
        self._lanes.put(_lane(message), partial(self._settle, seq, message))

    async def _settle(self, seq: int, message: Msg, clear: bool) -> bool:
        try:
            # What stands before it was not settled, so it keeps its place behind that.
            return clear and await self._carrier.carry(message)
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

    def abandon(self) -> None:
        self._lanes.abandon()

    def __len__(self) -> int:
        return len(self._lanes)


def _lane(message: Msg) -> str | None:
    # Only to keep an order: what cannot be read is refused in its turn, wherever that is.
    try:
        thread = _THREAD.decode(message.data).thread_id
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return thread and f"{message.subject.split('.', 3)[2]}/{thread}"
