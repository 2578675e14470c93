"""Whatever happened and whatever is asked: the index answers as somebody would who looks at every thread."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from clew_events.list_query import ListThreads
from clew_events.list_reply import ThreadList
from clew_projections.index import IndexReader, IndexWriter, open_for_reading, open_for_writing
from support.listing import KEYS, TENANTS, World, happened, histories, questions

EXAMPLES = settings(max_examples=40, deadline=None)


@contextmanager
def index() -> Iterator[tuple[IndexWriter, IndexReader]]:
    """An empty index."""
    with tempfile.TemporaryDirectory() as folder:
        writer = open_for_writing(Path(folder) / "index.db")
        reader = open_for_reading(Path(folder) / "index.db")
        yield writer, reader
        reader.close()
        writer.close()


def fill(writer: IndexWriter, world: World, cuts: list[int]) -> None:
    """Everything in batches, each of which begins with some of what the one before had."""
    edges = [0, *sorted(cut % (len(world.records) + 1) for cut in cuts), len(world.records)]
    for start, end in itertools.pairwise(edges):
        writer.apply(world.records[max(0, start - 3) : end], {})
    writer.apply([], world.marks)


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
@given(histories(), st.lists(st.integers(0, 60), max_size=4), st.lists(questions, min_size=1, max_size=8))
def test_the_index_answers_as_a_look_at_every_thread_does(what, cuts, asked) -> None:
    world = happened(what)
    with index() as (writer, reader):
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
    with index() as (writer, reader):
        writer.apply(world.records, world.marks)
        order_before = world.answer("default", query)
        paging = pages(reader, "default", query)
        seen = next(paging)
        came = len(world.records)
        happened(meanwhile, world)
        writer.apply(world.records[came:], world.marks)
        for page in paging:
            seen += page
        moved = {each.commit.thread for each in world.records[came:] if each.commit.tenant == "default"}
        stayed = [thread for thread in order_before if thread not in moved]
        assert sorted(thread for thread in seen if thread not in moved) == sorted(stayed)
        if query.search is None:
            assert [thread for thread in seen if thread not in moved] == stayed
