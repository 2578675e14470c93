"""Commands and queries by request and reply, as any NATS client sends them."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from nats.aio.client import Client

from clew_events.subjects import Address, event_subject, shard_of
from clew_services.compose import Clew
from clew_services.compose.roles import serve_commands, serve_queries
from support.deployments import connected_client
from support.nats_services import served

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def nats_client(clew: Clew):
    """A plain client of a deployment whose commands and queries are served."""
    async with served(clew, (serve_commands, serve_queries)), connected_client(clew.nc.connected_url.geturl()) as nc:
        yield nc


async def ask(nc: Client, subject: str, body: object, headers: dict[str, str] | None = None) -> tuple[Any, dict]:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = await nc.request(subject, payload, timeout=60, headers=headers)
    return json.loads(reply.data), reply.headers or {}


async def ok(nc: Client, subject: str, body: object) -> Any:
    answer, headers = await ask(nc, subject, body)
    assert set(answer) == {"ok"}, answer
    assert headers == {}
    return answer["ok"]


async def refused(nc: Client, subject: str, body: object) -> tuple[str, str]:
    answer, headers = await ask(nc, subject, body)
    assert set(answer) == {"error"}, answer
    assert headers["Nats-Service-Error"]
    return headers["Nats-Service-Error-Code"], answer["error"]["code"]


async def commits_of(clew: Clew, thread: str, tenant: str = "default") -> list:
    return [each async for each in clew.histories.after(Address(tenant, thread), 0)]


async def test_every_command_and_query_does_what_it_says(nats_client: Client):
    nc = nats_client
    hello = {"role": "user", "content": "Hello"}
    made = await ok(nc, "clew.cmd.default.create_thread", {"messages": [hello], "metadata": {"a": "1"}})
    thread = made["thread"]["id"]
    assert (made["n"], made["thread"]["metadata"]) == (1, {"a": "1"})

    updated = await ok(nc, "clew.cmd.default.update_thread", {"thread_id": thread, "patch": {"set": {"b": "2"}}})
    assert (updated["thread"]["version"], updated["thread"]["metadata"]) == (2, {"b": "2"})
    added = await ok(nc, "clew.cmd.default.add_message", {"thread_id": thread, "message": hello})
    message = added["message"]["id"]
    assert added["n"] == 3
    both = {"thread_id": thread, "message_id": message}
    changed = await ok(nc, "clew.cmd.default.update_message", {**both, "metadata": {"k": "v"}})
    assert changed["message"]["metadata"] == {"k": "v"}

    found = await ok(nc, "clew.query.default.get_thread", {"thread_id": thread})
    assert found["thread"]["metadata"] == {"a": "1", "b": "2"}
    shown = (await ok(nc, "clew.query.default.get_message", both))["message"]
    assert (shown["metadata"], shown["content"]) == ({"k": "v"}, added["message"]["content"])
    page = (await ok(nc, "clew.query.default.list_messages", {"thread_id": thread}))["messages"]
    assert page["data"][0]["id"] == message
    assert len(page["data"]) == 2
    past = await ok(nc, "clew.query.default.state_at", {"thread_id": thread, "n": 1})
    assert past["thread"]["metadata"] == {"a": "1"}

    assert (await ok(nc, "clew.cmd.default.delete_message", both))["deleted"]["deleted"] is True
    gone = await ok(nc, "clew.cmd.default.delete_thread", {"thread_id": thread})
    assert gone["deleted"] == {"id": thread, "object": "thread.deleted", "deleted": True}
    history = await ok(nc, "clew.query.default.history", {"thread_id": thread})
    assert [entry["commit"]["command"] for entry in history["commits"]] == [
        "CreateThread", "UpdateThread", "AddMessage", "UpdateMessage", "DeleteMessage", "DeleteThread",
    ]  # fmt: skip
    assert {entry["commit"]["actor"] for entry in history["commits"]} == {"nats"}


async def test_refusals_say_what_is_wrong_in_words_and_as_a_number(nats_client: Client):
    nc = nats_client
    made = await ok(nc, "clew.cmd.default.create_thread", {"id": "once"})
    thread = made["thread"]["id"]
    create, update = "clew.cmd.default.create_thread", "clew.cmd.default.update_thread"
    nowhere = {"thread_id": "thread_nowhere"}
    assert await refused(nc, create, b'{"id": ') == ("400", "invalid_json")
    assert await refused(nc, create, b"\xff") == ("400", "invalid_json")
    assert await refused(nc, create, {"colour": "red"}) == ("400", "unknown_parameter")
    assert await refused(nc, update, {**nowhere, "metadata": {}}) == ("404", "thread_not_found")
    assert await refused(nc, create, {"thread_id": thread}) == ("409", "already_exists")
    assert await refused(nc, create, {"id": "once", "metadata": {"a": "b"}}) == ("409", "command_id_reused")
    stale = {"thread_id": thread, "metadata": {"a": "b"}, "expected_version": 7}
    assert await refused(nc, update, stale) == ("412", "version_conflict")
    assert await refused(nc, "clew.query.default.get_thread", nowhere) == ("404", "thread_not_found")


async def test_an_unknown_name_is_answered_with_the_known_ones(nats_client: Client):
    answer, headers = await ask(nats_client, "clew.cmd.default.make_thread", {})
    assert headers["Nats-Service-Error-Code"] == "404"
    assert answer["error"]["code"] == "command_not_found"
    assert "create_thread" in answer["error"]["message"]
    assert "delete_message" in answer["error"]["message"]
    answer, headers = await ask(nats_client, "clew.query.default.create_thread", {})
    assert answer["error"]["code"] == "query_not_found"
    assert "get_thread" in answer["error"]["message"]


async def test_a_tenant_that_could_not_be_one_is_refused(nats_client: Client):
    for tenant in ("Upper", "-x", "a" * 65, "ünï"):
        assert await refused(nats_client, f"clew.cmd.{tenant}.create_thread", {}) == ("400", "invalid_tenant")
        assert await refused(nats_client, f"clew.query.{tenant}.get_thread", {}) == ("400", "invalid_tenant")


async def test_tenants_do_not_see_each_other(nats_client: Client):
    made = await ok(nats_client, "clew.cmd.one.create_thread", {"thread_id": "thread_shared"})
    assert made["n"] == 1
    assert await refused(nats_client, "clew.query.two.get_thread", {"thread_id": "thread_shared"}) == (
        "404",
        "thread_not_found",
    )
    theirs = {"thread_id": "thread_shared", "metadata": {"a": "b"}}
    assert (await refused(nats_client, "clew.cmd.two.update_thread", theirs))[0] == "404"


async def test_a_command_without_a_reply_subject_is_carried_out(clew: Clew, nats_client: Client, caplog):
    body = b'{"thread_id": "thread_quiet", "id": "quiet"}'
    await nats_client.publish("clew.cmd.default.create_thread", body)
    await nats_client.publish("clew.cmd.default.create_thread", b'{"thread_id": "thread_wrong", "x": 1}')
    # The same queue group in the same process answers in the order in which it was asked.
    again = await ok(nats_client, "clew.cmd.default.create_thread", json.loads(body))
    assert again["n"] == 1
    assert len(await commits_of(clew, "thread_quiet")) == 1
    refusals = [r for r in caplog.records if r.levelno == logging.WARNING and "Unknown parameter" in r.getMessage()]
    assert len(refusals) == 1


async def test_no_reply_goes_where_it_could_pass_for_a_commit_or_an_api_call(clew: Clew, nats_client: Client):
    victim = (await ok(nats_client, "clew.cmd.default.create_thread", {}))["thread"]["id"]
    shard = shard_of(victim, clew.deployment.shards)
    into_the_log = event_subject(shard, Address("default", victim))
    delete_stream = f"$JS.API.STREAM.DELETE.CLEW_EVT_{shard:02d}"
    for target in (into_the_log, delete_stream, "clew.cmd.default.create_thread"):
        body = json.dumps({"thread_id": "thread_abuse", "id": target[:10]}).encode()
        await nats_client.publish("clew.cmd.default.create_thread", body, reply=target)
        await nats_client.publish("clew.query.default.get_thread", b"{}", reply=target)
    # Commands to one thread take turns, so had one of those above been carried out, this one would come too late.
    await ok(nats_client, "clew.cmd.default.create_thread", {"thread_id": "thread_abuse"})
    assert len(await commits_of(clew, victim)) == 1


async def test_the_callers_trace_is_stored_with_the_commit(clew: Clew, nats_client: Client):
    create = "clew.cmd.default.create_thread"
    await ask(nats_client, create, {"thread_id": "thread_traced"}, {"traceparent": TRACE})
    await ask(nats_client, create, {"thread_id": "thread_odd"}, {"traceparent": "not a trace\u2028" + "x" * 99})
    assert await headers_of(clew, "thread_traced") == TRACE
    assert await headers_of(clew, "thread_odd") is None


async def headers_of(clew: Clew, thread: str) -> str | None:
    shard = shard_of(thread, clew.deployment.shards)
    stored = await clew.js.last(f"CLEW_EVT_{shard:02d}", event_subject(shard, Address("default", thread)))
    assert stored is not None
    return stored.headers.get("traceparent")


async def test_the_same_command_is_carried_out_once_by_any_number_of_services(clew: Clew, nats_client: Client):
    async with served(clew, (serve_commands,)), served(clew, (serve_commands,)):
        answers = await asyncio.gather(
            *(ok(nats_client, "clew.cmd.default.create_thread", {"id": f"c{i % 20}"}) for i in range(200))
        )
    threads = {answer["thread"]["id"] for answer in answers}
    assert len(threads) == 20
    assert {answer["n"] for answer in answers} == {1}
    for thread in threads:
        assert len(await commits_of(clew, thread)) == 1
