"""Services that stop, are killed, or have too much to do: nobody is left without an answer that could be given."""

from __future__ import annotations

import asyncio
import json

import pytest

from clew_events.client import connect, transport
from clew_events.errors import Unavailable
from clew_events.subjects import Address
from clew_services.compose import Clew
from clew_services.compose.roles import serve_commands, serve_queries
from clew_services.nats_api import dispatcher
from clew_services.nats_connection import flush
from support.deployments import connected_client
from support.nats_services import child, served

CREATE = "clew.cmd.default.create_thread"


async def test_stopping_under_load_answers_everything_that_was_taken(clew: Clew, deployment, monkeypatch):
    async with connected_client(deployment.url) as nc:
        replies = await nc.subscribe("replies.*")
        sent = 0
        async with served(clew, (serve_commands, serve_queries)) as stop:
            for sent in range(1, 801):
                await nc.publish(CREATE, b'{"metadata": {"i": "%d"}}' % sent, reply=f"replies.{sent}")
            await flush(nc)  # the server has handed all of them to the only service there is
            stop.set()
        answered = set()
        for _ in range(sent):
            reply = await replies.next_msg(timeout=60)
            assert set(json.loads(reply.data)) == {"ok"}, reply.data
            answered.add(reply.subject)
        assert len(answered) == sent
        # And nobody listens any more, so the next caller knows at once that nothing happens.
        monkeypatch.setattr(transport, "delays", lambda: iter([3600.0]))  # no time for another try
        async with connect(deployment.url, timeout=60) as client:
            with pytest.raises(Unavailable) as nobody:
                await client.create_thread()
        assert nobody.value.code == "no_responders"


async def test_a_service_killed_at_work_costs_its_callers_time_and_nothing_else(clew: Clew, deployment):
    async with connect(deployment.url, timeout=60) as client:
        async with child(deployment.url, "commands") as first, child(deployment.url, "commands"):
            made = [asyncio.create_task(client.create_thread(metadata={"i": str(i)})) for i in range(400)]
            await asyncio.wait(made, return_when=asyncio.FIRST_COMPLETED)
            first.kill()
            threads = [done.thread.id for done in await asyncio.gather(*made)]
        assert len(set(threads)) == 400
        for thread in threads:
            commits = [each async for each in clew.histories.after(Address("default", thread), 0)]
            assert len(commits) == 1


async def test_more_than_a_service_can_hold_is_turned_away_at_once_and_comes_back(clew: Clew, deployment, monkeypatch):
    monkeypatch.setattr(dispatcher, "LIMIT", 4)
    monkeypatch.setattr(dispatcher.Intake.__init__, "__kwdefaults__", {"limit": 4})
    held = asyncio.Event()
    handle = type(clew.handler).handle

    async def slow(self, tenant, command, **around):
        await held.wait()
        return await handle(self, tenant, command, **around)

    monkeypatch.setattr(type(clew.handler), "handle", slow)
    async with (
        served(clew, (serve_commands,)),
        connected_client(deployment.url) as nc,
        connect(deployment.url, timeout=60) as client,
    ):
        waiting = [asyncio.create_task(nc.request(CREATE, b"{}", timeout=60)) for _ in range(4)]
        await flush(nc)
        turned_away = await nc.request(CREATE, b"{}", timeout=60)
        assert json.loads(turned_away.data)["error"]["code"] == "overloaded"
        assert turned_away.headers["Nats-Service-Error-Code"] == "503"
        patient = asyncio.create_task(client.create_thread())
        held.set()
        for request in waiting:
            assert set(json.loads((await request).data)) == {"ok"}
        assert (await patient).n == 1


async def test_a_failure_nobody_foresaw_is_answered_and_logged(clew: Clew, deployment, monkeypatch, caplog):
    async def broken(self, tenant, command, **around):
        raise ZeroDivisionError

    monkeypatch.setattr(type(clew.handler), "handle", broken)
    async with served(clew, (serve_commands,)), connected_client(deployment.url) as nc:
        reply = await nc.request(CREATE, b"{}", timeout=60)
    assert json.loads(reply.data)["error"]["code"] == "internal_error"
    assert reply.headers["Nats-Service-Error-Code"] == "500"
    assert "ZeroDivisionError" in caplog.text


async def test_an_answer_too_large_for_the_server_is_said_to_be(clew: Clew, deployment):
    async with served(clew, (serve_commands, serve_queries)), connected_client(deployment.url) as nc:
        message = {"role": "user", "content": "x" * 250_000}
        await nc.request(CREATE, json.dumps({"thread_id": "thread_big"}).encode(), timeout=60)
        body = json.dumps({"thread_id": "thread_big", "message": message}).encode()
        for _ in range(1 + nc.max_payload // len(body)):
            await nc.request("clew.cmd.default.add_message", body, timeout=60)
        reply = await nc.request("clew.query.default.diff", b'{"thread_id": "thread_big", "from": 1}', timeout=60)
        assert json.loads(reply.data)["error"]["code"] == "too_large"
        assert reply.headers["Nats-Service-Error-Code"] == "413"


async def test_a_stopped_service_leaves_nothing_running_behind(clew: Clew):
    before = asyncio.all_tasks()
    async with served(clew):
        assert len(asyncio.all_tasks() - before) > 3
    assert asyncio.all_tasks() - before == set()
    assert clew.nc.is_connected
