"""Deliveries: a shard's commits as its shared durable consumer hands them out."""

from __future__ import annotations

from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.client import JetStreamContext

from clew_events.errors import Unavailable
from clew_projections.jetstream import Stored


class Delivery(Struct, frozen=True):
    """A stored commit on its way to a projector, and where to acknowledge it."""

    seq: int
    subject: str
    body: bytes
    reply: str

    def stored(self) -> Stored:
        """The same as a read of the stream would give it."""
        return Stored(self.seq, self.subject, self.body, {})


class Deliveries:
    """Pulls from one durable consumer, which ``clew init`` has created."""

    def __init__(self, nc: Client, stream: str, consumer: str, *, wait: float = 1.0) -> None:
        self._nc = nc
        self._stream = stream
        self._consumer = consumer
        self._wait = wait
        self._subscription: JetStreamContext.PullSubscription | None = None

    async def next(self, limit: int) -> list[Delivery]:
        """What there is, at most ``limit``; waits a moment for the first, and may give none.

        Raises:
            Unavailable: the consumer does not answer.
        """
        try:
            if self._subscription is None:
                js = self._nc.jetstream(timeout=5.0)
                self._subscription = await js.pull_subscribe_bind(
                    self._consumer, self._stream, pending_msgs_limit=0, pending_bytes_limit=0
                )
            messages = await self._subscription.fetch(limit, timeout=self._wait)
        except TimeoutError:
            return []
        except NatsError as fault:
            raise Unavailable(f"{self._stream}/{self._consumer} does not answer: {fault}") from fault
        return [_delivery(message) for message in messages]

    async def ack(self, delivery: Delivery) -> None:
        """Say that a delivery needs not come again.

        Raises:
            Unavailable: the connection is down; it will come again, which is harmless.
        """
        try:
            await self._nc.publish(delivery.reply, b"+ACK")
        except NatsError as fault:
            raise Unavailable(f"the connection to NATS is down: {fault}") from fault

    async def close(self) -> None:
        """Stop pulling."""
        if self._subscription is not None and not self._nc.is_closed:
            await self._subscription.unsubscribe()
        self._subscription = None


def _delivery(message: Msg) -> Delivery:
    # $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>, more tokens before.
    return Delivery(int(message.reply.split(".")[-4]), message.subject, message.data, message.reply)
