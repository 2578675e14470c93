"""Queries by request and reply: ``clew.query.<tenant>.<query>``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from nats.aio.msg import Msg

from clew_events.operations import QUERIES as KINDS
from clew_events.subjects import QUERIES
from clew_services import validation
from clew_services.nats_api import reply_codec
from clew_services.nats_api.listener import listen
from clew_services.nats_api.reply_codec import Reply
from clew_services.nats_api.request import parse_subject

if TYPE_CHECKING:
    from clew_services.compose import Clew

QUEUE: Final = "clew-queries"


async def serve_queries(clew: Clew, stop: asyncio.Event, ready: asyncio.Event | None = None) -> None:
    """Answer queries until ``stop`` is set, then answer those in flight and return.

    ``ready`` is set once queries are being taken. Any number of processes may serve side by side.
    """

    async def work(message: Msg) -> Reply:
        tenant, kind = parse_subject(message.subject, KINDS, "query")
        return reply_codec.answer(await clew.reader.answer(tenant, validation.decode(message.data, kind)))

    async with listen(clew.nc, f"{QUERIES}.*.*", queue=QUEUE, work=clew.tracing.request(work), observer=clew.observer):
        if ready is not None:
            ready.set()
        await stop.wait()
