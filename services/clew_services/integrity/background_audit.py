"""The background audit: verifies the whole log repeatedly at a low rate, each chain and against a checkpoint.

Losses that show in the streams' sequences are looked for every few seconds, with one request for each shard. For all
others the log is read from its beginning, once in an interval. After each page a pass rests for long enough to use no
more than its share of a core, including the server's work.

Heads are kept in a file, so a pass resumes after a restart. One process audits at a time: the one that writes the
report.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import sqlite3
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
from clew_projections.findings import Finding
from clew_projections.integrity.checkpoint import ShardHeads
from clew_projections.integrity.checkpoint_comparison import differs
from clew_projections.integrity.heads_file import HeadsFile
from clew_projections.integrity.losses import lost
from clew_projections.integrity.verify import EVERYTHING, Extent, Verifier, extent
from clew_projections.kv.bucket import Bucket, LostRace, Value
from clew_projections.nats import replica_reads
from clew_projections.nats.jetstream import JetStream
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.log_heads import Heads
from clew_services.checkpoints.signed_checkpoint import SignedNote
from clew_services.eventstore.stream_config import stream_info
from clew_services.eventstore.topology import LEASES
from clew_services.integrity.integrity_report import ADVICE, KEPT, KEY, Newest, Report, decode

LOOK: Final = 5.0
"""Seconds between two checks of the streams' sequences."""
GONE: Final = 6
"""Checks without a new report after which the process that writes it counts as dead."""
SHARE: Final = 0.02
"""The share of a core that a pass uses."""
ALL_OF_IT: Final = 3.0
"""Ratio of the CPU time of a page, including the server's, to that of adding it to the heads: measured, 2.1."""
PAGE: Final = 512
"""Commits of a page."""

_LOG: Final = logging.getLogger("clew.integrity")


