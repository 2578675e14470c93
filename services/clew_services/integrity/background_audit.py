"""The background verification: the log is read repeatedly at a low rate, and its chains are compared with a checkpoint.

Losses that show in the streams' numbers are checked every few seconds, with one request for each shard. For all others
the log is read from its beginning, once in an interval. A pass reads a page, and then pauses for as long as keeps it
below its share of a core, the server's work included.

Heads are kept in a file, so a pass resumes after a restart. One process verifies at a time: the one that writes the
report.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Final

import msgspec
from msgspec.structs import replace

from clew_events.errors import ClewError, Corrupt
from clew_events.subjects import CHECKPOINT_STREAM, Address, event_stream
from clew_projections.clocks import is_within
from clew_projections.findings import Finding
from clew_projections.history.log_reads import LogReads
from clew_projections.integrity.checkpoint import ShardHeads
from clew_projections.integrity.checkpoint_comparison import find_difference, find_loss
from clew_projections.integrity.heads_file import HeadsFile, place_in
from clew_projections.integrity.verify import EVERYTHING, Verifier
from clew_projections.kv.bucket import Bucket, LostRace, Value
from clew_projections.nats import replica_reads
from clew_projections.nats.jetstream import find_stream
from clew_projections.wait import repeat_until
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.log_heads import Heads
from clew_services.checkpoints.signed_checkpoint import SignedNote
from clew_services.erasure.evidence import StoredEvidence
from clew_services.eventstore.topology import LEASES
from clew_services.integrity.integrity_report import ADVICE, KEPT, KEY, Newest, Report, decode
from clew_services.settings import Settings

LOOK: Final = 5.0
"""Seconds between two checks of the streams' numbers."""
GONE: Final = 6
"""Checks without a new report after which the process that writes it is considered dead."""
SHARE: Final = 0.02
"""The share of a core that a pass takes."""
ALL_OF_IT: Final = 3.0
"""Processor time of a page, the server's included, relative to that of hashing it alone; measured: 2.1."""
PAGE: Final = 512
"""Commits read at a time."""

_LOG: Final = logging.getLogger("clew.integrity")


