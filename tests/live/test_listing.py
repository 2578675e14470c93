"""Lists of threads through every door: HTTP, NATS, the client and the command line give the same answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import httpx2
import msgspec
import openai
import pytest
from click.testing import CliRunner
from openai.pagination import AsyncCursorPage
from openai.types.beta import Thread

from clew_events.client import Clew as Client
from clew_events.client import connect
from clew_events.client import sync as waiting
from clew_events.commit import Position
from clew_events.errors import Invalid, Unavailable
from clew_services.cli import main
from clew_services.compose import Clew
from clew_services.compose.roles import serve_commands, serve_queries
from clew_services.queries import lists
from support.api import ACME, GLOBEX, served
from support.feeding import Fed, fed_by_hand
from support.nats_services import served as answered

IN = {"Authorization": f"Bearer {ACME}", "OpenAI-Beta": "assistants=v2"}
GOLD = {"metadata": {"key": "plan", "eq": "gold"}}
LIST = "/v1/threads"
WITH_FACETS = json.dumps({"where": GOLD, "facets": ["plan"]})
LONG = {"metadata": {"key": "k" * 65, "eq": ""}}


@pytest.fixture
async def fed(clew: Clew, tmp_path: Path) -> AsyncIterator[Fed]:
    with fed_by_hand(clew, tmp_path) as fed:
        yield fed


@pytest.fixture
async def http(clew: Clew, fed: Fed) -> AsyncIterator[httpx2.AsyncClient]:
    async with served(clew) as url, httpx2.AsyncClient(base_url=url, headers=IN, timeout=30) as client:
        yield client


@pytest.fixture
async def nats(clew: Clew, fed: Fed) -> AsyncIterator[Client]:
    async with (
        answered(clew, (serve_commands, serve_queries)),
        connect(clew.nc.connected_url.geturl(), tenant="acme", actor="shop") as client,
    ):
        yield client


async def made(nats: Client) -> list[str]:
    """Three threads, the last created first."""
    return [
        (await nats.create_thread(messages=[text], metadata=metadata)).thread.id
        for text, metadata in (
            ("Where is my parcel?", {"plan": "gold", "n": "1"}),
            ("A refund, please", {"plan": "silver", "n": "2"}),
            ("The refund policy", {"plan": "gold", "n": "3"}),
        )
    ][::-1]


async def test_every_door_gives_the_same_answer(http: httpx2.AsyncClient, nats: Client, fed: Fed):
    third, _, first = await made(nats)
    await fed.feed()
    query = {"where": GOLD, "count": True, "facets": ["plan"], "limit": 5}
    over_http = (await http.get(LIST, params={"query": json.dumps(query)})).json()
    assert [each["id"] for each in over_http["data"]] == [third, first]
    assert over_http["count"] == {"threads": 2, "exact": True}
    assert over_http["facets"] == [
        {"key": "plan", "values": [{"value": "gold", "threads": 2}], "more": False, "exact": True}
    ]
    found = await nats.list_threads(where=GOLD, count=True, facets=("plan",), limit=5)
    assert [each.id for each in found.data] == [third, first]
    url = nats._requester._nc.connected_url.geturl()
    said = ("thread", "list", "--query", json.dumps(query), "--tenant", "acme", "--nats", url)
    shown = await asyncio.to_thread(CliRunner().invoke, main, (*said, "--json"))
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout) == over_http
    with_options = ("-m", "plan=gold", "--count", "--facet", "plan", "--limit", "5", "--json")
    shorter = await asyncio.to_thread(CliRunner().invoke, main, (*said[:2], *with_options, *said[4:]))
    assert json.loads(shorter.stdout) == over_http
    table = await asyncio.to_thread(CliRunner().invoke, main, (*said[:2], "--search", "refund", "--count", *said[4:]))
    assert table.exit_code == 0, table.output
    assert "The [refund] policy" in table.stdout
    assert "threads  2" in table.stdout


async def test_who_waits_without_async_gets_lists_too(nats: Client, fed: Fed):
    ids = await made(nats)
    await fed.feed()

    def listed() -> list[str]:
        url = nats._requester._nc.connected_url.geturl()
        with waiting.connect(url, tenant="acme") as client:
            assert client.list_threads(limit=1).has_more
            return [each.id for each in client.iter_threads(limit=1)]

    assert await asyncio.to_thread(listed) == ids


async def test_a_client_of_openais_pages_through_the_list(http: httpx2.AsyncClient, nats: Client, fed: Fed):
    ids = await made(nats)
    await fed.feed()
    client = openai.AsyncOpenAI(base_url=str(http.base_url.join("/v1")), api_key=ACME, default_headers=IN)
    pages = client.get_api_list(
        "/threads", page=AsyncCursorPage[Thread], model=Thread, options={"params": {"limit": 1, "order": "asc"}}
    )
    listed = [thread async for thread in pages]
    assert [thread.id for thread in listed] == ids[::-1]
    assert listed[0].metadata == {"plan": "gold", "n": "1"}
    await client.close()


async def test_what_was_written_is_in_the_list_that_waits_for_it(http: httpx2.AsyncClient, fed: Fed):
    created = await http.post(LIST, json={"metadata": {"plan": "new"}})
    position = created.headers["clew-position"]
    asking = asyncio.create_task(http.get(LIST, params={"at_least": position}))
    await asyncio.sleep(0)
    await fed.feed()
    listed = await asking
    assert [each["id"] for each in listed.json()["data"]] == [created.json()["id"]]
    assert position in listed.headers["clew-position"].split(",")
    assert listed.json()["fresh"]["position"] == listed.headers["clew-position"]
    assert listed.json()["fresh"]["at"]


async def test_a_list_that_cannot_be_as_fresh_as_asked_says_how_far_it_is(
    http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lists, "PATIENCE", 0.05)
    behind = await http.get(LIST, params={"at_least": "1-999999"})
    assert (behind.status_code, behind.json()["error"]["code"]) == (503, "index_behind")
    assert behind.json()["error"]["message"].startswith("the index is at 1-0, and 'at_least' is 1-999999")
    nowhere = await http.get(LIST, params={"at_least": "7-1"})
    assert (nowhere.status_code, nowhere.json()["error"]["param"]) == (400, "at_least")


async def test_deleted_threads_and_messages_are_in_no_list_and_in_no_search(nats: Client, fed: Fed):
    third, second, _ = await made(nats)
    refund = (await nats.list_messages(third)).messages.data[0].id
    await nats.delete_message(third, refund)
    done = await nats.delete_thread(second)
    await fed.feed()
    assert (await nats.list_threads(search="refund", at_least=done.position, count=True)).data == ()
    left = await nats.list_threads(count=True, facets=("plan",))
    assert left.count is not None
    assert left.count.threads == len(left.data) == 2
    assert left.facets is not None
    assert [(each.value, each.threads) for each in left.facets[0].values] == [("gold", 2)]


async def test_a_list_shows_a_thread_as_retrieving_it_does(http: httpx2.AsyncClient, nats: Client, fed: Fed):
    text = ',"tool_resources":{},'
    await made(nats)
    tools = {"file_search": {"vector_store_ids": ["vs_1"]}}
    body = {"tool_resources": tools, "metadata": {text: text, "tool_resources": "{}"}}
    await http.post(LIST, json=body)
    await fed.feed()
    for query in ({}, {"search": "refund"}):
        listed = (await http.get(LIST, params=query)).json()["data"]
        assert len(listed) > 1
        for thread in listed:
            retrieved = (await http.get(f"{LIST}/{thread['id']}")).json()
            assert {key: thread[key] for key in retrieved} == retrieved
            over_nats = (await nats.get_thread(thread["id"])).thread
            assert json.loads(msgspec.json.encode(over_nats)) == retrieved
    assert {"code_interpreter": {"file_ids": []}} in [thread["tool_resources"] for thread in listed]


async def test_tenants_do_not_see_each_others_threads(http: httpx2.AsyncClient, nats: Client, fed: Fed):
    ids = await made(nats)
    await fed.feed()
    others = {"headers": {**IN, "Authorization": f"Bearer {GLOBEX}"}}
    for query in (
        {},
        {"search": "refund"},
        {"count": "true"},
        {"query": WITH_FACETS},
    ):
        listed = (await http.get(LIST, params=query, **others)).json()
        assert listed["data"] == []
        assert listed["count"] in (None, {"threads": 0, "exact": True})
        assert all(facet["values"] == [] for facet in listed["facets"] or [])
    for after in (ids[0], (await http.get(LIST, params={"limit": 1})).json()["next"]):
        refused = await http.get(LIST, params={"after": after, "limit": 1}, **others)
        assert refused.status_code == 400 or refused.json()["data"] == []


REFUSED = {
    "not JSON": ({"query": "{"}, "query"),
    "no object": ({"query": "[]"}, "query"),
    "unknown field": ({"query": '{"were":{}}'}, "were"),
    "unknown field deep inside": ({"query": '{"where":{"and":[{"not":{"metdata":{}}}]}}'}, "where.and[0].not.metdata"),
    "wrong type deep inside": ({"query": '{"where":{"or":[{"messages":{"gt":"3"}}]}}'}, "where.or[0].messages.gt"),
    "a test of nothing": ({"query": '{"where":{"metadata":{"key":"a"}}}'}, "where.metadata"),
    "an empty or": ({"query": '{"where":{"or":[]}}'}, "where.or"),
    "a time somewhere on earth": ({"query": '{"where":{"created":{"gt":"2026-01-01T00:00:00"}}}'}, "where.created.gt"),
    "no time": ({"query": '{"where":{"created":{"gt":"yesterday"}}}'}, "where.created.gt"),
    "a number beyond numbers": ({"query": '{"where":{"metadata":{"key":"a","gt":1e999}}}'}, "query"),
    "too deep": ({"query": '{"where":' + '{"not":' * 9 + "{}" + "}" * 10}, "where" + ".not" * 8),
    "far too deep": ({"query": '{"where":' + '{"not":' * 900 + "{}" + "}" * 901}, "where" + ".not" * 8),
    "too many": ({"query": json.dumps({"where": {"and": [GOLD] * 64}})}, "where"),
    "too long a key": (
        {"query": json.dumps({"where": LONG})},
        "where.metadata.key",
    ),
    "said twice": ({"query": '{"limit":3}', "limit": "5"}, "limit"),
    "limit": ({"limit": "0"}, "limit"),
    "order": ({"order": "up"}, "order"),
    "count": ({"count": "yes"}, "count"),
    "order of a search": ({"search": "x", "order_by": "updated"}, "order_by"),
    "order of no search": ({"order_by": "match"}, "order_by"),
    "two said twice": ({"query": '{"order":"asc","limit":3}', "limit": "5", "order": "asc"}, "limit"),
    "a lone surrogate": ({"query": '{"search":"\\ud800"}'}, "query"),
    "the first of bad conditions": (
        {"query": '{"where":{"and":[{"metadata":{"key":"a"}},{"metadata":{"key":"b"}}]}}'},
        "where.and[0].metadata",
    ),
    "no cursor": ({"after": "page_%%%"}, "after"),
    "no thread": ({"before": "thread_nowhere"}, "before"),
    "a thread that moves": ({"after": "thread_nowhere", "order_by": "updated"}, "after"),
    "no position": ({"at_least": "soon"}, "at_least"),
    "too long a search": ({"search": "x" * 4097}, "search"),
    "too many words": ({"search": " ".join(f"w{n}" for n in range(65))}, "search"),
    "facets of a string": ({"query": '{"facets":"plan"}'}, "facets"),
    "more than a request": ({"where": "{}"}, "where"),
}


async def test_a_question_that_is_none_is_refused_by_name(http: httpx2.AsyncClient):
    for case, (params, param) in REFUSED.items():
        refused = await http.get(f"{LIST}?{urlencode(params)}")
        assert refused.status_code == 400, (case, refused.text)
        assert refused.json()["error"]["param"] == param, (case, refused.text)


@pytest.mark.parametrize("order_by", ["created", "updated"])
async def test_a_cursor_is_good_for_its_own_question_only(nats: Client, fed: Fed, order_by: str):
    ids = await made(nats)
    await fed.feed()
    page = await nats.list_threads(limit=1, order_by=order_by)
    following = await nats.list_threads(limit=2, order_by=order_by, after=page.next, count=True)
    assert [each.id for each in following.data] == ids[1:]
    back = await nats.list_threads(order_by=order_by, before=(await nats.list_threads(limit=2, order_by=order_by)).next)
    assert [each.id for each in back.data] == ids[:1]
    last = await nats.list_threads(limit=2, order_by=order_by, after=page.next)
    back = await nats.list_threads(limit=2, order_by=order_by, before=last.previous)
    assert ([each.id for each in back.data], back.previous) == (ids[:1], None)
    with pytest.raises(Invalid, match="together with 'after'"):
        await anext(nats.iter_threads(order_by=order_by, before=last.previous))
    for other in ({"order": "asc"}, {"where": GOLD}, {"search": "refund"}):
        ordered = {} if "search" in other else {"order_by": order_by}
        with pytest.raises(Invalid, match="cursor of another question") as refused:
            await nats.list_threads(**{**ordered, **other, "after": page.next})
        assert refused.value.param == "after"


async def test_a_thread_that_was_deleted_is_still_a_place_in_the_order_of_creation(nats: Client, fed: Fed):
    ids = await made(nats)
    await nats.delete_thread(ids[1])
    await fed.feed()
    assert [each.id for each in (await nats.list_threads(after=ids[1])).data] == ids[2:]


async def test_what_looks_like_an_operator_is_a_plain_word_or_nothing(nats: Client, fed: Fed):
    await made(nats)
    await fed.feed()
    for search in ("refund OR parcel", "NEAR(refund, 3)", "text:refund", "", "'--", "\u0301", "place : t1"):
        assert (await nats.list_threads(search=search)).data == ()
    for search in ("refund*", '"refund', "-refund", "refund\x00", "RE\u0301FUND", "(refund)", "refund " * 500):
        assert len((await nats.list_threads(search=search)).data) == 2


async def test_where_there_is_no_index_it_is_said(clew: Clew):
    async with served(clew) as url, httpx2.AsyncClient(base_url=url, headers=IN, timeout=60) as client:
        nothing = await client.get(LIST)
        assert (nothing.status_code, nothing.json()["error"]["code"]) == (503, "no_index")
        assert nothing.headers["retry-after"]


async def test_an_index_that_is_closed_or_not_there_is_not_available(fed: Fed, tmp_path: Path):
    from clew_events.list_query import ListThreads
    from clew_projections.index import Index

    with Index(tmp_path / "nowhere.db") as nowhere, pytest.raises(Unavailable, match="not there yet"):
        await nowhere.list("acme", ListThreads())
    fed.index.close()
    with pytest.raises(Unavailable, match="closed"):
        await fed.index.wait_until(0, 1)


async def test_every_change_says_where_it_is_in_the_log(http: httpx2.AsyncClient, fed: Fed):
    made = await http.post(LIST, json={"messages": [{"role": "user", "content": "Hello"}]})
    thread = f"{LIST}/{made.json()['id']}"
    (message,) = (await http.get(f"{thread}/messages")).json()["data"]
    changes = [
        made,
        await http.post(thread, json={"metadata": {"a": "1"}}),
        await http.post(f"{thread}/messages", json={"role": "user", "content": "Again"}),
        await http.post(f"{thread}/messages/{message['id']}", json={"metadata": {"a": "1"}}),
        await http.request("DELETE", f"{thread}/messages/{message['id']}"),
        await http.request("DELETE", thread),
    ]
    places = [each.headers["clew-position"].split("-") for each in changes]
    assert len({shard for shard, _ in places}) == 1
    assert [int(seq) for _, seq in places] == list(range(int(places[0][1]), int(places[0][1]) + len(places)))
    assert Position(int(places[0][0]), int(places[0][1])).seq >= 1
