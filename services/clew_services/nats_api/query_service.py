"""Queries by request and reply: ``clew.query.<tenant>.<query>``."""

from __future__ import annotations

import asyncio
from typing import Final

from nats.aio.msg import Msg

from clew_events.operations import QUERIES as KINDS
from clew_events.subjects import QUERIES
from clew_projections.nats.lean_client import LeanClient
from clew_services import validation
from clew_services.nats_api import reply_codec
from clew_services.nats_api.listener import listen
from clew_services.nats_api.reply_codec import Reply
from clew_services.nats_api.request import parse_subject
from clew_services.observer import NOBODY, Observer
from clew_services.queries.reader import Reader
from clew_services.tracing import UNTRACED, Tracing

QUEUE: Final = "clew-queries"


async def serve_queries(
    nc: LeanClient,
    reader: Reader,
    stop: asyncio.Event,
    ready: asyncio.Event | None = None,
    *,
    tracing: Tracing = UNTRACED,
    observer: Observer = NOBODY,
) -> None:
    """Answer queries until ``stop`` is set, then answer those in flight and return.

    ``ready`` is set once queries are being taken. Any number of processes may serve side by side.
    """

    async def work(message: Msg) -> Reply:
        tenant, kind = parse_subject(message.subject, KINDS, "query")
        return reply_codec.answer(await reader.answer(tenant, validation.decode(message.data, kind)))

    async with listen(nc, f"{QUERIES}.*.*", queue=QUEUE, work=tracing.request(work), observer=observer):
        if ready is not None:
            ready.set()
        await stop.wait()
