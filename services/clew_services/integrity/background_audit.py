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
from clew_projections.integrity.checkpoint_comparison import find_difference, find_loss
from clew_projections.integrity.heads_file import HeadsFile
from clew_projections.integrity.verify import EVERYTHING, Verifier, extent
from clew_projections.kv.bucket import Bucket, LostRace, Value
from clew_projections.nats import replica_reads
from clew_projections.nats.jetstream import JetStream, find_stream
from clew_projections.wait import repeat_until
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.log_heads import Heads
from clew_services.checkpoints.signed_checkpoint import SignedNote
from clew_services.eventstore.topology import LEASES
from clew_services.integrity.integrity_report import ADVICE, KEPT, KEY, Newest, Report, decode
from clew_services.settings import Settings

LOOK: Final = 5.0
"""Seconds between looks at what the streams say of themselves."""
GONE: Final = 6
"""Looks after which whoever has not written the report since is taken to be gone."""
SHARE: Final = 0.02
"""Of a core, how much a pass takes."""
ALL_OF_IT: Final = 3.0
"""Processor time for a page in all, the server's included, to that for taking it alone: measured, 2.1."""
PAGE: Final = 512
"""Commits read at a time."""

_LOG: Final = logging.getLogger("clew.integrity")


class Audit:
    """Verifies one deployment's log. What it finds is in the report, and said once in the log of the process."""

    def __init__(
        self, js: JetStream, ledger: Ledger, verifier: Verifier, shards: int, *, every: float, file: Path | None = None
    ) -> None:
        """``every`` is how many seconds lie at least between the beginnings of two passes; 0 verifies nothing.

        The heads of a pass are kept in ``file``, or in one of which nothing stays.
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
        self._said = set[tuple[str, int, str]]()
        self._cost = math.inf

    async def run(self, stop: asyncio.Event) -> None:
        """Verify until ``stop`` is set."""
        try:
            if self._every:
                async with asyncio.TaskGroup() as both:
                    for step, faults in ((self._look, (ClewError,)), (self._read, (ClewError, sqlite3.Error))):
                        both.create_task(
                            repeat_until(
                                stop, step, name="the verification of the log", log=_LOG, faults=faults, pause=LOOK
                            )
                        )
            await stop.wait()
            await self._give_up()
        finally:
            await self._heads.close()

    async def look(self) -> None:
        """Look for losses that the streams' numbers tell, if it is this process that verifies.

        Raises:
            Unavailable: JetStream does not answer.
        """
        async with self._alone:
            known = await self._claimed()
            if known is None:
                return
            newest, findings = await self._lost(known.newest)
            if newest is not None and newest.reason is not None and newest.number > (known.checkpoint or 0):
                # An operator has had the log signed as it is now: it is held against that from its beginning.
                known, self._goals = replace(known, began_at=datetime.now(UTC), found=(), before=()), []
            await self._write(replace(known, lost=tuple(findings[:KEPT]), newest=newest))

    async def step(self) -> bool:
        """Read on by a page; whether there was anything to do.

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
            # What was found by the pass before and is not any more is forgotten with it.
            await self._write(replace(known, since=known.began_at, before=known.found, found=()))
            return True

    async def _look(self) -> float:
        await self.look()
        return LOOK

    async def _read(self) -> float:
        began, self._cost = time.monotonic(), math.inf
        busy = await self.step()
        # On a busy machine most of the time is spent on waiting, which costs nothing.
        worked = min(time.monotonic() - began, self._cost)
        return rest_after(worked) if busy else LOOK

    async def _claimed(self) -> Report | None:
        """The report as it stands, if it is for this process to go on with."""
        value = await self._bucket.latest(KEY)
        if self._report is not None and value is not None and value.revision == self._revision:
            return self._report
        known, self._report, self._goals = decode(value), None, []
        if known is not None and known.by not in {"", self._me} and not self._is_left(value):
            return None
        self._revision = value.revision if value is not None else 0
        return known or Report(began_at=datetime.now(UTC))

    def _is_left(self, value: Value | None) -> bool:
        """Whether a report that another process writes has not been written for so long that it must be gone."""
        revision = value.revision if value is not None else 0
        self._unchanged = self._unchanged + 1 if revision == self._revision else 0
        self._revision = revision
        return self._unchanged >= GONE

    async def _lost(self, seen: Newest | None) -> tuple[Newest | None, list[Finding]]:
        """The newest checkpoint from now on, and what the numbers say was lost."""
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
            info = await find_stream(self._js, event_stream(shard))
            if info is None:
                findings.append(_missing(event_stream(shard), shard))
                continue
            found = find_loss(shard, info.state, signed.checkpoint if signed is not None else None)
            findings += [found] if found is not None else []
        return newest, findings

    async def _begun_anew(self, seen: Newest | None, signed: SignedNote | None) -> str | None:
        """In what the checkpoints are others than they were, if they are, and nobody signed a reason for it."""
        if seen is None or (signed is not None and signed.checkpoint.reason is not None):
            return None
        if signed is None:
            return f"there are no checkpoints any more, and checkpoint {seen.number} was there"
        number = signed.checkpoint.number
        if number < seen.number:
            return f"the checkpoints end with {number}, and checkpoint {seen.number} was there"
        own = signed if number == seen.number else await self._ledger.get(seen.number)
        if own is None or own.hash != seen.hash:
            return f"checkpoint {seen.number} is another one than it was"
        return None

    async def _under_way(self, known: Report) -> Report | None:
        """The report of the pass to go on with, which is the next one where that is due; nothing where it is not."""
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
        """Find out against what the pass holds the log, and how far it goes."""
        self._signed = await self._ledger.get(known.checkpoint) if known.checkpoint is not None else None
        self._goals = [(await extent(self._js, shard)).last_seq for shard in range(self._shards)]
        self._compared.clear()

    async def _shard(self, shard: int, known: Report) -> bool:
        """Read on in a shard, or hold it against the checkpoint where that was made; whether anything was left."""
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
        taken = await self._heads.take(shard, page, until=bound if len(page) < PAGE else None)
        self._cost = taken.seconds * ALL_OF_IT
        known = replace(known, commits=known.commits + len(page))
        await self._add(known, await self._diagnosed(known, taken.misfits))
        return True

    def _said_of(self, shard: int) -> ShardHeads | None:
        if self._signed is None or len(self._signed.checkpoint.shards) != self._shards:
            return None
        return self._signed.checkpoint.shards[shard]

    async def _diagnosed(self, known: Report, misfits: Sequence[Address]) -> list[Finding]:
        """What was done to threads with messages that continue no chain; of many only the first."""
        named = {(each.tenant, each.thread) for each in known.found}
        room = max(0, KEPT - len(known.found))
        anew = [each for each in dict.fromkeys(misfits) if each not in named][:room]
        return [found for each in anew for found in (await self._verifier.thread(each)).findings]

    async def _add(self, known: Report, findings: Sequence[Finding]) -> None:
        """Go on with a report to which findings are added; it is written where there are any, and at the next look."""
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
        """Have another process go on at once."""
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
    """For how many seconds a pass rests after it has worked for some, so as to take :data:`SHARE` of a core."""
    return worked * (1 / SHARE - 1)


def _kept(file: Path | None) -> HeadsFile:
    try:
        return HeadsFile(file)
    except sqlite3.Error as fault:
        _LOG.warning("the heads of a pass are not kept, since %s cannot be used: %s", file, fault)
        return HeadsFile()


def _missing(stream: str, shard: int = 0) -> Finding:
    return _finding(shard, "missing_stream", f"the stream {stream} is missing")


def _finding(shard: int, code: str, what: str) -> Finding:
    return Finding(tenant="", thread="", code=code, what=what, shard=shard)


FILE: Final = "verified.sqlite"


async def serve_audit(
    js: JetStream, shards: int, settings: Settings, stop: asyncio.Event, ready: asyncio.Event
) -> None:
    """Verify the log until ``stop`` is set, at the interval of the settings, unless another process does."""
    ready.set()
    folder = settings.data_folder
    file = folder / FILE if folder.is_dir() else None
    audit = Audit(js, Ledger(js), Verifier(js, shards), shards, every=settings.verify_seconds, file=file)
    await audit.run(stop)
