"""Whatever happened and whatever is asked: the index answers as somebody would who looks at every thread."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from clew_events.list_query import ListHolds, ListThreads
from clew_events.list_reply import ThreadList
from clew_events.subjects import Address
from clew_projections.consistency.index_check import ExpectedRows, IndexProof
from clew_projections.consistency.log_fold import FoldedThread, fold_commit
from clew_projections.history.histories import Histories
from clew_projections.index import IndexReader, IndexWriter, open_for_reading, open_for_writing
from clew_projections.index.match import MatchedThread, match, needs_actors
from clew_projections.index.suspects import DuePlace
from clew_projections.tenant_state import RetentionPolicy, TenantState, encode_condition
from clew_projections.views import absent_stored
from clew_services.retention.due import judge
from clew_services.retention.due_threads import questions as due_questions
from support.commits import NOON
from support.listing import HOLDS, KEYS, TENANTS, THREADS, World, conditions, happened, histories, questions

END = datetime.max.replace(tzinfo=UTC)
EXAMPLES = settings(max_examples=40, deadline=None)


@contextmanager
def index() -> Iterator[tuple[IndexWriter, IndexReader, Path]]:
    """An empty index, and its file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "index.db"
        writer = open_for_writing(file)
        reader = open_for_reading(file)
        yield writer, reader, file
        reader.close()
        writer.close()


def fill(writer: IndexWriter, world: World, cuts: list[int]) -> None:
    """Everything in batches, each of which begins with some of what the one before had."""
    edges = [0, *sorted(cut % (len(world.records) + 1) for cut in cuts), len(world.records)]
    for start, end in itertools.pairwise(edges):
        take(writer, world, max(0, start - 3), end)
    writer.apply([], world.marks)


def take(writer: IndexWriter, world: World, start: int, end: int) -> None:
    """Some of what happened, and of a thread that it restores all that came before."""
    commits = world.records[start:end]
    for address in writer.find_restored(commits):
        others = [each for each in commits if (each.commit.tenant, each.commit.thread) != address]
        commits = [*others, *world.history(address, end)]
    writer.apply(commits, {})


def ids(page: ThreadList) -> list[str]:
    return [thread.id for thread in page.data]


def walk(reader: IndexReader, tenant: str, query: ListThreads) -> Iterator[ThreadList]:
    after: str | None = None
    while True:
        page = reader.list(tenant, replace(query, after=after))
        assert page.has_more == (page.next is not None)
        assert (page.previous is None) == (after is None or not page.data)
        yield page
        if page.next is None:
            return
        after = page.next


def pages(reader: IndexReader, tenant: str, query: ListThreads) -> Iterator[list[str]]:
    yield from map(ids, walk(reader, tenant, query))


def pages_back(reader: IndexReader, tenant: str, query: ListThreads, before: str) -> Iterator[list[str]]:
    """The pages before a cursor, the nearest first."""
    while True:
        page = reader.list(tenant, replace(query, before=before))
        assert page.has_more == (page.previous is not None)
        yield ids(page)
        if page.data:
            assert page.next is not None
        if page.previous is None:
            return
        before = page.previous


@EXAMPLES
@given(histories(), st.lists(conditions, min_size=1, max_size=8))
def test_a_condition_holds_for_one_thread_as_it_does_in_the_index(what, asked) -> None:
    world = happened(what)
    with index() as (writer, reader, _):
        fill(writer, world, [])
        for tenant, condition in itertools.product(TENANTS, asked):
            listed = {thread for page in pages(reader, tenant, ListThreads(where=condition)) for thread in page}
            there = {thread: kept for (owner, thread), kept in world.threads.items() if owner == tenant}
            matched = {
                thread
                for thread, kept in there.items()
                if match(condition, MatchedThread(kept.view, kept.created_by, kept.updated_by))
            }
            assert {thread for thread in matched if there[thread].view.status == "open"} == listed
            if not needs_actors(condition):
                assert matched == {
                    thread for thread, kept in there.items() if match(condition, MatchedThread(kept.view))
                }


@EXAMPLES
@given(histories(), st.lists(st.integers(0, 60), max_size=4), st.lists(questions, min_size=1, max_size=8))
def test_the_index_answers_as_a_look_at_every_thread_does(what, cuts, asked) -> None:
    world = happened(what)
    with index() as (writer, reader, _):
        fill(writer, world, cuts)
        for query in asked:
            for tenant in TENANTS:
                wanted = world.answer(tenant, query)
                walked = list(walk(reader, tenant, query))
                found = [*map(ids, walked)]
                listed = [thread for page in found for thread in page]
                if query.search is None:
                    assert listed == wanted
                else:
                    # Messages of one microsecond have an order of their own, the same in every index.
                    assert sorted(listed) == sorted(wanted)
                assert all(len(page) == query.limit for page in found[:-1])
                if (begin := walked[-1].previous) is not None:
                    # From the beginning of the last page backwards are all the pages before it.
                    back = list(pages_back(reader, tenant, query, begin))
                    assert [thread for page in reversed(back) for thread in page] == listed[: -len(found[-1])]
                    assert all(len(page) == query.limit for page in back[:-1])
                matching = world.answer(tenant, ListThreads(where=query.where))
                names = {name for thread in matching for name in world.threads[tenant, thread].view.holds}
                assert set(reader.names_of_holds(tenant, query.where)) == names
                everything = reader.list(tenant, replace(query, count=True, facets=KEYS))
                assert everything.count is not None
                assert everything.facets is not None
                assert (everything.count.threads, everything.count.exact) == (len(wanted), True)
                for facet in everything.facets:
                    views = [world.threads[tenant, thread].view for thread in wanted]
                    there = Counter(view.metadata[facet.key] for view in views if facet.key in view.metadata)
                    assert {each.value: each.threads for each in facet.values} == there
        assert reader.marks() == world.marks


