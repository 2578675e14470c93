"""A pull consumer of a shard's commits, shared by all projectors of the shard.

nats-py's own fetch limits the number of messages, not their size. With many large messages pending, the server then
sends so much at once that it treats the client as a slow consumer and disconnects it. So this limits the bytes too.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from clew_events.errors import Unavailable
from clew_projections.history.pending_erasures import PendingErasures
from clew_projections.nats.headers import Headers, description_of, status_of
from clew_projections.nats.lean_client import FLUSH, LeanClient
from clew_projections.nats.stream_messages import BATCH_COMPLETED, EXPECTED, TRACE, DeliveredAs, StoredMessage

PULL_BYTES: Final = 16 * 1024 * 1024
"""Far below what a server buffers for one client, and above the largest possible commit."""
NO_MESSAGES: Final = "404"
END_OF_TIME: Final = "408"
TOO_MUCH_AT_ONCE: Final = "Message Size Exceeds MaxBytes"
SLACK: Final = 1.0
"""Seconds past its expiry after which a pull request without a reply counts as lost, and that a close may take."""


class Delivery(Struct, frozen=True, gc=False):
    """A commit as the consumer delivers it, and the subject that acknowledges it.

    ``after`` is its guard, which the server checked: the sequence of the message before it on its subject. ``trace`` is
    its ``traceparent``, if it has one; ``at`` is when it was stored, in nanoseconds since 1970.
    """

    seq: int
    after: int | None
    subject: str
    body: bytes
    reply: bytes
    trace: str | None = None
    at: int = 0

    def stored(self) -> StoredMessage:
        """Return the commit as a read of the stream returns it."""
        return StoredMessage(self.seq, self.subject, self.body, {})


class ShardConsumer:
    """Pulls from one durable consumer, which ``clew init`` has created."""

    def __init__(
        self, nc: LeanClient, stream: str, consumer: str, pending: PendingErasures, *, wait: float = 1.0
    ) -> None:
        """Commits are delivered without the contents that a pending erasure covers."""
        self._nc = nc
        self._pending = pending
        self._stream = stream
        self._consumer = consumer
        self._wait = wait
        self._most = max(PULL_BYTES, 2 * nc.max_payload)
        self._inbox = ""
        self._requests = 0
        self._wanted = 0
        self._lost_at = 0.0
        self._refusal: str | None = None
        self._arrived: list[Delivery] = []
        self._ended = asyncio.Event()
        self._open: set[bytes] = set()
        self._acked = ""
        self._subscription: Subscription | None = None

    async def next(self, limit: int) -> list[Delivery]:
        """Return the commits that are pending, at most ``limit``; waits briefly for the first, and may return none.

        The server sends all of them in answer to one request, and nothing more until the next: each commit that it
        sends by itself costs it and this process several times as much. After a full batch the next request is sent
        before this returns, so that it is in flight while the batch is processed.

        Raises:
            Unavailable: the consumer does not answer.
        """
        try:
            if not self._arrived:
                await self._ask(limit)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait + SLACK):
                    await self._ended.wait()
            batch, self._arrived = self._arrived, []
            if len(batch) >= limit:
                await self._ask(limit)
        except NatsError as fault:
            raise Unavailable(f"{self._stream}/{self._consumer} does not answer: {fault}") from fault
        if not batch and self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            raise Unavailable(f"{self._stream}/{self._consumer} does not answer: {refusal}")
        return (
            [replace(each, body=self._pending.redact(each.stored()).body) for each in batch] if self._pending else batch
        )

    def ack(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge deliveries.

        Raises:
            Unavailable: the connection is down; they are delivered again, which is harmless.
        """
        try:
            replies = [delivery.reply for delivery in deliveries]
            if replies:
                self._nc.post_each(replies, b"+ACK")
                self._open.difference_update(replies)
                self._acked = replies[-1].decode()
        except NatsError as fault:
            raise Unavailable(f"the connection to NATS is down: {fault}") from fault

    async def flush_acks(self) -> None:
        """Return when the server has processed all acknowledgements, those that waited for a reconnect included.

        It processes them in order, but beside the API's requests: an acknowledgement may count after a reset that was
        requested later.

        Raises:
            Unavailable: the consumer does not answer.
        """
        try:
            if self._acked:
                await self._nc.request(self._acked, b"+WPI", timeout=FLUSH)
        except NatsError as fault:
            raise Unavailable(f"{self._stream}/{self._consumer} does not answer: {fault}") from fault

    async def give_back(self) -> None:
        """Have unacknowledged deliveries delivered again at once, here or elsewhere, instead of after the ack wait."""
        unacknowledged, self._open = self._open, set()
        self._arrived.clear()
        with contextlib.suppress(NatsError):
            self._nc.post_each(unacknowledged, b"-NAK")

    async def close(self) -> None:
        """Stop pulling, and give back unacknowledged deliveries, also those that the server has sent meanwhile."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None and not self._nc.is_closed:
            with contextlib.suppress(NatsError, TimeoutError):
                async with asyncio.timeout(SLACK):
                    await self._nc.drain_listener(subscription)
            await self.give_back()

    async def _ask(self, limit: int) -> None:
        now = asyncio.get_running_loop().time()
        if self._subscription is None:
            self._inbox = self._nc.new_inbox()
            self._subscription = await self._nc.listen(f"{self._inbox}.*", self._on_message)
        elif self._wanted > 0 and now < self._lost_at:
            return
        self._requests += 1
        self._wanted = limit
        self._ended.clear()
        self._lost_at = now + self._wait + SLACK
        expires = int(self._wait * 1_000_000_000)
        self._nc.post(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}",
            msgspec.json.encode({"batch": limit, "max_bytes": self._most, "expires": expires, "no_wait": True}),
            reply=f"{self._inbox}.{self._requests}",
        )

    def _on_message(self, subject: bytes, reply: bytes, head: bytes, body: bytes) -> None:
        if reply:
            delivery = _delivery(subject.decode(), reply, head, body)
            self._open.add(reply)
            self._arrived.append(delivery)
            self._wanted -= 1
            if self._wanted == 0:
                self._ended.set()
        elif subject.decode() == f"{self._inbox}.{self._requests}" and self._wanted > 0:
            # The end of the current request: nothing more is pending, or the next message would exceed its bytes.
            description = description_of(head)
            if description == BATCH_COMPLETED:
                return  # what is wanted still is on its way
            self._wanted = 0
            if status_of(head) not in {NO_MESSAGES, END_OF_TIME} and description != TOO_MUCH_AT_ONCE:
                self._refusal = description or "no responders"
            self._ended.set()


_COMMIT_HEADERS: Final = re.compile(
    rb"NATS/1\.0\r\nNats-Msg-Id: [!-~]+\r\nNats-Expected-Last-Subject-Sequence: (\d+)\r\n"
    rb"(?:Clew-Digest: [!-~]+\r\n)?(?:traceparent: ([!-~]+)\r\n)?(?:Nats-Batch-[A-Za-z]+: [!-~]+\r\n)*\r\n\Z"
)
"""The headers of a commit as the log writes them, which nearly every commit has."""


def _delivery(subject: str, reply: bytes, head: bytes, body: bytes) -> Delivery:
    seq, _, at, _ = DeliveredAs.parse(reply)
    after, trace = _commit_headers(head)
    return Delivery(seq, after, subject, body, reply, trace, at)


def _commit_headers(head: bytes) -> tuple[int | None, str | None]:
    """Return a commit's guard and its ``traceparent`` from its headers."""
    if (match := _COMMIT_HEADERS.match(head)) is not None:
        return int(match[1]), match[2].decode() if match[2] is not None else None
    headers = Headers(head)
    guard = headers.get(EXPECTED)
    return int(guard) if guard is not None and guard.isdecimal() else None, headers.get(TRACE)
