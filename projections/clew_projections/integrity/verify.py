"""Verification: every chain of the log walked from its first commit, and what does not fit named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final

from msgspec import Struct

from clew_events.subjects import Address, address_of, event_stream, event_subject, shard_of
from clew_projections.findings import Finding
from clew_projections.integrity.chains import Chains
from clew_projections.integrity.diagnosis import diagnose
from clew_projections.integrity.links import Link, link
from clew_projections.nats import replica_reads
from clew_projections.nats.jetstream import JetStream, stream_state
from clew_projections.nats.replica_reads import whole
from clew_projections.nats.stream_messages import StoredMessage, StreamState

AT_ONCE: Final = 10_000
"""Broken threads whose histories are held at once to say what was done to them."""
WORTH_A_WALK: Final = 50
"""Broken threads from which on one walk through the shard is less work than a read for each."""

Progress = Callable[[int], None]
"""Told how many messages more were read."""


class Verification(Struct, frozen=True, kw_only=True):
    """What was looked at, and what was found. A finding without a thread is about a shard.

    ``covered`` counts the commits that are what a checkpoint says; 0 if none was there to hold them against.
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


class Verifier:
    """Walks the log of a deployment. Nothing is folded and nothing but the log is asked."""

    def __init__(self, js: JetStream, shards: int) -> None:
        self._js = js
        self._shards = shards

    async def thread(self, address: Address) -> Verification:
        """One thread's chain.

        Raises:
            Unavailable: the log does not answer.
        """
        links = await self.links(address)
        found = find_break(shard_of(address.thread, self._shards), address, links)
        return Verification(threads=1 if links else 0, commits=len(links), findings=(found,) if found else ())

    async def links(self, address: Address) -> list[Link]:
        """All that the log has of a thread, in its order.

        Raises:
            Unavailable: the log does not answer.
        """
        shard = shard_of(address.thread, self._shards)
        return await self._links(shard, event_subject(shard, address))

    async def extents(self) -> list[StreamState]:
        """How far each shard reaches."""
        return [await extent(self._js, shard) for shard in range(self._shards)]

    async def all(
        self,
        tenant: str | None = None,
        *,
        progress: Progress = lambda _: None,
        extents: list[StreamState] | None = None,
    ) -> Verification:
        """Every chain of the log, or of a tenant, the shards side by side, up to where the log ends now.

        Raises:
            Unavailable: the log does not answer.
        """
        extents = extents or await self.extents()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.shard(shard, each, tenant, progress=progress))
                for shard, each in enumerate(extents)
            ]
        return sum((task.result() for task in tasks), Verification(threads=0, commits=0, findings=()))

    async def shard(self, shard: int, reach: StreamState, tenant: str | None, *, progress: Progress) -> Verification:
        """Every chain of a shard, or a tenant's in it.

        Raises:
            Unavailable: the log does not answer.
        """
        chains = Chains(shard, self._shards, tenant)
        await self.walk(shard, chains, 1, reach.last_seq, progress=progress)
        chains.end(reach.last_seq)
        return await self.judge(shard, chains)

    async def walk(self, shard: int, chains: Chains, first: int, last: int, *, progress: Progress) -> None:
        """Have the chains follow a shard from one sequence to another.

        Raises:
            Unavailable: the log does not answer.
        """
        async with aclosing(pages(self._js, shard, first, last)) as found:
            async for page in found:
                for stored in page:
                    chains.take(stored)
                progress(len(page))

    async def judge(self, shard: int, chains: Chains) -> Verification:
        """What chains that were followed to the end amount to; each that broke is read once more, to say why.

        Raises:
            Unavailable: the log does not answer.
        """
        findings = [*find_removed(shard, chains), *find_misplaced(shard, self._shards, chains)]
        broken = tuple(chains.broken)
        for start in range(0, len(broken), AT_ONCE):
            some = broken[start : start + AT_ONCE]
            histories = await self._histories(shard, some, chains.seq)
            findings += [name_damage(shard, subject, chains, links) for subject, links in histories.items()]
        return Verification(threads=chains.threads, commits=chains.commits, findings=tuple(findings))

    async def _histories(self, shard: int, subjects: Sequence[str], last: int) -> dict[str, list[Link]]:
        if len(subjects) < WORTH_A_WALK:
            return {subject: await self._links(shard, subject) for subject in subjects}
        histories: dict[str, list[Link]] = {subject: [] for subject in subjects}
        async with aclosing(pages(self._js, shard, 1, last)) as found:
            async for page in found:
                for stored in page:
                    if (links := histories.get(stored.subject)) is not None:
                        links.append(link(stored.body, stored.seq))
        return histories

    async def _links(self, shard: int, subject: str) -> list[Link]:
        links: list[Link] = []
        async with aclosing(whole(self._js, event_stream(shard), subject)) as found:
            async for page in found:
                links += [link(stored.body, stored.seq) for stored in page]
        return links


