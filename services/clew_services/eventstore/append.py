"""Appending commits to the log with a guard, retried until the outcome is known or the deadline is reached.

The guard is the sequence that the decision was based on. The server stores a commit only if that is still the last one
on the thread's exact subject, so a retry with the identical message is always safe: it is stored now, was stored
before, or another writer was first.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Literal

from msgspec import Struct

from clew_events.codec import EncodedCommit
from clew_events.commit import Position, Recorded
from clew_events.errors import TooLarge, Unavailable
from clew_events.subjects import Address, event_subject, shard_of
from clew_projections.nats.headers import encode_headers
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.request_mux import Request, Timeout
from clew_projections.nats.stream_messages import DIGEST, EXPECTED, MSG_ID, TRACE, Ack, ApiError
from clew_services.eventstore.group_commit import CLOCK, ShardWriter
from clew_services.eventstore.write_probe import FULL, STALE, LogFull, WriteProbe
from clew_services.observer import NOBODY, Observer

IN_PROCESS = 10158
"""A message with the same id is being stored at this moment."""
TOO_LARGE = 10054
TOO_BUSY = 10167


class AppendResult(Struct, frozen=True):
    """The commit is stored in the log."""

    recorded: Recorded


class UncertainAppend(Struct, frozen=True):
    """The guard failed: the commit may or may not be in the log; read the thread's tail to find out."""

    why: Literal["stale", "duplicate"]


Append = Callable[[EncodedCommit, int, str | None, str | None], Awaitable[AppendResult | UncertainAppend]]
"""Stores a commit if the thread's last one is at a sequence, with a digest and a trace; see :meth:`Log.append`."""


class Log:
    """Appends commits to the shards of a deployment."""

    def __init__(
        self,
        js: JetStream,
        shards: int,
        *,
        replicated: bool = False,
        attempt: float = 2.0,
        deadline: float = 10.0,
        observer: Observer = NOBODY,
    ) -> None:
        probes = [None if replicated else WriteProbe(js, shard) for shard in range(shards)]
        self._writers = [ShardWriter(js, observer, probe) for probe in probes]
        self._attempt = attempt
        self._deadline = deadline

    @property
    def full(self) -> tuple[int, ...]:
        """The shards that were recently found to store nothing."""
        return tuple(shard for shard, writer in enumerate(self._writers) if writer.full)

    async def append(
        self, encoded: EncodedCommit, expected_seq: int, digest: str | None = None, trace: str | None = None
    ) -> AppendResult | UncertainAppend:
        """Store a commit if the thread's last commit is still the one at ``expected_seq`` (0: it has none).

        ``digest`` is the salted digest of its command, ``trace`` a ``traceparent``: both are stored as headers.

        Raises:
            TooLarge: the commit is larger than a stream accepts; it is not stored.
            LogFull: the log is full.
            Unavailable: not stored, or, if ``outcome_unknown``, perhaps stored; the same command may be retried.
        """
        commit = encoded.commit
        shard = shard_of(commit.thread, len(self._writers))
        headers = {MSG_ID: f"{commit.tenant}:{commit.thread}:{commit.id}", EXPECTED: str(expected_seq)}
        if digest is not None:
            headers[DIGEST] = digest
        if trace is not None:
            headers[TRACE] = trace
        subject = event_subject(shard, Address(commit.tenant, commit.thread))
        ack = await self._publish(self._writers[shard], Request(subject, encoded.body, encode_headers(headers)))
        if ack.error is not None:
            return UncertainAppend("stale")
        if ack.duplicate:
            return UncertainAppend("duplicate")
        return AppendResult(Recorded(commit, Position(shard, ack.seq), encoded.hash, trace, digest, encoded.body))

    async def _publish(self, writer: ShardWriter, request: Request) -> Ack:
        # Returns on an ack and on a failed guard. Anything else is retried with the identical message.
        unknown = False
        loop = asyncio.get_running_loop()
        until = loop.time() + self._deadline
        fault: Exception | None = None
        for attempt in count():
            try:
                ack = await writer.publish(request, self._attempt, until)
            except LogFull as full:
                raise LogFull(full.message, outcome_unknown=unknown or full.outcome_unknown) from full
            except Unavailable as unavailable:
                unknown = unknown or unavailable.outcome_unknown
                fault = unavailable
            else:
                if ack.error is None or ack.error.err_code in STALE:
                    return ack
                fault = _refusal(ack.error, unknown=unknown)
            if loop.time() + CLOCK >= until:
                break
            # A timeout has waited already; a refusal comes at once, and needs backoff.
            pause = 0.0 if isinstance(fault, Timeout) else min(0.02 * 2**attempt, 0.5)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
        raise Unavailable(
            f"the log did not take the commit within {self._deadline:g} s: {fault}",
            code="log_unavailable",
            outcome_unknown=unknown,
        ) from fault


def _refusal(error: ApiError, *, unknown: bool) -> Unavailable:
    """The error for a refusal: returned if a retry may succeed, raised if not."""
    if error.err_code == TOO_LARGE:
        raise TooLarge("the commit of this command is larger than the log accepts")
    if error.err_code in FULL:
        raise LogFull(f"the log is full: {error.description}", outcome_unknown=unknown)
    if error.err_code in {IN_PROCESS, TOO_BUSY}:
        return Unavailable(error.description, outcome_unknown=True)
    return Unavailable(f"{error.description} ({error.err_code})", outcome_unknown=unknown)
