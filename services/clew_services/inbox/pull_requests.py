"""Pull requests to a term's consumer, limited in bytes.

The fetch of nats-py requests a number of messages regardless of their size. Where many large messages wait, the server
then sends so much at once that it considers the client a slow consumer and disconnects it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from clew_events.errors import Unavailable
from clew_events.subjects import INBOX_STREAM
from clew_projections.nats.stream_messages import BATCH_COMPLETED
from clew_services.inbox.term import LIMIT, Term

BYTES: Final = 16 * 1024 * 1024
"""Bytes of messages that one request asks for; far below what a server buffers for a client."""
WAIT: Final = 0.5
"""Seconds after which a request expires."""

_SLACK: Final = 1.0
_NOBODY: Final = "503"
_DELETED: Final = "Consumer Deleted"
_LOG: Final = logging.getLogger("clew.inbox")


class Pull:
    """Pulls for one term. It subscribes before the term begins, so that all servers of a cluster know its interest.

    Lost deliveries are found by the consumer's delivery numbers.
    """

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._connections = nc.stats["reconnects"]
        self._most = max(BYTES, 2 * nc.max_payload)
        self._inbox = nc.new_inbox()
        self._requests = 0
        self._wanted = 0
        self._arrived: asyncio.Queue[Msg | None] = asyncio.Queue()
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        """Subscribe.

        Raises:
            Unavailable: there is no connection.
        """
        try:
            self._subscription = await self._nc.subscribe(f"{self._inbox}.*", cb=self._arrived.put)
        except nats.errors.Error as fault:
            raise Unavailable(f"the inbox cannot be read: {fault}") from fault

    async def next(self, term: Term) -> list[Msg]:
        """The messages that have arrived, or none.

        Waits :data:`WAIT` seconds for the first, or until :meth:`wake`. Ends the term if the connection or the consumer
        was lost.
        """
        batch = await self._batch(term)
        if self._nc.stats["reconnects"] != self._connections:
            term.end("the connection to NATS was lost, and with it the messages in transit")
        return [message for message in batch if not await self._is_status(message, term)]

    def wake(self) -> None:
        """Have :meth:`next` return what has arrived without waiting for more."""
        self._arrived.put_nowait(None)

    async def close(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._subscription.unsubscribe()

    async def _batch(self, term: Term) -> list[Msg]:
        try:
            await self._ask(term.consumer)
            async with asyncio.timeout(WAIT + _SLACK):
                batch = [await self._arrived.get()]
        except TimeoutError:
            self._wanted = 0  # the request, or its end, was lost on the way
            return []
        except nats.errors.Error as fault:
            await self._wait(str(fault))
            return []
        while not self._arrived.empty():
            batch.append(self._arrived.get_nowait())
        return [message for message in batch if message is not None]

    async def _ask(self, consumer: str) -> None:
        if self._wanted > 0:
            return
        self._requests += 1
        self._wanted = LIMIT
        request = {"batch": LIMIT, "max_bytes": self._most, "expires": int(WAIT * 1_000_000_000)}
        await self._nc.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{INBOX_STREAM}.{consumer}",
            msgspec.json.encode(request),
            reply=f"{self._inbox}.{self._requests}",
        )

    async def _is_status(self, arrived: Msg, term: Term) -> bool:
        if arrived.reply:
            self._wanted -= 1
            return False
        if arrived.subject == f"{self._inbox}.{self._requests}":
            await self._on_end(arrived.headers or {}, term)
        return True

    async def _on_end(self, status: Mapping[str, str], term: Term) -> None:
        if status.get("Description") == BATCH_COMPLETED:
            return  # what is wanted still is on its way
        self._wanted = 0
        if status.get("Description") == _DELETED:
            term.end("its consumer was deleted")
        elif status.get("Status") == _NOBODY:
            await self._on_no_responders(term)

    async def _on_no_responders(self, term: Term) -> None:
        try:
            if await term.is_there():
                await self._wait("its consumer has no leader")
            else:
                term.end("its consumer is gone")
        except Unavailable as fault:
            await self._wait(str(fault))

    async def _wait(self, why: str) -> None:
        self._wanted = 0
        _LOG.warning("the inbox cannot be read: %s", why)
        await asyncio.sleep(WAIT)
