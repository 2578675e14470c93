"""The tree over heads: the same root however it came about, and paths that prove what is under it and nothing else."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew_events.commit import record_hash
from clew_events.errors import Corrupt
from clew_events.subjects import Address, event_subject, shard_of
from clew_projections.integrity.checkpoint import FORMAT, Checkpoint, ShardHeads
from clew_projections.integrity.heads_file import HeadsFile
from clew_projections.integrity.inclusion import Head, check_included, key_of, leaf_of, leaves_of
from clew_projections.integrity.merkle import EMPTY, climb, path, subtree
from clew_projections.nats.stream_messages import StoredMessage
from support.commits import CREATED, NOON, body_of, commit

HASHES = st.binary(max_size=6).map(lambda said: sha256(said).digest())
LEAVES = st.dictionaries(HASHES, HASHES, max_size=25).map(lambda found: sorted(found.items()))


def alike(bits: int) -> st.SearchStrategy[list[tuple[bytes, bytes]]]:
    """Leaves whose places begin alike, so that they are deep in the tree."""
    first = sha256(b"alike").digest()[: bits // 8]
    places = st.binary(min_size=32 - len(first), max_size=32 - len(first)).map(lambda rest: first + rest)
    return st.dictionaries(places, HASHES, max_size=4).map(lambda found: sorted(found.items()))


def test_nothing_has_a_root_of_its_own_and_one_leaf_is_the_root() -> None:
    assert subtree([]) == EMPTY
    assert subtree([(bytes(32), b"x" * 32)]) == (b"x" * 32, 1)


@settings(max_examples=40)
@given(leaves=LEAVES | alike(64) | alike(240), data=st.data())
def test_every_path_leads_to_the_root_and_no_altered_one_does(leaves, data):
    root = subtree(leaves)
    assert root.leaves == len(leaves)
    if not leaves:
        return
    place, leaf = leaves[data.draw(st.integers(0, len(leaves) - 1))]
    beside = path(leaves, place)
    assert climb(place, leaf, beside) == root.hash
    assert climb(place, sha256(leaf).digest(), beside) != root.hash
    assert climb(place, leaf, [bytes(32), *beside][:256]) != root.hash
    if beside:
        at = data.draw(st.integers(0, len(beside) - 1))
        wrong = [*beside]
        wrong[at] = bytes([wrong[at][0] ^ 1]) + wrong[at][1:]
        assert climb(place, leaf, wrong) != root.hash
        assert climb(place, leaf, beside[:-1]) != root.hash


@given(leaves=LEAVES, place=HASHES, leaf=HASHES)
def test_any_change_of_the_set_changes_the_root(leaves, place, leaf):
    changed = {**dict(leaves), place: leaf}
    if changed != dict(leaves):
        assert subtree(sorted(changed.items())).hash != subtree(leaves).hash


@given(leaf=HASHES, place=HASHES)
def test_an_impossible_path_is_refused(leaf, place):
    for beside in ([bytes(32)] * 257, [b"short"]):
        with pytest.raises(ValueError, match="no such path"):
            climb(place, leaf, beside)


def test_two_heads_of_one_thread_make_no_leaves() -> None:
    head = Head("default", "thread_1", 1, "0" * 64)
    with pytest.raises(ValueError, match="two heads"):
        leaves_of([head, Head("default", "thread_1", 2, "1" * 64)])


class Log:
    """Chains of some threads in one shard, grown step by step."""

    def __init__(self) -> None:
        self.seq = 0
        self.heads: dict[str, Head] = {}

    def next(self, thread: str) -> StoredMessage:
        before = self.heads.get(thread)
        n, prev = (before.n + 1, before.hash) if before else (1, None)
        body = body_of(commit(n, CREATED, prev=prev, thread=thread))
        self.heads[thread] = Head("default", thread, n, record_hash(body))
        return self.put(thread, body)

    def put(self, thread: str, body: bytes) -> StoredMessage:
        self.seq += 1
        return StoredMessage(self.seq, event_subject(0, Address("default", thread)), body, {})


THREADS = st.sampled_from([f"thread_{number}" for number in range(40)])


@settings(max_examples=25)
@given(
    pages=st.lists(st.lists(THREADS | st.none(), max_size=12), min_size=1, max_size=8), looks=st.sets(st.integers(0, 7))
)
def test_a_root_grown_step_by_step_is_the_root_made_at_once(pages, looks):
    log, kept, misfits = Log(), HeadsFile(), 0
    for number, page in enumerate(pages):
        stored = [log.next(thread) if thread else log.put("thread_0", b"nothing of ours") for thread in page]
        misfits += page.count(None)
        kept.take(0, stored)
        if number in looks:
            kept.root(0)
    assert kept.root(0) == subtree(leaves_of(log.heads.values()))
    assert {head.thread: head for head in kept.heads(0)} == log.heads
    reached = kept.progress(0)
    assert (reached.seq, reached.misfits) == (log.seq, misfits)
    assert reached.commits == sum(head.n for head in log.heads.values())
    said = ShardHeads(
        seq=log.seq, threads=len(log.heads), commits=reached.commits, misfits=misfits, root=kept.root(0).hash.hex()
    )
    checkpoint = Checkpoint(v=FORMAT, log="a", number=1, at=NOON, prev=None, shards=(said,))
    for thread, head in log.heads.items():
        beside = [each.hex() for each in kept.path(0, head.address)]
        check_included(head, beside, checkpoint)
        for wrong in (
            Head("default", thread, head.n + 1, head.hash),
            Head("other", thread, head.n, head.hash),
            Head("default", thread, head.n, "0" * 64),
        ):
            with pytest.raises(Corrupt, match="not its head"):
                check_included(wrong, beside, checkpoint)
    kept.close()


def test_many_threads_grow_to_the_same_root_below_and_above_where_subtrees_are_remembered() -> None:
    log, kept = Log(), HeadsFile()
    for _ in range(2):
        kept.take(0, [log.next(f"thread_{number}") for number in range(700)])
        kept.root(0)
        kept.take(0, [log.next(f"thread_{number}") for number in range(0, 700, 7)])
        assert kept.root(0) == subtree(leaves_of(log.heads.values()))
    assert kept.head(0, Address("default", "thread_7")) == log.heads["thread_7"]
    kept.close()


def test_what_is_kept_in_a_file_is_there_afterwards_and_an_unusable_file_is_begun_anew() -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "heads.sqlite"
        log, kept = Log(), HeadsFile(file)
        kept.take(0, [log.next("thread_1"), log.next("thread_2")])
        kept.signed = "abc"
        kept.close()
        again = HeadsFile(file)
        assert again.signed == "abc"
        assert again.root(0) == subtree(leaves_of(log.heads.values()))
        again.close()
        file.write_bytes(b"this is no database, and large enough to be looked at as one" * 100)
        anew = HeadsFile(file)
        assert anew.progress(0).seq == 0
        anew.close()


def test_a_leaf_is_made_of_what_the_documents_say() -> None:
    address = Address("default", "thread_1")
    place = sha256(b"clew thread\x00default\x00thread_1").digest()
    assert key_of(address) == place
    assert leaf_of(place, 3, "ab" * 32) == sha256(b"\x00" + place + b"\x00" * 7 + b"\x03" + b"\xab" * 32).digest()
    assert shard_of("thread_1", 1) == 0
