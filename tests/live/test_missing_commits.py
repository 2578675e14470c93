"""No walker of a history steps over a commit that the log lost: it names it, or says that it cannot go on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile

import pytest
import pytest_asyncio

from clew_events import client
from clew_events.client.sync import connect as connect_blocking
from clew_events.errors import Corrupt, Invalid, NotFound
from clew_events.queries import GetBlame, GetDifference, GetHistory, GetStateAt, ListMessagesAt, Order
from clew_events.replies import History
from clew_events.subjects import Address
from clew_services.compose import Clew, connect
from clew_services.compose.roles import serve_queries
from support.asgi import call
from support.deployments import deployed
from support.forging import delete, five_commits, stored
from support.nats_services import served

pytestmark = pytest.mark.asyncio(loop_scope="module")

TENANT = "acme"
LOST = {
    "thread_whole": (),
    "thread_without_1": (1,),
    "thread_without_3": (3,),
    "thread_without_2_3": (2, 3),
    "thread_without_5": (5,),
    "thread_without_1_4_5": (1, 4, 5),
    "thread_without_all": (1, 2, 3, 4, 5),
}
TIMES: dict[tuple[str, int], datetime] = {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clew(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Clew]:
    """Threads of five commits each, some of which the log loses after they were read."""
    async with deployed(tmp_path_factory.mktemp("gaps") / "data") as server, connect(server.url, name="test") as made:
        for thread, lost in LOST.items():
            address = Address(TENANT, thread)
            await five_commits(made, address)
            for entry in (await page(made, thread)).commits:
                TIMES[thread, entry.commit.n] = entry.commit.at
            seqs = [each.seq for each in await stored(made, address)]
            await delete(made, address, *(seqs[n - 1] for n in lost))
        yield made


async def page(clew: Clew, thread: str, **asked: object) -> History:
    return await clew.reader.history(TENANT, GetHistory(thread_id=thread, **asked))  # type: ignore[arg-type]


def numbers(*pages: History) -> list[int]:
    return [entry.commit.n for each in pages for entry in each.commits]


def missing(*pages: History) -> list[int]:
    return [n for each in pages for gap in each.missing for n in range(gap.first, gap.last + 1)]


async def paged(clew: Clew, thread: str, **asked: object) -> list[History]:
    pages = [await page(clew, thread, **asked)]
    while pages[-1].cursor is not None:
        pages.append(await page(clew, thread, **asked | {"after": pages[-1].cursor}))
    return pages


@pytest.mark.parametrize("thread", LOST)
@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_what_is_missing_is_named_once_in_either_order_however_pages_are_cut(
    clew: Clew, thread: str, order: str
) -> None:
    left = [n for n in range(1, 6) if n not in LOST[thread]]
    for limit in (1, 2, 100):
        pages = await paged(clew, thread, order=order, limit=limit)
        assert sorted(numbers(*pages)) == left
        assert sorted(missing(*pages)) == list(LOST[thread])
    few = await page(clew, thread, order=order, types=("ThreadCreated",))
    assert sorted(missing(few)) == list(LOST[thread])
    for n in range(1, 6):
        reached = range(n, 6) if order == "asc" else range(1, n + 1)
        begun = await page(clew, thread, order=order, start=n)
        assert sorted(numbers(begun)) == [each for each in left if each in reached]
        assert sorted(missing(begun)) == [each for each in LOST[thread] if each in reached]
        beyond = range(n + 1, 6) if order == "asc" else range(1, n)
        after = await page(clew, thread, order=order, after=str(n))
        assert sorted([*numbers(after), *missing(after)]) == list(beyond)
        until = await page(clew, thread, order=order, before=str(n))
        assert numbers(until) == sorted(numbers(until), reverse=order == "desc")
        assert sorted([*numbers(until), *missing(until)]) == list(range(1, n) if order == "asc" else range(n + 1, 6))


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_commit_that_never_was_is_not_missing(clew: Clew, order: str) -> None:
    for thread in ("thread_whole", "thread_without_3"):
        for said in ("0", "6", "7"):
            with pytest.raises(Invalid):
                await page(clew, thread, order=order, after=said)
        assert missing(await page(clew, thread, order=order, start=9)) == ([] if order == "asc" else list(LOST[thread]))
    with pytest.raises(NotFound):
        await page(clew, "thread_nobody", order=order)


Asked = Callable[[Clew, str, int], Awaitable[object]]


async def _thread(clew: Clew, thread: str, n: int) -> object:
    return await clew.reader.past.thread(TENANT, thread, n)


async def _thread_then(clew: Clew, thread: str, n: int) -> object:
    return await clew.reader.past.thread(TENANT, thread, TIMES[thread, n])


async def _messages(clew: Clew, thread: str, n: int) -> object:
    return await clew.reader.past.messages(TENANT, ListMessagesAt(thread_id=thread, as_of=n))


async def _difference(clew: Clew, thread: str, n: int) -> object:
    return await clew.reader.past.difference(TENANT, GetDifference(thread_id=thread, since=0, until=n))


async def _blame(clew: Clew, thread: str, n: int) -> object:
    return await clew.reader.past.blame(TENANT, GetBlame(thread_id=thread, as_of=n))


async def _replayed(clew: Clew, thread: str, n: int) -> object:
    return await clew.reader.state_at(TENANT, GetStateAt(thread_id=thread, n=n))


async def _replayed_then(clew: Clew, thread: str, n: int) -> object:
    return await clew.reader.state_at(TENANT, GetStateAt(thread_id=thread, time=TIMES[thread, n]))


ASKED: list[Asked] = [_thread, _thread_then, _messages, _difference, _blame, _replayed, _replayed_then]


@pytest.mark.parametrize("ask", ASKED, ids=[each.__name__ for each in ASKED])
async def test_the_past_is_told_up_to_the_gap_and_not_from_there_on(clew: Clew, ask: Asked) -> None:
    # When a commit was made that is missing, nobody knows: perhaps at the time of the one before it.
    sure = 1 if ask in (_thread_then, _replayed_then) else 0
    for thread, lost in LOST.items():
        for n in range(1, 6):
            if lost and n >= lost[0] - sure:
                with pytest.raises(Corrupt) as refused:
                    await ask(clew, thread, n)
                assert refused.value.code == "missing_commit", (thread, n)
            else:
                await ask(clew, thread, n)


async def test_now_is_not_told_either_if_the_end_was_lost(clew: Clew) -> None:
    thread, later = "thread_without_5", TIMES["thread_without_5", 5] + timedelta(microseconds=1)
    for asked in (
        clew.reader.past.blame(TENANT, GetBlame(thread_id=thread)),
        clew.reader.past.difference(TENANT, GetDifference(thread_id=thread, since=0)),
        clew.reader.past.thread(TENANT, thread, later),
        clew.reader.state_at(TENANT, GetStateAt(thread_id=thread, time=later)),
    ):
        with pytest.raises(Corrupt, match="commit 5 is missing"):
            await asked


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_clients_iterator_gives_what_is_there_up_to_the_gap_and_raises(clew: Clew, order: Order) -> None:
    assert clew.nc.connected_url is not None
    url = clew.nc.connected_url.geturl()

    def blocking(thread: str, found: list[int]) -> None:
        with connect_blocking(url, tenant=TENANT) as asked:
            for entry in asked.iter_history(thread, order=order):
                found.append(entry.commit.n)  # noqa: PERF401 - those before the error count

    async with served(clew, (serve_queries,)), client.connect(url, tenant=TENANT) as ours:

        async def waiting(thread: str, found: list[int]) -> None:
            async for entry in ours.iter_history(thread, order=order):
                found.append(entry.commit.n)  # noqa: PERF401 - likewise

        for thread, lost in LOST.items():
            every = list(range(1, 6)) if order == "asc" else list(range(5, 0, -1))
            wanted = list(takewhile(lambda n, lost=lost: n not in lost, every))
            for asked in (waiting, partial(asyncio.to_thread, blocking)):
                found: list[int] = []
                with pytest.raises(Corrupt, match="missing") if lost else nullcontext():
                    await asked(thread, found)
                assert found == wanted, thread
        told = await ours.history("thread_without_3")
        assert (numbers(told), missing(told)) == ([1, 2, 4, 5], [3])


async def test_a_page_over_http_names_what_is_missing(clew: Clew) -> None:
    answer = json.loads((await call(clew, "GET", "/v1/threads/thread_without_2_3/events")).body)
    assert [each["n"] for each in answer["data"]] == [1, 4, 5]
    assert answer["missing"] == [{"first": 2, "last": 3}]
    for asked in ("/diff?from=1&to=3", "/blame?as_of=3", "?as_of=2"):
        refused = await call(clew, "GET", f"/v1/threads/thread_without_2_3{asked}")
        assert (refused.status, json.loads(refused.body)["error"]["code"]) == (500, "missing_commit"), asked
