"""The plan of an import: which threads of a pack are new, continued, or complete in a deployment, and conflicts."""

from __future__ import annotations

from msgspec import Struct, field

from clew_events.codec import decode
from clew_events.commit import record_hash
from clew_events.errors import Conflict, Corrupt
from clew_events.subjects import Address, address_of, event_stream, event_subject, is_thread, shard_of
from clew_projections.history.histories import Histories
from clew_projections.integrity.inclusion import Head
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.packs.check import Foldable, Progress, commits
from clew_projections.packs.pack import Pack

NAMED = 5
"""Threads that an error names; the others are counted."""


class PresentHead(Struct, frozen=True):
    """The last commit that a deployment has of a thread."""

    n: int
    seq: int
    hash: str


class Plan(Struct, frozen=True, kw_only=True):
    """What an import would do. ``there`` has the heads of the histories that the deployment has already."""

    new: int
    continued: int
    complete: int
    commits: int
    there: dict[Address, PresentHead] = field(default_factory=dict)


async def plan_import(js: JetStream, histories: Histories, pack: Pack, progress: Progress) -> Plan:
    """Plan the import of a verified pack. Nothing is written.

    Raises:
        Conflict: threads with the same ids exist with other histories; nothing of the pack can be imported.
        Corrupt: a history in the pack cannot be folded.
        Unavailable: JetStream does not answer.
    """
    there: dict[Address, PresentHead] = {}
    heads: dict[Address, Head] = {}
    wrong: list[str] = []
    for shard in range(pack.opening.shards):
        heads_by_address = {head.address: head for head in pack.heads(shard)}
        present = await _present_heads(js, histories.shards, list(heads_by_address), replicated=histories.replicated)
        there |= present
        heads |= {address: heads_by_address[address] for address in present}
        wrong += _find_contradictions(pack, shard, present, progress)
    for address, last in there.items():
        if last.n > heads[address].n and not await _continues(histories, heads[address]):
            wrong.append(address.thread)
    if wrong:
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise Conflict(
            f"nothing was imported: {len(wrong)} threads exist already with other histories than in this pack: "
            f"{', '.join(wrong[:NAMED])}{more}. Import it into a deployment that does not have them",
            code="history_conflict",
        )
    threads = [address for address in there if is_thread(address)]
    ahead = sum(heads[address].n > there[address].n for address in threads)
    known = sum(min(last.n, heads[address].n) for address, last in there.items())
    return Plan(
        new=pack.manifest.threads - len(threads),
        continued=ahead,
        complete=len(threads) - ahead,
        commits=pack.manifest.commits - known,
        there=there,
    )


def _find_contradictions(pack: Pack, shard: int, there: dict[Address, PresentHead], progress: Progress) -> list[str]:
    """The threads whose last commit in the deployment differs from the pack's commit of the same number."""
    foldable, wrong = Foldable(), []
    for page in commits(pack, shard):
        for stored in page:
            commit = decode(stored.body)
            foldable.take(commit)
            last = there.get(address_of(stored.subject))
            if last is not None and last.n == commit.n and last.hash != record_hash(stored.body):
                wrong.append(commit.thread)
        progress(len(page))
    return wrong


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


async def _continues(histories: Histories, head: Head) -> bool:
    """Whether a deployment's history of a thread includes a head."""
    async for recorded in histories.after(head.address, 0):
        if recorded.commit.n == head.n:
            return recorded.hash == head.hash
    return False
