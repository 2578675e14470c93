"""The Python client against a real deployment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import nats
import pytest
from nats.aio.client import Client as NatsClient

from clew_events.client import Clew as Client
from clew_events.client import connect, sync, transport
from clew_events.commands import AddMessage, CreateThread, UpdateThread
from clew_events.errors import (
    AlreadyExists,
    Conflict,
    IdReused,
    Invalid,
    NotFound,
    TooLarge,
    Unavailable,
)
from clew_events.requests import NewImageUrl, NewImageUrlSource, NewMessage, NewText
from clew_services.compose import Clew
from support.deployments import connected_client
from support.nats_services import served


@pytest.fixture
async def client(clew: Clew, deployment) -> AsyncIterator[Client]:
    """A client of a deployment where everything is served."""
    async with served(clew), connect(deployment.url, actor="billing") as connected:
        yield connected


async def test_a_threads_whole_life(client: Client):
    parts = NewMessage(
        role="assistant",
        content=(NewText(text="Look"), NewImageUrl(image_url=NewImageUrlSource(url="https://example.com/cat.png"))),
        metadata={"seen": "no"},
    )
    made = await client.create_thread(messages=["Hello", parts], metadata={"customer": "42"})
    thread = made.thread.id
    assert (made.n, made.thread.metadata) == (1, {"customer": "42"})

    updated = await client.update_thread(thread, metadata={"customer": "43"}, expected_version=1)
    patched = await client.patch_metadata(thread, set={"tier": "gold"}, unset=["customer"])
    assert (patched.thread.version, patched.thread.metadata) == (3, {"tier": "gold"})
    added = await client.add_message(thread, "One more")
    message = added.message.id
    await client.update_message(thread, message, metadata={"seen": "yes"})
    marked = await client.patch_message_metadata(thread, message, set={"by": "me"})
    assert (marked.message.id, marked.message.metadata, marked.message.content) == (
        message,
        {"by": "me"},
        msgspec.UNSET,
    )

    assert (await client.get_thread(thread)).thread.metadata == {"tier": "gold"}
    found = (await client.get_message(thread, message)).message
    assert (found.metadata, found.content) == ({"seen": "yes", "by": "me"}, added.message.content)
    page = (await client.list_messages(thread, limit=1)).messages
    assert page.data == (found,)
    past = await client.state_at(thread, n=2)
    assert past.thread is not None
    assert past.thread.metadata == updated.thread.metadata == {"customer": "43"}

    gone = await client.delete_message(thread, message)
    assert gone.deleted.id == message
    assert [m.role async for m in client.iter_messages(thread)] == ["user", "assistant"]
    await client.delete_thread(thread)
    with pytest.raises(NotFound) as missing:
        await client.get_thread(thread)
    assert missing.value.code == "thread_not_found"
    history = await client.history(thread)
    assert {entry.commit.actor for entry in history.commits} == {"billing"}
    assert [entry.commit.n for entry in history.commits] == list(range(1, 9))


async def test_pages_are_fetched_until_there_are_none_left(client: Client):
    made = await client.create_thread(messages=[str(i) for i in range(100)])
    thread = made.thread.id
    for i in range(100, 130):
        await client.add_message(thread, str(i))
    texts = [m.content[0].text.value async for m in client.iter_messages(thread)]
    assert texts == [str(i) for i in range(130)]
    newest_first = [m.content[0].text.value async for m in client.iter_messages(thread, order="desc")]
    assert newest_first == texts[::-1]
    for i in range(80):
        await client.patch_metadata(thread, set={"i": str(i)})
    assert [entry.commit.n async for entry in client.iter_history(thread)] == list(range(1, 112))
    assert [entry.commit.n async for entry in client.iter_history(thread, start=110)] == [110, 111]


async def test_refusals_are_raised_as_what_they_are(client: Client):
    await client.create_thread(thread_id="thread_mine", command_id="first")
    with pytest.raises(AlreadyExists):
        await client.create_thread(thread_id="thread_mine")
    with pytest.raises(IdReused):
        await client.create_thread(thread_id="thread_mine", metadata={"a": "b"}, command_id="first")
    with pytest.raises(Conflict) as stale:
        await client.update_thread("thread_mine", metadata=None, expected_version=5)
    assert stale.value.retry == "reload"
    with pytest.raises(Invalid) as wrong:
        await client.update_thread("thread_mine", metadata={"k" * 65: "v"})
    assert wrong.value.param is not None
    with pytest.raises(NotFound):
        await client.update_message("thread_mine", "msg_" + "0" * 24, metadata=None)
    with pytest.raises(TooLarge):
        await client.update_thread("thread_mine", metadata={"k": "v" * client.nc.max_payload})


async def test_a_command_sent_again_under_its_id_is_answered_as_the_first_was(client: Client):
    made = await client.create_thread(metadata={"v": "1"}, command_id="order-17")
    await client.update_thread(made.thread.id, metadata={"v": "2"})
    assert await client.create_thread(metadata={"v": "1"}, command_id="order-17") == made


async def test_a_client_can_stand_on_somebody_elses_connection(clew: Clew, deployment):
    async with served(clew), connected_client(deployment.url) as nc:
        one, two = Client(nc, tenant="one"), Client(nc, tenant="two")
        made = await one.create_thread(thread_id="thread_same")
        assert made.n == 1
        with pytest.raises(NotFound):
            await two.get_thread("thread_same")
        assert (await two.create_thread(thread_id="thread_same")).n == 1


async def test_the_trace_of_the_moment_goes_along(clew: Clew, deployment):
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    async with served(clew), connected_client(deployment.url) as nc:
        client = Client(nc, trace=lambda: trace)
        made = await client.create_thread()
    subject = f"clew.evt.{made.position.shard:02d}.default.{made.thread.id}"
    stored = await clew.js.last(f"CLEW_EVT_{made.position.shard:02d}", subject)
    assert stored is not None
    assert stored.headers["traceparent"] == trace


async def test_a_moment_can_be_asked_for_by_the_clock(client: Client):
    made = await client.create_thread(metadata={"v": "1"})
    await client.update_thread(made.thread.id, metadata={"v": "2"})
    first, second = (await client.history(made.thread.id)).commits
    assert (await client.state_at(made.thread.id, time=first.commit.at)).n == 1
    assert (await client.state_at(made.thread.id, time=second.commit.at + timedelta(seconds=1))).n == 2


async def test_waiting_for_a_commit_ends_when_somebody_makes_it(client: Client):
    made = await client.create_thread()
    waiting = asyncio.create_task(client.wait_for(made.thread.id, 2))
    done = await client.patch_metadata(made.thread.id, set={"a": "b"})
    found = await waiting
    assert (found.n, found.thread.metadata) == (done.n, {"a": "b"})


async def test_what_nobody_serves_is_known_not_to_have_happened(deployment, monkeypatch):
    monkeypatch.setattr(transport, "delays", lambda: iter([3600.0]))  # no time for another try
    async with connect(deployment.url, timeout=60) as client:
        with pytest.raises(Unavailable) as nobody:
            await client.create_thread()
    assert nobody.value.code == "no_responders"
    assert not nobody.value.outcome_unknown


async def test_what_is_never_answered_may_have_happened(deployment):
    async with connected_client(deployment.url) as deaf, connected_client(deployment.url) as nc:
        client = Client(nc, timeout=0.2)
        heard = await deaf.subscribe("clew.cmd.*.*")
        await deaf.flush()
        with pytest.raises(Unavailable) as silence:
            await client.create_thread(command_id="lost")
        assert silence.value.outcome_unknown
        assert (await heard.next_msg(timeout=60)).subject == "clew.cmd.default.create_thread"


async def test_a_repeat_is_the_same_to_the_last_byte(deployment):
    async with connected_client(deployment.url) as fake, connect(deployment.url, timeout=60) as client:
        heard = await fake.subscribe("clew.cmd.*.*")
        await fake.flush()
        asking = asyncio.create_task(client.create_thread(messages=["Hello"]))
        bodies = []
        for _ in range(3):
            message = await heard.next_msg(timeout=60)
            bodies.append(message.data)
            await message.respond(b'{"error":{"type":"unavailable","code":"overloaded","message":"m","retry":"later"}}')
        last = await heard.next_msg(timeout=60)
        thread = b'{"id":"thread_a","object":"thread","created_at":1,"version":1}'
        await last.respond(b'{"ok":{"position":{"shard":0,"seq":7},"n":1,"thread":%s}}' % thread)
        assert (await asking).position.seq == 7
        assert {*bodies} == {last.data}
        assert msgspec.json.decode(last.data)["id"]


@pytest.mark.parametrize(
    ("options", "param"),
    [({"tenant": "Bad Tenant"}, "tenant"), ({"tenant": ""}, "tenant"), ({"tenant": "a.b"}, "tenant"),
     ({"actor": "a\nb"}, "actor"), ({"actor": ""}, "actor"), ({"actor": "key:billing/1"}, "actor")],
)  # fmt: skip
async def test_a_tenant_or_actor_that_cannot_be_is_refused_before_anything_is_sent(
    options: dict[str, str], param: str
) -> None:
    with pytest.raises(Invalid, match=f"Invalid '{param}'") as refusal:
        async with connect("nats://127.0.0.1:1", timeout=0.2, **options):
            pass
    assert refusal.value.param == param
    with pytest.raises(Invalid), sync.connect("nats://127.0.0.1:1", timeout=0.2, **options):
        pass
    client = Client(NatsClient())  # not connected, so what it sends is Unavailable
    if param == "actor":
        for send in (client.enqueue, client.send):
            with pytest.raises(Invalid):
                await send(CreateThread(**options))


async def test_a_server_that_is_not_there_is_unavailable():
    with pytest.raises(Unavailable) as nowhere:
        async with connect("nats://127.0.0.1:1", timeout=0.2):
            pass
    assert nowhere.value.code == "unreachable"


async def test_calls_outlive_a_restart_of_the_server(clew: Clew, deployment):
    async with served(clew), connect(deployment.url, timeout=60) as client:
        made = await client.create_thread()
        await deployment.stop()
        asking = asyncio.create_task(client.patch_metadata(made.thread.id, set={"after": "all"}))
        await deployment.start()
        done = await asking
        assert done.n == 2
        assert len((await client.history(made.thread.id)).commits) == 2


async def test_enqueued_commands_are_carried_out_when_a_handler_comes(clew: Clew, deployment):
    async with connect(deployment.url, actor="batch", timeout=60) as client:
        first = await client.enqueue(CreateThread(thread_id="thread_later"))
        second = await client.enqueue(
            AddMessage(thread_id="thread_later", message=NewMessage(role="user", content="x"))
        )
        assert second > first
        again = UpdateThread(id="same", thread_id="thread_later", metadata={"a": "b"})
        assert await client.enqueue(again) != await client.enqueue(again)
        async with served(clew):
            found = await client.wait_for("thread_later", 3)
            assert found.thread.metadata == {"a": "b"}
            await client.enqueue(UpdateThread(thread_id="thread_later", metadata={"c": "d"}))
            await client.wait_for("thread_later", 4)
            commits = [entry.commit async for entry in client.iter_history("thread_later")]
        assert [commit.id for commit in commits].count("same") == 1


async def test_a_closed_connection_is_said_to_be_closed(deployment):
    nc = await nats.connect(deployment.url)
    client = Client(nc)
    await nc.close()
    with pytest.raises(Unavailable) as closed:
        await client.get_thread("thread_x")
    assert closed.value.code == "connection_closed"


async def test_a_block_that_ends_while_the_server_is_gone_ends_as_it_would_have(deployment):
    async def gives_up() -> None:
        async with connect(deployment.url) as client:
            deployment.kill()
            await deployment.wait()
            asked = asyncio.create_task(client.get_thread("thread_x"))
            await asyncio.sleep(0.1)
            asked.cancel()
            raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        await gives_up()


@pytest.mark.parametrize("servers", ["", " , ", []])
async def test_no_server_at_all_is_refused_at_once(servers: str | list[str]) -> None:
    with pytest.raises(Invalid, match="no NATS server"):
        async with connect(servers):
            pass
