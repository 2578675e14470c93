"""Asking a term's consumer for messages, within a number of bytes.

nats-py's own fetch asks for a number of messages whatever their size. Where many large ones wait, the server then sends
so much at once that it takes the client for too slow and disconnects it.
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
from clew_services.apps.inbox.term import LIMIT, Term

BYTES: Final = 16 * 1024 * 1024
"""Of messages that are asked for at once; far below what a server holds for one client."""
WAIT: Final = 0.5
"""Seconds for which one request stays open, and so the longest that stopping waits for it."""

_SLACK: Final = 1.0
_NOBODY: Final = "503"
_DELETED: Final = "Consumer Deleted"
_LOG: Final = logging.getLogger("clew.inbox")


class Pull:
    """Messages of a term's consumer, each once and in order, or the term is over."""

    def __init__(self, nc: Client, term: Term) -> None:
        self._nc = nc
        self._term = term
        self._connections = nc.stats["reconnects"]
        self._most = max(BYTES, 2 * nc.max_payload)
        self._inbox = nc.new_inbox()
        self._requests = 0
        self._wanted = 0
        self._arrived: asyncio.Queue[Msg] = asyncio.Queue()
        self._subscription: Subscription | None = None

    async def next(self) -> list[Msg]:
        """What there is; waits a moment for the first, and may give none."""
        batch = await self._batch()
        if self._nc.stats["reconnects"] != self._connections:
            self._term.end("the connection to NATS was lost, and with it what was on its way")
        return [each for each in batch if not await self._is_status(each)]

    async def close(self) -> None:
        """Listen no more."""
        if self._subscription is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._subscription.unsubscribe()

    async def _batch(self) -> list[Msg]:
        try:
            await self._ask()
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
        return batch

    async def _ask(self) -> None:
        if self._subscription is None:
            self._subscription = await self._nc.subscribe(f"{self._inbox}.*", cb=self._arrived.put)
        if self._wanted > 0:
            return
        self._requests += 1
        self._wanted = LIMIT
        request = {"batch": LIMIT, "max_bytes": self._most, "expires": int(WAIT * 1_000_000_000)}
        await self._nc.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{INBOX_STREAM}.{self._term.consumer}",
            msgspec.json.encode(request),
            reply=f"{self._inbox}.{self._requests}",
        )

    async def _is_status(self, arrived: Msg) -> bool:
        if arrived.reply:
            self._wanted -= 1
            return False
        if arrived.subject == f"{self._inbox}.{self._requests}":
            await self._see_to_end(arrived.headers or {})
        return True

    async def _see_to_end(self, status: Mapping[str, str]) -> None:
        self._wanted = 0
        if status.get("Description") == _DELETED:
            self._term.end("its consumer was deleted")
        elif status.get("Status") == _NOBODY:
            await self._see_to_silence()

    async def _see_to_silence(self) -> None:
        try:
            if await self._term.is_there():
                await self._wait("its consumer has no leader")
            else:
                self._term.end("its consumer is gone")
        except Unavailable as fault:
            await self._wait(str(fault))

    async def _wait(self, why: str) -> None:
        self._wanted = 0
        _LOG.warning("the inbox cannot be read: %s", why)
        await asyncio.sleep(WAIT)