class Audit:
    """Verifies a deployment's log. Findings go into the report, and once into the log of the process."""

    def __init__(
        self, js: JetStream, ledger: Ledger, verifier: Verifier, shards: int, *, every: float, file: Path | None = None
    ) -> None:
        """``every`` is the minimum interval, in seconds, between the beginnings of two passes; 0 verifies nothing.

        The heads of a pass are kept in ``file``, or in a temporary file.
        """
        self._js = js
        self._ledger = ledger
        self._verifier = verifier
        self._shards = shards
        self._every = every
        self._bucket = Bucket(js, LEASES)
        self._heads = Heads(js, shards, _kept(file))
        self._me = token_hex(8)
        self._alone = asyncio.Lock()
        self._report: Report | None = None
        self._revision = 0
        self._unchanged = 0
        self._signed: SignedNote | None = None
        self._goals: list[int] = []
        self._compared = set[int]()
        self._logged = set[tuple[str, int, str]]()
        self._trouble = ""
        self._cost = math.inf

    async def run(self, stop: asyncio.Event) -> None:
        """Verify until ``stop`` is set."""
        try:
            if self._every:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._look_on(stop))
                    tasks.create_task(self._read_on(stop))
            await stop.wait()
            await self._give_up()
        finally:
            await self._heads.close()

    async def look(self) -> None:
        """Check the streams' sequences for losses, if this is the process that verifies.

        Raises:
            Unavailable: JetStream does not answer.
        """
        async with self._alone:
            known = await self._claimed()
            if known is None:
                return
            newest, findings = await self._lost(known.newest)
            if newest is not None and newest.reason is not None and newest.number > (known.checkpoint or 0):
                # An operator has accepted the log as it is now: verification against that begins again.
                known, self._goals = replace(known, began_at=datetime.now(UTC), found=(), before=()), []
            await self._write(replace(known, lost=tuple(findings[:KEPT]), newest=newest))

    async def step(self) -> bool:
        """Read the next page; whether there was anything to do.

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
            # Findings of the previous pass that this pass did not find again are dropped.
            await self._write(replace(known, since=known.began_at, before=known.found, found=()))
            return True

    async def _look_on(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.look()
                self._trouble = ""
            except ClewError as fault:
                self._log_trouble(fault)
            await _rest(stop, LOOK)

    async def _read_on(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            began, busy, self._cost = time.monotonic(), False, math.inf
            try:
                busy = await self.step()
            except (ClewError, sqlite3.Error) as fault:
                self._log_trouble(fault)
            # On a busy machine most of the time is spent waiting, which uses no CPU.
            worked = min(time.monotonic() - began, self._cost)
            await _rest(stop, rest_after(worked) if busy else LOOK)

    async def _claimed(self) -> Report | None:
        """The current report, if this process may continue it."""
        value = await self._bucket.latest(KEY)
        if self._report is not None and value is not None and value.revision == self._revision:
            return self._report
        known, self._report, self._goals = decode(value), None, []
        if known is not None and known.by not in {"", self._me} and not self._is_left(value):
            return None
        self._revision = value.revision if value is not None else 0
        return known or Report(began_at=datetime.now(UTC))

    def _is_left(self, value: Value | None) -> bool:
        """Whether the process that writes the report has not written it for so long that it must be dead."""
        revision = value.revision if value is not None else 0
        self._unchanged = self._unchanged + 1 if revision == self._revision else 0
        self._revision = revision
        return self._unchanged >= GONE

    async def _lost(self, seen: Newest | None) -> tuple[Newest | None, list[Finding]]:
        """The newest checkpoint, and the losses that show in the sequences."""
        findings: list[Finding] = []
        signed: SignedNote | None = None
        newest = seen
        if await stream_info(self._js, CHECKPOINT_STREAM) is None:
            findings.append(_missing(CHECKPOINT_STREAM))
        else:
            try:
                signed = await self._ledger.latest()
                what = await self._changed_checkpoints(seen, signed)
            except Corrupt as fault:
                what = fault.message
            if what is not None:
                findings.append(_finding(0, "checkpoint_changed", what))
            elif signed is not None:
                newest = Newest(signed.checkpoint.number, signed.hash, signed.checkpoint.reason)
        for shard in range(self._shards):
            info = await stream_info(self._js, event_stream(shard))
            if info is None:
                findings.append(_missing(event_stream(shard), shard))
                continue
            reach = msgspec.convert(info["state"], Extent)
            finding = lost(shard, reach, signed.checkpoint if signed is not None else None)
            findings += [finding] if finding is not None else []
        return newest, findings

    async def _changed_checkpoints(self, seen: Newest | None, signed: SignedNote | None) -> str | None:
        """How the checkpoints differ from those seen before, if they do and no reason was signed for it."""
        if seen is None or (signed is not None and signed.checkpoint.reason is not None):
            return None
        if signed is None:
            return f"there are no checkpoints any more, but there was checkpoint {seen.number}"
        number = signed.checkpoint.number
        if number < seen.number:
            return f"the checkpoints end with {number}, but there was checkpoint {seen.number}"
        own = signed if number == seen.number else await self._ledger.get(seen.number)
        if own is None or own.hash != seen.hash:
            return f"checkpoint {seen.number} differs from what it was"
        return None

    async def _under_way(self, known: Report) -> Report | None:
        """The report of the pass in progress, or of the next one if that is due; ``None`` if it is not."""
        now, kept = datetime.now(UTC), self._heads.kept
        if known.since == known.began_at:
            if (now - known.began_at).total_seconds() < self._every:
                return None
        elif kept.signed == known.began_at.isoformat():
            if not self._goals:
                await self._aim(known)
            return known
        latest = await self._ledger.latest()
        number = latest.checkpoint.number if latest is not None else None
        known = replace(known, began_at=now, checkpoint=number, commits=0, found=())
        await self._heads.forget()
        kept.signed = now.isoformat()
        await self._aim(known)
        await self._write(known)
        return known

    async def _aim(self, known: Report) -> None:
        """Determine the checkpoint of the pass, and the sequences at which it ends."""
        self._signed = await self._ledger.get(known.checkpoint) if known.checkpoint is not None else None
        self._goals = [(await extent(self._js, shard)).last_seq for shard in range(self._shards)]
        self._compared.clear()

    async def _shard(self, shard: int, known: Report) -> bool:
        """Read the next page of a shard, or compare it at the checkpoint's position; whether there was work."""
        signed, goal = self._signed_heads(shard), self._goals[shard]
        reached = await self._heads.reached(shard)
        if self._signed is not None and signed is not None and reached == signed.seq and shard not in self._compared:
            self._compared.add(shard)
            finding = differs(shard, signed, await self._heads.statement(shard), self._signed.checkpoint)
            await self._add(known, [finding] if finding is not None else [])
            return True
        bound = min(signed.seq, goal) if signed is not None and reached < signed.seq else goal
        if reached >= bound:
            return False
        page = await replica_reads.page(self._js, event_stream(shard), EVERYTHING, reached + 1, bound, limit=PAGE)
        page = [stored for stored in page if stored.seq <= bound]
        taken = await self._heads.take(shard, page, until=bound if len(page) < PAGE else None)
        self._cost = taken.seconds * ALL_OF_IT
        known = replace(known, commits=known.commits + len(page))
        await self._add(known, await self._diagnosed(known, taken.misfits))
        return True

    def _signed_heads(self, shard: int) -> ShardHeads | None:
        if self._signed is None or len(self._signed.checkpoint.shards) != self._shards:
            return None
        return self._signed.checkpoint.shards[shard]

    async def _diagnosed(self, known: Report, misfits: Sequence[Address]) -> list[Finding]:
        """The findings of threads with messages that continue no chain; at most :data:`KEPT` in all."""
        named = {(finding.tenant, finding.thread) for finding in known.found}
        room = max(0, KEPT - len(known.found))
        unnamed = [address for address in dict.fromkeys(misfits) if address not in named][:room]
        return [finding for address in unnamed for finding in (await self._verifier.thread(address)).findings]

    async def _add(self, known: Report, findings: Sequence[Finding]) -> None:
        """Add findings to a report; it is written at once if there are any, otherwise at the next check."""
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
        self._log_findings(report)

    async def _give_up(self) -> None:
        """Release the report, so that another process continues it at once."""
        if self._report is not None:
            with contextlib.suppress(ClewError, LostRace):
                await self._bucket.put(KEY, msgspec.json.encode(replace(self._report, by="")), self._revision)

    def _log_findings(self, report: Report) -> None:
        new = [finding for finding in report.findings if _key(finding) not in self._logged]
        if not new:
            return
        self._logged.update(map(_key, new))
        _LOG.error("%s. %s", report.verdict, ADVICE)
        for finding in new:
            owner = f"thread {finding.thread} of tenant {finding.tenant}: " if finding.thread else ""
            _LOG.error("%s: %s%s", finding.code, owner, finding.what)

    def _log_trouble(self, fault: Exception) -> None:
        if str(fault) != self._trouble:
            self._trouble = str(fault)
            _LOG.warning("the verification of the log waits for a retry: %s", fault)


def _key(finding: Finding) -> tuple[str, int, str]:
    return finding.code, finding.shard, finding.thread


def rest_after(worked: float) -> float:
    """The seconds that a pass rests after ``worked`` seconds of work, to use :data:`SHARE` of a core."""
    return worked * (1 / SHARE - 1)


def _kept(file: Path | None) -> HeadsFile:
    try:
        return HeadsFile(file)
    except sqlite3.Error as fault:
        _LOG.warning("the heads of a pass are not kept, because %s cannot be used: %s", file, fault)
        return HeadsFile()


def _missing(stream: str, shard: int = 0) -> Finding:
    return _finding(shard, "missing_stream", f"the stream {stream} is missing")


def _finding(shard: int, code: str, what: str) -> Finding:
    return Finding(tenant="", thread="", code=code, what=what, shard=shard)


async def _rest(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
