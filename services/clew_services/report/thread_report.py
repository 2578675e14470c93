"""The report of a thread, made from an audit pack alone: who did what and when, states, verdict, and proof."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

from msgspec import Raw, Struct
from msgspec.structs import replace

from clew_events.commit import Recorded
from clew_events.content import ExpiresAfter
from clew_events.error_texts import no_thread
from clew_events.errors import Corrupt
from clew_events.events import ThreadEvent, is_erased, type_of
from clew_events.objects import Thread
from clew_events.subjects import Address, event_stream, event_subject, shard_of
from clew_projections.api_objects import item_object, retrieved_thread
from clew_projections.apply import advance, advance_items, inherit_items
from clew_projections.audit.as_of import has_erased_state, lists
from clew_projections.audit.diff import key_changes
from clew_projections.audit.moments import NOW, Moment, check_reached
from clew_projections.fold import Status
from clew_projections.history.histories import read
from clew_projections.integrity.erasure_check import completions_of
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.packs.pack import Pack
from clew_projections.views import ItemView, ThreadView, absent, parent_of
from clew_services.packs.check_pack import PackCheck
from clew_services.packs.offline import PackedStreams
from clew_services.report.verdict import Verdict, make_verdict


class Change(Struct, frozen=True, kw_only=True):
    """A part of a thread before and after a commit; null where it was not there. An item is its JSON."""

    part: str
    before: str | Raw | None = None
    after: str | Raw | None = None


class ReportedCommit(Struct, frozen=True, kw_only=True):
    """A commit: who did what and when, and what that changed. ``erased`` if some of what it said was erased since."""

    n: int
    at: datetime
    actor: str
    by: str
    command: str
    command_id: str
    reason: str | None
    trace_id: str | None
    hash: str
    prev: str | None
    events: tuple[str, ...]
    erased: bool
    changes: tuple[Change, ...]


class ReportedItem(Struct, frozen=True, kw_only=True):
    """An item at a moment. ``n`` is the number of the commit that last changed it."""

    id: str
    n: int
    created_at: datetime
    item: Raw


class State(Struct, frozen=True, kw_only=True):
    """A thread after commit ``n``, the last up to the moment that was ``asked``; null if it was deleted then."""

    asked: str
    n: int
    at: datetime
    status: Status
    thread: Thread | None
    holds: tuple[str, ...]
    items: tuple[ReportedItem, ...]


class Who(Struct, frozen=True, kw_only=True):
    """A commit in short: its number, its time, and who made it."""

    n: int
    at: datetime
    actor: str
    by: str


class Hold(Struct, frozen=True, kw_only=True):
    """A legal hold of the thread's own: who placed it, and who released it, if anybody did."""

    name: str
    placed: Who
    released: Who | None = None


class ReportedErasure(Struct, frozen=True, kw_only=True):
    """An erasure: who requested it, why, of which items (null: of all), and its certificate as it was signed.

    ``hash`` is what the thread's history says that the SHA-256 of the certificate is.
    """

    id: str
    requested: Who
    code: str | None
    items: tuple[str, ...] | None
    completed: Who | None = None
    hash: str | None = None
    certificate: str | None = None


class Proof(Struct, frozen=True, kw_only=True):
    """What to check the thread with: its head, and the signed checkpoint with the hashes beside the way to its root."""

    shard: int
    n: int
    hash: str
    checkpoint: str | None = None
    beside: tuple[tuple[str, ...], ...] | None = None


class ThreadReport(Struct, frozen=True, kw_only=True):
    """A thread's report. Commits that cannot be read are in ``unreadable``, each with why."""

    object: Literal["thread.report"] = "thread.report"
    thread_id: str
    tenant: str
    verdict: Verdict
    commits: tuple[ReportedCommit, ...]
    unreadable: tuple[str, ...]
    states: tuple[State, ...]
    holds: tuple[Hold, ...]
    erasures: tuple[ReportedErasure, ...]
    proof: Proof


