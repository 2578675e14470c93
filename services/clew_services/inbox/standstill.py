"""The progress of the inbox: how many commands wait, for how long none has left it, and which process serves it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.subjects import INBOX_STREAM
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.stream_messages import StreamInfo
from clew_services.eventstore.topology import LEASES
from clew_services.lease import KEY, LeaseRecord
from clew_services.progress import TIME, StoredReply, ask_jetstream

_SERVED: Final = (
    "{} served it last: see its log; if that shows nothing, or the process is gone, restart 'clew serve commands'."
)
_UNSERVED: Final = "No process serves it: start 'clew serve commands'."


class Inbox(Struct, frozen=True, kw_only=True):
    """The state of the inbox.

    ``still`` is the time in seconds for which no command has left it although some wait, ``oldest`` the age in seconds
    of the oldest. ``where`` is the process that has the lease, or had it when it died; ``None`` if it was released.
    ``trouble`` says why the state is unknown; the numbers are then 0.
    """

    waiting: int = 0
    limit: int = -1
    oldest: float = 0.0
    still: float = 0.0
    where: str | None = None
    trouble: str | None = None

    def is_stuck(self, patience: float) -> bool:
        """Whether it has stood still for ``patience`` seconds or more; never if that is 0."""
        return 0 < patience <= self.still

    def why(self) -> str:
        """The description of a stuck inbox, for operators."""
        since = datetime.now(UTC) - timedelta(seconds=self.still)
        who = _SERVED.format(self.where) if self.where is not None else _UNSERVED
        return (
            f"the inbox has stood still for {self.still:.0f} s, since {since:%H:%M:%S}Z, "
            f"and {self.waiting} commands wait. {who}"
        )


class Standstill:
    """Observes the inbox, and remembers when the last command left it."""

    def __init__(self, js: JetStream, seconds: float = TIME) -> None:
        """``seconds`` is the timeout of each request to JetStream."""
        self._js = js
        self._seconds = seconds
        self._clock: Callable[[], float] = time.monotonic
        self._left = -1
        self._since = self._clock()

    async def look(self) -> Inbox:
        """The current state of the inbox."""
        stream = await ask_jetstream(
            self._js, f"STREAM.INFO.{INBOX_STREAM}", f"stream {INBOX_STREAM}", StreamInfo, seconds=self._seconds
        )
        if isinstance(stream, str):
            return Inbox(trouble=stream)
        state, now = stream.state, self._clock()
        if not state.messages or self._left != state.last_seq - state.messages:
            self._left, self._since = state.last_seq - state.messages, now
        if not state.messages:
            return Inbox(limit=stream.limit("max_msgs"))
        oldest = 0.0
        if state.first_ts is not None:
            oldest = max(0.0, ((stream.ts or datetime.now(UTC)) - state.first_ts).total_seconds())
        return Inbox(
            waiting=state.messages,
            limit=stream.limit("max_msgs"),
            oldest=oldest,
            still=min(now - self._since, oldest),
            where=await self._where(),
        )

    async def _where(self) -> str | None:
        request = {"last_by_subj": f"$KV.{LEASES}.{KEY}"}
        stored = await ask_jetstream(
            self._js, f"STREAM.MSG.GET.KV_{LEASES}", LEASES, StoredReply, request, seconds=self._seconds
        )
        if isinstance(stored, str) or not stored.message.data:
            return None
        return msgspec.json.decode(stored.message.data, type=LeaseRecord).where
