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
"""How the names of these consumers begin. After it comes the lease's number, and the holder."""
LIMIT: Final = 256
"""Messages that are delivered and not acknowledged, at most."""
DIGEST: Final = 2.0
"""Seconds to wait until what was acknowledged in an earlier term has left the inbox."""
ACK_WAIT: Final = 30.0
"""Seconds after which the server delivers again what is neither acknowledged nor said to be in progress."""

_HAS_CONSUMER: Final = frozenset({10099, 10100})
"""A work queue has one consumer without a filter, and none beside it."""
_BETWEEN: Final = 0.05
_SECOND: Final = 1_000_000_000
_LOG: Final = logging.getLogger("clew.inbox")


class Over(Unavailable):
    """The term is over though the lease is not lost: another one is to begin."""

    default_code = "term_over"


class _Names(Struct, frozen=True):
    consumers: tuple[str, ...] | None = None


class Term:
    """One process's term. ``consumer`` is its own, ``last_seq`` the newest message that was there when it began."""

    def __init__(self, js: JetStream, lease: Lease, consumer: str, last_seq: int) -> None:
        self._js = js
        self._lease = lease
        self._why: str | None = None
        self.consumer = consumer
        self.last_seq = last_seq

    def check(self) -> None:
        """Nothing, if the term goes on.

        Raises:
            Lost: the lease is somebody else's, or may be.
            Over: the term has ended for another reason.
        """
        self._lease.check()
        if self._why is not None:
            raise Over(self._why)

    def end(self, why: str) -> None:
        """Have the term be over: :meth:`check` says so from now on."""
        self._why = self._why or why

    async def is_there(self) -> bool:
        """Whether the consumer still exists.

        Raises:
            Unavailable: JetStream does not answer.
        """
        return await find_consumer(self._js, INBOX_STREAM, self.consumer) is not None

    async def close(self) -> None:
        """Delete the consumer. What was delivered and not acknowledged stays in the inbox.

        Raises:
            Unavailable: JetStream does not answer.
        """
        await remove_consumer(self._js, INBOX_STREAM, self.consumer)


async def begin(js: JetStream, lease: Lease, trials: Trials) -> Term:
    """Begin a term for the holder of ``lease``, and end all earlier ones.

    Raises:
        Lost: the lease is gone.
        Unavailable: JetStream does not answer, or the inbox has a consumer that is not Clew's.
    """
    name = f"{PREFIX}{lease.number}-{lease.holder}"
    while True:
        found = msgspec.convert(await js.api(f"CONSUMER.NAMES.{INBOX_STREAM}"), _Names).consumers or ()
        # Nobody has taken the lease since the names were read, so none of them is of a later term, whatever its number:
        # where the bucket of leases was made anew, numbers begin again.
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
        # Somebody who held the lease before was late with its own.
        await asyncio.sleep(_BETWEEN)


async def _handed_out(js: JetStream, consumer: str) -> int:
    """The last message that a consumer has delivered, once all that was acknowledged there has left the inbox.

    On a cluster that takes a moment: each acknowledgement is agreed upon first, and then that the message goes. A
    consumer that is deleted in between leaves messages behind that were settled, and would be delivered again.
    """
    until = time.monotonic() + DIGEST
    while (found := await find_consumer(js, INBOX_STREAM, consumer)) is not None:
        delivered, state = found.delivered.stream_seq, await stream_state(js, INBOX_STREAM)
        if state.messages - (state.last_seq - delivered) <= found.num_ack_pending:
            return delivered
        if time.monotonic() > until:
            _LOG.warning("%s: not all that was acknowledged has left the inbox; it is delivered again", consumer)
            return delivered
        await asyncio.sleep(_BETWEEN)
    return 0


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
