"""The import of threads from elsewhere: reads their files, and writes each thread whole or not at all.

A thread's id follows from its id at the source, and all its commits are one atomic batch, guarded by there being none.
So what was imported before is there already when the same file is imported again, and an import that was killed
resumes. A thread that has grown at the source since gets what is new behind what it has.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from msgspec import UNSET, Raw, Struct, UnsetType, field
from msgspec.structs import replace

from clew_events.codec import EncodedCommit
from clew_events.commands import digest, has_digest
from clew_events.commit import Recorded
from clew_events.content import Metadata
from clew_events.errors import Rejected, Unavailable
from clew_events.events import ForkedFrom, ItemEvent
from clew_events.ids import random_salts
from clew_events.subjects import Address, address_of, event_stream, event_subject
from clew_projections.apply import advance, advance_items, item_ids
from clew_projections.history.histories import read
from clew_projections.nats.stream_messages import DIGEST, EXPECTED, OutgoingMessage
from clew_projections.views import ThreadView, absent
from clew_services.eventstore.write_probe import STALE
from clew_services.imports.part_store import PartStore, StagedThread
from clew_services.imports.source_file import hash_file, read_objects
from clew_services.imports.source_thread import Branch, Source
from clew_services.imports.thread_commits import CALLER, COMMAND, ThreadToImport, encode_thread, judge_thread
from clew_services.open_deployment import OpenDeployment
from clew_services.tenant_list import TenantList, Tenants

BATCH: Final = 500
BATCH_BYTES: Final = 4 * 1024 * 1024
TOGETHER: Final = 1_000
"""Threads that are looked for and written together, at most; so many of :data:`BATCH_BYTES`, too."""
PATIENCE: Final = 60.0
"""Seconds for a batch to be stored."""
_RESUME: Final = "Run the same import again: it resumes"
_CHANGED: Final = "it is there already with other contents: it stays as it is"
_BOTH: Final = "it has grown there, and its items were changed here since it was imported: it stays as it is"
_RENAMED: Final = "the metadata is another than when it was imported, and stays what it is here"
_TAKEN: Final = "a thread with this id is there already, and was not imported from there"
_NO_PARENT: Final = "it is a branch of what cannot be imported"
_GONE: Final = "it is a branch of a conversation that was deleted here"


class Refusal(Struct, frozen=True):
    """A thread that is not imported: its id at the source, and why."""

    thread: str
    why: str


class ImportReport(Struct):
    """What an import did, or would do: threads that are new, those that grow, all items that are new, and refusals.

    ``there`` counts the threads of which nothing is new. ``notes`` count the threads of which something is left out, by
    what that is.
    """

    new: int = 0
    grown: int = 0
    items: int = 0
    branches: int = 0
    there: int = 0
    refused: list[Refusal] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, object]:
        """The report as the command line prints it in JSON."""
        return {
            "threads": {
                "new": self.new,
                "branches": self.branches,
                "grown": self.grown,
                "there": self.there,
                "refused": len(self.refused),
            },
            "items": self.items,
            "notes": self.notes,
            "refused": self.refused,
        }


class _PlacedCommit(Struct, frozen=True):
    """A commit of a thread in the log, and the last ordinal that the thread has then."""

    n: int
    hash: str
    seq: int
    ordinal: int


class _ThreadThere(Struct, frozen=True):
    """A thread that is in the log.

    ``commits`` are those of imports, ``bodies`` the items in them, and ``metadata`` is what it began with; ``changed``
    says whether any other commit is about items.
    """

    view: ThreadView
    metadata: Metadata
    commits: list[_PlacedCommit]
    bodies: list[Raw | None]
    changed: bool


class ThreadImport:
    """Imports the threads of a source into a tenant."""

    def __init__(
        self,
        opened: OpenDeployment,
        source: Source,
        *,
        tenant: str,
        actor: str = CALLER,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._opened = opened
        self._js = opened.js
        self._histories = opened.histories()
        self._source = source
        self._tenant = tenant
        self._actor = actor
        self._clock = clock
        self._limit = min(opened.nc.max_payload, opened.layout.max_msg_size)
        self._report = ImportReport()
        self._refused = set[str]()
        """The ids of the threads that the report refuses."""

    async def run(
        self,
        files: Sequence[Path],
        *,
        dry_run: bool = False,
        begin: Callable[[int], Callable[[int], None]] = lambda _: lambda _: None,
    ) -> ImportReport:
        """Import all threads of some files, or with ``dry_run`` say what that would do, and return the report.

        All files are read before the first thread is written. ``begin`` is called with the number of threads then, and
        what it returns with the number of further ones that are done.

        Raises:
            Invalid: a file is not what it should be; nothing was written.
            TooLarge: a file, or an object in it, is too large; nothing was written.
            NotFound: the tenant does not exist.
            OSError: a file cannot be read.
            Unavailable: JetStream does not answer; what was written stays, and the same import resumes.
        """
        await Tenants(TenantList(self._opened.connection.js)).check(self._tenant)
        self._report, self._refused = ImportReport(), set()
        with PartStore() as store:
            await asyncio.to_thread(self._stage, store, files)
            done = begin(store.count())
            writing: asyncio.Task[None] | None = None
            try:
                for families in _windows(map(self._judge, store.threads())):
                    if writing is not None:
                        await writing
                    writing = asyncio.create_task(self._finish(families, done, dry_run=dry_run))
                    await asyncio.sleep(0)  # what is to be sent is sent while the next threads are read
            finally:
                if writing is not None:
                    await writing
        return self._report

    def _stage(self, store: PartStore, files: Sequence[Path]) -> None:
        for file in files:
            try:
                with read_objects(file) as objects:
                    store.add(hash_file(file), self._source.split(objects))
            except sqlite3.OperationalError as fault:
                raise Unavailable(
                    f"{file} cannot be kept in SQLite's temporary folder while it is imported: {fault}. Name a folder "
                    "with room with SQLITE_TMPDIR"
                ) from fault

    def _judge(self, staged: StagedThread) -> list[ThreadToImport]:
        """A thread and its branches, as far as they can be imported."""
        accepted: list[ThreadToImport] = []
        for part in staged.parts:
            if part.fault is not None:
                self._report.refused.append(Refusal(staged.id, f"{part.place}: {part.fault}"))
                return []
        try:
            threads = self._source.join(staged.id, staged.parts)
        except Rejected as fault:
            self._report.refused.append(Refusal(staged.id, fault.message))
            return []
        for thread in threads:
            try:
                accepted.append(judge_thread(thread, self._tenant, staged.file))
            except Rejected as fault:
                self._refused.add(thread.id)
                self._report.refused.append(Refusal(staged.id, fault.message))
        return accepted

    async def _finish(
        self, families: Sequence[Sequence[ThreadToImport]], done: Callable[[int], None], *, dry_run: bool
    ) -> None:
        places: dict[str, list[_PlacedCommit]] = {}
        new = await self._select_new([thread for family in families for thread in family], places)
        at = self._clock()
        while new:
            waiting = {thread.address.thread for thread in new}
            ready = [thread for thread in new if thread.parent not in waiting]
            new = [thread for thread in new if thread.parent in waiting]
            encoded = [each for thread in ready if (each := await self._encode(thread, at, places)) is not None]
            seqs = {} if dry_run else await self._write(encoded)
            for thread, commits in encoded:
                if thread.there is not None:
                    self._report.grown += 1
                else:
                    self._report.new += 1
                    self._report.branches += thread.parent is not None
                self._report.items += len(thread.new)
                self._report.notes.update(thread.thread.notes)
                places.setdefault(thread.address.thread, []).extend(_place(thread, commits, seqs.get(thread.address)))
        done(len(families))

    async def _encode(
        self, thread: ThreadToImport, at: datetime, places: dict[str, list[_PlacedCommit]]
    ) -> tuple[ThreadToImport, list[EncodedCommit]] | None:
        """A thread with its commits; ``None`` if it is refused. ``places`` are those of the threads just written."""
        try:
            forked_from = await self._find_fork(thread, places)
            return thread, encode_thread(
                thread, at, random_salts, actor=self._actor, limit=self._limit, forked_from=forked_from
            )
        except Rejected as fault:
            self._refuse(thread, fault.message)
            return None

    async def _find_fork(
        self, thread: ThreadToImport, places: dict[str, list[_PlacedCommit]]
    ) -> ForkedFrom | UnsetType:
        """Where a branch is forked from its parent: at the commit with the last item that both have."""
        branch = thread.thread.branch
        if branch is None or thread.there is not None:
            return UNSET
        if branch.parent in self._refused:
            raise Rejected(_NO_PARENT)
        if (commits := places.get(branch.parent)) is None:
            parent = await self._read_there(Address(self._tenant, branch.parent))
            if parent.view.status not in {"absent", "open"}:
                raise Rejected(_GONE)
            commits = parent.commits
        commit = next((each for each in commits if each.ordinal >= branch.items), None)
        if commit is None:
            raise Rejected(_NO_PARENT)
        return ForkedFrom(
            thread=branch.parent,
            n=commit.n,
            hash=commit.hash,
            seq=commit.seq,
            ordinal=branch.items,
            items=branch.items,
            cleared=0,
        )

    async def _read_there(self, address: Address) -> _ThreadThere:
        view, changed = absent(*address), False
        metadata: Metadata = {}
        commits, bodies = list[_PlacedCommit](), list[Raw | None]()
        async for recorded in self._histories.after(address, 0):
            view = advance(view, recorded)
            if recorded.commit.command == COMMAND:
                metadata = metadata if commits else view.metadata
                commits.append(_PlacedCommit(view.n, recorded.hash, view.seq, view.last_ordinal))
                bodies += [item.body for item in advance_items({}, recorded.commit).values()]
            elif item_ids(recorded.commit):
                changed = True
        return _ThreadThere(view, metadata, commits, bodies, changed or view.cleared > 0)

    def _refuse(self, thread: ThreadToImport, why: str) -> None:
        self._refused.add(thread.address.thread)
        places = [item.place for item in thread.thread.items[:1]]
        self._report.refused.append(Refusal(thread.thread.source_id, f"{places[0]}: {why}" if places else why))

    async def _select_new(
        self, threads: Sequence[ThreadToImport], places: dict[str, list[_PlacedCommit]]
    ) -> list[ThreadToImport]:
        """Return those of which something is not there yet; one that is there with other contents is refused.

        ``places`` get the commits of those that go on.
        """
        by_shard: dict[int, dict[str, ThreadToImport]] = {}
        for thread in threads:
            shard = self._histories.shard(thread.address)
            by_shard.setdefault(shard, {})[event_subject(shard, thread.address)] = thread
        # A replica may lag behind: only the leader has all commits.
        ask = self._js.lasts_at_leader if self._opened.replicated else self._js.lasts
        there: dict[Address, Recorded] = {}
        for shard, subjects in by_shard.items():
            lasts = await ask(event_stream(shard), list(subjects))
            there |= {subjects[subject].address: read(stored, shard) for subject, stored in lasts.items()}
        new: list[ThreadToImport] = []
        for thread in threads:
            if (last := there.get(thread.address)) is None:
                new.append(thread)
                continue
            first = last if last.commit.n == 1 else await self._histories.first(thread.address)
            try:
                known = await self._compare(thread, first)
            except Rejected as fault:
                self._refuse(thread, fault.message)
                continue
            if known is None:
                self._report.there += 1
            else:
                places[thread.address.thread] = known.commits
                new.append(replace(thread, there=known.view))
        return new

    async def _compare(self, thread: ThreadToImport, first: Recorded) -> _ThreadThere | None:
        """Compare a thread with the one that is there, of which this is the first commit.

        Return what is there if the thread has items behind that, and ``None`` if it has nothing new.

        Raises:
            Rejected: they differ otherwise.
        """
        if first.commit.id != thread.id:
            raise Rejected(_TAKEN)
        if first.digest is None or has_digest(thread.command, first.digest):
            return None
        there = await self._read_there(thread.address)
        if there.view.status != "open":
            return None
        branch, forked = thread.thread.branch, there.view.forked_from
        origin = None if isinstance(forked, UnsetType) else Branch(forked.thread, forked.items)
        both = min(len(there.bodies), len(thread.added))
        if branch != origin or there.bodies[:both] != [event.body for event in thread.added[:both]]:
            raise Rejected(_CHANGED)
        if there.metadata != thread.thread.metadata:
            self._report.notes[_RENAMED] += 1
        if both == len(thread.added):
            return None
        if there.changed:
            raise Rejected(_BOTH)
        return there

    async def _write(self, encoded: Sequence[tuple[ThreadToImport, list[EncodedCommit]]]) -> dict[Address, list[int]]:
        """Store threads, those of each shard in batches one after another; the sequences of their commits."""
        by_shard: dict[int, list[list[OutgoingMessage]]] = {}
        for thread, commits in encoded:
            shard = self._histories.shard(thread.address)
            by_shard.setdefault(shard, []).append(self._messages(shard, thread, commits))
        writing = (self._write_shard(shard, threads) for shard, threads in by_shard.items())
        stored: dict[Address, list[int]] = {}
        for ended in await asyncio.gather(*writing, return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended
            stored |= ended
        return stored

    def _messages(self, shard: int, thread: ThreadToImport, commits: Sequence[EncodedCommit]) -> list[OutgoingMessage]:
        subject = event_subject(shard, thread.address)
        # Only the first message on a subject can be guarded in a batch; the guard covers those after it.
        last = thread.there.seq if thread.there is not None else 0
        first = {EXPECTED: str(last), DIGEST: digest(thread.command, *random_salts(1))}
        return [OutgoingMessage(subject, each.body, {} if n else first) for n, each in enumerate(commits)]

    async def _write_shard(self, shard: int, threads: Sequence[list[OutgoingMessage]]) -> dict[Address, list[int]]:
        stored: dict[Address, list[int]] = {}
        for batch in _batches(threads):
            messages = [message for thread in batch for message in thread]
            seqs = await self._publish(messages)
            if not seqs:
                for thread in batch:  # one by one, to find out which one is refused
                    if not (own := await self._publish(thread)):
                        raise Unavailable(
                            f"{event_stream(shard)} refused {thread[0].subject}: it is full, or somebody else has "
                            f"written to the thread meanwhile. {_RESUME}"
                        )
                    seqs += own
            for message, seq in zip(messages, seqs, strict=True):
                stored.setdefault(address_of(message.subject), []).append(seq)
        return stored

    async def _publish(self, messages: Sequence[OutgoingMessage]) -> list[int]:
        """Store messages all at once, and return their sequences; none if they are refused."""
        try:
            if len(messages) > 1:
                return [ack.seq for ack in await self._js.publish_batch(messages, timeout=PATIENCE)]
            (only,) = messages
            ack = await self._js.publish(only.subject, only.body, only.headers, PATIENCE)
        except Unavailable as fault:
            raise Unavailable(f"{fault.message}. {_RESUME}", code=fault.code, outcome_unknown=True) from fault
        if ack.error is not None and ack.error.err_code not in STALE:
            raise Unavailable(f"{only.subject} was refused: {ack.error.description}. {_RESUME}")
        return [ack.seq] if ack.error is None else []


def _place(thread: ThreadToImport, commits: Sequence[EncodedCommit], seqs: Sequence[int] | None) -> list[_PlacedCommit]:
    """The commits of a thread that was just written, or with a dry run would be."""
    inherited = thread.thread.branch.items if thread.thread.branch is not None else 0
    ordinal, placed = inherited + len(thread.added) - len(thread.new), list[_PlacedCommit]()
    for each, seq in zip(commits, seqs or [0] * len(commits), strict=True):
        ordinal += sum(isinstance(event, ItemEvent) for event in each.commit.events)
        placed.append(_PlacedCommit(each.commit.n, each.hash, seq, ordinal))
    return placed


def _windows(families: Iterator[list[ThreadToImport]]) -> Iterator[list[list[ThreadToImport]]]:
    """Yield threads with their branches, as many together as are written together."""
    window: list[list[ThreadToImport]] = []
    size = 0
    for family in families:
        window.append(family)
        size += sum(len(item.body) for thread in family for item in thread.thread.items)
        if len(window) == TOGETHER or size > BATCH_BYTES:
            yield window
            window, size = [], 0
    if window:
        yield window


def _batches(threads: Sequence[list[OutgoingMessage]]) -> Iterator[list[list[OutgoingMessage]]]:
    """Yield threads that are stored as one batch: all of a thread is in one."""
    batch: list[list[OutgoingMessage]] = []
    number = size = 0
    for thread in threads:
        more = sum(len(message.body) for message in thread)
        if batch and (number + len(thread) > BATCH or size + more > BATCH_BYTES):
            yield batch
            batch, number, size = [], 0, 0
        batch.append(thread)
        number += len(thread)
        size += more
    if batch:
        yield batch
