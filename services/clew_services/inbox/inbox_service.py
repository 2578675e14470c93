"""The service of the inbox: stands by, serves for a term, and stands by again, until it is stopped.

It is no FastStream subscriber, for three reasons found in version 0.7.8: its pull subscriber creates a missing consumer
with settings of its own, where here each term has another; in batches it delays a single command until its timeout, and
otherwise handles everything that it fetched at once, in no order; and it fetches regardless of unsettled messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

import nats.errors

from clew_events.connection import close
from clew_events.errors import Unavailable
from clew_projections.kv.bucket import Bucket
from clew_projections.nats.lean_client import LeanClient
from clew_projections.wait import run_until_first, wait_for_event
from clew_services import lease as leases
from clew_services.eventstore.topology import LEASES
from clew_services.inbox.attempt import InboxParts
from clew_services.inbox.inbox_consumer import lead
from clew_services.inbox.poison import Trials
from clew_services.lease import Lease
from clew_services.nats_api.tolerant_client import connect_second
from clew_services.nats_connection import flush

_LOG: Final = logging.getLogger("clew.inbox")


async def serve_inbox(
    beside_nc: LeanClient, parts: InboxParts, stop: asyncio.Event, ready: asyncio.Event | None = None
) -> None:
    """Carry out the commands in the inbox until ``stop`` is set, then settle what was delivered and return.

    ``ready`` is set once commands are consumed, here or by another process, for which this one then stands by.
    """
    nc = await connect_second(beside_nc, name="clew-inbox")
    bucket = Bucket(parts.js, LEASES)
    lease = Lease(bucket)
    trials = Trials(bucket, lease.holder)
    logged: str | None = None
    try:
        while not stop.is_set():
            fault = await _take_turn(parts, nc, lease, trials, stop, ready=ready)
            if fault is not None and str(fault) != logged:
                # Unsettled messages are redelivered to the next leader.
                _LOG.warning("the inbox waits: %s", fault)
            logged = str(fault) if fault is not None else None
            if ready is not None:
                ready.set()
            await wait_for_event(stop, leases.LOOK)
    finally:
        await trials.acquit()
        await lease.give_up()
        # Not drained: nats-py would wait until the status messages of the last pull request are read.
        with contextlib.suppress(nats.errors.Error):
            if nc.is_connected:
                await flush(nc)
        await close(nc)


async def _take_turn(
    parts: InboxParts, nc: LeanClient, lease: Lease, trials: Trials, stop: asyncio.Event, *, ready: asyncio.Event | None
) -> Exception | None:
    """Lead for one term if the lease is free; the fault that ended the term, if ``stop`` did not."""
    try:
        await trials.acquit()
        if await lease.take():
            # Not a TaskGroup: before Python 3.13 it loses a cancellation that comes while it cancels its tasks.
            await run_until_first(lead(parts, nc, lease, trials, stop, ready=ready), lease.keep())
    except Unavailable as fault:
        return fault
    return None
