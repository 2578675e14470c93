"""The write probe: finds out whether a shard stores commits, with a publish whose guard always fails.

Once a write to a stream has failed, as when the disk is full, nats-server 2.15 does not write to it until a restart. It
still refuses stale guards, but does not answer a publish that it should store, which looks like a slow server. A single
server answers the publishes of one connection in order. So if a commit is followed by a probe, and only the probe is
answered, the commit was not stored, and no other will be.
"""

from __future__ import annotations

import asyncio
from secrets import token_hex
from typing import Final

from clew_events.errors import ClewError, Unavailable
from clew_events.subjects import Address, event_stream, event_subject
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.request_mux import Request, Timeout
from clew_projections.nats.stream_messages import BATCH_COMMIT, BATCH_ID, BATCH_SEQUENCE, EXPECTED, Ack

STALE: Final = frozenset({10071, 10164})
"""Wrong last sequence: in the stream, or among what a replicated stream has in flight."""
FULL: Final = frozenset({10002, 10023, 10028, 10047, 10077})
"""Out of storage, or a limit of the account, the server or the stream is reached."""
BATCH_NOT_STAGED: Final = 10176
"""A batch is incomplete: for a batch of one, the disk is full."""
BUSY: Final = 10210
"""Too many batches are in flight."""
MEMORY: Final = 30.0
"""Seconds for which a shard counts as full after the last probe."""
_NEVER: Final = {EXPECTED: str(2**62)}
_GRACE: Final = 0.1
"""Seconds in which an answer that was sent before another must arrive."""


class LogFull(Unavailable):
    """The log stores no commit until there is space, and, after a failed write to the disk, a restart."""

    default_code = "log_full"


class WriteProbe:
    """Publishes to one shard of a single server while it is in doubt whether the shard stores anything."""

    def __init__(self, js: JetStream, shard: int) -> None:
        self._js = js
        self._shard = shard
        self._subject = _subject(shard)
        self._trying: asyncio.Future[Unavailable | None] | None = None
        self._found_full: tuple[int, float] | None = None
        self.in_doubt = False
        """Whether a publish was not answered, and nothing was stored since."""

    @property
    def full(self) -> bool:
        """Whether the shard was found to store nothing, over the same connection, within :data:`MEMORY` seconds."""
        now = asyncio.get_running_loop().time()
        return self._found_full is not None and (
            self._found_full[0] == self._js.disconnects and now - self._found_full[1] < MEMORY
        )

    async def publish(self, request: Request, timeout: float) -> Ack | None:
        """Publish if the shard is in doubt, ``None`` if it no longer is. Of concurrent calls one publishes for all.

        Raises:
            LogFull: the shard stores nothing; ``outcome_unknown`` if this message was sent.
            Timeout: the server does not answer within ``timeout`` seconds.
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
            return await self._try(request, timeout)
        except Unavailable as error:
            fault = error
            raise
        finally:
            self._trying = None
            trying.set_result(fault)

    async def _try(self, request: Request, timeout: float) -> Ack:
        storing = asyncio.ensure_future(self._js.store(request, timeout))
        probing = asyncio.ensure_future(self._js.publish(self._subject, b"", _NEVER, timeout))
        tasks = {storing, probing}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({storing}, timeout=_GRACE)
            if storing.done() or not _answered(probing):
                ack = await storing
                if ack.error is None and not ack.duplicate:
                    self.in_doubt, self._found_full = False, None
                return ack
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._found_full = self._js.disconnects, asyncio.get_running_loop().time()
        raise LogFull(
            f"the log is full: nats-server has stopped writing to {event_stream(self._shard)}, as it does when its "
            "disk is full. Free space; 'clew up' then restarts its server, and a server of your own must be restarted",
            outcome_unknown=True,
        )


async def trouble(js: JetStream, shard: int, timeout: float) -> str | None:
    """Why a shard accepts no commit, found with a batch of one whose guard fails; ``None`` if it would accept one.

    The server writes a batch to disk and checks the limits of server and account before the guard. It does not detect
    that a write to the stream itself has failed: see :class:`WriteProbe`.
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
        return f"stream {stream} is full: the disk of its server is full"
    return f"stream {stream} refuses commits: {ack.error.description} ({ack.error.err_code})"


def _subject(shard: int) -> str:
    return event_subject(shard, Address("-", "-"))


def _answered(probing: asyncio.Future[Ack]) -> bool:
    if not probing.done() or probing.exception() is not None:
        return False
    error = probing.result().error
    return error is not None and error.err_code in STALE
