"""Requests over one shared reply subscription, with one reply or many.

nats-py returns only the first reply to a request, while JetStream sends many to a batched read. The mux handles both,
so a read that finds nothing (the common case) and one that finds a page cost the same single request. Replies are
handled in the read loop, with their headers unparsed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import Final, NamedTuple, Protocol, cast

from msgspec import Struct
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from clew_events.errors import Unavailable
from clew_events.nats_client import Violation, no_publish, no_replies
from clew_projections.nats.headers import BEGIN, status_of
from clew_projections.nats.lean_client import LeanClient

_SIZES: Final = re.compile(rb"\d+ (\d+) (\d+)\r\n" + re.escape(BEGIN))
END_OF_BATCH: Final = "204"
NO_RESPONDERS: Final = "503"
NO_RESPONDERS_CODE: Final = "no_responders"


class Timeout(Unavailable):
    """No reply came in time; it is unknown whether the request was carried out."""

    default_code = "timeout"


class Disconnected(Unavailable):
    """The connection was lost before the reply came; it is unknown whether the request was carried out."""

    default_code = "disconnected"


class NotPermitted(Unavailable):
    """The server denied this user the request; it was not carried out."""

    default_code = "not_permitted"


class Reply(Struct, frozen=True, gc=False):
    """A raw reply: its header block, which may be empty, and its body."""

    head: bytes
    data: bytes


class Request(NamedTuple):
    """A raw request: its subject, its body, and its header block, which may be empty."""

    subject: str
    body: bytes
    head: bytes = b""


class Waiter(Protocol):
    """Waits for the replies to requests: what :meth:`RequestMux.begin` gives them to."""

    answers: asyncio.Future[list[Reply]]

    @property
    def subjects(self) -> Iterable[str]:
        """The subjects of the requests without a reply."""

    def take(self, reply: Reply, place: bytes) -> None:
        """Take the reply to the request at a place, unless there are answers."""


class PendingRequest:
    """A request that waits for its only reply, or for the last of many."""

    __slots__ = ("_announced", "answers", "inbox", "many", "replies", "subjects")

    def __init__(self, subject: str, inbox: str, answers: asyncio.Future[list[Reply]], *, many: bool) -> None:
        self.subjects = (subject,)
        self.inbox = inbox.encode()
        self._announced = b"HMSG %b " % self.inbox
        self.answers = answers
        self.many = many
        self.replies: list[Reply] = []

    def take(self, reply: Reply, _place: bytes = b"") -> None:
        """Take a reply."""
        self.replies.append(reply)
        if not self.many or status_of(reply.head) is not None:
            self.answers.set_result(self.replies)

    def take_stored(self, data: bytes, at: int) -> int:
        """Take the stored messages to this request from a place in the input on; return where the last of them ends.

        What it leaves, such as the end of a batch, is taken one by one.
        """
        announced, sizes, end = self._announced, _SIZES.match, len(data)
        while data.startswith(announced, at) and (found := sizes(data, at + len(announced))) is not None:
            start = found.end() - len(BEGIN)
            head, size = found.groups()
            body, stop = start + int(head), start + int(size)
            if stop + 2 > end:
                break
            self.replies.append(Reply(data[start:body], data[body:stop]))
            at = stop + 2
        return at


class _PendingBatch:
    """Requests that are sent together, each of which waits for one reply, and the replies so far."""

    __slots__ = ("answers", "missing", "replies", "requests")

    def __init__(self, requests: Sequence[Request], answers: asyncio.Future[list[Reply]]) -> None:
        self.requests = requests
        self.answers = answers
        self.missing = len(requests)
        self.replies: list[Reply | None] = [None] * self.missing

    @property
    def subjects(self) -> Iterator[str]:
        """The subjects of the requests without a reply."""
        return (each.subject for each, reply in zip(self.requests, self.replies, strict=True) if reply is None)

    def take(self, reply: Reply, place: bytes) -> None:
        """Take the first reply to the request at a place."""
        at = int(place)
        if self.replies[at] is None:
            self.replies[at] = reply
            self.missing -= 1
            if not self.missing:
                self.answers.set_result(cast("list[Reply]", self.replies))


def _time_out(answers: asyncio.Future[list[Reply]], subject: str, timeout: float) -> None:
    if not answers.done():
        answers.set_exception(Timeout(f"no reply on {subject} within {timeout:g} s", outcome_unknown=True))


class RequestMux:
    """Sends requests over a connection and routes the replies to them."""

    def __init__(self, nc: LeanClient) -> None:
        self._nc = nc
        self._prefix = nc.new_inbox() + "."
        self._start_of_token = len(self._prefix.encode())
        self._tokens = count()
        self._waiting: dict[bytes, Waiter] = {}
        self._subscription: Subscription | None = None
        self._deaf: str | None = None
        self.lost = 0
        """The number of times the connection was lost, since the start."""

    @property
    def client(self) -> LeanClient:
        """The connection."""
        return self._nc

    @property
    def max_payload(self) -> int:
        """The most bytes that the server takes in one message."""
        return self._nc.max_payload

    async def start(self) -> RequestMux:
        """Open the reply subscription. Call it once, before any request."""
        self._subscription = await self._nc.listen(self._prefix + "*", self._on_reply)
        return self

    async def stop(self) -> None:
        """Close the reply subscription; pending requests fail."""
        self._fail_all(lambda: Unavailable("the connection is closing", outcome_unknown=True))
        if self._subscription is not None and not self._nc.is_closed:
            await self._subscription.unsubscribe()

    def fail_pending(self) -> None:
        """Fail all pending requests after the connection was lost."""
        self.lost += 1
        self._deaf = None
        self._fail_all(lambda: Disconnected("the connection to NATS was lost", outcome_unknown=True))

    def fail_denied(self, error: str) -> None:
        """Fail the pending requests that, by the server's error, this user may not make.

        If it may not listen where replies come to, all requests fail until the connection is made again.
        """
        violation = Violation.parse(error)
        if violation is None:
            return
        inbox = self._prefix + "*"
        if violation.is_subscription_to(inbox):
            self._deaf = no_replies(inbox)
        for waiting in tuple(self._waiting.values()):
            denied = next(filter(violation.is_publish_to, waiting.subjects), None)
            message = self._deaf or (no_publish(denied) if denied is not None else None)
            if message is not None and not waiting.answers.done():
                waiting.answers.set_exception(NotPermitted(message))

    def _fail_all(self, fault: Callable[[], Unavailable]) -> None:
        for waiting in tuple(self._waiting.values()):
            if not waiting.answers.done():
                waiting.answers.set_exception(fault())

    async def one(self, subject: str, body: bytes = b"", head: bytes = b"", timeout: float = 5.0) -> Reply:
        """Send a request and return its first reply; ``head`` is its header block, if it has one.

        Raises:
            Timeout: no reply came within ``timeout`` seconds.
            NotPermitted: this user may not publish there.
            Unavailable: there are no responders, or the connection is down.
            TooLarge: the request is larger than the server accepts.
        """
        replies = await self._ask(subject, body, head, timeout, many=False)
        return replies[0]

    def begin(self, waiting: Waiter, request: Request, timeout: float) -> Callable[[], None]:
        """Send a request for whose first reply somebody waits; return what must be called when it has its answers.

        Without a reply, and when it is known that none comes, the answers are an error, as of :meth:`one`.

        Raises:
            NotPermitted: this user may not publish there.
            Unavailable: the connection is down.
            TooLarge: the request is larger than the server accepts.
        """
        token = next(self._tokens)
        key = b"%d" % token
        self._post(request.subject, request.body, f"{self._prefix}{token}", request.head)
        self._waiting[key] = waiting
        loop = asyncio.get_running_loop()
        late = loop.call_later(timeout, _time_out, waiting.answers, request.subject, timeout)

        def end() -> None:
            late.cancel()
            del self._waiting[key]

        return end

    def send(self, subject: str, body: bytes, head: bytes) -> None:
        """Publish without asking for a reply, ahead of the next request.

        Raises:
            Unavailable: the connection is down.
            TooLarge: the message is larger than the server accepts.
        """
        self._post(subject, body, "", head)

    async def many(self, subject: str, body: bytes, timeout: float = 5.0) -> list[Reply]:
        """Send a request and return all replies; the last is the end-of-batch mark or a status.

        Raises:
            Timeout: the end did not come within ``timeout`` seconds.
            Unavailable: there are no responders, or the connection is down.
        """
        return await self._ask(subject, body, b"", timeout, many=True)

    async def each(self, requests: Sequence[Request], timeout: float = 5.0) -> list[Reply]:
        """Send requests together and return the first reply to each.

        Raises:
            Timeout: one of them has no reply within ``timeout`` seconds; others may have been carried out.
            Unavailable: there are no responders, or the connection is down.
            TooLarge: one of them is larger than the server accepts; those before it were sent.
        """
        loop = asyncio.get_running_loop()
        token = b"%d" % next(self._tokens)
        inbox = f"{self._prefix}{token.decode()}-"
        whole = self._waiting[token] = _PendingBatch(requests, loop.create_future())
        late = loop.call_later(
            timeout, lambda: _time_out(whole.answers, next(whole.subjects, requests[-1].subject), timeout)
        )
        try:
            for place, (subject, body, head) in enumerate(requests):
                self._post(subject, body, f"{inbox}{place}", head)
                if self._nc.crowded:
                    await self._nc.wait_for_room()
            replies = await whole.answers
        finally:
            late.cancel()
            del self._waiting[token]
        for reply, request in zip(replies, requests, strict=True):
            if not reply.data:
                check_answered(reply, request.subject)
        return replies

    async def _ask(self, subject: str, body: bytes, head: bytes, timeout: float, *, many: bool) -> list[Reply]:
        loop = asyncio.get_running_loop()
        token = next(self._tokens)
        inbox = f"{self._prefix}{token}"
        waiting = PendingRequest(subject, inbox, loop.create_future(), many=many)
        self._waiting[b"%d" % token] = waiting
        late = loop.call_later(timeout, _time_out, waiting.answers, subject, timeout)
        try:
            if many:
                self._nc.batches[waiting.inbox] = waiting.take_stored
            self._post(subject, body, inbox, head)
            if self._nc.crowded:
                await self._nc.wait_for_room()
            replies = await waiting.answers
        finally:
            late.cancel()
            self._nc.batches.pop(waiting.inbox, None)
            del self._waiting[b"%d" % token]
        if replies:
            check_answered(replies[0], subject)
        return replies

    def _post(self, subject: str, body: bytes, reply: str, head: bytes) -> None:
        if self._deaf is not None:
            raise NotPermitted(self._deaf)
        try:
            self._nc.post(subject, body, reply, head)
        except NatsError as fault:
            raise Unavailable(f"the connection to NATS is down: {fault}", outcome_unknown=True) from fault

    def _on_reply(self, subject: bytes, _reply: bytes, head: bytes, data: bytes) -> None:
        token, _, place = subject[self._start_of_token :].partition(b"-")
        waiting = self._waiting.get(token)
        if waiting is not None and not waiting.answers.done():
            waiting.take(Reply(head, data), place)


def check_answered(reply: Reply, subject: str) -> None:
    """Check that a reply comes from somebody.

    Raises:
        Unavailable: it is the server's, that there are no responders.
    """
    if not reply.data and status_of(reply.head) == NO_RESPONDERS:
        raise Unavailable(f"no responders on {subject}", code=NO_RESPONDERS_CODE)
