"""Verification of a pack without a server: every byte, every chain, and its agreement with checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from clew_events.codec import count_erased
from clew_events.commit import Commit, Recorded, record_hash
from clew_events.errors import Corrupt, Invalid
from clew_events.events import ForkedFrom, ThreadEvent, ordinal_of
from clew_events.subjects import EVENTS, TENANT, Address, address_of, shard_of
from clew_projections.apply import check_item
from clew_projections.findings import Finding
from clew_projections.fold import evolve
from clew_projections.history.histories import read
from clew_projections.integrity.chains import Chains
from clew_projections.integrity.checkpoint import Checkpoint, ShardHeads
from clew_projections.integrity.checkpoint_comparison import (
    compare_heads,
    find_cut_off,
    find_difference,
    shard_statement,
)
from clew_projections.integrity.erasure_check import Evidence
from clew_projections.integrity.inclusion import Head, leaves_of
from clew_projections.integrity.links import Link, link, place_of
from clew_projections.integrity.merkle import climb_all
from clew_projections.integrity.verify import Verification, find_misplaced, find_removed, find_unproved, name_damage
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.packs import frames, layout
from clew_projections.packs.layout import altered_pack
from clew_projections.packs.pack import Pack
from clew_projections.views import ThreadView

Progress = Callable[[int], None]
NOTHING_KNOWN: Final[Mapping[str, Evidence]] = MappingProxyType({})


class Mark(Struct, frozen=True):
    """A checkpoint to compare a pack with. Its signature is not checked here.

    ``heads`` are the heads of each shard, if they were kept with it; ``beside`` are the pack's paths to its roots.
    """

    checkpoint: Checkpoint
    heads: Sequence[Sequence[Head]] | None = None
    beside: Sequence[Sequence[Sequence[str]]] | None = None


def check(
    pack: Pack,
    marks: Sequence[Mark] = (),
    progress: Progress = lambda _: None,
    *,
    evidence: Mapping[str, Evidence] = NOTHING_KNOWN,
) -> Verification:
    """Verify the commits in a pack. ``evidence`` is of erasures, by their ids.

    Raises:
        Corrupt: the pack itself was altered or damaged.
        Invalid: the pack cannot be compared with a given checkpoint.
    """
    check_bytes(pack)
    for mark in marks:
        _check_comparable(pack, mark)
    found = Verification(threads=0, commits=0, findings=tuple(_of_others(pack, marks)))
    own = [mark for mark in marks if len(mark.checkpoint.shards) == pack.opening.shards]
    erased, forks, heads = 0, list[_Fork](), list[Head]()
    ancestors = {each.thread: each.n for each in pack.opening.ancestors or ()}
    for shard in range(pack.opening.shards):
        walked = _Shard(pack, shard, own, evidence)
        found += walked.check(progress)
        erased += walked.erased
        forks += [_Fork(address_of(subject), shard, *of) for subject, of in walked.chains.forks.items()]
        heads += [head for head in walked.chains.heads() if head.thread in ancestors] if ancestors else ()
    found += Verification(threads=0, commits=0, findings=tuple(_orphans(pack, forks)))
    # What an ancestor has is proved by the record of the fork: nothing may come after the commit that this names.
    if not {(head.thread, head.n) for head in heads} <= {(fork.forked.thread, fork.forked.n) for fork in forks}:
        raise altered_pack("it has other commits of an ancestor than those up to where it was forked")
    manifest = pack.manifest
    counted = pack.erased.contents if pack.erased is not None else 0
    if counted != erased:
        raise altered_pack(f"its manifest counts {counted} erased contents, and it lacks {erased}")
    if (manifest.threads, manifest.commits) != (found.threads, found.commits):
        raise altered_pack(
            f"its manifest counts {manifest.threads} threads and {manifest.commits} commits, and it has "
            f"{found.threads} and {found.commits}"
        )
    return found


class _Fork(Struct, frozen=True):
    """A fork in a pack, and where its first commit stands."""

    address: Address
    shard: int
    forked: ForkedFrom
    seq: int


def _orphans(pack: Pack, forks: Sequence[_Fork]) -> Iterator[Finding]:
    """Yield a finding for each fork whose parent has not the commit that it was forked at.

    Raises:
        Corrupt: the manifest says which parents are not in the pack, and that is wrong.
    """
    parents: dict[Address, dict[int, str]] = {}
    for fork in forks:
        parents.setdefault(Address(fork.address.tenant, fork.forked.thread), {}).setdefault(fork.forked.n, "")
    there: set[Address] = set()
    for shard in sorted({shard_of(parent.thread, pack.opening.shards) for parent in parents}):
        for page in commits(pack, shard):
            for stored in page:
                hashes = parents.get(address_of(stored.subject))
                if hashes is not None:
                    there.add(address_of(stored.subject))
                    if (n := _number_in(stored)) in hashes:
                        hashes[n] = record_hash(stored.body)
    absent = {parent.thread for parent in parents.keys() - there} if not pack.opening.scope.whole else set[str]()
    said = set(pack.manifest.missing or ())
    if not absent <= said or said & {parent.thread for parent in there}:
        raise altered_pack("its manifest names other threads as missing that its forks were forked from")
    for fork in forks:
        parent, forked = Address(fork.address.tenant, fork.forked.thread), fork.forked
        if parent.thread not in absent and parents[parent][forked.n] != forked.hash:
            what = (
                f"it was forked from commit {forked.n} of thread {forked.thread}, with the hash {forked.hash}, and "
                "there is none"
            )
            yield Finding(
                tenant=parent.tenant,
                thread=fork.address.thread,
                code="wrong_parent",
                what=what,
                shard=fork.shard,
                seq=fork.seq,
            )


def _number_in(stored: StoredMessage) -> int:
    try:
        return place_of(stored.body)
    except Corrupt:
        return 0


def check_bytes(pack: Pack) -> None:
    """Check every byte of the file against the manifest, bytes between the members included.

    Raises:
        Corrupt: a byte differs.
    """
    place = 0
    for member in pack.manifest.members:
        if member.offset != place + frames.BEFORE or pack.between(place, member.offset) != frames.before(member.packed):
            raise altered_pack(f"the bytes before {member.name} were changed")
        frames.check_digest(pack.packed(member), member.packed_sha256, member.name)
        place = member.offset + member.packed
        if not member.name.startswith((layout.COMMITS, layout.HEADS)):
            pack.content(member.name)
    first, last = pack.manifest_packed
    if first != place + frames.BEFORE or pack.between(place, first) != frames.before(last - first):
        raise altered_pack("the bytes before the manifest were changed")
    segments = sum(name.startswith(layout.COMMITS) for name in pack.members)
    if segments != 2 * sum(map(len, pack.segments)):
        raise altered_pack("it has commits outside its segments")


def commits(pack: Pack, shard: int) -> Iterator[list[StoredMessage]]:
    """Yield the commits of a shard, segment by segment, in the order of the log.

    Raises:
        Corrupt: they were altered, or are outside the scope of the pack.
    """
    seq, end, prefix = 0, pack.opening.ends[shard], f"{EVENTS}.{shard:02d}."
    for segment in pack.segments[shard]:
        page = pack.stored(segment)
        for stored in page:
            tokens = stored.subject.split(".")
            if not seq < stored.seq <= end or not stored.subject.startswith(prefix) or len(tokens) != 5:
                raise altered_pack(f"{segment.index.name} has {stored.subject!r} at sequence {stored.seq}")
            if not pack.opening.may_have(tokens[3], tokens[4]):
                raise altered_pack(
                    f"{segment.index.name} has {stored.subject!r}, which is outside the scope of the pack"
                )
            seq = stored.seq
        about = (page[0].seq, page[-1].seq, len(page)) if page else (None, None, 0)
        for member in (segment.bodies, segment.index):
            if (member.first, member.last, member.commits) != about or member.shard != shard:
                raise altered_pack(f"{member.name} has other commits than the manifest says")
        yield page


class _Shard:
    """Follows the chains of a shard, and compares them with each checkpoint at its sequence."""

    def __init__(self, pack: Pack, shard: int, marks: Iterable[Mark], evidence: Mapping[str, Evidence]) -> None:
        self._pack = pack
        self._evidence = evidence
        self._shard = shard
        self._end = pack.opening.ends[shard]
        self._marks = sorted(marks, key=lambda mark: mark.checkpoint.shards[shard].seq)
        self._findings: list[Finding] = []
        self._later: list[tuple[Mark, dict[Address, Head]]] = []
        self._covered = 0
        self.erased = 0
        self.chains = Chains(shard, pack.opening.shards)

    def check(self, progress: Progress) -> Verification:
        waiting = list(self._marks)
        for page in commits(self._pack, self._shard):
            for stored in page:
                while waiting and stored.seq > waiting[0].checkpoint.shards[self._shard].seq:
                    self._compare(waiting.pop(0))
                self.chains.take(stored)
                self.erased += count_erased(stored.body)
            progress(len(page))
        for mark in waiting:
            self._compare(mark)
        for mark, then in self._later:
            heads = mark.heads[self._shard] if mark.heads is not None else ()
            self._findings += compare_heads(self._shard, filter(self._concerns, heads), then, self.chains)
        if self._pack.opening.scope.whole:
            self.chains.end(self._end)
            self._findings = [*find_removed(self._shard, self.chains), *self._findings]
        self._findings += find_misplaced(self._shard, self._pack.opening.shards, self.chains)
        self._findings += [name_damage(self._shard, *each) for each in self._broken()]
        self._findings += self._unproved()
        self._findings += self._ends()
        return Verification(
            threads=self.chains.threads,
            commits=self.chains.commits,
            findings=tuple(self._findings),
            covered=self._covered,
        )

    def _broken(self) -> Iterator[tuple[str, Chains, list[Link]]]:
        links: dict[str, list[Link]] = {subject: [] for subject in self.chains.broken}
        if links:
            for page in commits(self._pack, self._shard):
                for stored in page:
                    if (history := links.get(stored.subject)) is not None:
                        history.append(link(stored.body, stored.seq))
        for subject, history in links.items():
            yield subject, self.chains, history

    def _unproved(self) -> Iterator[Finding]:
        """Yield a finding for each thread that lost contents without proof, or has what was erased."""
        histories: dict[str, list[Recorded]] = {
            subject: [] for subject in self.chains.erasures if subject not in self.chains.broken
        }
        if histories:
            for page in commits(self._pack, self._shard):
                for stored in page:
                    if (history := histories.get(stored.subject)) is not None:
                        history.append(read(stored, self._shard))
        for subject, history in histories.items():
            if (found := find_unproved(self._shard, address_of(subject), history, self._evidence)) is not None:
                yield found

    def _ends(self) -> Iterator[Finding]:
        """Yield a finding for each chain whose end differs from the heads in the pack."""
        heads = {head.address: head for head in self._pack.heads(self._shard)}
        found = {head.address: head for head in self.chains.heads()}
        for address in dict.fromkeys((*heads, *found)):
            said, there = heads.get(address), found.get(address)
            if said == there:
                continue
            said_n, there_n = said.n if said is not None else 0, there.n if there is not None else 0
            code = "shortened" if there_n < said_n else "lengthened" if there_n > said_n else "rewritten"
            what = f"the pack says that it ends with commit {said_n}, and it ends with commit {there_n}" + (
                ", another one" if code == "rewritten" else ""
            )
            yield Finding(tenant=address.tenant, thread=address.thread, code=code, what=what, shard=self._shard)

    def _concerns(self, head: Head) -> bool:
        """Whether a thread is in the scope of this pack, as far as the pack tells."""
        scope = self._pack.opening.scope
        if scope.windowed:
            return f"{EVENTS}.{self._shard:02d}.{head.tenant}.{head.thread}" in self.chains.tips
        return scope.tenant in {None, head.tenant} and scope.thread in {None, head.thread}

    def _compare(self, mark: Mark) -> None:
        """Compare the shard, up to the current sequence, with a checkpoint."""
        checkpoint, shard = mark.checkpoint, self._shard
        said = checkpoint.shards[shard]
        then = {head.address: head for head in self.chains.heads() if self._concerns(head)}
        if (short := find_cut_off(shard, said, self._end, checkpoint)) is not None:
            self._findings.append(short)
            return
        if self._pack.opening.scope.whole:
            found = shard_statement(self.chains, said.seq)
            wrong = [each for each in (find_difference(shard, said, found, checkpoint),) if each is not None]
            if wrong and mark.heads is not None:
                self._later.append((mark, then))
        elif mark.beside is not None:
            wrong = list(self._beside(mark.beside[shard], then, said, checkpoint))
        else:
            heads = mark.heads[shard] if mark.heads is not None else ()
            wrong = []
            self._later.append((mark, then))
            if then != {head.address: head for head in heads if self._concerns(head)}:
                return
        self._findings += wrong
        if not wrong:
            self._covered = self.chains.commits

    def _beside(
        self, beside: Sequence[Sequence[str]], then: dict[Address, Head], said: ShardHeads, checkpoint: Checkpoint
    ) -> Iterator[Finding]:
        try:
            root = climb_all(leaves_of(then.values()), [[bytes.fromhex(each) for each in way] for way in beside]).hex()
        except ValueError:
            root = ""
        if root != said.root:
            names = ", ".join(sorted({address.thread for address in then})[:3])
            what = (
                f"its {len(then)} threads in shard {self._shard} do not lead to the root in checkpoint "
                f"{checkpoint.number}: a history was changed, shortened or left out ({names or 'none are there'}…)"
            )
            yield Finding(tenant="", thread="", code="history_changed", what=what, shard=self._shard, seq=said.seq)


def _of_others(pack: Pack, marks: Sequence[Mark]) -> Iterator[Finding]:
    for mark in marks:
        checkpoint = mark.checkpoint
        if len(checkpoint.shards) != pack.opening.shards:
            what = (
                f"checkpoint {checkpoint.number} is of a log in {len(checkpoint.shards)} shards, and this pack of one "
                f"in {pack.opening.shards}: it is from another deployment"
            )
            yield Finding(tenant="", thread="", code="other_deployment", what=what, shard=0, seq=checkpoint.number)


def _check_comparable(pack: Pack, mark: Mark) -> None:
    if pack.opening.scope.whole or mark.heads is not None or mark.beside is not None:
        return
    own = f"checkpoint {pack.opening.checkpoint}" if pack.opening.checkpoint is not None else "no checkpoint"
    raise Invalid(
        f"this pack is of a part of the log and has proof under {own} only, not under {mark.checkpoint.number}: give a "
        "checkpoint that was exported --with-heads, or export a pack of --all",
        code="not_comparable",
    )


class Foldable:
    """Checks that commits can be folded; their chains, of any number of threads, are known to be intact."""

    def __init__(self) -> None:
        self._ids: dict[Address, list[str]] = {}
        self._inherited: dict[Address, int] = {}

    def take(self, commit: Commit) -> None:
        """Check the next commit of its thread.

        Raises:
            Corrupt: a projector could not fold it.
        """
        address = Address(commit.tenant, commit.thread)
        ids = self._ids.setdefault(address, [])
        for place, event in enumerate(commit.events):
            creates = isinstance(event, ThreadEvent) and event.effect == "creates"
            if creates != (commit.n == 1 and place == 0 and commit.thread != TENANT):
                raise _unfoldable(commit, "a thread is created by its first commit, and never again")
            inherited = self._inherited.get(address, 0)
            view = ThreadView(id=commit.thread, tenant=commit.tenant, n=commit.n - 1, last_ordinal=inherited + len(ids))
            check_item(view, event)
            if isinstance(event, ThreadEvent):
                if creates and (begun := evolve(view, event).inherited):
                    self._inherited[address] = begun
                continue
            ordinal = ordinal_of(event)
            if event.effect == "creates":
                ids.append(event.item)
            elif ordinal > inherited and ids[ordinal - inherited - 1] != event.item:
                raise _unfoldable(commit, f"it changes item {event.item}, which was never added")
        if not commit.events:
            raise _unfoldable(commit, "it has no events")


def _unfoldable(commit: Commit, why: str) -> Corrupt:
    return Corrupt(f"thread {commit.thread}: commit {commit.n} cannot be folded: {why}", code="unfoldable_commit")
