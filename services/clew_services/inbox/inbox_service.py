"""Serving the inbox: standing by, leading, standing by again, until told to stop.

Not a FastStream subscriber, for three reasons found in its version 0.7.8: its pull subscriber creates the consumer when
it is missing, with settings of its own, where here each term has another; in batches it holds a lone command back until
its timeout is over, and otherwise handles all it fetched at once, in no order; and it fetches without regard to what is
still in the works.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

import nats.errors
from nats.aio.client import Client

from clew_events.connection import close
from clew_events.errors import Unavailable
from clew_projections.kv.bucket import Bucket
from clew_projections.nats.lean_client import LeanClient
from clew_services.coordination import lease as leases
from clew_services.coordination.lease import Lease
from clew_services.eventstore.topology import LEASES
from clew_services.inbox.attempt import InboxParts
from clew_services.inbox.inbox_consumer import lead
from clew_services.inbox.poison import Trials
from clew_services.nats_api.strict_client import beside
from clew_services.nats_connection import flush

_LOG: Final = logging.getLogger("clew.inbox")


async def serve_inbox(
    beside_nc: LeanClient, parts: InboxParts, stop: asyncio.Event, ready: asyncio.Event | None = None
) -> None:
    """Carry out what is in the inbox until ``stop`` is set, then settle what was taken and return.

    ``ready`` is set once commands are being taken, here or by another process, for which this one then stands by.
    """
    nc = await beside(beside_nc, name="clew-inbox")
    bucket = Bucket(parts.js, LEASES)
    lease = Lease(bucket)
    trials = Trials(bucket, lease.holder)
    said: str | None = None
    try:
        while not stop.is_set():
            fault = await _take_turn(parts, nc, lease, trials, stop, ready=ready)
            if fault is not None and str(fault) != said:
                # Whatever was begun is left as it is: it is delivered again, to whoever leads next.
                _LOG.warning("the inbox waits: %s", fault)
            said = str(fault) if fault is not None else None
            if ready is not None:
                ready.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), leases.LOOK)
    finally:
        await trials.acquit()
        await lease.give_up()
        # Not drained: nats-py would wait for somebody to read the status messages of the last request for more.
        with contextlib.suppress(nats.errors.Error):
            if nc.is_connected:
                await flush(nc)
        await close(nc)


async def _take_turn(
    parts: InboxParts, nc: Client, lease: Lease, trials: Trials, stop: asyncio.Event, *, ready: asyncio.Event | None
) -> Exception | None:
    """Lead for one term if the lease can be had; why that ended, if nobody asked for it."""
    fault: Exception | None = None
    try:
        await trials.acquit()
        if await lease.take():
            async with asyncio.TaskGroup() as tasks:
                keeping = tasks.create_task(lease.keep())
                await lead(parts, nc, lease, trials, stop, ready=ready)
                keeping.cancel()
    except* Unavailable as group:
        fault = group.exceptions[0]
    return fault
