"""The whole log of a tenant as a feed: nothing missed, nothing twice, always in the same order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bench.generating import Plan, generate

from clew_events.errors import Invalid
from clew_events.queries import GetFeed
from clew_events.replies import Feed, FeedEntry
from clew_events.subjects import Address, event_stream
from clew_projections.feed import merge
from clew_services.compose import Clew, connect
from support.commits import CREATED, THREAD, body_of, commit, store
from support.deployments import deployed
from support.truth import log_of
from support.writers import Writer, handler, thread_id

PLAN = Plan(commits=1_500, threads=120, tenants={"acme": 0.6, "globex": 0.4})


async def page(clew: Clew, tenant: str = "acme", **asked: object) -> Feed:
    answer = await clew.reader.answer(tenant, GetFeed(**asked))  # type: ignore[arg-type]
    assert isinstance(answer, Feed)
    return answer


async def everything(clew: Clew, tenant: str = "acme", **asked: object) -> list[FeedEntry]:
    found: list[FeedEntry] = []
    while True:
        some = await page(clew, tenant, **asked)
        found += some.data
        if not some.has_more:
            return found
        asked["after"] = some.next


def places(entries: Iterable[FeedEntry]) -> list[tuple[datetime, int, int]]:
    return [(each.stored_at, each.position.shard, each.position.seq) for each in entries]


async def truth(clew: Clew, tenant: str) -> set[tuple[int, int, str]]:
    return {
        (each.position.shard, each.position.seq, each.hash)
        for address, commits in (await log_of(clew)).items()
        if address.tenant == tenant
        for each in commits
    }


def held(entries: Iterable[FeedEntry]) -> list[tuple[int, int, str]]:
    return [(each.position.shard, each.position.seq, each.hash) for each in entries]


@pytest.mark.parametrize("limit", [7, 1000])
async def test_the_feed_has_every_commit_of_a_tenant_once_in_order_and_none_of_another(clew: Clew, limit: int) -> None:
    await generate(clew.js, 2, PLAN)
    for tenant in ("acme", "globex"):
        forwards = await everything(clew, tenant, limit=limit)
        assert places(forwards) == sorted(places(forwards))
        assert len(forwards) == len(set(held(forwards)))
        assert set(held(forwards)) == await truth(clew, tenant)
        backwards = await everything(clew, tenant, limit=limit, order="desc")
        assert held(backwards) == held(forwards)[::-1]
        seen: dict[str, int] = {}
        for each in forwards:
            assert each.commit is not None
            assert each.commit.n == seen.get(each.commit.thread, 0) + 1
            seen[each.commit.thread] = each.commit.n


async def test_the_id_of_any_entry_is_a_place_to_go_on_from_for_ever(clew: Clew) -> None:
    await generate(clew.js, 2, Plan(commits=120, threads=20, tenants={"acme": 1}))
    before = await everything(clew)
    await generate(clew.js, 2, Plan(commits=80, threads=10, seed=2, tenants={"acme": 0.5, "globex": 0.5}))
    after = await everything(clew)
    assert held(after)[: len(before)] == held(before)  # the same beginning, whatever came since
    for place in range(0, len(before), 13):
        onwards = await everything(clew, after=before[place].id, limit=50)
        assert held(onwards) == held(after)[place + 1 :]
        back = await everything(clew, after=(await page(clew, order="desc", limit=place + 1)).next, order="desc")
        assert held(back) == held(after)[::-1][place + 1 :]


async def test_while_many_write_every_page_begins_as_it_began_before(clew: Clew) -> None:
    writer = Writer(handler(clew), "acme")
    stop = asyncio.Event()

    async def writing() -> None:
        thread = thread_id(await writer.create())
        while not stop.is_set():
            await writer.add(thread)

    writers = [asyncio.create_task(writing()) for _ in range(12)]
    given: list[FeedEntry] = []
    cursor: str | None = None
    for _ in range(40):
        some = await page(clew, after=cursor, limit=1000)
        given += some.data
        again = await page(clew, after=cursor, limit=1000)
        assert held(again.data)[: len(some.data)] == held(some.data)
        cursor = some.next
    stop.set()
    await asyncio.gather(*writers)
    given += await everything(clew, after=cursor)
    assert places(given) == sorted(places(given))
    assert held(given) == held(await everything(clew))
    assert set(held(given)) == await truth(clew, "acme")


async def test_what_was_acknowledged_is_on_the_next_page(clew: Clew) -> None:
    writer = Writer(handler(clew), "acme")
    cursor = (await page(clew, after="latest")).next
    for _ in range(20):
        done = await writer.create()
        some = await page(clew, after=cursor)
        assert [each.position for each in some.data] == [done.position]
        assert not some.has_more
        cursor = some.next
    assert not (await page(clew, after=cursor)).data
    assert (await page(clew, after=cursor)).next == cursor


async def test_filters_hold_and_a_page_that_found_nothing_still_leads_on(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    await generate(clew.js, 2, PLAN)
    all_of_it = await everything(clew)
    some = all_of_it[len(all_of_it) // 2].commit
    assert some is not None
    monkeypatch.setattr(merge, "SCANNED", 50)
    for asked, holds in (
        ({"types": ("ThreadDeleted",)}, lambda c: any(type(event).__name__ == "ThreadDeleted" for event in c.events)),
        ({"actor": "billing"}, lambda c: c.actor == "billing"),
        ({"thread_id": some.thread}, lambda c: c.thread == some.thread),
        (
            {"thread_id": some.thread, "actor": "api", "types": ("ItemAdded",)},
            lambda c: c.thread == some.thread and c.actor == "api" and "ItemAdded" in str(c.events),
        ),
        ({"actor": "nobody"}, lambda c: False),
    ):
        wanted = [each for each in all_of_it if holds(each.commit)]
        assert held(await everything(clew, **asked)) == held(wanted)
        assert held(await everything(clew, order="desc", **asked)) == held(wanted)[::-1]


async def test_a_span_of_time_is_what_the_log_took_then(clew: Clew) -> None:
    writer = Writer(handler(clew), "acme")
    for _ in range(30):
        await writer.create()
    entries = await everything(clew)
    since, until = entries[10].stored_at, entries[20].stored_at
    for limit in (3, 100):
        assert held(await everything(clew, since=since, until=until, limit=limit)) == held(entries[10:21])
        backwards = await everything(clew, since=since, until=until, limit=limit, order="desc")
        assert held(backwards) == held(entries[10:21])[::-1]
    later = datetime.now(UTC) + timedelta(hours=1)
    assert not await everything(clew, since=later)
    assert not await everything(clew, until=datetime(2020, 1, 1, tzinfo=UTC))
    assert held(await everything(clew, until=later, order="desc")) == held(entries)[::-1]


@pytest.mark.parametrize(
    "after", ["", "feed_", "nonsense", "feed_AAAA", "feed_\u00e9", "feed_AQQAABEABQ9_IYfGqA5xMXM", "LATEST", "x" * 5000]
)
async def test_a_cursor_that_is_none_is_refused_by_name(clew: Clew, after: str) -> None:
    with pytest.raises(Invalid) as refused:
        await page(clew, after=after)
    assert refused.value.param == "after"
    assert refused.value.code == "invalid_cursor"


async def test_a_cursor_of_another_tenant_order_or_deployment_is_refused(clew: Clew, tmp_path: Path) -> None:
    writer = Writer(handler(clew), "acme")
    await writer.create()
    cursor = (await page(clew)).next
    for tenant, order in (("globex", "asc"), ("acme", "desc")):
        with pytest.raises(Invalid, match="'after'"):
            await page(clew, tenant, after=cursor, order=order)
    flipped = cursor[:-3] + ("A" if cursor[-3] != "A" else "B") + cursor[-2:]
    with pytest.raises(Invalid, match="'after'"):
        await page(clew, after=flipped)
    async with deployed(tmp_path / "other") as server, connect(server.url, name="other") as other:
        with pytest.raises(Invalid, match="another deployment") as refused:
            await page(other, after=cursor)  # there is nothing there yet
        assert refused.value.code == "cursor_of_another_log"
        for _ in range(10):
            await Writer(handler(other), "acme").create()
        with pytest.raises(Invalid, match="another deployment"):
            await page(other, after=cursor)
    async with deployed(tmp_path / "wider", shards=3) as server, connect(server.url, name="wider") as wider:
        with pytest.raises(Invalid, match="2 shards"):
            await page(wider, after=cursor)


async def test_a_commit_that_cannot_be_read_is_in_the_feed_with_its_fault_and_its_bytes(clew: Clew) -> None:
    await store(clew.nc, Address("acme", THREAD), b'{"v":2,"not":"a commit"}')
    await store(clew.nc, Address("acme", THREAD), body_of(commit(1, CREATED, tenant="globex")))
    done = await Writer(handler(clew), "acme").create()
    first, second, third = await everything(clew)
    assert first.commit is second.commit is None
    assert first.fault is not None
    assert second.fault is not None
    assert (first.fault.code, second.fault.code) == ("unreadable_commit", "misplaced_commit")
    assert first.body == b'{"v":2,"not":"a commit"}'
    assert third.position == done.position
    assert [each.fault is None for each in await everything(clew, actor="nobody")] == [False, False]


async def test_a_commit_erased_under_a_cursor_leaves_the_cursor_good(clew: Clew) -> None:
    writer = Writer(handler(clew), "acme")
    first, second = await writer.create(), await writer.create()
    cursor = (await page(clew, limit=1)).next
    assert first.position != second.position
    await clew.nc.jetstream().delete_msg(event_stream(first.position.shard), first.position.seq)
    assert [each.position for each in (await page(clew, after=cursor)).data] == [second.position]
