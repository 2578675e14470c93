"""The proof of retention: what of a tenant is there that its rules say should not be, read from the log alone, signed.

The log is read from its first commit and folded; neither buckets nor an index are asked. The statement is a signed
note, as a checkpoint is, whose text is one line of JSON.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec
from msgspec import Struct, UnsetType
from msgspec.structs import replace

from clew_events.codec import UNREADABLE
from clew_events.commit import Recorded
from clew_events.content import Anchor, Disposal
from clew_events.errors import Corrupt
from clew_events.events import ThreadEvent
from clew_events.subjects import TENANT, Address, address_of, event_stream, event_subject
from clew_projections.apply import advance
from clew_projections.history.histories import read
from clew_projections.history.log_reads import LogReads
from clew_projections.index.match import MatchedThread
from clew_projections.nats.jetstream import stream_info
from clew_projections.nats.replica_reads import pages
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.tenant_state import RetentionPolicy, TenantState, evolve_tenant
from clew_projections.views import ThreadView, absent
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.note import SigningKey, VerifierKey, parts
from clew_services.retention.due import judge
from clew_services.retention.looks import APART

SOON: Final = 2 * APART
"""For how long a thread may be due before it is called late: two looks must agree before it is removed."""

_ENCODE: Final = msgspec.json.Encoder().encode


class StatedPolicy(Struct, frozen=True, kw_only=True):
    """A policy, but for the text of its filter, which may have what a person wrote."""

    name: str
    after_days: int
    since: Anchor
    then: Disposal
    erase_after_days: int | None
    filtered: bool


class StatedThread(Struct, frozen=True, kw_only=True):
    """A thread that is due since ``at``: by ``policy``, or, if that is null, by its own ``expires_after``.

    ``deleted``: nobody is shown it, and auditors can read its history. ``holds`` are the legal holds that keep it, and
    ``forks`` the threads that were forked from it, which show what it wrote, and keep that from being erased.
    """

    thread: str
    action: Disposal
    at: datetime
    policy: str | None
    deleted: bool
    holds: tuple[str, ...] = ()
    forks: tuple[str, ...] = ()


class PendingErasure(Struct, frozen=True, kw_only=True):
    """An erasure of a thread that nobody can read any more, and that is not gone from every disk."""

    thread: str
    erasure: str
    requested_at: datetime


class RetentionStatement(Struct, frozen=True, kw_only=True):
    """What is stated of a tenant ``at`` a time, and of the log up to the last sequence of each shard in ``ends``.

    ``n`` and ``hash`` are those of the last commit of the tenant's own history, in which the policies are; 0 and null
    if it has none. ``checkpoint`` is the number of the last signed checkpoint then. ``late`` are threads that should be
    gone: due for longer than ``soon`` seconds, and under no legal hold. ``held`` are kept by holds or forks,
    ``soon_due`` counts those that are due for less. ``open``, ``deleted`` and ``erased`` count all threads. Threads
    that are ``unreadable`` could not be judged.
    """

    clew: Literal["retention"] = "retention"
    v: Literal[1] = 1
    tenant: str
    at: datetime
    ends: tuple[int, ...]
    n: int
    hash: str | None
    checkpoint: int | None
    policies: tuple[StatedPolicy, ...]
    standing_holds: tuple[str, ...]
    soon: int
    open: int
    deleted: int
    erased: int
    soon_due: int
    late: tuple[StatedThread, ...]
    held: tuple[StatedThread, ...]
    pending: tuple[PendingErasure, ...]
    unreadable: tuple[str, ...]

    @property
    def fulfilled(self) -> bool:
        """Whether nothing can be read that is older than the rules say, but for what legal holds and forks keep."""
        return not self.late and not self.unreadable


_DECODE: Final = msgspec.json.Decoder(RetentionStatement).decode


class SignedStatement(Struct, frozen=True):
    """A statement and the note that it is signed in."""

    statement: RetentionStatement
    note: bytes

    @property
    def keys(self) -> tuple[str, ...]:
        """The ids of the keys that the note names, not verified."""
        return tuple(key_id for key_id, _ in parts(self.note)[1])


class _Replayed(Struct):
    """A tenant's threads and rules, as the log has them, and by thread the erasures of it that are not completed."""

    tenant: str
    threads: dict[str, MatchedThread] = {}
    pending: dict[str, dict[str, datetime]] = {}
    own: ThreadView | None = None
    rules: TenantState = TenantState()
    unreadable: set[str] = set()

    def take(self, recorded: Recorded) -> None:
        """Fold the next commit.

        Raises:
            Corrupt: it does not continue its history.
        """
        commit = recorded.commit
        if commit.thread == TENANT:
            self.own = advance(self.own or absent(self.tenant, TENANT), recorded)
            for event in commit.events:
                self.rules = evolve_tenant(self.rules, event)
            return
        before = self.threads.get(commit.thread) or MatchedThread(absent(self.tenant, commit.thread), commit.actor)
        view = replace(advance(before.view, recorded), commands=())
        self.threads[commit.thread] = MatchedThread(view, before.created_by, commit.actor)
        for event in commit.events:
            if not isinstance(event, ThreadEvent):
                continue
            if event.request is not None and event.request.items is None:
                self.pending[commit.thread] = {event.request.erasure: commit.at}
            if event.completion is not None:
                self.pending.get(commit.thread, {}).pop(event.completion.erasure, None)


