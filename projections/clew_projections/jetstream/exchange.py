"""Requests over one shared reply subscription, with one answer or many.

nats-py answers a request with its first reply only, while JetStream answers a batched read with many. Both come
through here, so a read that finds nothing (the common case) and one that finds a page cost the same single request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import count
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError

from clew_events.errors import TooLarge, Unavailable

STATUS: Final = "Status"
DESCRIPTION: Final = "Description"
END_OF_BATCH: Final = "204"
NO_RESPONDERS: Final = "503"


class Timeout(Unavailable):
    """No answer came in time; whether the request was carried out is not known."""

    default_code = "timeout"


class Disconnected(Unavailable):
    """The connection was lost before the answer came; whether the request was carried out is not known."""

    default_code = "disconnected"


class Exchange:
    """Sends requests over a connection and brings each its replies."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._prefix = nc.new_inbox() + "."
        self._tokens = count()
        self._waiting: dict[str, asyncio.Future[list[Msg]]] = {}
        self._partial: dict[str, list[Msg]] = {}
        self._subscription: Subscription | None = None

    async def start(self) -> Exchange:
        """Open the reply subscription. To be called once, before any request."""
        self._subscription = await self._nc.subscribe(
            self._prefix + "*", cb=self._on_reply, pending_msgs_limit=0, pending_bytes_limit=0
        )
        return self

    async def stop(self) -> None:
        """Close the reply subscription; what is still waiting is told that no answer will come."""
        self._tell_all(lambda: Unavailable("the connection is closing", outcome_unknown=True))
        if self._subscription is not None and not self._nc.is_closed:
            await self._subscription.unsubscribe()

    def disconnected(self) -> None:
        """Tell what is waiting that its answer will not come: it went to a connection that is no more."""
        self._tell_all(lambda: Disconnected("the connection to NATS was lost", outcome_unknown=True))

    def _tell_all(self, fault: Callable[[], Unavailable]) -> None:
        for future in tuple(self._waiting.values()):
            if not future.done():
                future.set_exception(fault())

    async def one(
        self, subject: str, body: bytes = b"", headers: Mapping[str, str] | None = None, timeout: float = 5.0
    ) -> Msg:
        """The first reply to a request.

        Raises:
            Timeout: none came within ``timeout`` seconds.
            Unavailable: nobody answers there, or the connection is down.
            TooLarge: the request is larger than the server takes.
        """
        replies = await self._ask(subject, body, headers, timeout, many=False)
        return replies[0]

    async def send(self, subject: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Publish without asking for a reply.

        Raises:
            Unavailable: the connection is down.
            TooLarge: the message is larger than the server takes.
        """
        await self._publish(subject, body, "", headers)

    async def many(self, subject: str, body: bytes, timeout: float = 5.0) -> list[Msg]:
        """All replies up to the end-of-batch mark, which is not among them; a lone error status is.

        Raises:
            Timeout: the end did not come within ``timeout`` seconds.
            Unavailable: nobody answers there, or the connection is down.
        """
        return await self._ask(subject, body, None, timeout, many=True)

    async def _ask(
        self, subject: str, body: bytes, headers: Mapping[str, str] | None, timeout: float, *, many: bool
    ) -> list[Msg]:
        token = str(next(self._tokens))
        future: asyncio.Future[list[Msg]] = asyncio.get_running_loop().create_future()
        self._waiting[token] = future
        if many:
            self._partial[token] = []
        try:
            await self._publish(subject, body, self._prefix + token, headers)
            async with asyncio.timeout(timeout):
                replies = await future
        except TimeoutError:
            raise Timeout(f"no answer on {subject} within {timeout:g} s", outcome_unknown=True) from None
        finally:
            self._waiting.pop(token, None)
            self._partial.pop(token, None)
        first = replies[0].headers if replies else None
        if first is not None and first.get(STATUS) == NO_RESPONDERS and not replies[0].data:
            raise Unavailable(f"nobody answers on {subject}", code="no_responders")
        return replies

    async def _publish(self, subject: str, body: bytes, reply: str, headers: Mapping[str, str] | None) -> None:
        try:
            await self._nc.publish(subject, body, reply=reply, headers=None if headers is None else dict(headers))
        except MaxPayloadError:
            raise TooLarge(
                f"{len(body)} bytes are more than the {self._nc.max_payload} that the NATS server takes"
            ) from None
        except NatsError as fault:
            raise Unavailable(f"the connection to NATS is down: {fault}", outcome_unknown=True) from fault

    async def _on_reply(self, reply: Msg) -> None:
        token = reply.subject[len(self._prefix) :]
        future = self._waiting.get(token)
        if future is None or future.done():
            return
        partial = self._partial.get(token)
        if partial is None:
            future.set_result([reply])
            return
        status = reply.headers.get(STATUS) if reply.headers else None
        if status is None:
            partial.append(reply)
            return
        future.set_result(partial if status == END_OF_BATCH else [*partial, reply])
