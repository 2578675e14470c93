"""The consumer loop of one term: takes all commands from the inbox in order, and runs each thread's in a lane."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import Final, get_args

import msgspec
import nats.errors
from nats.aio.msg import Msg

from clew_events.commands import OnTenant
from clew_events.operations import WIRE_NAMES
from clew_events.subjects import TENANT
from clew_projections.nats.lean_client import LeanClient
from clew_services.inbox import term as terms
from clew_services.inbox.attempt import Carrier, InboxParts
from clew_services.inbox.lanes import Lanes
from clew_services.inbox.poison import Trials
from clew_services.inbox.pull_requests import WAIT, Pull
from clew_services.inbox.term import Term
from clew_services.lease import Lease

BYTES: Final = 64 * 1024 * 1024
"""Bytes of unsettled commands above which no more are requested."""
STILL_AT_IT: Final = 10.0
"""Seconds between two progress acknowledgements of an unsettled command; ``ACK_WAIT`` is three times as long."""
DRAIN: Final = 15.0
"""Seconds in which unsettled commands may finish on shutdown; the others are redelivered."""

_LOG: Final = logging.getLogger("clew.inbox")


class _Thread(msgspec.Struct):
    """The part of a command that determines its lane."""

    thread_id: str | None = None


_THREAD: Final = msgspec.json.Decoder(_Thread)
_OF_TENANTS: Final = frozenset(WIRE_NAMES[command.named] for command in get_args(OnTenant))
"""The commands on tenants' own histories, by their names on the wire."""


async def lead(
    parts: InboxParts,
    nc: LeanClient,
    lease: Lease,
    trials: Trials,
    stop: asyncio.Event,
    *,
    ready: asyncio.Event | None = None,
) -> None:
    """Carry out the commands in the inbox, from the first unsettled one, until ``stop`` is set.

    Raises:
        LeaseLost: the lease is lost.
        Over: the term has ended, and another has to begin.
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


async def _carry_out(term: Term, pull: Pull, unsettled: _Unsettled, stop: asyncio.Event) -> None:
    progress = asyncio.create_task(unsettled.report_progress())
    waking = asyncio.create_task(_wake(pull, stop))
    try:
        while not stop.is_set():
            term.check()
            if unsettled.is_full:
                await unsettled.wait_any(WAIT)
                continue
            for message in await pull.next(term):
                term.check()
                unsettled.take(message)
        await unsettled.finish()
    finally:
        progress.cancel()
        waking.cancel()
        await unsettled.abandon()


async def _wake(pull: Pull, stop: asyncio.Event) -> None:
    await stop.wait()
    pull.wake()


class _Unsettled:
    """The messages that were delivered in this term and are not settled yet."""

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
        """Whether the unsettled messages have too many bytes; the consumer limits their number."""
        return self._bytes >= BYTES

    def take(self, message: Msg) -> None:
        seq, delivery = message.metadata.sequence.stream, message.metadata.sequence.consumer
        self._deliveries += 1
        if seq in self._held and delivery == self._deliveries:
            # A redelivery after missed progress acknowledgements of a message that is being carried out.
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
            # If its predecessor was not settled, it is not carried out either, and stays behind it.
            return clear and await self._carrier.carry(message)
        finally:
            del self._held[seq]
            self._bytes -= len(message.data)

    async def report_progress(self) -> None:
        while True:
            await asyncio.sleep(STILL_AT_IT)
            for message in tuple(self._held.values()):
                with contextlib.suppress(nats.errors.Error):
                    await message.in_progress()

    async def wait_any(self, within: float) -> None:
        await self._lanes.wait_any(within)

    async def finish(self) -> None:
        if not await self._lanes.empty(DRAIN):
            _LOG.warning("shutdown before all delivered messages were settled; they are redelivered")

    async def abandon(self) -> None:
        await self._lanes.abandon()


def _lane(message: Msg) -> str | None:
    _, _, tenant, name = message.subject.split(".", 3)
    if name in _OF_TENANTS:
        return f"{tenant}/{TENANT}"
    # A message that cannot be read needs no lane: it is rejected, and so has no order to keep.
    try:
        thread = _THREAD.decode(message.data).thread_id
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return thread and f"{tenant}/{thread}"