def make_report(
    pack: Pack, checked: PackCheck, address: Address, moments: Sequence[Moment] = (), *, now: datetime
) -> ThreadReport:
    """Make the report of a thread in a pack that was checked, with its states at some moments, else with the last one.

    The history alone decides what it says: ``now`` only tells which moments are in the future.

    Raises:
        NotFound: the pack has no such thread, or it was not there yet at a moment.
        Invalid: a moment is in the future.
        Corrupt: the pack was altered.
    """
    shard = shard_of(address.thread, pack.opening.shards)
    streams = PackedStreams(pack)
    stored = streams.messages(event_stream(shard), event_subject(shard, address))
    if not stored:
        raise no_thread(address.thread)
    records, unreadable = _read(stored, shard)
    for moment in moments:
        last = records[_place(records, moment) - 1] if _place(records, moment) else None
        check_reached(moment, "as_of", address.thread, first=records[0] if records else None, last=last, now=now)
    moments = moments or (NOW,)
    folded = _fold(streams, address, records, moments)
    return ThreadReport(
        thread_id=address.thread,
        tenant=address.tenant,
        verdict=make_verdict(pack, checked, address, records, shard),
        commits=tuple(folded.commits),
        unreadable=(*unreadable, *([folded.fault] if folded.fault is not None else ())),
        states=tuple(folded.states[moment] for moment in moments if moment in folded.states),
        holds=tuple(folded.holds),
        erasures=tuple(_erasures(pack, records)),
        proof=_proof(pack, records, shard),
    )


def _read(stored: Iterable[StoredMessage], shard: int) -> tuple[list[Recorded], list[str]]:
    """The commits that can be read, and why others cannot."""
    records: list[Recorded] = []
    unreadable: list[str] = []
    for each in stored:
        try:
            records.append(read(each, shard))
        except Corrupt as fault:
            unreadable.append(f"at sequence {each.seq} of shard {shard}: {fault.message}")
    return records, unreadable


def _place(records: Sequence[Recorded], moment: Moment) -> int:
    """How many commits are at or before a moment."""
    included = (place for place, each in enumerate(records, start=1) if moment.includes(each.commit))
    return max(included, default=0)


class _Folded(Struct):
    """What follows from folding the commits: what each changed, states, holds, and from where on it is not known."""

    commits: list[ReportedCommit] = []
    states: dict[Moment, State] = {}
    holds: list[Hold] = []
    fault: str | None = None


def _fold(streams: PackedStreams, address: Address, records: Sequence[Recorded], moments: Sequence[Moment]) -> _Folded:
    view, items, erased, folded = absent(*address), dict[int, ItemView](), False, _Folded()
    wanted = {moment: _place(records, moment) for moment in moments}
    for place, recorded in enumerate(records, start=1):
        changes: tuple[Change, ...] = ()
        try:
            if folded.fault is None:
                before, view = view, advance(view, recorded)
                items = items if before.n else _inherit(streams, view)
                touched = advance_items(items, recorded.commit)
                changes = (*_thread_changes(before, view), *_item_changes(items, touched))
                items |= touched
                erased = erased or has_erased_state(recorded.commit)
                folded.holds = _held(folded.holds, before, view, recorded)
                for moment in (each for each, last in wanted.items() if last == place):
                    folded.states[moment] = _state(moment, view, items, recorded, erased=erased)
        except Corrupt as broken:
            which = f"commit {recorded.commit.n} and those after it"
            folded.fault = f"what {which} changed is not known: {broken.message}"
        folded.commits.append(_commit(recorded, changes))
    return folded


def _held(holds: list[Hold], before: ThreadView, after: ThreadView, recorded: Recorded) -> list[Hold]:
    """The holds with those that a commit placed, and what it released."""
    over = [
        replace(hold, released=_who(recorded)) if hold.released is None and hold.name not in after.holds else hold
        for hold in holds
    ]
    return [*over, *(Hold(name=name, placed=_who(recorded)) for name in after.holds if name not in before.holds)]


def _inherit(streams: PackedStreams, fork: ThreadView) -> dict[int, ItemView]:
    """What a fork begins with: the items of its parent, as it was when it was forked. The pack has that, too.

    Raises:
        Corrupt: it has not.
    """
    if (parent := parent_of(fork)) is None:
        return {}
    shard = shard_of(parent.address.thread, streams.shards)
    view, items = absent(*parent.address), dict[int, ItemView]()
    for stored in streams.messages(event_stream(shard), event_subject(shard, parent.address)):
        recorded = read(stored, shard)
        begins, view = not view.n, advance(view, recorded)
        items = _inherit(streams, view) if begins else items
        items |= advance_items(items, recorded.commit)
        if view.n == parent.n:
            break
    if (view.n, view.hash) != (parent.n, parent.hash):
        raise Corrupt(f"it was forked from commit {parent.n} of thread {view.id}, which is not in the pack")
    return inherit_items({ordinal: item for ordinal, item in items.items() if ordinal <= fork.inherited}, fork.id)


