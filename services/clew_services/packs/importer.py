"""The importer: writes a pack's commits into another deployment unchanged, so ids, times and chains stay the same.

Everything is checked before the first write. The commits of a thread are guarded by the state that was read, so a
concurrent change makes the import fail instead of misplacing a commit. An interrupted import resumes when it is run
again.
"""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec.structs import replace

from clew_events.codec import decode, redact
from clew_events.erasures import lines_to_erase
from clew_events.errors import Conflict, Corrupt, TooLarge, Unavailable
from clew_events.events import ErasureRequested, ThreadEvent
from clew_events.subjects import Address, address_of, certificate_subject, event_stream, event_subject, shard_of
from clew_projections.history.histories import Histories
from clew_projections.history.pending_erasures import PendingErasures
from clew_projections.integrity.links import place_of
from clew_projections.nats.jetstream import JetStream, stream_info
from clew_projections.nats.stream_messages import EXPECTED, TRACE, Ack, OutgoingMessage, StoredMessage
from clew_projections.packs.check import Progress, commits
from clew_projections.packs.pack import Pack
from clew_services.checkpoints.note import VerifierKey
from clew_services.erasure.erasure_file import KnownErasures
from clew_services.erasure.reapply import Reapplication
from clew_services.erasure.records import ErasureRecords
from clew_services.eventstore.write_probe import STALE
from clew_services.nats_connection import Connection
from clew_services.packs.check_pack import check_pack
from clew_services.packs.import_plan import Plan, plan_import

BATCH: Final = 500
BATCH_BYTES: Final = 4 * 1024 * 1024
PATIENCE: Final = 60.0
"""Seconds for a batch to be stored."""

_RESUME: Final = "Run the same import again: it resumes"


class Importer:
    """Imports packs into a deployment."""

    def __init__(self, connection: Connection, histories: Histories) -> None:
        self._js = connection.js
        self._histories = histories
        self._reapplication = Reapplication(connection, histories.shards, replicated=histories.replicated)

    async def plan(
        self,
        pack: Pack,
        *,
        key: VerifierKey | None,
        checking: Progress,
        comparing: Progress,
        known: KnownErasures | None = None,
    ) -> Plan:
        """Plan the import of a pack, less what ``known`` erasures took since. Read-only.

        Raises:
            Held: a legal hold that was placed here forbids to erase what a known erasure takes.
            Invalid: known erasures are of another deployment than the pack.
            Corrupt: the pack is damaged, or a history in it cannot be folded.
            Conflict: the deployment has threads of the same ids with other histories.
            TooLarge: a commit is larger than the deployment accepts.
            Unavailable: JetStream does not answer.
        """
        found = (await asyncio.to_thread(check_pack, pack, key=key, progress=checking)).verified.findings
        if found:
            first = f"{found[0].thread or 'the pack'}: {found[0].what} [{found[0].code}]"
            raise Corrupt(
                f"nothing was imported: the pack has {len(found)} errors, the first: {first}. "
                f"'clew verify --pack {pack.file}' lists all",
                code="bad_pack",
            )
        await self._check_fits(pack)
        return await plan_import(self._js, self._histories, pack, comparing, known)

    async def carry_out(self, pack: Pack, plan: Plan, progress: Progress) -> int:
        """Write the commits that the deployment lacks, and return the number of erasures that were requested here.

        What they take is never written. Where it was here before, readers refuse it from then on.

        Raises:
            Conflict: another writer has changed one of the threads since the plan was made.
            Unavailable: JetStream does not answer; written commits stay, and the same import resumes from there.
        """
        await self._store_records(pack, plan)
        requests: dict[Address, list[ErasureRequested]] = {}
        for known in plan.erasures:
            requests.setdefault(known.address, []).append(known.erasure.request)
        shards = self._histories.shards
        lasts = {address: last.seq for address, last in plan.there.items()}
        writers = [_Writer(self._js, shard, lasts, progress) for shard in range(shards)]
        try:
            for shard in range(pack.opening.shards):
                for page in commits(pack, shard):
                    for stored in page:
                        address = address_of(stored.subject)
                        last = plan.there.get(address)
                        left = _redact(stored, requests.get(address, []))
                        if last is None or place_of(stored.body) > last.n:
                            writer = writers[shard_of(address.thread, shards)]
                            if writer.add(address, left):
                                await writer.flush()
            for writer in writers:
                await writer.flush()
        finally:
            ended = await asyncio.gather(*(writer.settle() for writer in writers), return_exceptions=True)
        for each in ended:
            if isinstance(each, BaseException):
                raise each
        gaps = await self._reapplication.find_gaps(plan.erasures, since=None) if plan.erasures else ()
        return sum([await self._reapplication.request(gap) for gap in gaps])

    async def _store_records(self, pack: Pack, plan: Plan) -> None:
        """Store what must be there before commits: records of forks, and certificates of erasures, if they are new."""
        records = ErasureRecords(self._js, PendingErasures(self._js))
        for fork in plan.forks:
            await records.record_fork(fork.parent.address, fork.thread)
        for erasure, note in (pack.erasures.certificates if pack.erasures is not None else {}).items():
            ack = await self._js.publish(certificate_subject(erasure), note.encode(), {EXPECTED: "0"})
            if ack.error is not None and ack.error.err_code not in STALE:
                raise Unavailable(f"the certificate of {erasure} was refused: {ack.error.description}. {_RESUME}")

    async def _check_fits(self, pack: Pack) -> None:
        most = (await stream_info(self._js, event_stream(0))).limit("max_msg_size")
        for segments in pack.segments:
            for segment in segments:
                for entry in pack.entries(segment):
                    if 0 <= most < entry.size + HEADERS:
                        raise TooLarge(
                            f"nothing was imported: the commit at {entry.subject}, sequence {entry.seq}, has "
                            f"{entry.size} bytes, and this deployment accepts at most {most}, headers included"
                        )


