"""What callers are told who may write and not read: over HTTP by their key's scopes, over NATS all of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx2
import pytest
from nats.aio.client import Client

from clew_events.commands import AddMessage, CreateThread
from clew_events.requests import NewMessage, NewText
from clew_services.api_keys import Keys, KeyScope
from clew_services.api_keys.follower import follow_keys
from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from support.api import served
from support.deployments import connected_client
from support.nats_services import served as over_nats

SECRET = "not-for-writers"
THREAD = "thread_guarded"
HELLO = {"role": "user", "content": "hello"}
SAID = [{"type": "text", "text": {"value": "hello", "annotations": []}}]
BARE = {"id", "object", "created_at", "version"}


@pytest.fixture
async def message(clew: Clew) -> str:
    """A message in a thread, both of which say what no writer may learn."""
    hidden = NewMessage(role="user", content=(NewText(text=SECRET),), metadata={SECRET: SECRET})
    await clew.handler.handle("acme", CreateThread(thread_id=THREAD, messages=(hidden,), metadata={SECRET: SECRET}))
    added = await clew.handler.handle("acme", AddMessage(thread_id=THREAD, message=hidden))
    assert added.message is not None
    return added.message.id


async def api(clew: Clew, scopes: list[KeyScope]) -> AsyncIterator[httpx2.AsyncClient]:
    key, _ = await clew.keys.create("acme", "writer", scopes)
    keys = Keys()
    async with follow_keys(clew.nc, clew.keys, keys, clew.connection.reconnected), served(clew, keys=keys) as url:
        headers = {"Authorization": f"Bearer {key}", "OpenAI-Beta": "assistants=v2"}
        async with httpx2.AsyncClient(base_url=f"{url}/v1", headers=headers, timeout=60) as http:
            yield http


@pytest.fixture(params=["write", "write and audit"])
async def writer(clew: Clew, request: pytest.FixtureRequest) -> AsyncIterator[httpx2.AsyncClient]:
    """A client whose key may write, and not read."""
    async for http in api(clew, request.param.split(" and ")):
        yield http


@pytest.fixture
async def reader(clew: Clew) -> AsyncIterator[httpx2.AsyncClient]:
    """A client whose key may read and write."""
    async for http in api(clew, ["read", "write"]):
        yield http


async def test_a_key_that_only_writes_is_answered_with_what_the_request_said(
    writer: httpx2.AsyncClient, message: str
) -> None:
    thread, one = f"/threads/{THREAD}", f"/threads/{THREAD}/messages/{message}"
    asked: list[tuple[str, str, dict[str, object], dict[str, object]]] = [
        ("POST", thread, {}, {}),
        ("PATCH", thread, {"metadata": {"set": {"a": "1"}}}, {"metadata": {"a": "1"}}),
        ("PATCH", thread, {"metadata": {"unset": ["a"]}}, {}),
        ("POST", thread, {"tool_resources": {"code_interpreter": {"file_ids": ["file-1"]}}}, {}),
        ("POST", f"{thread}/messages", HELLO, {"content": SAID}),
        ("POST", f"{thread}/messages", {**HELLO, "metadata": {"b": "2"}}, {"content": SAID, "metadata": {"b": "2"}}),
        ("POST", one, {}, {}),
        ("PATCH", one, {"metadata": {"set": {"c": "3"}}}, {"metadata": {"c": "3"}}),
        ("PATCH", one, {"metadata": {"unset": ["c"]}}, {}),
        ("POST", one, {"metadata": {"d": "4"}}, {"metadata": {"d": "4"}}),
        ("POST", one, {"metadata": None}, {"metadata": {}}),
        ("POST", thread, {"metadata": {"e": "5"}}, {"metadata": {"e": "5"}}),
        ("POST", "/threads", {"messages": [HELLO]}, {}),
        ("POST", "/threads", {"metadata": {"f": "6"}}, {"metadata": {"f": "6"}}),
    ]
    for method, path, body, shown in asked:
        for _ in range(2):  # the second time as a repeat of the first
            key = {"Idempotency-Key": f"key-{asked.index((method, path, body, shown))}"}
            answer = await writer.request(method, path, json=body, headers=key)
            assert answer.status_code == 200, answer.text
            assert SECRET not in answer.text + str(answer.headers)
            told = answer.json()
            assert set(told) == BARE | set(shown), (method, path, body)
            assert told.items() >= shown.items()
            if path in {"/threads", thread}:
                assert answer.headers["etag"] == f'"{told["version"]}"'
    gone = await writer.delete(one)
    assert (gone.status_code, set(gone.json())) == (200, {"id", "object", "deleted"})


async def test_what_is_refused_tells_nothing_either(writer: httpx2.AsyncClient, message: str) -> None:
    refused = [
        await writer.post(f"/threads/{THREAD}", json={}, headers={"If-Match": '"1"'}),
        await writer.patch(f"/threads/{THREAD}", json={"metadata": {"set": {str(n): "" for n in range(16)}}}),
        await writer.get(f"/threads/{THREAD}"),
        await writer.get(f"/threads/{THREAD}/messages/{message}"),
    ]
    assert [each.status_code for each in refused] == [412, 400, 403, 403]
    assert not any(SECRET in each.text for each in refused)


async def test_a_key_that_reads_too_is_shown_all_of_it(reader: httpx2.AsyncClient, message: str) -> None:
    thread = (await reader.post(f"/threads/{THREAD}", json={})).json()
    assert thread == (await reader.get(f"/threads/{THREAD}")).json() | {"tool_resources": {}}
    assert thread["metadata"] == {SECRET: SECRET}
    shown = (await reader.post(f"/threads/{THREAD}/messages/{message}", json={})).json()
    assert shown == (await reader.get(f"/threads/{THREAD}/messages/{message}")).json()
    assert shown["content"][0]["text"]["value"] == SECRET


@pytest.fixture
async def nc(deployment: EmbeddedServer) -> AsyncIterator[Client]:
    """A plain client of the deployment."""
    async with connected_client(deployment.url) as client:
        yield client


async def test_the_reply_to_a_command_says_no_more_than_the_command(clew: Clew, nc: Client, message: str) -> None:
    one = {"thread_id": THREAD, "message_id": message}
    asked: list[tuple[str, dict[str, object], str, dict[str, object]]] = [
        ("update_thread", {"thread_id": THREAD}, "thread", {}),
        ("update_thread", {"thread_id": THREAD, "patch": {"set": {"a": "1"}}}, "thread", {"metadata": {"a": "1"}}),
        ("add_message", {"thread_id": THREAD, "message": HELLO}, "message", {"content": SAID}),
        ("update_message", one, "message", {}),
        ("update_message", {**one, "patch": {"set": {"b": "2"}}}, "message", {"metadata": {"b": "2"}}),
        ("update_message", {**one, "metadata": {}}, "message", {"metadata": {}}),
        ("create_thread", {"messages": [HELLO], "metadata": {"c": "3"}}, "thread", {"metadata": {"c": "3"}}),
        ("create_thread", {"messages": [HELLO]}, "thread", {}),
    ]
    outcomes = await nc.subscribe("acme.outcomes")
    async with over_nats(clew):
        for place, (name, body, what, shown) in enumerate(asked):
            command = json.dumps({"id": f"cmd-{place}", "reply_to": "acme.outcomes", **body}).encode()
            told = [await nc.request(f"clew.cmd.acme.{name}", command, timeout=60) for _ in range(2)]
            await nc.jetstream().publish(f"clew.inbox.acme.{name}", command)
            told.append(await outcomes.next_msg(60))
            assert len({reply.data for reply in told}) == 1
            assert SECRET.encode() not in told[0].data
            done = json.loads(told[0].data)["ok"]
            assert set(done) == {"position", "n", what}
            assert done[what]["version"] == done["n"]
            assert set(done[what]) == BARE | set(shown)
            assert done[what].items() >= shown.items()