async def state_retention(
    js: LogReads,
    shards: int,
    tenant: str,
    ledger: Ledger,
    *,
    tell: Callable[[int], None] = lambda _: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> RetentionStatement:
    """Read the log, and state what of a tenant is there.

    ``tell`` is called with the number of commits read since the last call. The time is that of the clock that is
    behind: of ``clock``, or of the servers.

    Raises:
        Unavailable: the log does not answer.
        Corrupt: the tenant's own history cannot be read.
    """
    latest = await ledger.latest()
    infos = await asyncio.gather(*(stream_info(js, event_stream(shard)) for shard in range(shards)))
    ends = tuple(info.state.last_seq for info in infos)
    at = min([clock(), *(info.ts for info in infos if info.ts is not None)])
    replayed = _Replayed(tenant)
    for shard, end in enumerate(ends):
        subject = event_subject(shard, Address(tenant, "*"))
        async with aclosing(pages(js, event_stream(shard), subject, 1, end)) as read_pages:
            async for page in read_pages:
                _take_page(replayed, shard, [stored for stored in page if stored.seq <= end])
                tell(len(page))
    return _state(replayed, at, ends, latest.checkpoint.number if latest is not None else None)


def _take_page(replayed: _Replayed, shard: int, page: Sequence[StoredMessage]) -> None:
    for stored in page:
        thread = address_of(stored.subject).thread
        if thread in replayed.unreadable:
            continue
        try:
            replayed.take(read(stored, shard))
        except Corrupt:
            if thread == TENANT:
                raise
            replayed.unreadable.add(thread)
            replayed.threads.pop(thread, None)


def _state(replayed: _Replayed, at: datetime, ends: tuple[int, ...], checkpoint: int | None) -> RetentionStatement:
    rules, threads = replayed.rules, replayed.threads
    late: list[StatedThread] = []
    held: list[StatedThread] = []
    forks = _forks(threads)
    soon = 0
    for thread, matched in sorted(threads.items()):
        verdict = judge(matched, rules)
        removal = verdict.due(at)
        if removal is None:
            continue
        stated = StatedThread(
            thread=thread,
            action=removal.action,
            at=removal.at,
            policy=removal.policy,
            deleted=matched.view.status == "deleted",
            holds=verdict.holds,
            forks=tuple(forks.get(thread, ())) if removal.action == "erase" else (),
        )
        if stated.holds or (stated.forks and stated.deleted):
            held.append(stated)
        elif removal.at <= at - SOON:
            late.append(stated)
        else:
            soon += 1
    own, statuses = replayed.own, Counter(each.view.status for each in threads.values())
    return RetentionStatement(
        tenant=replayed.tenant,
        at=at,
        ends=ends,
        n=own.n if own is not None else 0,
        hash=own.hash if own is not None else None,
        checkpoint=checkpoint,
        policies=tuple(_stated(policy) for policy in rules.policies.values()),
        standing_holds=tuple(rules.holds),
        soon=int(SOON.total_seconds()),
        open=statuses["open"],
        deleted=statuses["deleted"],
        erased=statuses["erased"],
        soon_due=soon,
        late=tuple(late),
        held=tuple(held),
        pending=tuple(
            PendingErasure(thread=thread, erasure=erasure, requested_at=requested_at)
            for thread, erasures in sorted(replayed.pending.items())
            for erasure, requested_at in erasures.items()
        ),
        unreadable=tuple(sorted(replayed.unreadable)),
    )


def _forks(threads: Mapping[str, MatchedThread]) -> dict[str, list[str]]:
    """By thread, those that were forked from it or from its forks, and show something, unless they were erased."""
    found: dict[str, list[str]] = {}
    for thread, matched in sorted(threads.items()):
        view: ThreadView | None = matched.view
        if matched.view.status == "erased":
            continue
        while view is not None and not isinstance(forked := view.forked_from, UnsetType):
            if matched.view.inherited and forked.cleared < forked.ordinal:
                found.setdefault(forked.thread, []).append(thread)
            view = threads[forked.thread].view if forked.thread in threads else None
    return found


def _stated(policy: RetentionPolicy) -> StatedPolicy:
    return StatedPolicy(
        name=policy.name,
        after_days=policy.after_days,
        since=policy.since,
        then=policy.then,
        erase_after_days=policy.erase_after_days,
        filtered=policy.where is not None,
    )


def sign_statement(statement: RetentionStatement, key: SigningKey) -> SignedStatement:
    """Sign a statement."""
    return SignedStatement(statement, key.sign(_ENCODE(statement) + b"\n"))


def read_statement(note: bytes, key: VerifierKey) -> SignedStatement:
    """Read a signed statement, and verify its signature.

    Raises:
        Corrupt: it is none, was altered, or is signed with another key.
    """
    text = key.text(note)
    try:
        return SignedStatement(_DECODE(text), note)
    except UNREADABLE as fault:
        raise Corrupt(f"this is no statement about retention: {fault}", code="unreadable_statement") from fault
