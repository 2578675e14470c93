"""The watch: a continuous consistency proof at a low rate.

It walks each shard from its first commit to its last and begins again. Its state is stored in the bucket that it
proves, under ``_proved.<shard>``, so it resumes after a restart, any number of processes share the walk, and its
progress and findings can be read. Each generation of buckets has its own state.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE
from clew_events.errors import ClewError, Unavailable
from clew_events.subjects import Address, address_of, event_stream
from clew_projections.clocks import is_within
from clew_projections.consistency.sample import begins
from clew_projections.consistency.view_check import LOST, ViewCheck
from clew_projections.findings import Finding
from clew_projections.generations.generation import GenerationBuckets, LiveGeneration
from clew_projections.history.log_reads import LogReads
from clew_projections.integrity.verify import EVERYTHING
from clew_projections.kv.bucket import Bucket, LostRace, Value
from clew_projections.kv.key_names import proved_key
from clew_projections.nats import replica_reads
from clew_projections.wait import repeat_until

PAGE: Final = 64
"""Commits read at a time."""
AT_ONCE: Final = 8
"""Threads compared at once."""
A_PAGE: Final = 1.0
"""How many threads reading a page without a new one counts for."""
ROUND: Final = 60.0
"""The least seconds from the beginning of a round to that of the next."""
PAUSE: Final = 5.0
"""Seconds before a retry, and between checks when there is nothing to compare."""
SAID: Final = 10_000
"""The most threads whose logged findings are remembered."""
FINDINGS: Final = 20
"""The most findings of a shard that are stored; further ones are only counted."""

_LOG: Final = logging.getLogger("clew.consistency")


class ProofState(Struct, frozen=True, kw_only=True):
    """The state of the proof of a shard: the value under ``_proved.<shard>``.

    This round began at ``began_at`` and has compared everything up to ``seq``: ``threads`` threads, of which
    ``drifted`` differ. The last complete round began at ``since`` and found ``drifted_before``: everything that was
    stored then has been compared. ``findings`` are the latest.
    """

    seq: int = 0
    threads: int = 0
    drifted: int = 0
    rounds: int = 0
    began_at: datetime
    since: datetime | None = None
    drifted_before: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def drift(self) -> int:
        """Threads known to differ: of the last complete round, or of this one if it has found more."""
        return max(self.drifted, self.drifted_before)


_DECODER: Final = msgspec.json.Decoder(ProofState)


class Watch:
    """Compares the live generation with the log without end, at most ``rate`` threads a second in this process.

    ``shards`` holds the state of each shard as this process last read or wrote it.
    """

    def __init__(
        self,
        js: LogReads,
        shards: int,
        live: LiveGeneration,
        comparing: Callable[[GenerationBuckets], ViewCheck],
        rate: float,
    ) -> None:
        self._js = js
        self._count = shards
        self._live = live
        self._comparing = comparing
        self._rate = rate
        self._said: dict[Address, str] = {}
        self.shards: dict[int, ProofState] = {}

    @property
    def drift(self) -> int:
        """Threads known to differ from the log."""
        return sum(each.drift for each in self.shards.values())

    @property
    def since(self) -> datetime | None:
        """Everything stored at this time has been compared; ``None`` until every shard has a complete round."""
        times = [self.shards[shard].since if shard in self.shards else None for shard in range(self._count)]
        known = [time for time in times if time is not None]
        return min(known) if len(known) == self._count else None

    async def run(self, stop: asyncio.Event) -> None:
        """Compare until ``stop`` is set; with a rate of 0 nothing is compared."""

        async def prove_page_of_each() -> float:
            generation, cost = self._live.current, 0.0
            for shard in range(0 if generation.foreign else self._count):
                if stop.is_set():
                    break
                try:
                    cost += await self.step(generation, shard)
                except Unavailable:
                    if await self._live.is_removed(generation):
                        break  # and the next round is of the one that is live now
                    raise
            return cost / self._rate if cost else PAUSE

        if self._rate > 0:
            name = "the proof of the buckets"
            await repeat_until(stop, prove_page_of_each, name=name, log=_LOG, faults=(ClewError,), pause=PAUSE)

    async def step(self, generation: GenerationBuckets, shard: int) -> float:
        """Compare the next page of a shard; return how many threads that counts for, 0 if there was nothing to do.

        Raises:
            Unavailable: the log or a bucket does not answer.
        """
        key, now = proved_key(shard), datetime.now(UTC)
        value = await generation.threads.latest(key)
        known = _read(value) or ProofState(began_at=now)
        self.shards[shard] = known
        reach = await self._js.extent(shard)
        if known.seq >= reach.last_seq:
            if known.rounds and is_within(ROUND, known.began_at, now):
                return 0.0
            after = ProofState(
                began_at=now,
                rounds=known.rounds + 1,
                since=known.began_at,
                drifted_before=known.drifted,
                findings=known.findings if known.drifted else (),
            )
            await self._write(generation.threads, key, shard, after, value)
            return A_PAGE
        page = await replica_reads.page(
            self._js, event_stream(shard), EVERYTHING, known.seq + 1, reach.last_seq, limit=PAGE
        )
        threads = list(dict.fromkeys(address_of(each.subject) for each in page if begins(each)))
        found = await self._compare(generation, threads)
        again = set(threads)
        kept = (
            [each for each in known.findings if Address(each.tenant, each.thread) not in again] if known.drift else []
        )
        after = msgspec.structs.replace(
            known,
            seq=page[-1].seq if page else reach.last_seq,
            threads=known.threads + len(threads),
            drifted=known.drifted + len(found),
            findings=(*kept, *found)[-FINDINGS:],
        )
        await self._write(generation.threads, key, shard, after, value)
        return max(A_PAGE, len(threads))

    async def _compare(self, generation: GenerationBuckets, threads: list[Address]) -> list[Finding]:
        found: list[Finding] = []
        for start in range(0, len(threads), AT_ONCE):
            for compared in await self._comparing(generation).some(threads[start : start + AT_ONCE]):
                self._say(compared.address, compared.finding)
                # Damage to the log itself parks its thread, or is found by verification.
                if compared.finding is not None and compared.finding.code == "drift":
                    found.append(compared.finding)
        return found

    def _say(self, address: Address, finding: Finding | None) -> None:
        """Log the finding of a thread, once for as long as it stays the same."""
        if finding is None or finding.code not in {"drift", LOST}:
            self._said.pop(address, None)
            return
        if self._said.get(address) == finding.what:
            return
        if len(self._said) < SAID:
            self._said[address] = finding.what
        advice = (
            f"'clew prove --tenant {address.tenant} {address.thread} --repair' explains and repairs it"
            if finding.code == "drift"
            else "it cannot be repaired from the log: keep this view, and see 'clew verify --all'"
        )
        _LOG.error(
            "%s: thread %s of tenant %s, shard %d: %s. %s",
            *(finding.code, address.thread, address.tenant, finding.shard, finding.what, advice),
        )

    async def _write(self, bucket: Bucket, key: str, shard: int, proved: ProofState, before: Value | None) -> None:
        try:
            await bucket.put(key, msgspec.json.encode(proved), before.revision if before is not None else 0)
        except LostRace:
            return  # another process has compared this page
        self.shards[shard] = proved


async def read_proof_state(threads: Bucket, shards: Iterable[int]) -> dict[int, ProofState]:
    """Read the state of the proof of shards, which any process may have written.

    Raises:
        Unavailable: the bucket does not answer.
    """
    values = await threads.latest_of(proved_key(shard) for shard in shards)
    found = {shard: _read(values.get(proved_key(shard))) for shard in shards}
    return {shard: each for shard, each in found.items() if each is not None}


async def forget_repaired(threads: Bucket, shards: Iterable[int], repaired: Collection[Address]) -> None:
    """Remove repaired threads from the findings.

    Raises:
        Unavailable: the bucket does not answer.
    """
    for shard in shards:
        while (value := await threads.latest(proved_key(shard))) is not None and (known := _read(value)) is not None:
            left = tuple(each for each in known.findings if Address(each.tenant, each.thread) not in repaired)
            fewer = len(known.findings) - len(left)
            if not fewer:
                break
            after = msgspec.structs.replace(
                known,
                findings=left,
                drifted=max(0, known.drifted - fewer),
                drifted_before=max(0, known.drifted_before - fewer),
            )
            try:
                await threads.put(proved_key(shard), msgspec.json.encode(after), value.revision)
            except LostRace:
                continue
            break


def _read(value: Value | None) -> ProofState | None:
    if value is None or not value.body:
        return None
    try:
        return _DECODER.decode(value.body)
    except UNREADABLE:
        return None  # the proof begins again
