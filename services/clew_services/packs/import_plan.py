"""The plan of an import: which threads of a pack are new, continued, or complete in a deployment, and conflicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct, field

from clew_events.codec import decode
from clew_events.commit import Position, record_hash
from clew_events.error_texts import name_history
from clew_events.errors import Conflict, Corrupt, Held
from clew_events.events import Event
from clew_events.subjects import TENANT, Address, address_of, event_stream, event_subject, is_thread, shard_of
from clew_projections.apply import advance
from clew_projections.history.histories import Histories
from clew_projections.history.pending_erasures import PendingErasures
from clew_projections.history.tenant_histories import TenantHistories
from clew_projections.integrity.inclusion import Head
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.packs.check import Foldable, Progress, commits
from clew_projections.packs.pack import Pack
from clew_projections.state.current import CurrentState, StateFromLog
from clew_projections.tenant_state import TenantState, evolve_tenant
from clew_projections.views import Parent, ThreadView, absent, parent_in
from clew_services.erasure.erasure_file import KnownErasure, KnownErasures
from clew_services.erasure.reapply import Choice, choose
from clew_services.erasure.records import ErasureRecords
from clew_services.threads.forks import Forks
from clew_services.threads.result import requested_erasure

NAMED = 5
"""Threads that an error names; the others are counted."""


class PresentHead(Struct, frozen=True):
    """The last commit that a deployment has of a thread."""

    n: int
    seq: int
    hash: str


class Fork(NamedTuple):
    """A thread that was forked from another, and the commit that it was forked at."""

    thread: str
    parent: Parent


class Plan(Struct, frozen=True, kw_only=True):
    """What an import would do. ``there`` has the heads of the histories that the deployment has already.

    ``removed`` counts the threads that were deleted or erased here since the pack was made. ``erasures`` are to be
    applied: known ones, and those that the pack's own commits request and that may not be completed here. ``others``
    are threads that have the id of an erased one and another history. ``policies`` and ``standing_holds`` count what
    tenants' own histories in the pack have in force that is not so here. ``forks`` are new threads that were forked
    from others, each with its parent.
    """

    new: int
    continued: int
    complete: int
    removed: int
    commits: int
    there: dict[Address, PresentHead] = field(default_factory=dict)
    erasures: tuple[KnownErasure, ...] = ()
    others: tuple[str, ...] = ()
    policies: int = 0
    standing_holds: int = 0
    forks: tuple[Fork, ...] = ()


class _Contents(Struct):
    """What is in a pack: the hash of each thread's first commit, forks, erasures that are requested, contradictions.

    Of tenants it has what they have ordered, in all and by the commits that the deployment has already.
    """

    beginnings: dict[Address, str] = {}
    requests: list[KnownErasure] = []
    wrong: list[str] = []
    forks: list[Fork] = []
    ordered: dict[Address, TenantState] = {}
    ordered_here: dict[Address, TenantState] = {}

    def order(self, address: Address, events: Iterable[Event], *, here: bool) -> None:
        """Fold the events of a tenant's next commit."""
        state = self.ordered.get(address, TenantState())
        for event in events:
            state = evolve_tenant(state, event)
        self.ordered[address] = state
        if here:
            self.ordered_here[address] = state

    def count_new(self, of: Callable[[TenantState], Mapping[str, object]]) -> int:
        """Count the policies or the standing holds that the deployment does not have."""
        return sum(
            len(of(state).items() - of(self.ordered_here.get(address, TenantState())).items())
            for address, state in self.ordered.items()
        )


async def plan_import(
    js: JetStream, histories: Histories, pack: Pack, progress: Progress, known: KnownErasures | None = None
) -> Plan:
    """Plan the import of a verified pack. Nothing is written.

    Raises:
        Held: a legal hold that was placed here forbids to erase what a known erasure takes.
        Invalid: known erasures are of another deployment than the pack.
        Conflict: threads with the same ids exist with other histories, or what forks were forked from is neither here
            nor in the pack; nothing of the pack can be imported.
        Corrupt: a history in the pack cannot be folded.
        Unavailable: JetStream does not answer.
    """
    there: dict[Address, PresentHead] = {}
    heads: dict[Address, Head] = {}
    contents, removed = _Contents(), 0
    for shard in range(pack.opening.shards):
        heads_by_address = {head.address: head for head in pack.heads(shard)}
        present = await _present_heads(js, histories.shards, list(heads_by_address), replicated=histories.replicated)
        there |= present
        heads |= {address: heads_by_address[address] for address in present}
        _read(pack, shard, present, contents, progress)
    wrong = contents.wrong
    for address, last in there.items():
        if last.n > heads[address].n:
            then, now = await _views(histories, heads[address])
            if then.hash != heads[address].hash:
                wrong.append(address.thread)
            removed += then.status == "open" and now.status != "open"
    if wrong:
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise Conflict(
            f"nothing was imported: {len(wrong)} threads exist already with other histories than in this pack: "
            f"{', '.join(wrong[:NAMED])}{more}. Import it into a deployment that does not have them"
            + (". 'tenant' is what the tenant has ordered for its threads: its own history" if TENANT in wrong else ""),
            code="history_conflict",
        )
    await _check_parents(histories, [fork for fork in contents.forks if fork.parent.address not in contents.beginnings])
    choice = choose(known, contents.beginnings, pack.opening.deployment) if known is not None else Choice()
    await _check_unheld(js, histories, [heads[each.address] for each in choice.erasures if each.address in heads])
    threads = [address for address in there if is_thread(address)]
    ahead = {address for address in threads if heads[address].n > there[address].n}
    certified = pack.erasures.certificates.keys() if pack.erasures is not None else frozenset[str]()
    # Others were completed in the pack, and none of their contents is here.
    requested = (each for each in contents.requests if each.erasure.id not in certified or each.address in ahead)
    present_commits = sum(min(last.n, heads[address].n) for address, last in there.items())
    return Plan(
        new=pack.manifest.threads - len(threads),
        continued=len(ahead),
        complete=len(threads) - len(ahead),
        removed=removed,
        commits=pack.manifest.commits - present_commits,
        there=there,
        erasures=(*choice.erasures, *requested),
        others=choice.others,
        policies=contents.count_new(lambda state: state.policies),
        standing_holds=contents.count_new(lambda state: state.holds),
        forks=tuple(contents.forks),
    )


