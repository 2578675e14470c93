"""A FastStream application for one kind of request: it listens in a queue group until it is stopped.

FastStream keeps the subscription; messages go from the read loop to the
:class:`~clew_services.nats_api.dispatcher.Intake`. The handler chain of FastStream (contexts, middlewares, filters,
parser, decoder) takes 60 microseconds of processor time for a message, as much as the rest of a query, and would call
the same function with the same argument. nats-py's queue, from which a task takes them, is passed by too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final

import nats.errors
from nats.aio.msg import Msg

from clew_projections.nats.lean_client import LeanClient
from clew_services.nats_api.discovery import Discovery
from clew_services.nats_api.dispatcher import Intake
from clew_services.nats_api.reply_codec import Reply
from clew_services.nats_api.tolerant_client import connect_second
from clew_services.nats_connection import flush
from clew_services.observer import NOBODY, Observer

DRAIN: Final = 15.0
"""Seconds in which requests that were taken in must be answered once the application stops."""

_LOG: Final = logging.getLogger("clew.nats")


@contextlib.asynccontextmanager
async def listen(
    nc: LeanClient,
    subjects: Sequence[str],
    *,
    queue: str,
    names: Iterable[str],
    work: Callable[[Msg], Awaitable[Reply]],
    observer: Observer = NOBODY,
) -> AsyncIterator[None]:
    """Answer requests on ``subjects`` with what ``work`` makes of them, for as long as the block lasts.

    Each of ``subjects`` ends in a wildcard, for which ``names`` are what may be asked for. Those on the first of the
    subjects are the endpoints that are discovered.

    Requests are shared out among all processes that listen on the same ``queue``. At the end no more are taken,
    and those taken are answered first, within :data:`DRAIN` seconds. Nothing is declared on the server.
    """
    from clew_services.nats_api.faststream_broker import Broker  # noqa: PLC0415 - half of all imports; most processes do not listen

    own = await connect_second(nc, name=queue, service=True)
    discovery = Discovery(queue, {name: f"{subjects[0].removesuffix('*')}{name}" for name in names})
    intake = Intake(own, work, service=queue.removeprefix("clew-"), observer=observer, note=discovery.note)
    broker = Broker(own)
    subscribers = [broker.subscriber(subject, queue=queue, no_reply=True) for subject in subjects]

    async def take(message: Msg) -> None:
        intake.take(message)

    for subscriber in subscribers:
        subscriber(take)
        subscriber.consume = take  # type: ignore[method-assign, assignment]
    try:
        await broker.start()
        for subscriber in subscribers:
            if subscriber.subscription is not None:
                own.divert(subscriber.subscription, intake.receive)
        await discovery.listen(own)
        await flush(own)
        yield
    finally:
        until = asyncio.get_running_loop().time() + DRAIN
        # FastStream would drop what has arrived and was not handed over yet, and fails where the connection is closed.
        for subscriber in subscribers:
            subscription, subscriber.subscription = subscriber.subscription, None
            try:
                if subscription is not None:
                    async with asyncio.timeout_at(until):
                        await subscription.drain()  # type: ignore[no-untyped-call]
            except (nats.errors.Error, TimeoutError) as fault:
                _LOG.warning("%s could not be drained: %s", queue, str(fault) or type(fault).__name__)
        await intake.finish(until)
        with contextlib.suppress(nats.errors.Error):
            await broker.stop()
        await own.close()
