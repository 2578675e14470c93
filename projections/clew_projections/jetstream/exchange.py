"""Requests over one shared reply subscription, with one answer or many.

nats-py answers a request with its first reply only, while JetStream answers a batched read with many. Both come
through here, so a read that finds nothing (the common case) and one that finds a page cost the same single request.
Replies are taken as they are read from the network, and what their headers say is read by whoever wants to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Final, NamedTuple

from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError

from clew_events.errors import TooLarge, Unavailable
from clew_projections.wire.client import LeanClient
from clew_projections.wire.headers import status_of

END_OF_BATCH: Final = "204"
NO_RESPONDERS: Final = "503"


class Timeout(Unavailable):
    """No answer came in time; whether the request was carried out is not known."""

    default_code = "timeout"


class Disconnected(Unavailable):
    """The connection was lost before the answer came; whether the request was carried out is not known."""

    default_code = "disconnected"


class Reply(NamedTuple):
    """An answer as it came: its header block, which may be empty, and its body."""

    head: bytes
    data: bytes


class _Waiting:
    """A request that waits for its one answer, or for the last of many."""

    __slots__ = ("answers", "many", "replies")

    def __init__(self, answers: asyncio.Future[list[Reply]], *, many: bool) -> None:
        self.answers = answers
        self.many = many
        self.replies: list[Reply] = []

    def late(self, subject: str, timeout: float) -> None:
        if not self.answers.done():
            self.answers.set_exception(
                Timeout(f"no answer on {subject} within {timeout:g} s", outcome_unknown=True),
            )


class Exchange:
    """Sends requests over a connection and brings each its replies."""

    def __init__(self, nc: LeanClient) -> None:
        self._nc = nc
        self._prefix = nc.new_inbox() + "."
        self._start_of_token = len(self._prefix.encode())
        self._tokens = count()
        self._waiting: dict[bytes, _Waiting] = {}
        self._subscription: Subscription | None = None
        self.lost = 0
        """How often the connection was lost, since the start."""

    async def start(self) -> Exchange:
        """Open the reply subscription. To be called once, before any request."""
        self._subscription = await self._nc.hear(self._prefix + "*", self._on_reply)
        return self

    async def stop(self) -> None:
        """Close the reply subscription; what is still waiting is told that no answer will come."""
        self._tell_all(lambda: Unavailable("the connection is closing", outcome_unknown=True))
        if self._subscription is not None and not self._nc.is_closed:
            await self._subscription.unsubscribe()

    def disconnected(self) -> None:
        """Tell what is waiting that its answer will not come: it went to a connection that is no more."""
        self.lost += 1
        self._tell_all(lambda: Disconnected("the connection to NATS was lost", outcome_unknown=True))

    def _tell_all(self, fault: Callable[[], Unavailable]) -> None:
        for waiting in tuple(self._waiting.values()):
            if not waiting.answers.done():
                waiting.answers.set_exception(fault())

    async def one(self, subject: str, body: bytes = b"", head: bytes = b"", timeout: float = 5.0) -> Reply:
        """The first reply to a request; ``head`` is its header block, if it has one.

        Raises:
            Timeout: none came within ``timeout`` seconds.
            Unavailable: nobody answers there, or the connection is down.
            TooLarge: the request is larger than the server takes.
        """
        replies = await self._ask(subject, body, head, timeout, many=False)
        return replies[0]

    def send(self, subject: str, body: bytes, head: bytes) -> None:
        """Publish without asking for a reply, ahead of the next request.

        Raises:
            Unavailable: the connection is down.
            TooLarge: the message is larger than the server takes.
        """
        self._post(subject, body, "", head)

    async def many(self, subject: str, body: bytes, timeout: float = 5.0) -> list[Reply]:
        """All replies; the last of them is the end-of-batch mark, or a status that says why there are no more.

        Raises:
            Timeout: the end did not come within ``timeout`` seconds.
            Unavailable: nobody answers there, or the connection is down.
        """
        return await self._ask(subject, body, b"", timeout, many=True)

    async def _ask(self, subject: str, body: bytes, head: bytes, timeout: float, *, many: bool) -> list[Reply]:
        loop = asyncio.get_running_loop()
        token = next(self._tokens)
        waiting = _Waiting(loop.create_future(), many=many)
        self._waiting[b"%d" % token] = waiting
        late = loop.call_later(timeout, waiting.late, subject, timeout)
        try:
            self._post(subject, body, f"{self._prefix}{token}", head)
            if self._nc.crowded:
                await self._nc.relieved()
            replies = await waiting.answers
        finally:
            late.cancel()
            del self._waiting[b"%d" % token]
        if replies and not replies[0].data and status_of(replies[0].head) == NO_RESPONDERS:
            raise Unavailable(f"nobody answers on {subject}", code="no_responders")
        return replies

    def _post(self, subject: str, body: bytes, reply: str, head: bytes) -> None:
        try:
            self._nc.post(subject, body, reply, head)
        except MaxPayloadError:
            raise TooLarge(
                f"{len(body)} bytes are more than the {self._nc.max_payload} that the NATS server takes"
            ) from None
        except NatsError as fault:
            raise Unavailable(f"the connection to NATS is down: {fault}", outcome_unknown=True) from fault

    def _on_reply(self, subject: bytes, _reply: bytes, head: bytes, data: bytes) -> None:
        waiting = self._waiting.get(subject[self._start_of_token :])
        if waiting is None or waiting.answers.done():
            return
        waiting.replies.append(Reply(head, data))
        if not waiting.many or status_of(head) is not None:
            waiting.answers.set_result(waiting.replies)