@EXAMPLES
@given(histories(), histories(20), questions)
def test_paging_neither_skips_nor_repeats_what_stays_put_while_threads_come_and_go(before, meanwhile, query) -> None:
    world = happened(before)
    with index() as (writer, reader, _):
        writer.apply(world.records, world.marks)
        order_before = world.answer("default", query)
        paging = pages(reader, "default", query)
        seen = next(paging)
        came = len(world.records)
        happened(meanwhile, world)
        take(writer, world, came, len(world.records))
        writer.apply([], world.marks)
        for page in paging:
            seen += page
        moved = {each.commit.thread for each in world.records[came:] if each.commit.tenant == "default"}
        stayed = [thread for thread in order_before if thread not in moved]
        assert sorted(thread for thread in seen if thread not in moved) == sorted(stayed)
        if query.search is None:
            assert [thread for thread in seen if thread not in moved] == stayed


@EXAMPLES
@given(histories(40, THREADS[:4], least=20), st.lists(st.integers(0, 40), max_size=4), st.integers(1, 3))
def test_threads_with_holds_are_found_deleted_or_not_page_by_page(what, cuts, limit) -> None:
    world = happened(what)
    with index() as (writer, reader, _):
        fill(writer, world, cuts)
        for tenant in TENANTS:
            for hold in (None, *HOLDS):
                query, listed = ListHolds(hold=hold, limit=limit), []
                while (page := reader.holds(tenant, query)).data:
                    assert (page.first_id, page.last_id) == (page.data[0].id, page.data[-1].id)
                    listed += page.data
                    if not page.has_more:
                        break
                    assert len(page.data) == limit
                    query = replace(query, after=page.last_id)
                assert listed == world.held(tenant, hold)


@EXAMPLES
@given(histories(40, THREADS[:1], least=20), st.lists(st.integers(0, 40), min_size=4, max_size=12))
def test_rows_texts_and_counts_are_those_of_the_folded_history_however_it_is_cut(what, cuts) -> None:
    world = happened(what)
    with index() as (writer, _, file):
        fill(writer, world, cuts)
        proof = IndexProof(file, NO_LOG)
        expected = [expected_rows(world, Address(*address)) for address in world.threads]
        assert all(asyncio.run(proof.right(expected)))
        assert asyncio.run(proof.counts()) == []


NO_LOG = cast("Histories", None)
"""The log, of a proof that is told what to expect."""


def expected_rows(world: World, address: Address) -> ExpectedRows:
    folded = FoldedThread(view=absent_stored(*address))
    for each in world.history(address, len(world.records)):
        fold_commit(folded, each)
    thread = world.threads[address]
    return ExpectedRows(
        view=folded.view, items=folded.items, created_by=thread.created_by, updated_by=thread.updated_by
    )


policies = st.builds(
    RetentionPolicy,
    name=st.sampled_from(["first", "second", "third"]),
    after_days=st.integers(1, 2),
    since=st.sampled_from(["created", "changed", "original"]),
    where=st.none() | conditions.map(encode_condition),
    then=st.sampled_from(["delete", "erase"]),
    erase_after_days=st.none() | st.just(1),
).filter(lambda policy: policy.then == "delete" or policy.erase_after_days is None)


@EXAMPLES
@given(histories(least=10), st.lists(policies, min_size=1, max_size=3), st.integers(1, 4), st.integers(-3, 20))
def test_every_thread_that_is_due_is_among_the_suspects_of_its_rule(what, given_policies, days, seconds) -> None:
    world = happened(what)
    rules = TenantState(policies={policy.name: policy for policy in given_policies})
    at = NOON + timedelta(days=days, seconds=seconds)
    with index() as (writer, reader, _):
        fill(writer, world, [])
        for tenant in TENANTS:
            suspects: dict[str | None, set[str]] = {}
            for asked in due_questions(rules, at):
                place = DuePlace(asked.number)
                while page := reader.suspects(tenant, asked, place, 2):
                    place = DuePlace(asked.number, page[-1].time, page[-1].id)
                    assert len(page) == len({each.id for each in page} - suspects.setdefault(asked.policy, set()))
                    suspects[asked.policy] |= {each.id for each in page}
            for (owner, thread), kept in world.threads.items():
                removal = judge(MatchedThread(kept.view, kept.created_by, kept.updated_by), rules).due(at)
                if owner == tenant and removal is not None:
                    assert thread in suspects.get(removal.policy, set())
        expiring = {owner for (owner, _), kept in world.threads.items() if (kept.view.expires_at or END) <= at}
        assert [*reader.expiring_tenants(at)] == sorted(expiring)