def _redact(stored: StoredMessage, requests: list[ErasureRequested]) -> StoredMessage:
    """A commit without the contents that are to be erased.

    What it requests itself is taken from the requests: that erases nothing of what follows, as of an item whose id is
    used again.
    """
    if not requests:
        return stored
    commit = decode(stored.body)
    made = {event.request.erasure for event in commit.events if isinstance(event, ThreadEvent) and event.request}
    requests[:] = [request for request in requests if request.erasure not in made]
    numbers = {number for request in requests for number in lines_to_erase(commit, request)}
    return replace(stored, body=redact(stored.body, numbers))


HEADERS: Final = 512
"""An upper bound of the bytes of a commit's headers."""


class _Writer:
    """Writes to one shard, one batch after another."""

    def __init__(self, js: JetStream, shard: int, lasts: dict[Address, int], progress: Progress) -> None:
        self._js = js
        self._shard = shard
        self._lasts = lasts
        self._progress = progress
        self._waiting: list[tuple[Address, StoredMessage]] = []
        self._bytes = 0
        self._sending: asyncio.Task[None] | None = None

    def add(self, address: Address, stored: StoredMessage) -> bool:
        """Add a commit to the batch; return whether the batch is full."""
        self._waiting.append((address, stored))
        self._bytes += len(stored.body)
        return len(self._waiting) >= BATCH or self._bytes >= BATCH_BYTES

    async def flush(self) -> None:
        """Begin to send the batch, after the batch before it is stored."""
        await self.settle()
        if self._waiting:
            self._sending = asyncio.create_task(self._send(self._waiting))
            self._waiting, self._bytes = [], 0

    async def settle(self) -> None:
        """Wait until the batch that was sent is stored."""
        if self._sending is not None:
            sending, self._sending = self._sending, None
            await sending

    async def _send(self, batch: list[tuple[Address, StoredMessage]]) -> None:
        try:
            acks = await self._js.publish_batch(self._outgoing(batch), timeout=PATIENCE) if len(batch) > 1 else []
        except Unavailable as fault:
            raise Unavailable(f"{fault.message}. {_RESUME}", code=fault.code, outcome_unknown=True) from fault
        if acks:
            for (address, _), ack in zip(batch, acks, strict=True):
                self._lasts[address] = ack.seq
        else:  # singly, to find out which one is refused, and why
            for one in batch:
                self._lasts[one[0]] = (await self._one(one)).seq
        self._progress(len(batch))

    async def _one(self, one: tuple[Address, StoredMessage]) -> Ack:
        (message,) = self._outgoing([one])
        try:
            ack = await self._js.publish(message.subject, message.body, message.headers, PATIENCE)
        except Unavailable as fault:
            raise Unavailable(f"{fault.message}. {_RESUME}", code=fault.code, outcome_unknown=True) from fault
        if ack.error is None:
            return ack
        if ack.error.err_code in STALE:
            raise Conflict(
                f"thread {one[0].thread} was changed by another writer during the import. {_RESUME}, or names the "
                "conflict",
                code="changed_meanwhile",
            )
        raise Unavailable(f"{event_stream(self._shard)} refused a commit: {ack.error.description}. {_RESUME}")

    def _outgoing(self, batch: list[tuple[Address, StoredMessage]]) -> list[OutgoingMessage]:
        guarded: set[Address] = set()
        found: list[OutgoingMessage] = []
        for address, stored in batch:
            headers = {TRACE: stored.headers[TRACE]} if TRACE in stored.headers else {}
            # Only the first commit of a batch on a subject can be guarded; the guard covers those after it.
            if address not in guarded:
                headers[EXPECTED] = str(self._lasts.get(address, 0))
                guarded.add(address)
            found.append(OutgoingMessage(event_subject(self._shard, address), stored.body, headers))
        return found
