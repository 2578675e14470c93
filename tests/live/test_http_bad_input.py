"""Bad input over HTTP: a clear 4xx with the envelope, never a 5xx, and nothing changed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx2
import pytest

from clew_services.compose import Clew
from clew_services.settings import Settings
from support.api import ACME, served

IN = {"Authorization": f"Bearer {ACME}", "OpenAI-Beta": "assistants=v2"}

NOT_JSON = [
    b"{",
    b"}",
    b"\xff\xfe",
    b'{"metadata": {"a": "\xc3"}}',
    b"[" * 100_000,
    b"nul",
    b"{'a': 1}",
    b"\x00",
    b"{}{}",
]
NOT_THIS = [
    b"[]",
    b"null",
    b"7",
    b'"text"',
    b'{"metadata": []}',
    b'{"metadata": {"k": 1}}',
    b'{"metadata": {"k": null}}',
    b'{"metadata": {"k": "\\ud800"}}',
    b'{"metadata": 1e999}',
    b'{"bogus": true}',
    json.dumps({"metadata": {str(number): "v" for number in range(17)}}).encode(),
    json.dumps({"metadata": {"k" * 65: "v"}}).encode(),
    json.dumps({"metadata": {"k": "v" * 513}}).encode(),
    json.dumps({"metadata": {"k": "v"}, "id": "cmd-1"}).encode(),
    json.dumps({"metadata": {"k": "v"}, "thread_id": "thread_mine"}).encode(),
]
STRANGE_IDS = [
    "a.b",
    "*",
    ">",
    "a/b",
    " ",
    "a b",
    "\x00",
    "..a",
    "é",
    "線",
    "%",
    "x" * 5000,
    "\r\nX-Evil: 1",
    "$JS.API.>",
]


@pytest.fixture
async def http(clew: Clew) -> AsyncIterator[httpx2.AsyncClient]:
    async with served(clew) as url, httpx2.AsyncClient(base_url=url, headers=IN, timeout=30) as client:
        yield client


async def commits(clew: Clew) -> list[int]:
    """How many commits each shard holds."""
    counts = []
    for shard in range(clew.deployment.shards):
        info = await clew.js.api(f"STREAM.INFO.CLEW_EVT_{shard:02d}")
        counts.append(info["state"]["messages"])
    return counts


def hold_refused(answer: httpx2.Response) -> dict[str, object]:
    """It is a clear 4xx with the envelope."""
    assert 400 <= answer.status_code < 500, answer.text
    envelope = answer.json()
    assert set(envelope) == {"error"}
    error = envelope["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"] == "invalid_request_error"
    assert answer.headers["x-request-id"].startswith("req_")
    return error


async def test_bad_bodies_change_nothing(http: httpx2.AsyncClient, clew: Clew):
    created = (await http.post("/v1/threads", json={"messages": [{"role": "user", "content": "hi"}]})).json()
    thread = f"/v1/threads/{created['id']}"
    message = f"{thread}/messages/{(await http.get(f'{thread}/messages')).json()['first_id']}"
    before = await commits(clew)
    targets = [
        ("POST", "/v1/threads"),
        ("POST", thread),
        ("PATCH", thread),
        ("POST", f"{thread}/messages"),
        ("POST", message),
        ("PATCH", message),
    ]
    for method, path in targets:
        for body in NOT_JSON:
            error = hold_refused(await http.request(method, path, content=body))
            assert (error["code"], error["param"]) == ("invalid_json", None)
        for body in NOT_THIS:
            hold_refused(await http.request(method, path, content=body))
    assert await commits(clew) == before
    assert (await http.get(thread)).json()["metadata"] == {}


@pytest.mark.parametrize("prefix", ["", "thread", "thread_"])
async def test_strange_ids_lead_nowhere(http: httpx2.AsyncClient, clew: Clew, prefix: str):
    before = await commits(clew)
    for strange in STRANGE_IDS:
        path = f"/v1/threads/{quote(prefix + strange, safe='')}"
        for method in ("GET", "POST", "PATCH", "DELETE"):
            error = hold_refused(await http.request(method, path, content=b"{}" if method != "GET" else b""))
            said = "No thread found with id" if prefix else "Expected an ID that begins with 'thread'"
            assert said in str(error["message"])
        hold_refused(await http.get(f"{path}/messages"))
        hold_refused(await http.post(f"{path}/messages", json={"role": "user", "content": "hi"}))
        for method in ("GET", "POST", "PATCH", "DELETE"):
            hold_refused(await http.request(method, f"{path}/messages/{quote('msg_' + strange, safe='')}"))
    assert await commits(clew) == before


async def test_strange_cursors_lead_nowhere(http: httpx2.AsyncClient):
    thread = (await http.post("/v1/threads", json={"messages": [{"role": "user", "content": "hi"}]})).json()["id"]
    for strange in [*STRANGE_IDS, "", "msg_" + "0" * 24, "msg_" + "z" * 24, "msg_" + "a" * 23]:
        for cursor in ("after", "before"):
            error = hold_refused(await http.get(f"/v1/threads/{thread}/messages", params={cursor: strange}))
            assert str(error["message"]).startswith("No message found with id")


async def test_items_that_are_not_utf_8_are_refused(http: httpx2.AsyncClient, clew: Clew):
    items = f"/v1/conversations/{(await http.post('/v1/conversations')).json()['id']}/items"
    before = await commits(clew)
    for item in (b'{"type":"x","\xff":1}', b'{"role":"user","\xed\xa0\x80":"a","content":"x"}', b'"\xff"', b"1e400"):
        for path in ("/v1/conversations", items):
            error = hold_refused(await http.post(path, content=b'{"items":[%s]}' % item))
            assert error["param"] == "items[0]"
    assert await commits(clew) == before


async def test_nobody_without_a_key_changes_anything(clew: Clew, http: httpx2.AsyncClient):
    thread = (await http.post("/v1/threads")).json()["id"]
    before = await commits(clew)
    for key in ("", "Bearer", "Bearer wrong", f"Basic {ACME}", f"Bearer {ACME}x", f"Bearer {ACME},{ACME}"):
        for method, path in [("POST", "/v1/threads"), ("DELETE", f"/v1/threads/{thread}"), ("GET", "/v1/threads/x")]:
            answer = await http.request(method, path, headers={"Authorization": key})
            hold_refused(answer)
            assert answer.status_code == 401
            assert ACME not in answer.text
    assert await commits(clew) == before


async def test_the_largest_body_there_may_be_becomes_a_commit(http: httpx2.AsyncClient):
    messages = [{"role": "user", "content": "x" * 80_000} for _ in range(100)]
    largest = Settings().max_body
    spare = largest - len(json.dumps({"messages": messages}))
    messages[0]["content"] += "x" * 160_000
    messages[1]["content"] += "x" * (spare - 160_000)
    body = json.dumps({"messages": messages}).encode()
    assert len(body) == largest
    created = await http.post("/v1/threads", content=body)
    assert created.status_code == 200
    listed: list[str] = []
    page, after = {"has_more": True}, ""
    while page["has_more"]:  # a page of long messages has fewer than it may
        asked = f"/v1/threads/{created.json()['id']}/messages?limit=100&order=asc{after}"
        page = (await http.get(asked)).json()
        listed += [message["content"][0]["text"]["value"] for message in page["data"]]
        after = f"&after={page['last_id']}"
    assert listed == [message["content"] for message in messages]
    assert hold_refused(await http.post("/v1/threads", content=body + b" "))["code"] == "too_large"