def _commit(recorded: Recorded, changes: tuple[Change, ...]) -> ReportedCommit:
    commit = recorded.commit
    return ReportedCommit(
        n=commit.n,
        at=commit.at,
        actor=commit.actor,
        by=commit.by,
        command=commit.command,
        command_id=commit.id,
        reason=commit.reason,
        trace_id=recorded.trace_id,
        hash=recorded.hash,
        prev=commit.prev,
        events=tuple(map(type_of, commit.events)),
        erased=commit.reason_erased or any(map(is_erased, commit.events)),
        changes=changes,
    )


def _state(
    moment: Moment, view: ThreadView, items: Mapping[int, ItemView], recorded: Recorded, *, erased: bool
) -> State:
    is_open = view.status == "open"
    return State(
        asked=str(moment),
        n=recorded.commit.n,
        at=recorded.commit.at,
        status=view.status,
        thread=retrieved_thread(view, erased=erased) if is_open else None,
        holds=view.holds,
        items=tuple(
            ReportedItem(id=item.id, n=item.n, created_at=item.created_at, item=item_object(item))
            for _, item in sorted(items.items())
            if is_open and not item.deleted
        ),
    )


def _thread_changes(before: ThreadView, after: ThreadView) -> Iterator[Change]:
    if not before.n and (parent := parent_of(after)) is not None:
        yield Change(part="forked from", after=f"{parent.address.thread} after commit {parent.n}")
    if before.status != after.status:
        yield Change(part="thread", before=None if before.status == "absent" else before.status, after=after.status)
    for key in key_changes(before.metadata, after.metadata):
        yield Change(part=f"metadata {key.key}", before=key.before, after=key.after)
    was, now = lists(before.tool_resources), lists(after.tool_resources)
    for name in sorted({*was, *now}):
        if was.get(name) != now.get(name):
            yield Change(part=name, before=_joined(was.get(name)), after=_joined(now.get(name)))
    if before.expires_after != after.expires_after:
        yield Change(part="expires", before=_expiry(before.expires_after), after=_expiry(after.expires_after))
    for name in sorted({*before.holds, *after.holds} - ({*before.holds} & {*after.holds})):
        placed = name in after.holds
        yield Change(part=f"hold {name}", before=None if placed else "in force", after="in force" if placed else None)


def _item_changes(items: Mapping[int, ItemView], touched: Mapping[int, ItemView]) -> Iterator[Change]:
    for ordinal, item in sorted(touched.items()):
        was = items.get(ordinal)
        before = item_object(was) if was is not None and not was.deleted else None
        after = item_object(item) if not item.deleted else None
        if before != after:
            yield Change(part=item.id, before=before, after=after)


def _joined(ids: Sequence[str] | None) -> str | None:
    return ", ".join(ids) if ids is not None else None


def _expiry(expires: ExpiresAfter | None) -> str | None:
    return f"{expires.days} days after {expires.anchor}" if expires is not None else None


def _who(recorded: Recorded) -> Who:
    return Who(n=recorded.commit.n, at=recorded.commit.at, actor=recorded.commit.actor, by=recorded.commit.by)


def _erasures(pack: Pack, records: Iterable[Recorded]) -> Iterator[ReportedErasure]:
    certificates = packed.certificates if (packed := pack.erasures) is not None else {}
    erasures: dict[str, ReportedErasure] = {}
    for recorded in records:
        events = [event for event in recorded.commit.events if isinstance(event, ThreadEvent)]
        for request in (event.request for event in events if event.request is not None):
            erasures[request.erasure] = ReportedErasure(
                id=request.erasure,
                requested=_who(recorded),
                code=request.code,
                items=request.items,
                certificate=certificates.get(request.erasure),
            )
        for done in completions_of(recorded.commit):
            if (erasure := erasures.get(done.erasure)) is not None:
                erasures[done.erasure] = replace(erasure, completed=_who(recorded), hash=done.certificate)
    return iter(erasures.values())


def _proof(pack: Pack, records: Sequence[Recorded], shard: int) -> Proof:
    coverage, last = pack.coverage, records[-1] if records else None
    beside = coverage.beside[shard] if coverage is not None and coverage.beside is not None else None
    return Proof(
        shard=shard,
        n=last.commit.n if last is not None else 0,
        hash=last.hash if last is not None else "",
        checkpoint=coverage.note if coverage is not None else None,
        beside=beside,
    )
