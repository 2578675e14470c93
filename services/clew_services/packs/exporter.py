"""The exporter: writes the log, or a part of it, as the bytes of a pack, in bounded memory; an export can be resumed.

The bytes are deterministic: the same log and scope give the same pack.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Final

from msgspec import UNSET, Struct

from clew_events.codec import decode
from clew_events.commit import FORMAT
from clew_events.contract.contract_files import json_schema, render
from clew_events.error_texts import no_thread
from clew_events.errors import Corrupt
from clew_events.subjects import Address, address_of, event_stream, event_subject, shard_of
from clew_projections.audit.filter import Choice
from clew_projections.fold import FOLD
from clew_projections.history.histories import Histories
from clew_projections.history.log_reads import LogReads
from clew_projections.integrity.inclusion import HeadProof
from clew_projections.integrity.verify import pages
from clew_projections.nats.replica_reads import until
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.packs import layout
from clew_projections.packs.layout import Ancestor, CheckpointCoverage, PackHeader, Scope
from clew_projections.packs.pack_writer import Ends, Partial, Segment, Totals, Writer
from clew_projections.views import parent_in
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.note import VerifierKey
from clew_services.checkpoints.signed_checkpoint import SignedNote, read
from clew_services.erasure.evidence import StoredEvidence
from clew_services.eventstore.provision import Deployment
from clew_services.packs import coverage_proof

_AT_ONCE: Final = 512

Progress = Callable[[int], None]
"""Called with each number of further messages read."""
Covered = Callable[[PackHeader, set[Address]], Awaitable[CheckpointCoverage | None]]


class ExportResult(Struct, frozen=True, kw_only=True):
    """The contents of a written pack. ``misfits`` are messages that continue no chain, which are included, too."""

    threads: int
    commits: int
    misfits: int
    bytes: int
    whole: str
    checkpoint: int | None


class Exporter:
    """Exports packs of a deployment. ``key`` is the public key to include with the checkpoint."""

    def __init__(
        self,
        js: LogReads,
        ledger: Ledger,
        deployment: Deployment,
        *,
        key: VerifierKey | None = None,
        checkpoint: bool = True,
    ) -> None:
        self.js = js
        self._ledger = ledger
        self._deployment = deployment
        self._key = key
        self._checkpoint = checkpoint

    async def make_header(self, scope: Scope) -> PackHeader:
        """The header of a pack of a scope, with the sequences up to which the log will be read.

        Raises:
            NotFound: the thread never existed.
            Corrupt: the last checkpoint is signed with another key.
            Unavailable: JetStream does not answer.
        """
        # The checkpoint first, so that it covers nothing beyond the ends.
        return await self._opening(
            scope, await coverage_proof.latest_checkpoint(self._ledger, self._key) if self._checkpoint else None
        )

    async def _opening(self, scope: Scope, signed: SignedNote | None) -> PackHeader:
        shards = self._deployment.shards
        ends = [(await self.js.extent(shard)).last_seq for shard in range(shards)]
        ancestors: tuple[Ancestor, ...] = ()
        if scope.thread is not None:
            address = _address(scope)
            shard = shard_of(address.thread, shards)
            if await self.js.newest_at_leader(event_stream(shard), event_subject(shard, address), 0) is None:
                raise no_thread(address.thread)
            ancestors = await _ancestors(Histories(self.js, shards, replicated=True), address)
        return PackHeader(
            scope=scope,
            deployment=self._deployment.identity,
            ends=tuple(ends),
            commit_format=FORMAT,
            fold=FOLD,
            checkpoint=signed.checkpoint.number if signed is not None else None,
            ancestors=ancestors or UNSET,
        )

    def start_export(
        self, opening: PackHeader, begun: Partial | None = None, progress: Progress = lambda _: None
    ) -> PackExport:
        """The export with a header; resumes ``begun``, if there is one."""
        return PackExport(self.js, opening, begun, progress, self._covering)

    async def thread(self, address: Address, proof: HeadProof | None) -> PackExport:
        """The export of one thread, with a proof that exists already.

        Raises:
            NotFound: the thread never existed.
            Unavailable: JetStream does not answer.
        """
        scope = Scope(tenant=address.tenant, thread=address.thread)
        opening = await self._opening(scope, read(proof.checkpoint.encode()) if proof is not None else None)
        coverage = coverage_proof.from_head_proof(proof) if proof is not None else None

        async def covered(_: PackHeader, __: set[Address]) -> CheckpointCoverage | None:
            return coverage

        return PackExport(self.js, opening, None, lambda _: None, covered)

    async def _covering(self, opening: PackHeader, threads: set[Address]) -> CheckpointCoverage | None:
        if opening.checkpoint is None:
            return None
        signed: SignedNote = await self._ledger.chosen(opening.checkpoint)
        return await coverage_proof.prove_coverage(self.js, signed, self._key, opening.scope, threads)


class PackExport:
    """One export; ``exported`` is its result once all chunks were read."""

    def __init__(
        self,
        js: LogReads,
        opening: PackHeader,
        begun: Partial | None,
        progress: Progress,
        covered: Covered,
    ) -> None:
        self._js = js
        self._opening = opening
        self._scope = opening.scope
        self._chosen = {each.thread: each.seq for each in opening.ancestors or ()}
        """The threads of the pack of one thread, and the sequence up to which each is in it."""
        if opening.scope.thread is not None:
            self._chosen[opening.scope.thread] = sys.maxsize
        self._begun = begun
        self.progress = progress
        self._covered = covered
        self._writer = Writer(begun.members if begun is not None else ())
        self._totals = begun.totals if begun is not None else Totals()
        self._threads: set[Address] = set()
        self.exported: ExportResult | None = None

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The bytes of the pack, in chunks.

        Raises:
            Corrupt: the log differs from the last checkpoint, so no proof can be included.
            Unavailable: JetStream does not answer, or the log lost commits.
        """
        await self._js.refresh()
        size = self._begun.length if self._begun is not None else 0
        async with aclosing(self._pieces()) as pieces:
            async for piece in pieces:
                size += len(piece)
                yield piece
        # The record of a fork names the hash of the commit that it was forked at, so ancestors need no proof.
        ancestors = {Address(self._scope.tenant or "", each.thread) for each in self._opening.ancestors or ()}
        covered = await self._covered(self._opening, self._threads - ancestors)
        totals = self._totals
        last, under_way = b"", 0
        if totals.erasures:
            packed = await StoredEvidence(self._js, {}).read_packed(totals.erasures)
            last += self._writer.add(layout.ERASURES, layout.as_json(packed))
            under_way = len(packed.under_way)
        if covered is not None:
            last += self._writer.add(layout.COVERING, layout.as_json(covered))
        missing = set() if self._scope.whole else totals.parents - self._threads
        last += self._writer.end(totals, under_way=under_way, missing=missing)
        yield last
        self.exported = ExportResult(
            threads=totals.threads,
            commits=totals.commits,
            misfits=totals.misfits,
            bytes=size + len(last),
            whole=layout.whole_of(self._writer.members),
            checkpoint=self._opening.checkpoint,
        )

    async def _pieces(self) -> AsyncGenerator[bytes]:
        begun = self._begun
        if begun is None:
            yield self._writer.add(layout.README, layout.README_TEXT)
            yield self._writer.add(layout.OPENING, layout.as_json(self._opening))
            for name, document in json_schema().items():
                if name in layout.SCHEMA_NAMES:
                    yield self._writer.add(f"{layout.SCHEMAS}{name}.json", render(document).encode())
        else:
            self._threads |= begun.threads
        for shard, end in enumerate(self._opening.ends):
            if not self._concerned(shard) or (begun is not None and shard < begun.shard):
                continue
            ends, number, first = Ends(), 1, 1
            if begun is not None and shard == begun.shard:
                ends, number, first = begun.ends, begun.number + 1, begun.seq + 1
            async with aclosing(self._shard(shard, ends, number, first, end)) as pieces:
                async for piece in pieces:
                    yield piece
            if ends.tips:
                yield ends.pack(self._writer, shard)
            self._totals.count(ends)
            if not self._scope.whole:  # a pack of the whole log needs no proofs
                self._threads |= {address_of(subject) for subject in ends.tips}

    async def _shard(self, shard: int, ends: Ends, number: int, first: int, end: int) -> AsyncGenerator[bytes]:
        wanted = await self._wanted(shard, end)
        segment = Segment(shard, number)
        async with aclosing(self._pages(shard, first, end)) as found_pages:
            async for page in found_pages:
                for stored in page:
                    if not wanted(stored.subject):
                        continue
                    ends.take(stored.subject, stored.body)
                    if segment.add(stored):
                        # Compression releases the GIL, so the next page is read meanwhile.
                        yield await asyncio.to_thread(segment.pack, self._writer)
                        segment = Segment(shard, segment.number + 1)
                self.progress(len(page))
        if len(segment):
            yield segment.pack(self._writer)

    def _concerned(self, shard: int) -> bool:
        return self._scope.thread is None or any(
            shard == shard_of(thread, self._opening.shards) for thread in self._chosen
        )

    async def _wanted(self, shard: int, end: int) -> Callable[[str], bool]:
        """A predicate that says whether the commits of a subject are in the pack's scope."""
        scope = self._scope
        if scope.thread is not None or scope.whole:
            return lambda _: True
        if not scope.windowed:
            return lambda subject: address_of(subject).tenant == scope.tenant
        choice = Choice(since=scope.since, until=scope.until)
        subjects: set[str] = set()
        async with aclosing(pages(self._js, shard, 1, end)) as found_pages:
            async for page in found_pages:
                for stored in page:
                    subject = stored.subject
                    ours = scope.tenant is None or address_of(subject).tenant == scope.tenant
                    if ours and subject not in subjects and _in(choice, stored):
                        subjects.add(subject)
                self.progress(len(page))
        return subjects.__contains__

    async def _pages(self, shard: int, first: int, end: int) -> AsyncGenerator[list[StoredMessage]]:
        scope = self._scope
        if scope.thread is None:
            async with aclosing(pages(self._js, shard, first, end)) as found_pages:
                async for page in found_pages:
                    yield page
            return
        stream, tenant, histories = event_stream(shard), _address(scope).tenant, list[AsyncIterator[StoredMessage]]()
        for thread, reach in self._chosen.items():
            if shard_of(thread, self._opening.shards) == shard:
                subject = event_subject(shard, Address(tenant, thread))
                newest = await self._js.newest_at_leader(stream, subject, 0)
                last = min(end, reach, newest.seq if newest is not None else 0)
                histories.append(_up_to(until(self._js, stream, subject, first, last), last))
        gathered: list[StoredMessage] = []
        async for stored in _merge(histories):
            gathered.append(stored)
            if len(gathered) >= _AT_ONCE:
                yield gathered
                gathered = []
        yield gathered


