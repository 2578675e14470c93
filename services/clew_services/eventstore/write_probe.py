"""Whether a shard stores what is published, found out with a publish that cannot be stored: no guard is ever as its is.

nats-server 2.15 never writes to a stream again once a write to it has failed, as when the disk is full, until it is
restarted. It goes on to refuse stale guards and says nothing to a publish that it should store, which looks like a
server that is slow. A server that runs alone answers what came over one connection in order, though. So where a commit
is sent and a probe right behind it, and the probe alone is answered, the commit was not stored, and none will be.
"""

from __future__ import annotations

import asyncio
from secrets import token_hex
from typing import Final

from clew_events.errors import ClewError, Unavailable
from clew_events.subjects import Address, event_stream, event_subject
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.request_mux import Timeout
from clew_projections.nats.stream_messages import BATCH_COMMIT, BATCH_ID, BATCH_SEQUENCE, EXPECTED, Ack, OutgoingMessage

STALE: Final = frozenset({10071, 10164})
"""Wrong last sequence: as found in the stream, or among what a replicated stream has in flight."""
FULL: Final = frozenset({10002, 10023, 10028, 10047, 10077})
"""Out of storage, or a limit of the account, the server or the stream is reached."""
BATCH_NOT_STAGED: Final = 10176
"""A batch is incomplete, which a batch of one is if the disk does not take it."""
BUSY: Final = 10210
"""Too many batches are under way."""
MEMORY: Final = 30.0
"""Seconds for which a shard is said not to store if nobody has tried since."""
_NEVER: Final = {EXPECTED: str(2**62)}
_GRACE: Final = 0.1
"""Seconds for an answer that was sent before another to be seen here as well."""


class LogFull(Unavailable):
    """The log takes no commit until there is room, and, where a write to the disk has failed, until a restart."""

    default_code = "log_full"


class WriteProbe:
    """Publishes to one shard of a server that runs alone, while it is in doubt whether the shard stores anything."""

    def __init__(self, js: JetStream, shard: int) -> None:
        self._js = js
        self._shard = shard
        self._subject = _subject(shard)
        self._trying: asyncio.Future[Unavailable | None] | None = None
        self._found_full: tuple[int, float] | None = None
        self.in_doubt = False
        """Whether a publish went without an answer, and nothing was stored since."""

    @property
    def full(self) -> bool:
        """Whether the shard was found not to store, by the same connection and not long ago."""
        now = asyncio.get_running_loop().time()
        return self._found_full is not None and (
            self._found_full[0] == self._js.disconnects and now - self._found_full[1] < MEMORY
        )

    async def publish(self, message: OutgoingMessage, timeout: float) -> Ack | None:
        """Publish if the shard is still in doubt; nothing if it is not. Of several, one is sent, and decides for all.

        Raises:
            LogFull: the shard does not store. ``outcome_unknown`` where this very message was sent.
            Timeout: the server does not answer at all within ``timeout`` seconds.
        """
        while self._trying is not None:
            fault = await asyncio.shield(self._trying)
            if isinstance(fault, LogFull):
                raise LogFull(fault.message)
            if fault is not None:
                raise Timeout(fault.message)
        if not self.in_doubt:
            return None
        trying = self._trying = asyncio.get_running_loop().create_future()
        fault = None
        try:
            return await self._try(message, timeout)
        except Unavailable as found:
            fault = found
            raise
        finally:
            self._trying = None
            trying.set_result(fault)

    async def _try(self, message: OutgoingMessage, timeout: float) -> Ack:
        storing = asyncio.ensure_future(self._js.publish(message.subject, message.body, message.headers, timeout))
        probing = asyncio.ensure_future(self._js.publish(self._subject, b"", _NEVER, timeout))
        both = {storing, probing}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({storing}, timeout=_GRACE)
            if storing.done() or not _answered(probing):
                ack = await storing
                if ack.error is None and not ack.duplicate:
                    self.in_doubt, self._found_full = False, None
                return ack
        finally:
            for each in both:
                each.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        self._found_full = self._js.disconnects, asyncio.get_running_loop().time()
        raise LogFull(
            f"the log is full: nats-server has stopped writing to {event_stream(self._shard)}, as it does when its "
            "disk is full. Make room; 'clew up' then restarts its server, and one of your own has to be restarted",
            outcome_unknown=True,
        )


async def trouble(js: JetStream, shard: int, timeout: float) -> str | None:
    """Why a shard takes no commit, as far as a batch of one tells that cannot be stored; nothing if it would take one.

    A batch is put on the disk, and the limits of server and account are looked at, before its guard is. That a write to
    the stream itself has failed is not seen by it: see :class:`WriteProbe`.
    """
    stream = event_stream(shard)
    headers = {**_NEVER, BATCH_ID: token_hex(8), BATCH_SEQUENCE: "1", BATCH_COMMIT: "1"}
    try:
        ack = await js.publish(_subject(shard), b"", headers, timeout)
    except ClewError as fault:
        return f"stream {stream} does not answer a publish: {fault.message}"
    if ack.error is None or ack.error.err_code in STALE or ack.error.err_code == BUSY:
        return None
    if ack.error.err_code in FULL:
        return f"stream {stream} is full: {ack.error.description}"
    if ack.error.err_code == BATCH_NOT_STAGED:
        return f"stream {stream} is full: the disk of its server takes no more"
    return f"stream {stream} refuses commits: {ack.error.description} ({ack.error.err_code})"


def _subject(shard: int) -> str:
    return event_subject(shard, Address("-", "-"))


def _answered(probing: asyncio.Future[Ack]) -> bool:
    if not probing.done() or probing.exception() is not None:
        return False
    error = probing.result().error
    return error is not None and error.err_code in STALE