def find_removed(shard: int, chains: Chains) -> list[Finding]:
    """That sequences of a shard hold nothing, if any do."""
    if not chains.removed:
        return []
    what = (
        f"{chains.removed} of the messages up to sequence {chains.seq - 1} of shard {shard} are not there, "
        f"first at sequence {chains.first_removed}: they were removed, which Clew never does"
    )
    return [Finding(tenant="", thread="", code="removed", what=what, shard=shard, seq=chains.first_removed)]


def find_misplaced(shard: int, shards: int, chains: Chains) -> list[Finding]:
    """The threads in a shard that belong in another."""
    findings = []
    for subject, seq in chains.misplaced.items():
        owner = address_of(subject)
        what = f"this thread belongs in shard {shard_of(owner.thread, shards)}, where everybody looks for it"
        findings.append(_finding(owner, shard, "moved", seq, what))
    return findings


def name_damage(shard: int, subject: str, chains: Chains, links: list[Link]) -> Finding:
    """What was done to a history that broke, given all its links."""
    owner = address_of(subject)
    gone = "it did not fit when it was first read"
    return find_break(shard, owner, links) or _finding(owner, shard, "altered", chains.broken[subject], gone)


def find_break(shard: int, owner: Address, links: Sequence[Link]) -> Finding | None:
    """The first thing wrong with a thread's links as a finding; nothing if they are whole."""
    found = diagnose(owner, links)
    return _finding(owner, shard, found.code, found.seq, found.what) if found is not None else None


def _finding(owner: Address, shard: int, code: str, seq: int, what: str) -> Finding:
    return Finding(tenant=owner.tenant, thread=owner.thread, code=code, what=what, shard=shard, seq=seq)


EVERYTHING: Final = ">"
PAGE: Final = 512


async def extent(js: JetStream, shard: int) -> StreamState:
    """How far a shard reaches at this moment, by its leader.

    Raises:
        Unavailable: JetStream does not answer.
    """
    return await stream_state(js, event_stream(shard))


async def pages(js: JetStream, shard: int, first: int, last: int) -> AsyncGenerator[list[StoredMessage], None]:
    """Everything a shard holds from one sequence to another, both included, page by page.

    Raises:
        Unavailable: JetStream does not answer.
    """
    seq = first
    under_way = asyncio.ensure_future(_page(js, shard, seq, last)) if seq <= last else None
    try:
        while under_way is not None:
            page = await under_way
            under_way = None
            if not page:
                return  # the end was removed
            seq = page[-1].seq + 1
            if seq <= last:
                under_way = asyncio.ensure_future(_page(js, shard, seq, last))
            else:
                page = [each for each in page if each.seq <= last]
            if page:
                yield page
    finally:
        if under_way is not None:
            under_way.cancel()


async def _page(js: JetStream, shard: int, seq: int, last: int) -> list[StoredMessage]:
    return await replica_reads.page(js, event_stream(shard), EVERYTHING, seq, last, limit=PAGE)