def _address(scope: Scope) -> Address:
    if scope.tenant is None or scope.thread is None:
        raise AssertionError("a thread is some tenant's")
    return Address(scope.tenant, scope.thread)


async def _ancestors(histories: Histories, address: Address) -> tuple[Ancestor, ...]:
    """The threads that one was forked from, the nearest first, as far as the log has them."""
    found: list[Ancestor] = []
    with suppress(Corrupt):
        while (forked := (await histories.first(address)).commit.forked_from) is not None:
            parent = parent_in(address.tenant, forked)
            found.append(Ancestor(thread=forked.thread, n=forked.n, seq=await histories.find_parent(parent)))
            address = parent.address
    return tuple(found)


async def _up_to(history: AsyncIterator[StoredMessage], last: int) -> AsyncGenerator[StoredMessage]:
    async for stored in history:
        if stored.seq > last:
            return
        yield stored


async def _merge(histories: Sequence[AsyncIterator[StoredMessage]]) -> AsyncGenerator[StoredMessage]:
    """Yield the messages of histories of one shard in the order of the log."""
    heads = {history: stored for history in histories if (stored := await anext(history, None)) is not None}
    while heads:
        history = min(heads, key=lambda each: heads[each].seq)
        yield heads.pop(history)
        if (following := await anext(history, None)) is not None:
            heads[history] = following


def _in(choice: Choice, stored: StoredMessage) -> bool:
    try:
        return choice.matches(decode(stored.body))
    except Corrupt:
        return True  # a commit that cannot be read may be of any time: it is included
