"""A term: the time for which one process has the inbox's lease, and the consumer that only it has.

The name of the consumer contains the number of the term. The new holder of the lease deletes the consumers of earlier
terms and creates one that delivers everything in the inbox in order, from the first message. So pull requests and
acknowledgements of earlier holders have no effect: their consumer is gone.
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
from clew_projections.nats.jetstream import JetStream, find_consumer, stream_state
from clew_projections.nats.stream_messages import ApiRefusal
from clew_services.eventstore.stream_config import remove_consumer
from clew_services.inbox.poison import Trials
from clew_services.lease import Lease

PREFIX: Final = "term-"
"""The beginning of the consumers' names; the number of the term and the holder follow."""
LIMIT: Final = 256
"""The most delivered messages without an acknowledgement."""
DIGEST: Final = 2.0
"""Seconds to wait until the messages that were acknowledged in an earlier term have left the inbox."""
ACK_WAIT: Final = 30.0
"""Seconds without an acknowledgement or a progress report after which the server redelivers a message."""

_HAS_CONSUMER: Final = frozenset({10099, 10100})
"""A work queue can have only one consumer without a filter."""
_BETWEEN: Final = 0.05
_SECOND: Final = 1_000_000_000
_LOG: Final = logging.getLogger("clew.inbox")


class Over(Unavailable):
    """The term has ended although the lease is held: another has to begin."""

    default_code = "term_over"


class _Names(Struct, frozen=True):
    consumers: tuple[str, ...] | None = None


class Term:
    """A term of this process, with its ``consumer``; ``last_seq`` is the last message in the inbox at its beginning."""

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
        """End the term: :meth:`check` raises ``Over`` from now on."""
        self._why = self._why or why

    async def is_there(self) -> bool:
        """Whether the consumer still exists.

        Raises:
            Unavailable: JetStream does not answer.
        """
        return await find_consumer(self._js, INBOX_STREAM, self.consumer) is not None

    async def close(self) -> None:
        """Delete the consumer. Messages without an acknowledgement stay in the inbox.

        Raises:
            Unavailable: JetStream does not answer.
        """
        await remove_consumer(self._js, INBOX_STREAM, self.consumer)


async def begin(js: JetStream, lease: Lease, trials: Trials) -> Term:
    """Begin a term for the holder of ``lease``, and end all earlier ones.

    Raises:
        LeaseLost: the lease is lost.
        Unavailable: JetStream does not answer, or the inbox has a consumer that is not Clew's.
    """
    name = f"{PREFIX}{lease.number}-{lease.holder}"
    while True:
        found = msgspec.convert(await js.api(f"CONSUMER.NAMES.{INBOX_STREAM}"), _Names).consumers or ()
        # No process has taken the lease since the names were read, so none of them is of a later term, whatever its
        # number: numbers begin again when the bucket of leases is created again.
        await lease.confirm()
        earlier = [each for each in found if each.startswith(PREFIX)]
        handed_out = [await _handed_out(js, each) for each in earlier]
        state = await stream_state(js, INBOX_STREAM)
        others = [seq for seq, each in zip(handed_out, earlier, strict=True) if not each.endswith(lease.holder)]
        await trials.begin(max(others, default=0), last_seq=state.last_seq)
        for each in earlier:
            await remove_consumer(js, INBOX_STREAM, each)
        if await _create(js, name):
            return Term(js, lease, name, (await stream_state(js, INBOX_STREAM)).last_seq)
        if foreign := [each for each in found if not each.startswith(PREFIX)]:
            raise Unavailable(
                f"{INBOX_STREAM} has a consumer that is not Clew's, so Clew can have none: "
                f"remove {', '.join(foreign)} with 'nats consumer rm'",
                code="foreign_consumer",
            )
        # An earlier holder of the lease has created its consumer late.
        await asyncio.sleep(_BETWEEN)


async def _handed_out(js: JetStream, consumer: str) -> int:
    """The last message that a consumer has delivered, read when its acknowledged messages have left the inbox.

    On a cluster that takes a moment: the acknowledgement is replicated first, and then the removal of the message. If
    the consumer is deleted in between, settled messages stay in the inbox and are delivered again.
    """
    until = time.monotonic() + DIGEST
    while (found := await find_consumer(js, INBOX_STREAM, consumer)) is not None:
        delivered, state = found.delivered.stream_seq, await stream_state(js, INBOX_STREAM)
        if state.messages - (state.last_seq - delivered) <= found.num_ack_pending:
            return delivered
        if time.monotonic() > until:
            _LOG.warning("%s: some acknowledged messages are still in the inbox, and are delivered again", consumer)
            return delivered
        await asyncio.sleep(_BETWEEN)
    return 0


async def _create(js: JetStream, name: str) -> bool:
    config = {
        "name": name,
        "durable_name": name,
        "description": "Clew: delivers to the process that serves the inbox, for its term.",
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
