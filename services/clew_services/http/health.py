"""Liveness of the process, and readiness of the deployment, which is read from JetStream at every request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from clew_events.errors import ClewError
from clew_events.subjects import event_stream
from clew_projections.generations.generations import Generations
from clew_projections.nats.jetstream import JetStream
from clew_services.eventstore.write_probe import trouble
from clew_services.http.responses import RETRY_AFTER, Answer, json_answer
from clew_services.inbox.standstill import Inbox, Standstill
from clew_services.integrity.integrity_report import ADVICE, report
from clew_services.progress import TIME, Progress, Shard, Standing, ask_jetstream

NOBODY_ASKS: Final = "No projector asks for them: start one with 'clew serve projector', or look why it stopped."
GETS_NOWHERE: Final = (
    "A projector asks for them and gets nowhere: its log says why; if it says nothing, start it again."
)

STOPPED: Final = (
    "nats-server stopped writing to it when the disk was full. 'clew up' restarts its server as soon as there is room; "
    "restart one of your own."
)


CLOSED: Final = "A connection to NATS was closed for good: this process ends, to be started again."


class Health(Struct, frozen=True):
    """Whether the process lives, and can go on living; ``reasons`` say why not."""

    ok: bool
    reasons: tuple[str, ...] = ()


class ShardHealth(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the projection of a shard stands: ``idle``, ``behind`` and at it, or ``stuck``.

    ``behind`` counts commits that wait, ``lag_seconds`` is the age of the oldest of them, and ``since`` is when the
    projection last moved.
    """

    shard: int
    state: Standing
    behind: int = 0
    lag_seconds: float | None = None
    since: datetime | None = None


class Ready(Struct, frozen=True, kw_only=True):
    """Whether all is well; if not, ``reasons`` say what is wrong and what to do. ``notes`` turn nobody away.

    ``damage`` is in what the log is not what it was, if that is known; it is among the notes, too.
    """

    ok: bool
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    shards: tuple[ShardHealth, ...] = ()
    parked: int | None = None
    damage: str | None = None


class HealthReport(Struct, frozen=True, kw_only=True):
    """What a look at a deployment found: shards and inbox as they are, and how many threads are parked, if known.

    ``damage`` is in what the log is not what it was, as far as the background verification knows.
    """

    ok: bool
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    inbox: Inbox
    shards: tuple[Shard, ...]
    parked: int | None
    damage: str | None = None


class Liveness:
    """``GET /healthz``: this process answers, and its connections to NATS are open or are being made again."""

    def __init__(self, ended: asyncio.Event) -> None:
        """``ended`` is set when the connection was closed for good."""
        self._ended = ended

    async def show(self) -> Answer:
        """200, or 503 when the process can do nothing more and is about to end."""
        if self._ended.is_set():
            return json_answer(Health(ok=False, reasons=(CLOSED,)), 503)
        return json_answer(Health(ok=True))


class Readiness:
    """``GET /readyz``: JetStream answers, every shard takes commits, and no projector or inbox is stuck."""

    def __init__(
        self,
        js: JetStream,
        shards: int,
        generations: Generations,
        full_shards: Callable[[], Sequence[int]],
        *,
        stuck_after: float,
        seconds: float = TIME,
    ) -> None:
        """``stuck_after`` is for how many seconds a projector or the inbox may stand still (0: for ever).

        ``full_shards`` tells the shards that this process found not to store anything, not long ago. Each question may
        take ``seconds``.
        """
        self._js = js
        self._shards = range(shards)
        self._generations = generations
        self._full_shards = full_shards
        self._stuck_after = stuck_after
        self._seconds = seconds
        # From here on it counts for how long nothing has moved, not from the first time that anybody asks.
        self._progress = Progress(js, shards, generations.consumer, seconds)
        self._standstill = Standstill(js, seconds)
        self._running: asyncio.Task[HealthReport] | None = None

    async def show(self) -> Answer:
        """200, or 503 with the reasons."""
        found = await self.look()
        health = Ready(
            ok=found.ok,
            reasons=found.reasons,
            notes=found.notes,
            shards=tuple(self._health(each) for each in found.shards if not each.trouble),
            parked=found.parked,
            damage=found.damage,
        )
        return json_answer(health) if found.ok else json_answer(health, 503, (RETRY_AFTER,))

    async def look(self) -> HealthReport:
        """The same, as it was found. However many ask at once, JetStream is asked once."""
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._look())
        return await asyncio.shield(self._running)

    async def _look(self) -> HealthReport:
        account, shards, inbox, parked, damage, writes = await asyncio.gather(
            ask_jetstream(self._js, "INFO", "JetStream", dict, seconds=self._seconds),
            self._progress.look(),
            self._standstill.look(),
            self._parked(),
            self._damage(),
            self._writes(),
        )
        notes = [f"{parked} threads are parked: 'clew status' names them and says why"] if parked else []
        reasons = [account] if isinstance(account, str) else []
        for shard, refuses in zip(shards, writes, strict=True):
            # One reason each: who does not answer at all does not answer a publish either.
            reasons += shard.trouble or refuses
            if shard.state(self._stuck_after) == "stuck":
                reasons.append(_stuck(shard))
        if inbox.trouble is not None:
            reasons.append(inbox.trouble)
        if inbox.is_stuck(self._stuck_after):
            # Where nobody is meant to serve it, that commands wait there is no reason to turn anybody away.
            (reasons if inbox.where is not None else notes).append(inbox.why())
        if damage is not None:
            notes.append(f"{damage}. {ADVICE}")
        return HealthReport(
            ok=not reasons,
            reasons=tuple(reasons),
            notes=tuple(notes),
            inbox=inbox,
            shards=shards,
            parked=parked,
            damage=damage,
        )

    async def _writes(self) -> list[tuple[str, ...]]:
        """For each shard, why it takes no commits."""
        found = await asyncio.gather(*(trouble(self._js, shard, self._seconds) for shard in self._shards))
        silent = self._full_shards()
        return [
            (reason,)
            if reason
            else (f"stream {event_stream(shard)} stores nothing: {STOPPED}",)
            if shard in silent
            else ()
            for shard, reason in enumerate(found)
        ]

    async def _parked(self) -> int | None:
        try:
            async with asyncio.timeout(self._seconds):
                return len(await self._generations.list_parked())
        except (ClewError, TimeoutError):
            return None

    async def _damage(self) -> str | None:
        try:
            async with asyncio.timeout(self._seconds):
                known = await report(self._js)
        except (ClewError, TimeoutError):
            return None
        return known.verdict if known is not None else None

    def _health(self, shard: Shard) -> ShardHealth:
        return ShardHealth(
            shard=shard.shard,
            state=shard.state(self._stuck_after),
            behind=shard.behind,
            lag_seconds=round(shard.lag, 3) if shard.behind else None,
            since=_since(shard) if shard.behind else None,
        )


def _since(shard: Shard) -> datetime:
    return (datetime.now(UTC) - timedelta(seconds=shard.still)).replace(microsecond=0)


def _stuck(shard: Shard) -> str:
    return (
        f"shard {shard.shard}: the projector has stood still for {shard.still:.0f} s, since {_since(shard):%H:%M:%S}Z, "
        f"and {shard.behind} commits wait. {GETS_NOWHERE if shard.asking else NOBODY_ASKS}"
    )