def _read(pack: Pack, shard: int, there: dict[Address, PresentHead], contents: _Contents, progress: Progress) -> None:
    """Read a shard. A thread is wrong if the deployment's last commit differs from the pack's of the same number."""
    foldable = Foldable()
    for page in commits(pack, shard):
        for stored in page:
            commit, address = decode(stored.body), address_of(stored.subject)
            foldable.take(commit)
            if commit.n == 1:
                contents.beginnings[address] = record_hash(stored.body)
                if (forked := commit.forked_from) is not None and address not in there:
                    contents.forks.append(Fork(address.thread, parent_in(address.tenant, forked)))
            if (erasure := requested_erasure(commit, Position(shard, stored.seq))) is not None:
                began = contents.beginnings[address]
                contents.requests.append(KnownErasure(tenant=address.tenant, began=began, erasure=erasure))
            last = there.get(address)
            if not is_thread(address):
                contents.order(address, commit.events, here=last is not None and commit.n <= last.n)
            if last is not None and last.n == commit.n and last.hash != record_hash(stored.body):
                contents.wrong.append(commit.thread)
        progress(len(page))


async def _check_parents(histories: Histories, forks: Sequence[Fork]) -> None:
    """Check that the deployment has what forks were forked from whose parents are not in the pack."""
    for fork in forks:
        try:
            await histories.find_parent(fork.parent)
        except Corrupt as fault:
            raise Conflict(
                f"nothing was imported: {name_history(fork.thread)} was forked from "
                f"{name_history(fork.parent.address.thread)}, which is not in the pack, and not here as it was then: "
                "import a pack of that first",
                code="missing_parent",
            ) from fault


async def _check_unheld(js: JetStream, histories: Histories, erased: Sequence[Head]) -> None:
    """Check that no legal hold was placed here on threads to erase, or on their forks; a pack's own do not count."""
    tenants, from_log = TenantHistories(js, histories), StateFromLog(histories)
    records = ErasureRecords(js, PendingErasures(js))
    forks = Forks(CurrentState(from_log, from_log), histories, tenants, records)
    for head in erased:
        then, now = await _views(histories, head)
        names = [*(hold for hold in now.holds if hold not in then.holds), *await tenants.find_holds(now)]
        holds = [f"legal hold '{name}'" for name in names]
        holds += [f"{fork.hold} of its fork '{fork.fork}'" for fork in await forks.showing(now, None) if fork.hold]
        if holds and now.erasure is None:
            raise Held(
                f"nothing was imported: {name_history(head.thread)} is to be erased, and is under the "
                f"{holds[0]} here: release that first"
            )


async def _present_heads(
    js: JetStream, shards: int, addresses: list[Address], *, replicated: bool
) -> dict[Address, PresentHead]:
    by_shard: dict[int, list[str]] = {}
    for address in addresses:
        shard = shard_of(address.thread, shards)
        by_shard.setdefault(shard, []).append(event_subject(shard, address))
    stored_by_subject: dict[str, StoredMessage] = {}
    # A replica may lag behind: only the leader has all commits that may conflict or be continued.
    ask = js.lasts_at_leader if replicated else js.lasts
    for shard, subjects in by_shard.items():
        stored_by_subject |= await ask(event_stream(shard), subjects)
    return {address_of(subject): _last(stored) for subject, stored in stored_by_subject.items()}


def _last(stored: StoredMessage) -> PresentHead:
    try:
        return PresentHead(decode(stored.body).n, stored.seq, record_hash(stored.body))
    except Corrupt as fault:
        thread = address_of(stored.subject).thread
        raise Corrupt(
            f"thread {thread} exists already, and cannot be read: {fault.message}", code=fault.code
        ) from fault


async def _views(histories: Histories, head: Head) -> tuple[ThreadView, ThreadView]:
    """A deployment's view of a history as of the number of a head, or the last before, and as of now."""
    then = view = absent(*head.address)
    async for recorded in histories.after(head.address, 0):
        view = advance(view, recorded)
        then = view if view.n <= head.n else then
    return then, view