class Audit:
    """Verifies one deployment's log. Findings are in the report, and are logged once by this process."""

    def __init__(
        self, js: LogReads, ledger: Ledger, verifier: Verifier, shards: int, *, every: float, file: Path | None = None
    ) -> None:
        """``every`` is the least number of seconds between the beginnings of two passes; with 0 nothing is verified.

        The heads of a pass are kept in ``file``, or in a temporary one.
        """
        self._js = js
        self._ledger = ledger
        self._verifier = verifier
        self._shards = shards
        self._every = every
        self._bucket = Bucket(js, LEASES)
        self._heads = Heads(js, shards, HeadsFile(file))
        self._me = token_hex(8)
        self._alone = asyncio.Lock()
        self._report: Report | None = None
        self._revision = 0
        self._unchanged = 0
        self._signed: SignedNote | None = None
        self._goals: list[int] = []
        self._compared = set[int]()
        self._said = set[tuple[str, int, str]]()
        self._cost = math.inf

    async def run(self, stop: asyncio.Event) -> None:
        """Verify until ``stop`` is set."""
        try:
            if self._every:
                async with asyncio.TaskGroup() as both:
                    for step in (self._look, self._read):
                        name, faults = "the verification of the log", (ClewError,)
                        both.create_task(repeat_until(stop, step, name=name, log=_LOG, faults=faults, pause=LOOK))
            await stop.wait()
            await self._give_up()
        finally:
            await self._heads.close()

    async def look(self) -> None:
        """Check for losses that the streams' numbers show, if it is this process that verifies.

        Raises:
            Unavailable: JetStream does not answer.
        """
        async with self._alone:
            known = await self._claimed()
            if known is None:
                return
            newest, findings = await self._lost(known.newest)
            if newest is not None and newest.reason is not None and newest.number > (known.checkpoint or 0):
                # An operator has accepted the log as it is now: verify it from its beginning.
                known, self._goals = replace(known, began_at=datetime.now(UTC), found=(), before=()), []
            await self._write(replace(known, lost=tuple(findings[:KEPT]), newest=newest))

    async def step(self) -> bool:
        """Verify the next page; return whether there was one.

        Raises:
            Unavailable: the log does not answer.
        """
        async with self._alone:
            known = self._report
            if known is None:
                return False
            known = await self._under_way(known)
            if known is None:
                return False
            for shard in range(self._shards):
                if await self._shard(shard, known):
                    return True
            # Findings of the pass before that were not found again are dropped.
            await self._write(replace(known, since=known.began_at, before=known.found, found=()))
            return True

    async def _look(self) -> float:
        await self.look()
        return LOOK

    async def _read(self) -> float:
        began, self._cost = time.monotonic(), math.inf
        busy = await self.step()
        # On a busy machine most of the time is waiting, which takes no processor time.
        worked = min(time.monotonic() - began, self._cost)
        return rest_after(worked) if busy else LOOK

    async def _claimed(self) -> Report | None:
        """The current report, if this process is to continue it."""
        value = await self._bucket.latest(KEY)
        if self._report is not None and value is not None and value.revision == self._revision:
            return self._report
        known, self._report, self._goals = decode(value), None, []
        if known is not None and known.by not in {"", self._me} and not self._is_left(value):
            return None
        self._revision = value.revision if value is not None else 0
        return known or Report(began_at=datetime.now(UTC))

    def _is_left(self, value: Value | None) -> bool:
        """Whether the process that writes the report is dead: the report was not written for some checks."""
        revision = value.revision if value is not None else 0
        self._unchanged = self._unchanged + 1 if revision == self._revision else 0
        self._revision = revision
        return self._unchanged >= GONE

    async def _lost(self, seen: Newest | None) -> tuple[Newest | None, list[Finding]]:
        """The newest checkpoint, and the losses that the streams' numbers show."""
        findings: list[Finding] = []
        signed: SignedNote | None = None
        newest = seen
        if await find_stream(self._js, CHECKPOINT_STREAM) is None:
            findings.append(_missing(CHECKPOINT_STREAM))
        else:
            try:
                signed = await self._ledger.latest()
                what = await self._begun_anew(seen, signed)
            except Corrupt as fault:
                what = fault.message
            if what is not None:
                findings.append(_finding(0, "checkpoint_changed", what))
            elif signed is not None:
                newest = Newest(signed.checkpoint.number, signed.hash, signed.checkpoint.reason)
        for shard in range(self._shards):
            if await find_stream(self._js, event_stream(shard)) is None:
                findings.append(_missing(event_stream(shard), shard))
                continue
            found = find_loss(shard, await self._js.extent(shard), signed.checkpoint if signed is not None else None)
            findings += [found] if found is not None else []
        return newest, findings

    async def _begun_anew(self, seen: Newest | None, signed: SignedNote | None) -> str | None:
        """How the checkpoints were removed or replaced, if they were, without a signed reason."""
        if seen is None or (signed is not None and signed.checkpoint.reason is not None):
            return None
        if signed is None:
            return f"there are no checkpoints any more, and there was checkpoint {seen.number}"
        number = signed.checkpoint.number
        if number < seen.number:
            return f"the checkpoints end with {number}, and there was checkpoint {seen.number}"
        own = signed if number == seen.number else await self._ledger.get(seen.number)
        if own is None or own.hash != seen.hash:
            return f"checkpoint {seen.number} was replaced"
        return None

    async def _under_way(self, known: Report) -> Report | None:
        """The report of the current pass, or of the next one if it is due; ``None`` if it is not."""
        now = datetime.now(UTC)
        if known.since == known.began_at:
            if is_within(self._every, known.began_at, now):
                return None
        elif await self._heads.signed() == known.began_at.isoformat():
            if not self._goals:
                await self._aim(known)
            return known
        latest = await self._ledger.latest()
        number = latest.checkpoint.number if latest is not None else None
        known = replace(known, began_at=now, checkpoint=number, commits=0, found=())
        await self._heads.forget()
        await self._heads.note_signed(now.isoformat())
        await self._aim(known)
        await self._write(known)
        return known

    async def _aim(self, known: Report) -> None:
        """Set the checkpoint to compare with, and the end of the pass in each shard."""
        self._signed = await self._ledger.get(known.checkpoint) if known.checkpoint is not None else None
        self._goals = [(await self._js.extent(shard)).last_seq for shard in range(self._shards)]
        self._compared.clear()

    async def _shard(self, shard: int, known: Report) -> bool:
        """Verify the next page of a shard, or compare it with the checkpoint; return whether anything was left."""
        said, goal = self._said_of(shard), self._goals[shard]
        reached = await self._heads.reached(shard)
        if self._signed is not None and said is not None and reached == said.seq and shard not in self._compared:
            self._compared.add(shard)
            found = find_difference(shard, said, await self._heads.statement(shard), self._signed.checkpoint)
            await self._add(known, [found] if found is not None else [])
            return True
        bound = min(said.seq, goal) if said is not None and reached < said.seq else goal
        if reached >= bound:
            return False
        page = await replica_reads.page(self._js, event_stream(shard), EVERYTHING, reached + 1, bound, limit=PAGE)
        page = [each for each in page if each.seq <= bound]
        taken = await self._heads.take(shard, page, until=None if page else bound)
        self._cost = taken.seconds * ALL_OF_IT
        known = replace(known, commits=known.commits + len(page))
        await self._add(known, await self._diagnosed(known, taken.misfits))
        return True

    def _said_of(self, shard: int) -> ShardHeads | None:
        if self._signed is None or len(self._signed.checkpoint.shards) != self._shards:
            return None
        return self._signed.checkpoint.shards[shard]

    async def _diagnosed(self, known: Report, misfits: Sequence[Address]) -> list[Finding]:
        """The findings of threads with messages that continue no chain; of many threads only the first."""
        named = {(each.tenant, each.thread) for each in known.found}
        room = max(0, KEPT - len(known.found))
        anew = [each for each in dict.fromkeys(misfits) if each not in named][:room]
        return [found for each in anew for found in (await self._verifier.thread(each)).findings]

    async def _add(self, known: Report, findings: Sequence[Finding]) -> None:
        """Add findings to the report. It is written at once if there are any, otherwise at the next check."""
        self._report = replace(known, found=(*known.found, *findings)[:KEPT])
        if findings:
            await self._write(self._report)

    async def _write(self, report: Report) -> None:
        report = replace(report, by=self._me)
        try:
            self._revision = await self._bucket.put(KEY, msgspec.json.encode(report), self._revision)
        except LostRace:
            self._report = None  # another process has begun to verify
            return
        self._report = report
        self._tell(report)

    async def _give_up(self) -> None:
        """Release the report, so that another process continues at once."""
        if self._report is not None:
            with contextlib.suppress(ClewError, LostRace):
                await self._bucket.put(KEY, msgspec.json.encode(replace(self._report, by="")), self._revision)

    def _tell(self, report: Report) -> None:
        new = [each for each in report.findings if (each.code, each.shard, each.thread) not in self._said]
        if not new:
            return
        self._said.update((each.code, each.shard, each.thread) for each in new)
        _LOG.error("%s. %s", report.verdict, ADVICE)
        for each in new:
            who = f"thread {each.thread} of tenant {each.tenant}: " if each.thread else ""
            _LOG.error("%s: %s%s", each.code, who, each.what)


def rest_after(worked: float) -> float:
    """Seconds of pause after ``worked`` seconds of work, so that a pass takes :data:`SHARE` of a core."""
    return worked * (1 / SHARE - 1)


def _missing(stream: str, shard: int = 0) -> Finding:
    return _finding(shard, "missing_stream", f"the stream {stream} is missing")


def _finding(shard: int, code: str, what: str) -> Finding:
    return Finding(tenant="", thread="", code=code, what=what, shard=shard)


FILE: Final = "verified.sqlite"


async def serve_audit(js: LogReads, shards: int, settings: Settings, stop: asyncio.Event, ready: asyncio.Event) -> None:
    """Verify the log until ``stop`` is set, at the interval of the settings, unless another process does."""
    ready.set()
    folder = settings.data_folder
    file = place_in(folder, FILE)
    if file is None and folder.is_dir():
        _LOG.warning("a restart begins the verification again, because nothing can be written in %s", folder)
    verifier = Verifier(js, shards, StoredEvidence(js, {}))
    audit = Audit(js, Ledger(js), verifier, shards, every=settings.verify_seconds, file=file)
    await audit.run(stop)
