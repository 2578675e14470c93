"""Verification of integrity: walks every chain of the log from its first commit and names what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, Protocol

from msgspec import Struct

from clew_events.commit import Recorded
from clew_events.errors import Corrupt
from clew_events.events import ForkedFrom
from clew_events.subjects import Address, address_of, event_stream, event_subject, shard_of
from clew_projections.findings import Finding
from clew_projections.history.histories import Histories, read
from clew_projections.history.log_reads import LogReads
from clew_projections.integrity.chains import Chains
from clew_projections.integrity.diagnosis import diagnose
from clew_projections.integrity.erasure_check import Evidence, check_erasures, erasures_of
from clew_projections.integrity.links import Link, link
from clew_projections.nats import replica_reads
from clew_projections.nats.replica_reads import whole
from clew_projections.nats.stream_messages import StoredMessage, StreamState
from clew_projections.views import parent_in
from clew_projections.wait import run_all

AT_ONCE: Final = 10_000
"""Broken threads whose histories are in memory at once for diagnosis."""
WORTH_A_WALK: Final = 50
"""Number of broken threads from which one walk through the shard is cheaper than a read for each."""

FORKS_AT_ONCE: Final = 32
"""Forks whose parents are looked for at the same time."""

Progress = Callable[[int], None]
"""Called with the number of messages read since the last call."""


class Verification(Struct, frozen=True, kw_only=True):
    """The numbers of threads and commits verified, and the findings. A finding without a thread is about a shard.

    ``covered`` counts the commits that agree with a checkpoint; 0 if there was no checkpoint.
    """

    threads: int
    commits: int
    findings: tuple[Finding, ...]
    covered: int = 0

    def __add__(self, other: Verification) -> Verification:
        return Verification(
            threads=self.threads + other.threads,
            commits=self.commits + other.commits,
            findings=self.findings + other.findings,
            covered=self.covered + other.covered,
        )


NOTHING_FOUND: Final = Verification(threads=0, commits=0, findings=())


class EvidenceReader(Protocol):
    """Reads what is known of erasures beside the chains."""

    async def read(self, tenant: str, erasures: Iterable[str]) -> dict[str, Evidence]:
        """Read the evidence of erasures of a tenant, by their ids."""


class Verifier:
    """Verifies the log of a deployment. Folds nothing, and reads only the log and the evidence of erasures."""

    def __init__(self, js: LogReads, shards: int, evidence: EvidenceReader) -> None:
        self._js = js
        self._shards = shards
        self._evidence = evidence
        self._log = Histories(js, shards, replicated=True)

    async def thread(self, address: Address) -> Verification:
        """Verify one thread's chain.

        Raises:
            Unavailable: the log does not answer.
        """
        shard, links = shard_of(address.thread, self._shards), await self.links(address)
        finding = (
            find_damage(shard, address, links)
            or await self.find_unproved(shard, address)
            or await self.find_orphan(shard, address, links)
        )
        return Verification(threads=1 if links else 0, commits=len(links), findings=(finding,) if finding else ())

    async def links(self, address: Address) -> list[Link]:
        """Read all commits that the log has of a thread, in the order of the log.

        Raises:
            Unavailable: the log does not answer.
        """
        shard = shard_of(address.thread, self._shards)
        return await self._links(shard, event_subject(shard, address))

    async def extents(self) -> list[StreamState]:
        """Read the extent of each shard."""
        return [await self._js.extent(shard) for shard in range(self._shards)]

    async def all(
        self,
        tenant: str | None = None,
        *,
        progress: Progress = lambda _: None,
        extents: list[StreamState] | None = None,
    ) -> Verification:
        """Verify every chain of the log, or of a tenant, up to the current end of the log; shards run in parallel.

        Raises:
            Unavailable: the log does not answer.
        """
        extents = extents or await self.extents()
        found = await run_all(
            *(self.shard(shard, reach, tenant, progress=progress) for shard, reach in enumerate(extents))
        )
        return sum(found, NOTHING_FOUND)

    async def shard(self, shard: int, reach: StreamState, tenant: str | None, *, progress: Progress) -> Verification:
        """Verify every chain of a shard, or of a tenant in it.

        Raises:
            Unavailable: the log does not answer.
        """
        chains = Chains(shard, self._shards, tenant)
        await self.walk(shard, chains, 1, reach.last_seq, progress=progress)
        chains.end(reach.last_seq)
        return await self.judge(shard, chains)

    async def walk(self, shard: int, chains: Chains, first: int, last: int, *, progress: Progress) -> None:
        """Add the messages of a shard from one sequence to another to the chains.

        Raises:
            Unavailable: the log does not answer.
        """
        async with aclosing(pages(self._js, shard, first, last)) as shard_pages:
            async for page in shard_pages:
                for stored in page:
                    chains.take(stored)
                progress(len(page))

    async def judge(self, shard: int, chains: Chains) -> Verification:
        """Return the verification of chains that were followed to the end; each broken one is read again to say why.

        Raises:
            Unavailable: the log does not answer.
        """
        findings = [*find_removed(shard, chains), *find_misplaced(shard, self._shards, chains)]
        broken = tuple(chains.broken)
        for start in range(0, len(broken), AT_ONCE):
            histories = await self._histories(shard, broken[start : start + AT_ONCE], chains.seq)
            findings += [name_damage(shard, subject, chains, links) for subject, links in histories.items()]
        for subject in chains.erasures:
            if subject not in chains.broken and (found := await self.find_unproved(shard, address_of(subject))):
                findings.append(found)
        forks = list(chains.forks.items())
        for start in range(0, len(forks), FORKS_AT_ONCE):
            found_orphans = await asyncio.gather(
                *(self._orphan(shard, address_of(subject), *of) for subject, of in forks[start : start + FORKS_AT_ONCE])
            )
            findings += [orphan for orphan in found_orphans if orphan is not None]
        return Verification(threads=chains.threads, commits=chains.commits, findings=tuple(findings))

    async def find_orphan(self, shard: int, owner: Address, links: Sequence[Link]) -> Finding | None:
        """Return the finding that a thread, whose chain is whole, was forked from what is not there; ``None`` if not.

        Raises:
            Unavailable: the log does not answer.
        """
        forked = links[0].forked_from if links else None
        return await self._orphan(shard, owner, forked, links[0].seq) if forked is not None else None

    async def _orphan(self, shard: int, owner: Address, forked: ForkedFrom, seq: int) -> Finding | None:
        try:
            await self._log.find_parent(parent_in(owner.tenant, forked))
        except Corrupt as fault:
            return _finding(owner, shard, fault.code, seq, fault.message)
        return None

    async def find_unproved(self, shard: int, owner: Address) -> Finding | None:
        """Return the finding that a thread, whose chain is whole, lost contents without proof; ``None`` if it did not.

        Raises:
            Unavailable: the log does not answer.
        """
        finding: Finding | None = None
        for _ in range(2):  # an erasure may be requested in between
            async with aclosing(whole(self._js, event_stream(shard), event_subject(shard, owner))) as thread_pages:
                history = [read(stored, shard) async for page in thread_pages for stored in page]
            erasures = [erasure for each in history for erasure in erasures_of(each.commit)]
            evidence = await self._evidence.read(owner.tenant, erasures)
            if (finding := find_unproved(shard, owner, history, evidence)) is None:
                break
        return finding

    async def _histories(self, shard: int, subjects: Sequence[str], last: int) -> dict[str, list[Link]]:
        if len(subjects) < WORTH_A_WALK:
            return {subject: await self._links(shard, subject) for subject in subjects}
        histories: dict[str, list[Link]] = {subject: [] for subject in subjects}
        async with aclosing(pages(self._js, shard, 1, last)) as shard_pages:
            async for page in shard_pages:
                for stored in page:
                    if (links := histories.get(stored.subject)) is not None:
                        links.append(link(stored.body, stored.seq))
        return histories

    async def _links(self, shard: int, subject: str) -> list[Link]:
        links: list[Link] = []
        async with aclosing(whole(self._js, event_stream(shard), subject)) as thread_pages:
            async for page in thread_pages:
                links += [link(stored.body, stored.seq) for stored in page]
        return links


def find_removed(shard: int, chains: Chains) -> list[Finding]:
    """Return the finding that sequences of a shard hold no message, if any do."""
    if not chains.removed:
        return []
    what = (
        f"{chains.removed} of the messages up to sequence {chains.seq - 1} of shard {shard} are missing, "
        f"first at sequence {chains.first_removed}: they were removed, and not by an erasure"
    )
    return [Finding(tenant="", thread="", code="removed", what=what, shard=shard, seq=chains.first_removed)]


def find_misplaced(shard: int, shards: int, chains: Chains) -> list[Finding]:
    """Return the findings for threads in a shard that belong in another."""
    findings = []
    for subject, seq in chains.misplaced.items():
        owner = address_of(subject)
        what = f"this thread belongs in shard {shard_of(owner.thread, shards)}, where readers look for it"
        findings.append(_finding(owner, shard, "moved", seq, what))
    return findings


def name_damage(shard: int, subject: str, chains: Chains, links: list[Link]) -> Finding:
    """Return the finding for a broken history, given all its links."""
    owner = address_of(subject)
    what = "it was broken when it was first read"
    return find_damage(shard, owner, links) or _finding(owner, shard, "altered", chains.broken[subject], what)


def find_unproved(
    shard: int, owner: Address, history: Sequence[Recorded], evidence: Mapping[str, Evidence]
) -> Finding | None:
    """Return the finding that a thread, whose chain is whole, lost contents without proof, or has what was erased."""
    diagnosis = check_erasures(history, evidence)
    return _finding(owner, shard, diagnosis.code, diagnosis.seq, diagnosis.what) if diagnosis is not None else None


def find_damage(shard: int, owner: Address, links: Sequence[Link]) -> Finding | None:
    """Return the finding for the first error in a thread's links; ``None`` if they are intact."""
    diagnosis = diagnose(owner, links)
    return _finding(owner, shard, diagnosis.code, diagnosis.seq, diagnosis.what) if diagnosis is not None else None


def _finding(owner: Address, shard: int, code: str, seq: int, what: str) -> Finding:
    return Finding(tenant=owner.tenant, thread=owner.thread, code=code, what=what, shard=shard, seq=seq)


EVERYTHING: Final = ">"
PAGE: Final = 512


async def pages(js: LogReads, shard: int, first: int, last: int) -> AsyncGenerator[list[StoredMessage], None]:
    """Read all messages of a shard from one sequence to another, both included, page by page.

    Raises:
        Unavailable: JetStream does not answer.
    """
    seq = first
    pending = asyncio.ensure_future(_page(js, shard, seq, last)) if seq <= last else None
    try:
        while pending is not None:
            page = await pending
            pending = None
            if not page:
                return  # the end was removed
            seq = page[-1].seq + 1
            if seq <= last:
                pending = asyncio.ensure_future(_page(js, shard, seq, last))
            else:
                page = [stored for stored in page if stored.seq <= last]
            if page:
                yield page
    finally:
        if pending is not None:
            pending.cancel()


async def _page(js: LogReads, shard: int, seq: int, last: int) -> list[StoredMessage]:
    return await replica_reads.page(js, event_stream(shard), EVERYTHING, seq, last, limit=PAGE)
