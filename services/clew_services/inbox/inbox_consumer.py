"""Taking commands from the inbox during one term, all of them and in order, and putting each thread's in a lane."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from clew_services.coordination.lease import Lease
from clew_services.inbox import term as terms
from clew_services.inbox.attempt import Carrier, InboxParts
from clew_services.inbox.lanes import Lanes
from clew_services.inbox.poison import Trials
from clew_services.inbox.pull_requests import WAIT, Pull
from clew_services.inbox.term import Term

BYTES: Final = 64 * 1024 * 1024
"""Of commands in the works, beyond which no more are asked for."""
STILL_AT_IT: Final = 10.0
"""Seconds between assurances to the server that a command is being worked on; it waits three times as long."""
DRAIN: Final = 15.0
"""Seconds in which what was taken must be settled once the handler stops; the rest is delivered again."""

_LOG: Final = logging.getLogger("clew.inbox")


class _Thread(msgspec.Struct):
    """The one thing about a command that decides its lane."""

    thread_id: str | None = None


_THREAD: Final = msgspec.json.Decoder(_Thread)


async def lead(
    parts: InboxParts,
    nc: Client,
    lease: Lease,
    trials: Trials,
    stop: asyncio.Event,
    *,
    ready: asyncio.Event | None = None,
) -> None:
    """Carry out what is in the inbox, from the first that is not settled, until ``stop`` is set.

    Raises:
        Lost: the lease is gone.
        Over: the term has ended, and another is to begin.
        Unavailable: the inbox does not answer.
    """
    pull = Pull(nc)
    await pull.open()
    try:
        term = await terms.begin(parts.js, lease, trials)
        if ready is not None:
            ready.set()
        await _carry_out(term, pull, _Unsettled(term, Carrier(parts, nc, term, trials, stop)), stop)
        await term.close()
    finally:
        await pull.close()


async def _carry_out(term: Term, pull: Pull, taken: _Unsettled, stop: asyncio.Event) -> None:
    assuring = asyncio.create_task(taken.assure())
    try:
        while not stop.is_set():
            term.check()
            if taken.is_full:
                await taken.some_done(WAIT)
                continue
            for message in await pull.next(term):
                term.check()
                taken.take(message)
        await taken.finish()
    finally:
        assuring.cancel()
        await taken.abandon()


class _Unsettled:
    """What was delivered in this term, and is not settled yet."""

    def __init__(self, term: Term, carrier: Carrier) -> None:
        self._term = term
        self._carrier = carrier
        self._lanes = Lanes()
        self._held: dict[int, Msg] = {}
        self._bytes = 0
        self._deliveries = 0
        self._newest = 0

    @property
    def is_full(self) -> bool:
        """Whether there is enough in the works; how many that are the consumer sees to."""
        return self._bytes >= BYTES

    def take(self, message: Msg) -> None:
        seq, delivery = message.metadata.sequence.stream, message.metadata.sequence.consumer
        self._deliveries += 1
        if seq in self._held and delivery == self._deliveries:
            # The server lost sight of us for a while. It is being worked on, and once is enough.
            return
        if seq <= self._newest or delivery != self._deliveries:
            self._term.end(f"message {seq} came as delivery {delivery} after message {self._newest}")
            return
        self._newest = seq
        self._held[seq] = message
        self._bytes += len(message.data)
        self._lanes.put(_lane(message), partial(self._settle, seq, message))

    async def _settle(self, seq: int, message: Msg, clear: bool) -> bool:
        try:
            # What stands before it was not settled, so it keeps its place behind that.
            return clear and await self._carrier.carry(message)
        finally:
            del self._held[seq]
            self._bytes -= len(message.data)

    async def assure(self) -> None:
        while True:
            await asyncio.sleep(STILL_AT_IT)
            for message in tuple(self._held.values()):
                with contextlib.suppress(nats.errors.Error):
                    await message.in_progress()

    async def some_done(self, within: float) -> None:
        await self._lanes.some_done(within)

    async def finish(self) -> None:
        if not await self._lanes.empty(DRAIN):
            _LOG.warning("stopped before everything taken was settled; it is delivered again")

    async def abandon(self) -> None:
        await self._lanes.abandon()


def _lane(message: Msg) -> str | None:
    # Only to keep an order: what cannot be read is refused in its turn, wherever that is.
    try:
        thread = _THREAD.decode(message.data).thread_id
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return thread and f"{message.subject.split('.', 3)[2]}/{thread}"
