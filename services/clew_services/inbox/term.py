"""A term of the inbox: the time for which one holder of the lease has the consumer.

The consumer's name includes the lease's number. A new holder deletes the consumers of earlier terms and creates its
own, which delivers everything in the inbox, in order, from the first message on. So pull requests and acknowledgements
of an earlier holder have no effect: their consumer no longer exists.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.errors import Unavailable
from clew_events.subjects import INBOX_STREAM
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.stream_messages import ApiRefusal
from clew_services.coordination.lease import Lease
from clew_services.eventstore.stream_config import remove_consumer
from clew_services.inbox.poison import Trials

PREFIX: Final = "term-"
"""The prefix of the consumers' names; the lease's number and the holder follow."""
LIMIT: Final = 256
"""Most messages that are delivered and not acknowledged."""
DIGEST: Final = 2.0
"""Seconds to wait until messages acknowledged in an earlier term have left the inbox."""
ACK_WAIT: Final = 30.0
"""Seconds without acknowledgement or progress after which the server redelivers a message."""

_CONSUMER_NOT_FOUND: Final = 10014
_HAS_CONSUMER: Final = frozenset({10099, 10100})
"""Errors of the server for a second consumer: a work queue has one consumer without a filter, and no other."""
_BETWEEN: Final = 0.05
_SECOND: Final = 1_000_000_000
_LOG: Final = logging.getLogger("clew.inbox")


class Over(Unavailable):
    """The term has ended although the lease is not lost: another term has to begin."""

    default_code = "term_over"


class _Names(Struct, frozen=True):
    consumers: tuple[str, ...] | None = None


class _Consumer(Struct, frozen=True):
    class Delivered(Struct, frozen=True):
        stream_seq: int = 0

    delivered: Delivered = Delivered()
    num_ack_pending: int = 0


class _Stream(Struct, frozen=True):
    class State(Struct, frozen=True):
        messages: int = 0
        last_seq: int = 0

    state: State = State()


class Term:
    """One process's term: its ``consumer``, and the last sequence of the inbox when it began."""

    def __init__(self, js: JetStream, lease: Lease, consumer: str, last_seq: int) -> None:
        self._js = js
        self._lease = lease
        self._why: str | None = None
        self.consumer = consumer
        self.last_seq = last_seq

    def check(self) -> None:
        """Check that the term has not ended.

        Raises:
            LeaseLost: another process has the lease, or may have it.
            Over: the term has ended for another reason.
        """
        self._lease.check()
        if self._why is not None:
            raise Over(self._why)

    def end(self, why: str) -> None:
        """End the term: :meth:`check` raises from now on. The first reason is kept."""
        self._why = self._why or why

    async def is_there(self) -> bool:
        """Whether the consumer still exists.

        Raises:
            Unavailable: JetStream does not answer.
        """
        return await _info(self._js, self.consumer) is not None

    async def close(self) -> None:
        """Delete the consumer. Unacknowledged messages stay in the inbox.

        Raises:
            Unavailable: JetStream does not answer.
        """
        await remove_consumer(self._js, INBOX_STREAM, self.consumer)


async def begin(js: JetStream, lease: Lease, trials: Trials) -> Term:
    """Begin a term for the holder of ``lease``, and end all earlier terms.

    Raises:
        LeaseLost: the lease is lost.
        Unavailable: JetStream does not answer, or the inbox has a consumer that is not Clew's.
    """
    name = f"{PREFIX}{lease.number}-{lease.holder}"
    while True:
        consumers = msgspec.convert(await js.api(f"CONSUMER.NAMES.{INBOX_STREAM}"), _Names).consumers or ()
        # The lease was not taken since the names were read, so none is of a later term, whatever its number: numbers
        # begin again where the bucket of leases was created again.
        await lease.confirm()
        earlier = [consumer for consumer in consumers if consumer.startswith(PREFIX)]
        handed_out = [await _handed_out(js, consumer) for consumer in earlier]
        state = await _state(js)
        others = [seq for seq, consumer in zip(handed_out, earlier, strict=True) if not consumer.endswith(lease.holder)]
        await trials.begin(max(others, default=0), last_seq=state.last_seq)
        for consumer in earlier:
            await remove_consumer(js, INBOX_STREAM, consumer)
        if await _create(js, name):
            return Term(js, lease, name, (await _state(js)).last_seq)
        if foreign := [consumer for consumer in consumers if not consumer.startswith(PREFIX)]:
            raise Unavailable(
                f"{INBOX_STREAM} has a consumer that is not Clew's, so Clew can have none: "
                f"remove {', '.join(foreign)} with 'nats consumer rm'",
                code="foreign_consumer",
            )
        # An earlier holder of the lease created its consumer late.
        await asyncio.sleep(_BETWEEN)


async def _handed_out(js: JetStream, consumer: str) -> int:
    """The last sequence that a consumer has delivered, once all messages acknowledged there have left the inbox.

    On a cluster that takes a moment: the servers agree on each acknowledgement, and then on the removal. If the
    consumer is deleted in between, settled messages stay in the inbox and would be redelivered.
    """
    deadline = time.monotonic() + DIGEST
    while (info := await _info(js, consumer)) is not None:
        delivered, state = info.delivered.stream_seq, await _state(js)
        if state.messages - (state.last_seq - delivered) <= info.num_ack_pending:
            return delivered
        if time.monotonic() > deadline:
            _LOG.warning("%s: not all acknowledged messages have left the inbox; they are redelivered", consumer)
            return delivered
        await asyncio.sleep(_BETWEEN)
    return 0


async def _state(js: JetStream) -> _Stream.State:
    return msgspec.convert(await js.api(f"STREAM.INFO.{INBOX_STREAM}"), _Stream).state


async def _info(js: JetStream, consumer: str) -> _Consumer | None:
    try:
        return msgspec.convert(await js.api(f"CONSUMER.INFO.{INBOX_STREAM}.{consumer}"), _Consumer)
    except ApiRefusal as refusal:
        if refusal.error.err_code == _CONSUMER_NOT_FOUND:
            return None
        raise


async def _create(js: JetStream, name: str) -> bool:
    config = {
        "name": name,
        "durable_name": name,
        "description": "Clew: feeds the process that serves the inbox, for as long as it does.",
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": int(ACK_WAIT * _SECOND),
        "max_deliver": -1,
        "max_ack_pending": LIMIT,
    }
    request = {"stream_name": INBOX_STREAM, "config": config, "action": "create"}
    try:
        await js.api(f"CONSUMER.CREATE.{INBOX_STREAM}.{name}", request)
    except ApiRefusal as refusal:
        if refusal.error.err_code in _HAS_CONSUMER:
            return False
        raise
    return True
