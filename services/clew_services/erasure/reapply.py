"""Erasures applied to a copy of the log that is older than they are: a restored backup, or imported threads.

Each of them is requested anew in the thread's chain, whatever legal hold stood there at the time of the copy, and
recorded as under way: from then on readers refuse what it covers, and the worker certifies it with this deployment's
own key. Before a deployment is served, the contents are taken out of its files here; a running one has its worker do
that, and its indexes, buckets and snapshots.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from clew_events import ids
from clew_events.codec import encode
from clew_events.commands import EraseItem, EraseMessage, EraseThread, ErasureCommand
from clew_events.commit import FORMAT, Commit, Recorded
from clew_events.erasures import Erasure, lines_to_erase
from clew_events.error_texts import name_history
from clew_events.errors import AlreadyErased, Conflict, Invalid, NotFound
from clew_events.events import Event, ThreadEvent
from clew_events.subjects import ERASED_STREAM, Address, certificate_subject
from clew_projections.history.histories import Histories
from clew_projections.history.log_reads import LogReads
from clew_projections.history.pending_erasures import ErasureRecord
from clew_projections.integrity.erasure_check import completions_of, missing_contents
from clew_projections.integrity.erasure_extent import request_in
from clew_projections.state.current import CurrentState, StateFromLog
from clew_projections.views import ItemView
from clew_services.erasure.eraser import Budget, Eraser, Loss
from clew_services.erasure.erasure_file import AT_ONCE, KnownErasure, KnownErasures
from clew_services.erasure.records import ErasureRecords
from clew_services.eventstore.append import AppendResult, Log
from clew_services.inbox import rejections
from clew_services.nats_connection import Connection
from clew_services.threads.decide import decide

PENDING: Final = frozenset({"requested", "erased"})
_UNLIMITED: Final = 1e9
"""Deletions a second where nobody writes."""


class Choice(Struct, frozen=True):
    """The known erasures that are of threads of a copy, and the threads of these ids that have another history."""

    erasures: tuple[KnownErasure, ...] = ()
    others: tuple[str, ...] = ()


def choose(known: KnownErasures, beginnings: Mapping[Address, str], copy: str) -> Choice:
    """Choose the erasures that are of threads of a copy. Pure.

    ``beginnings`` are the hashes of the first commits of its threads, and ``copy`` the identity of its deployment.

    Raises:
        Invalid: they are of another deployment, and of none of its threads.
    """
    there = [each for each in known.erasures if each.address in beginnings]
    own = tuple(each for each in there if beginnings[each.address] == each.began)
    if not own and known.header.deployment != copy:
        raise Invalid(
            f"nothing was changed: the erasures are those of deployment {known.header.deployment}, this is a copy of "
            f"{copy}, and none of them is of a thread in it. Take those of the deployment that it is a copy of",
            code="other_deployment",
        )
    others = dict.fromkeys(each.erasure.thread_id for each in there if each not in own)
    return Choice(own, tuple(others))


class ErasureGap(Struct, frozen=True):
    """What a copy lacks of an erasure: its request, unless that is ``requested``; and commits have ``contents``."""

    address: Address
    erasure: Erasure
    record: ErasureRecord | None
    requested: Recorded | None
    contents: tuple[Loss, ...]


class ReapplyResult(Struct, frozen=True, kw_only=True):
    """What was done: how many erasures were not complete in the copy, of which threads, and in how many commits.

    ``others`` are threads with the id of an erased one and another history, which are left as they are.
    """

    erasures: int = 0
    threads: tuple[str, ...] = ()
    commits: int = 0
    others: tuple[str, ...] = ()


class Reapplication:
    """Applies erasures to the deployment at the other end of a connection.

    Raises ``Unavailable`` if JetStream does not answer, and ``Corrupt`` where a record or a history cannot be read.
    What was interrupted is done again.
    """

    def __init__(self, connection: Connection, shards: int, *, replicated: bool) -> None:
        self._js = connection.js
        # Requests are not learned here, so contents that readers refuse already are seen.
        log = LogReads(connection.exchange, replicated=replicated)
        histories = Histories(log, shards, replicated=replicated)
        from_log = StateFromLog(histories)
        self._histories = histories
        self._current = CurrentState(from_log, from_log)
        self._records = ErasureRecords(connection.js, log.pending)
        self._log = Log(connection.js, shards, replicated=replicated)
        self._eraser = Eraser(connection.js, Budget(_UNLIMITED))

    async def beginnings(self, known: KnownErasures) -> dict[Address, str]:
        """The hashes of the first commits of those threads of known erasures that are here."""

        async def beginning(address: Address) -> str | None:
            async for recorded in self._histories.after(address, 0, ahead=1):
                return recorded.hash
            return None

        addresses = list(dict.fromkeys(each.address for each in known.erasures))
        found: dict[Address, str] = {}
        for start in range(0, len(addresses), AT_ONCE):
            some = addresses[start : start + AT_ONCE]
            hashes = await asyncio.gather(*map(beginning, some))
            found |= {address: digest for address, digest in zip(some, hashes, strict=True) if digest is not None}
        return found

    async def find_gaps(self, known: Iterable[KnownErasure], *, since: int | None) -> tuple[ErasureGap, ...]:
        """Find what is missing here of known erasures, and, unless ``since`` is ``None``, of those on record here.

        A copy of the streams is not of one moment: what was erased while it was made can be in its log nevertheless.
        So records are looked at that are not completed, and those written after sequence ``since``.
        """
        records = {(each.tenant, each.erasure.id): each for each in await self._records.all()}
        asked = {
            (tenant, name): record.erasure
            for (tenant, name), record in records.items()
            if since is not None
            and (record.erasure.status in PENDING or (record.erasure.n is not None and record.revision > since))
        }
        for each in known:
            record = records.get((each.tenant, each.erasure.id))
            if since is None or record is None or record.erasure.n is None:
                asked[each.tenant, each.erasure.id] = each.erasure
        found = [await self._gap(tenant, asked[tenant, name], records.get((tenant, name))) for tenant, name in asked]
        # A record without a number is of a request that may have come into the log, or never.
        gaps = [each for each in found if each is not None and (each.requested or each.erasure.n is not None)]
        return tuple(sorted(gaps, key=lambda each: each.erasure.requested_at))

    async def request(self, gap: ErasureGap) -> bool:
        """Request an erasure anew, and record it as under way; false if another one took the thread or the message.

        Raises:
            Conflict: the thread was changed by another writer meanwhile.
        """
        requested = gap.requested or await self._append_request(gap.address, gap.erasure)
        if requested is None:
            return False
        if gap.requested is None:
            await self._drop_certificate(gap.erasure.id)
        record, at = gap.record, (requested.commit.n, requested.position)
        if (
            record is not None
            and record.erasure.status in PENDING
            and (record.erasure.n, record.erasure.position) == at
        ):
            return True
        under_way = replace(
            gap.erasure,
            status="requested",
            n=requested.commit.n,
            position=requested.position,
            commits=0,
            erased_at=None,
            completed_at=None,
            fault=None,
            left=(),
            certificate=None,
        )
        if await self._records.write(gap.address.tenant, under_way, record.revision if record else 0) is None:
            raise Conflict(f"the record of '{under_way.id}' was written by another process: run this again")
        return True

    async def apply(
        self, gaps: Sequence[ErasureGap], others: tuple[str, ...] = (), tell: Callable[[int], None] = lambda _: None
    ) -> ReapplyResult:
        """Request erasures, and take their contents out of the log, the inbox and the rejected commands.

        Nobody else may write here. ``tell`` is called with the number of erasures done.
        """
        done: list[ErasureGap] = []
        for number, each in enumerate(gaps, start=1):
            if await self.request(each):
                await self._eraser.erase(each.contents)
                done.append(each)
            tell(number)
        concerns = [rejections.Concern(each.address, each.erasure.request.items) for each in done]
        await rejections.erase(self._js, concerns)
        await rejections.erase_waiting(self._js, concerns)
        return ReapplyResult(
            erasures=len(done),
            threads=tuple(dict.fromkeys(each.erasure.thread_id for each in done)),
            commits=len({loss.position for each in done for loss in each.contents}),
            others=others,
        )

    async def _gap(self, tenant: str, erasure: Erasure, record: ErasureRecord | None) -> ErasureGap | None:
        """What is missing of an erasure; ``None`` if nothing is, or nothing of what it takes is here."""
        address = Address(tenant, erasure.thread_id)
        request = erasure.request
        requested: Recorded | None = None
        concerned = completed = False
        contents: list[Loss] = []
        async for recorded in self._histories.after(address, 0):
            if requested is None and request_in(recorded, erasure.id) is not None:
                requested = recorded
            elif requested is None and (numbers := set(lines_to_erase(recorded.commit, request))):
                concerned = True
                if numbers - missing_contents(recorded.commit):
                    contents.append(Loss(recorded.position, numbers))
            completed = completed or any(each.erasure == erasure.id for each in completions_of(recorded.commit))
        if requested is None and not concerned:
            return None
        known = completed or (record is not None and record.erasure.status in PENDING)
        if requested is not None and not contents and known:
            return None
        return ErasureGap(address, erasure, record, requested, tuple(contents))

    async def _append_request(self, address: Address, erasure: Erasure) -> Recorded | None:
        present = await self._current.read_current(address)
        view, command_id = present.thread, ids.derive_id("cmd_again_", erasure.id)
        if erasure.message_id is None:
            command: ErasureCommand = EraseThread(thread_id=address.thread, reason=erasure.code)
            items: tuple[ItemView, ...] = ()
        else:
            thread, item = address.thread, erasure.message_id
            command = EraseItem(thread_id=thread, item_id=item, reason=erasure.code)
            if ids.is_message_id(item):
                command = EraseMessage(thread_id=thread, message_id=item, reason=erasure.code)
            items = await self._current.items_with(present, (item,))
        try:
            decided = decide(command, address.thread, command_id, replace(view, holds=()), items)
        except (AlreadyErased, NotFound):
            return None
        asked = decided[-1]
        assert isinstance(asked, ThreadEvent)
        assert asked.request is not None
        events: tuple[Event, ...] = (*decided[:-1], replace(asked.request, erasure=erasure.id))
        now = datetime.now(UTC)
        commit = Commit(
            v=FORMAT,
            id=command_id,
            tenant=address.tenant,
            thread=address.thread,
            n=view.n + 1,
            at=now if view.updated_at is None else max(now, view.updated_at),
            actor=erasure.actor,
            by=erasure.by,
            command=command.named,
            prev=view.hash,
            events=events,
        )
        appended = await self._log.append(encode(commit, ids.random_salts(len(events) + 1)), view.seq)
        if not isinstance(appended, AppendResult):
            raise Conflict(f"{name_history(address.thread)} was changed by another writer meanwhile: run this again")
        return appended.recorded

    async def _drop_certificate(self, erasure: str) -> None:
        """Delete a certificate that is of a chain which this copy does not have."""
        stored = await self._js.newest_at_leader(ERASED_STREAM, certificate_subject(erasure), 0)
        if stored is not None:
            await self._js.api(f"STREAM.MSG.DELETE.{ERASED_STREAM}", {"seq": stored.seq})
