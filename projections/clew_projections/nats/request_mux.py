"""Requests over one shared reply subscription, with one answer or many.

nats-py answers a request with its first reply only, while JetStream answers a batched read with many. Both come
through here, so a read that finds nothing (the common case) and one that finds a page cost the same single request.
Replies are taken as they are read from the network, and what their headers say is read by whoever wants to know.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final, NamedTuple

from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from clew_events.errors import Unavailable
from clew_projections.nats.headers import status_of
from clew_projections.nats.lean_client import LeanClient

END_OF_BATCH: Final = "204"
NO_RESPONDERS: Final = "503"
_DENIED: Final = re.compile('permissions violation for publish to "([^"]*)"', re.IGNORECASE)


class Timeout(Unavailable):
    """No answer came in time; whether the request was carried out is not known."""

    default_code = "timeout"


class Disconnected(Unavailable):
    """The connection was lost before the answer came; whether the request was carried out is not known."""

    default_code = "disconnected"


class NotPermitted(Unavailable):
    """The server did not take the request from this user; nothing was done."""

    default_code = "not_permitted"


class Reply(NamedTuple):
    """An answer as it came: its header block, which may be empty, and its body."""

    head: bytes
    data: bytes


class Request(NamedTuple):
    """A request as it is sent: its subject, its body, and its header block, if it has one."""

    subject: str
    body: bytes
    head: bytes = b""


class _PendingRequest:
    """A request that waits for its one answer, or for the last of many."""

    __slots__ = ("answers", "many", "replies", "subject")

    def __init__(self, subject: str, answers: asyncio.Future[list[Reply]], *, many: bool) -> None:
        self.subject = subject
        self.answers = answers
        self.many = many
        self.replies: list[Reply] = []

    def take(self, reply: Reply) -> None:
        self.replies.append(reply)
        if not self.many or status_of(reply.head) is not None:
            self.answers.set_result(self.replies)


class _PendingBatch:
    """Requests that wait together, each for its one answer."""

    __slots__ = ("answers", "missing", "replies")

    def __init__(self, answers: asyncio.Future[list[Reply]], count: int) -> None:
        self.answers = answers
        self.missing = count
        self.replies = [Reply(b"", b"")] * count


class _BatchSlot:
    """One of them."""

    __slots__ = ("answers", "place", "subject", "whole")

    def __init__(self, subject: str, whole: _PendingBatch, place: int) -> None:
        self.subject = subject
        self.answers = whole.answers
        self.whole: _PendingBatch | None = whole
        self.place = place

    def take(self, reply: Reply) -> None:
        whole, self.whole = self.whole, None
        if whole is None:
            return
        whole.replies[self.place] = reply
        whole.missing -= 1
        if not whole.missing:
            self.answers.set_result(whole.replies)


def _time_out(answers: asyncio.Future[list[Reply]], subject: str, timeout: float) -> None:
    if not answers.done():
        answers.set_exception(Timeout(f"no answer on {subject} within {timeout:g} s", outcome_unknown=True))


class RequestMux:
    """Sends requests over a connection and brings each its replies."""

    def __init__(self, nc: LeanClient) -> None:
        self._nc = nc
        self._prefix = nc.new_inbox() + "."
        self._start_of_token = len(self._prefix.encode())
        self._tokens = count()
        self._waiting: dict[bytes, _PendingRequest | _BatchSlot] = {}
        self._subscription: Subscription | None = None
        self.lost = 0
        """How often the connection was lost, since the start."""

    async def start(self) -> RequestMux:
        """Open the reply subscription. To be called once, before any request."""
        self._subscription = await self._nc.hear(self._prefix + "*", self._on_reply)
        return self

    async def stop(self) -> None:
        """Close the reply subscription; what is still waiting is told that no answer will come."""
        self._tell_all(lambda: Unavailable("the connection is closing", outcome_unknown=True))
        if self._subscription is not None and not self._nc.is_closed:
            await self._subscription.unsubscribe()

    def fail_pending(self) -> None:
        """Tell what is waiting that its answer will not come: it went to a connection that is no more."""
        self.lost += 1
        self._tell_all(lambda: Disconnected("the connection to NATS was lost", outcome_unknown=True))

    def denied(self, error: str) -> None:
        """Tell what is waiting for an answer on a subject that the server says this user may not publish to."""
        found = _DENIED.search(error)
        subject = found[1].lower() if found else ""  # nats-py lowers what the server says
        for waiting in tuple(self._waiting.values()):
            if waiting.subject.lower() == subject and not waiting.answers.done():
                waiting.answers.set_exception(
                    NotPermitted(f"the NATS user that is connected may not publish to {waiting.subject}")
                )

    def _tell_all(self, fault: Callable[[], Unavailable]) -> None:
        for waiting in tuple(self._waiting.values()):
            if not waiting.answers.done():
                waiting.answers.set_exception(fault())

    async def one(self, subject: str, body: bytes = b"", head: bytes = b"", timeout: float = 5.0) -> Reply:
        """The first reply to a request; ``head`` is its header block, if it has one.

        Raises:
            Timeout: none came within ``timeout`` seconds.
            NotPermitted: this user may not publish there.
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

    async def each(self, requests: Sequence[Request], timeout: float = 5.0) -> list[Reply]:
        """The first reply to each of some requests, which are sent in one go.

        Raises:
            Timeout: one of them has no reply within ``timeout`` seconds; others may have been carried out.
            Unavailable: nobody answers there, or the connection is down.
            TooLarge: one of them is larger than the server takes; those before it were sent.
        """
        loop = asyncio.get_running_loop()
        answers: asyncio.Future[list[Reply]] = loop.create_future()
        whole = _PendingBatch(answers, len(requests))
        tokens: list[bytes] = []
        parts: list[_BatchSlot] = []

        def nothing_more() -> None:
            missing = (request for part, request in zip(parts, requests, strict=False) if part.whole is not None)
            _time_out(answers, next(missing, requests[-1]).subject, timeout)

        late = loop.call_later(timeout, nothing_more)
        try:
            for place, (subject, body, head) in enumerate(requests):
                token = next(self._tokens)
                tokens.append(b"%d" % token)
                parts.append(_BatchSlot(subject, whole, place))
                self._waiting[tokens[-1]] = parts[-1]
                self._post(subject, body, f"{self._prefix}{token}", head)
                if self._nc.crowded:
                    await self._nc.wait_for_room()
            replies = await answers
        finally:
            late.cancel()
            for each in tokens:
                del self._waiting[each]
        for reply, request in zip(replies, requests, strict=True):
            _hold_answered(reply, request.subject)
        return replies

    async def _ask(self, subject: str, body: bytes, head: bytes, timeout: float, *, many: bool) -> list[Reply]:
        loop = asyncio.get_running_loop()
        token = next(self._tokens)
        waiting = _PendingRequest(subject, loop.create_future(), many=many)
        self._waiting[b"%d" % token] = waiting
        late = loop.call_later(timeout, _time_out, waiting.answers, subject, timeout)
        try:
            self._post(subject, body, f"{self._prefix}{token}", head)
            if self._nc.crowded:
                await self._nc.wait_for_room()
            replies = await waiting.answers
        finally:
            late.cancel()
            del self._waiting[b"%d" % token]
        if replies:
            _hold_answered(replies[0], subject)
        return replies

    def _post(self, subject: str, body: bytes, reply: str, head: bytes) -> None:
        try:
            self._nc.post(subject, body, reply, head)
        except NatsError as fault:
            raise Unavailable(f"the connection to NATS is down: {fault}", outcome_unknown=True) from fault

    def _on_reply(self, subject: bytes, _reply: bytes, head: bytes, data: bytes) -> None:
        waiting = self._waiting.get(subject[self._start_of_token :])
        if waiting is not None and not waiting.answers.done():
            waiting.take(Reply(head, data))


def _hold_answered(reply: Reply, subject: str) -> None:
    if not reply.data and status_of(reply.head) == NO_RESPONDERS:
        raise Unavailable(f"nobody answers on {subject}", code="no_responders")
