"""The durable inbox: commands left for later, carried out once, refusals on record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import ConsumerInfo
from nats.js.client import JetStreamContext

from clew_events.client import Clew as Publisher
from clew_events.codec import decode
from clew_events.commands import CreateThread
from clew_events.commit import Recorded
from clew_events.errors import Unavailable
from clew_events.events import ThreadCreated
from clew_events.replies import Rejection
from clew_events.subjects import Address, event_subject, shard_of
from clew_services.compose import Clew
from clew_services.compose.roles import serve_inbox
from clew_services.inbox import pull_requests
from support.deployments import connected_client
from support.nats_services import child, served
from support.truth import log_of

GETS_AS_FAR_AS = """
from clew_services.threads.handler import Handler

handle, left = Handler.handle, 300

async def as_far_as_it_gets(*of, **around):
    global left
    left -= 1
    return await (handle(*of, **around) if left > 0 else asyncio.Event().wait())

Handler.handle = as_far_as_it_gets
"""
TRACE = "00-" + "c" * 32 + "-" + "d" * 16 + "-01"


@pytest.fixture
async def nc(deployment) -> AsyncIterator[Client]:
    async with connected_client(deployment.url) as client:
        yield client


@pytest.fixture
def js(nc: Client) -> JetStreamContext:
    return nc.jetstream()


async def leave(js: JetStreamContext, command: str, body: object, headers: dict[str, str] | None = None) -> int:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (await js.publish(f"clew.inbox.default.{command}", payload, headers=headers)).seq


async def commits(clew: Clew, thread: str) -> list[Recorded]:
    return [each async for each in clew.histories.after(Address("default", thread), 0)]


async def test_no_tenants_message_hides_anothers(clew: Clew, nc: Client, js: JetStreamContext):
    theirs = Publisher(nc, tenant="globex", timeout=60)
    for number in range(20):
        command = CreateThread(id=f"one-{number}", thread_id=f"thread_{number}")
        headers = {"Nats-Msg-Id": f"globex:create_thread:{command.thread_id}:{command.id}"}
        await js.publish("clew.inbox.acme.create_thread", b"{}", headers=headers)
        stored = await theirs.enqueue(command)
        assert (await js.get_msg("CLEW_INBOX", stored)).subject == "clew.inbox.globex.create_thread"
    async with served(clew, (serve_inbox,)):
        await emptied(js)
    log = await log_of(clew)
    assert {f"thread_{number}" for number in range(20)} == {each.thread for each in log if each.tenant == "globex"}


async def test_what_the_server_takes_for_a_repeat_of_anybodys_message_is_left_again(clew: Clew, nc: Client, js):
    """As where something between the client and the server sets the header."""
    publish = nc.publish

    async def marked(subject: str, *of: Any, headers: dict[str, str] | None = None, **more: Any) -> None:
        mark = {"Nats-Msg-Id": "1"} if subject.startswith("clew.inbox.") else {}
        await publish(subject, *of, headers={**(headers or {}), **mark} or None, **more)

    nc.publish = marked  # type: ignore[method-assign]
    client = Publisher(nc, timeout=60)
    first = await client.enqueue(CreateThread(thread_id="thread_a"))
    assert await client.enqueue(CreateThread(thread_id="thread_b")) > first


async def emptied(js: JetStreamContext) -> None:
    """Wait until nothing is left in the inbox: every message has been settled and acknowledged."""
    while (await js.stream_info("CLEW_INBOX")).state.messages:
        await asyncio.sleep(0.02)


async def rejections(js: JetStreamContext) -> list[tuple[str, Rejection]]:
    state = (await js.stream_info("CLEW_REJECTED")).state
    found = [await js.get_msg("CLEW_REJECTED", seq) for seq in range(1, state.last_seq + 1)]
    return [(str(each.subject), msgspec.json.decode(each.data or b"", type=Rejection)) for each in found]


async def test_commands_left_while_nobody_handles_them_are_carried_out_once_when_somebody_does(
    clew: Clew, js: JetStreamContext
):
    for i in range(50):
        await leave(js, "create_thread", {"thread_id": f"thread_{i}", "metadata": {"i": str(i)}})
    async with served(clew, (serve_inbox,)):
        await emptied(js)
    for i in range(50):
        (only,) = await commits(clew, f"thread_{i}")
        assert (only.commit.n, only.commit.actor, only.commit.by) == (1, "nats", "inbox")
    assert await rejections(js) == []


async def test_commands_of_one_thread_are_carried_out_in_the_order_in_which_they_were_left(
    clew: Clew, js: JetStreamContext
):
    threads = ("thread_a", "thread_b", "thread_c")
    for thread in threads:
        await leave(js, "create_thread", {"thread_id": thread})
    for i in range(100):
        for thread in threads:
            await leave(js, "update_thread", {"thread_id": thread, "metadata": {"step": str(i)}})
    async with served(clew, (serve_inbox,)):
        await emptied(js)
    for thread in threads:
        steps = [each.commit.events[0].set["step"] for each in (await commits(clew, thread))[1:]]
        assert steps == [str(i) for i in range(100)]


async def test_of_two_handlers_one_does_each_piece_once(clew: Clew, js: JetStreamContext):
    async with served(clew, (serve_inbox,)), served(clew, (serve_inbox,)):
        for i in range(200):
            await leave(js, "create_thread", {"thread_id": f"thread_{i}"})
        await emptied(js)
    counts = [len(await commits(clew, f"thread_{i}")) for i in range(200)]
    assert counts == [1] * 200


async def test_a_handler_killed_at_work_leaves_nothing_undone_and_nothing_done_twice(
    clew: Clew, js: JetStreamContext, deployment
):
    await asyncio.gather(*(leave(js, "create_thread", {"metadata": {"i": str(i)}}) for i in range(1000)))
    async with child(deployment.url, "inbox", first=GETS_AS_FAR_AS) as handler:
        while (await js.stream_info("CLEW_INBOX")).state.messages > 900:
            await asyncio.sleep(0.02)
        handler.kill()
        await handler.wait()
    assert (await js.stream_info("CLEW_INBOX")).state.messages > 0
    async with served(clew, (serve_inbox,)):
        await emptied(js)
    assert sorted(await every_created(clew), key=int) == [str(i) for i in range(1000)]


async def every_created(clew: Clew) -> list[str]:
    """What the metadata key ``i`` was created with, over all threads of the log, by reading the streams whole."""
    seen = []
    for shard in range(clew.deployment.shards):
        name = f"CLEW_EVT_{shard:02d}"
        state = (await clew.nc.jetstream().stream_info(name)).state
        for seq in range(1, state.last_seq + 1):
            raw = await clew.nc.jetstream().get_msg(name, seq)
            (created,) = decode(raw.data or b"").events
            assert isinstance(created, ThreadCreated)
            seen.append(created.metadata["i"])
    return seen


async def test_the_same_message_delivered_twice_is_the_same_command(clew: Clew, js: JetStreamContext, monkeypatch):
    from clew_services.inbox import attempt as carrying

    acknowledge, lost = carrying.Carrier._acknowledge, set[int]()

    async def lose_the_first(self, message: Msg, attempt) -> None:
        seq = message.metadata.sequence.stream
        if seq in lost or len(lost) == 3:
            return await acknowledge(self, message, attempt)
        lost.add(seq)
        if len(lost) == 3:
            # All three are carried out, none is acknowledged: they are delivered again in the next term.
            self._term.end("gone")
        raise carrying.LeaseLost("gone")

    monkeypatch.setattr(carrying.Carrier, "_acknowledge", lose_the_first)
    for headers in (None, {"Nats-Msg-Id": "order-1"}, {"Nats-Msg-Id": "no command id: " + "x" * 200}):
        await leave(js, "create_thread", {"metadata": {"i": "0"}}, headers)
    async with served(clew, (serve_inbox,)):
        await emptied(js)
        assert len(lost) == 3
        assert await every_created(clew) == ["0", "0", "0"]
        await leave(js, "create_thread", {"metadata": {"i": "0"}, "id": "order-1"})
        await emptied(js)
    assert await every_created(clew) == ["0", "0", "0"]
    assert await rejections(js) == []


async def test_refusals_are_on_record_once_with_their_reason(clew: Clew, js: JetStreamContext):
    await leave(js, "create_thread", {"thread_id": "thread_a", "id": "first"})
    left = [
        ("create_thread", {"thread_id": "thread_a", "id": "second"}, "already_exists"),
        ("update_thread", {"thread_id": "thread_a", "metadata": {}, "expected_version": 9}, "version_conflict"),
        ("update_thread", {"thread_id": "thread_b", "metadata": {}}, "thread_not_found"),
        ("update_thread", b"\xff not json", "invalid_json"),
        ("update_thread", {"thread_id": "thread_a", "reply_to": "clew.evt.00.default.thread_a"}, "invalid_value"),
        ("update_thread", {"thread_id": "thread_a", "reply_to": "$JS.API.STREAM.DELETE.X"}, "invalid_value"),
        ("update_thread", {"thread_id": "thread_a", "reply_to": "_INBOX.x.y"}, "invalid_value"),
        ("update_thread", {"thread_id": "thread_a", "reply_to": "_INBOX_reader.x"}, "invalid_value"),
        ("update_thread", {"thread_id": "thread_a", "reply_to": "_R_.x"}, "invalid_value"),
        ("update_thread", {"thread_id": "thread_a", "metadata": {}, "actor": "key:acme/k1"}, "invalid_value"),
        ("update_thread", {"thread_id": "thread_a", "reply_to": "outcomes.>"}, "invalid_value"),
        ("make_thread", {}, "command_not_found"),
    ]
    seqs = [await leave(js, command, body) for command, body, _ in left]
    async with served(clew, (serve_inbox,)):
        await emptied(js)
    found = {rejection.inbox_seq: (subject, rejection) for subject, rejection in await rejections(js)}
    assert sorted(found) == seqs
    assert (await js.stream_info("CLEW_REJECTED")).state.messages == len(left)
    for seq, (command, body, code) in zip(seqs, left, strict=True):
        subject, rejection = found[seq]
        assert subject.startswith(f"clew.rejected.default.{command}.inbox-{seq}-")
        assert (rejection.command, rejection.error.code) == (command, code)
        said = body.decode(errors="replace") if isinstance(body, bytes) else json.dumps(body)
        assert rejection.body == said
    assert found[seqs[0]][1].id == "second"
    assert len(await commits(clew, "thread_a")) == 1


async def test_a_refusal_is_recorded_once_though_it_is_delivered_again(clew: Clew, js: JetStreamContext, monkeypatch):
    from clew_services.inbox import attempt as carrying

    async def crash(*_: object) -> None:
        # Once the refusal is on record, and before it is acknowledged.
        monkeypatch.setattr(carrying.Carrier, "_reply", unharmed)
        raise RuntimeError("gone")

    unharmed = carrying.Carrier._reply
    monkeypatch.setattr(carrying.Carrier, "_reply", crash)
    await leave(js, "update_thread", {"thread_id": "thread_none", "metadata": {}})
    async with served(clew, (serve_inbox,)):
        await emptied(js)
    assert carrying.Carrier._reply is unharmed
    assert len(await rejections(js)) == 1


async def test_a_refused_command_too_large_for_a_record_is_recorded_shortened(clew: Clew, nc: Client, js):
    body = b'{"x": "' + b"\x01" * (nc.max_payload - 100)
    seq = await leave(js, "create_thread", body)
    async with served(clew, (serve_inbox,)):
        await emptied(js)
    ((_, rejection),) = await rejections(js)
    assert (rejection.inbox_seq, rejection.error.code) == (seq, "invalid_json")
    assert body.decode().startswith(rejection.body)
    assert len(rejection.body) >= 1024


async def test_the_outcome_goes_where_the_command_says(clew: Clew, nc: Client, js: JetStreamContext):
    heard = await nc.subscribe("billing.done")
    body: dict[str, Any] = {"thread_id": "thread_a", "reply_to": "billing.done"}
    async with served(clew, (serve_inbox,)):
        await leave(js, "create_thread", body)
        carried = await heard.next_msg(timeout=60)
        await leave(js, "create_thread", {**body, "id": "again"})
        refused = await heard.next_msg(timeout=60)
        await emptied(js)
    assert json.loads(carried.data)["ok"]["thread"]["id"] == "thread_a"
    assert carried.headers is None
    assert json.loads(refused.data)["error"]["code"] == "already_exists"
    assert refused.headers["Nats-Service-Error-Code"] == "409"


async def test_a_trace_reaches_the_commit(clew: Clew, js: JetStreamContext):
    await leave(js, "create_thread", {"thread_id": "thread_t"}, {"traceparent": TRACE})
    async with served(clew, (serve_inbox,)):
        await emptied(js)
    shard = shard_of("thread_t", clew.deployment.shards)
    stored = await clew.js.last(f"CLEW_EVT_{shard:02d}", event_subject(shard, Address("default", "thread_t")))
    assert stored is not None
    assert stored.headers["traceparent"] == TRACE


async def test_nothing_is_lost_while_the_log_is_away(clew: Clew, js: JetStreamContext, monkeypatch):
    away = 3
    handle = type(clew.handler).handle

    async def sometimes(self, tenant, command, **around):
        nonlocal away
        if away:
            away -= 1
            raise Unavailable("the log is away")
        return await handle(self, tenant, command, **around)

    monkeypatch.setattr(type(clew.handler), "handle", sometimes)
    for i in range(20):
        await leave(js, "create_thread" if i == 0 else "update_thread", {"thread_id": "thread_p"} | body_of(i))
    async with served(clew, (serve_inbox,)):
        await emptied(js)
    assert away == 0
    assert [each.commit.n for each in await commits(clew, "thread_p")] == list(range(1, 21))
    assert await rejections(js) == []


def body_of(i: int) -> dict[str, Any]:
    return {"metadata": {"i": str(i)}}


async def test_what_waits_for_better_times_keeps_its_place(clew: Clew, js: JetStreamContext, monkeypatch):
    handle = type(clew.handler).handle
    refused = 3

    async def at_first_away(self, tenant, command, **around):
        nonlocal refused
        if command.thread_id == "thread_p" and refused:
            refused -= 1
            await asyncio.sleep(0)
            raise Unavailable("the log is away")
        return await handle(self, tenant, command, **around)

    monkeypatch.setattr(type(clew.handler), "handle", at_first_away)
    for i in range(5):
        await leave(js, "create_thread" if i == 0 else "update_thread", {"thread_id": "thread_p"} | body_of(i))
    await leave(js, "create_thread", {"thread_id": "thread_q"})
    async with served(clew, (serve_inbox,)):
        while not await commits(clew, "thread_q"):
            await asyncio.sleep(0)
        # Other threads do not wait for this one.
        assert refused
        await emptied(js)
    assert [each.commit.n for each in await commits(clew, "thread_p")] == [1, 2, 3, 4, 5]
    assert await rejections(js) == []


async def test_what_fails_in_an_unforeseen_way_is_tried_again_then_put_on_record(
    clew: Clew, js: JetStreamContext, monkeypatch, caplog
):
    from clew_services.inbox import attempt as carrying

    monkeypatch.setattr(carrying, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(carrying, "ENOUGH", 3)
    tries = 0

    async def broken(self, tenant, command, **around):
        nonlocal tries
        tries += 1
        raise ZeroDivisionError

    monkeypatch.setattr(type(clew.handler), "handle", broken)
    await leave(js, "create_thread", {"id": "doomed"})
    async with served(clew, (serve_inbox,)):
        await emptied(js)
    ((_, rejection),) = await rejections(js)
    assert (rejection.id, rejection.error.type, rejection.error.code) == ("doomed", "corrupt", "internal_error")
    assert tries == 3
    assert "ZeroDivisionError" in caplog.text


async def test_stopping_settles_what_was_taken_and_leaves_the_rest(clew: Clew, js: JetStreamContext):
    for i in range(400):
        await leave(js, "create_thread", {"metadata": {"i": str(i)}})
    async with served(clew, (serve_inbox,)) as stop:
        while (await js.stream_info("CLEW_INBOX")).state.messages == 400:
            await asyncio.sleep(0)  # at once, while there is still something to leave
        stop.set()
    assert await js.consumers_info("CLEW_INBOX") == []
    left = (await js.stream_info("CLEW_INBOX")).state.messages
    assert len(await every_created(clew)) == 400 - left
    async with served(clew, (serve_inbox,)):
        await emptied(js)
    assert sorted(await every_created(clew), key=int) == [str(i) for i in range(400)]


async def consumer(js: JetStreamContext) -> ConsumerInfo:
    (found,) = await js.consumers_info("CLEW_INBOX")
    return found


def held_back(clew: Clew, monkeypatch) -> tuple[list[str], asyncio.Event]:
    """Have commands wait in the handler until the event is set; the ids of those that came to it."""
    handle, calls, held = type(clew.handler).handle, list[str](), asyncio.Event()

    async def slow(self, tenant, command, **around):
        calls.append(command.id)
        await held.wait()
        return await handle(self, tenant, command, **around)

    monkeypatch.setattr(type(clew.handler), "handle", slow)
    return calls, held


async def test_a_command_that_takes_long_is_not_delivered_again(clew: Clew, js, monkeypatch):
    from clew_services.inbox import inbox_consumer, term

    monkeypatch.setattr(inbox_consumer, "STILL_AT_IT", 0.05)
    monkeypatch.setattr(term, "ACK_WAIT", 3.0)  # this process may have to wait for its turn that long
    in_progress = Msg.in_progress

    async def of_the_first_alone(self: Msg) -> None:
        if self.metadata.sequence.stream == 1:
            await in_progress(self)

    monkeypatch.setattr(Msg, "in_progress", of_the_first_alone)
    calls, held = held_back(clew, monkeypatch)
    async with served(clew, (serve_inbox,)):
        await leave(js, "create_thread", {"id": "slow"})
        await leave(js, "create_thread", {"id": "unassured"})
        while (redelivered := (await consumer(js)).num_redelivered) == 0:
            await asyncio.sleep(0.02)
        assert redelivered == 1
        held.set()
        await emptied(js)
    assert sorted(calls) == ["slow", "unassured"]


async def test_a_command_delivered_again_while_it_is_worked_on_is_not_worked_on_twice(clew: Clew, js, monkeypatch):
    from clew_services.inbox import term

    monkeypatch.setattr(term, "ACK_WAIT", 0.4)
    calls, held = held_back(clew, monkeypatch)
    async with served(clew, (serve_inbox,)):
        await leave(js, "create_thread", {"id": "slow"})
        while (await consumer(js)).num_redelivered == 0:
            await asyncio.sleep(0.02)
        held.set()
        await emptied(js)
    assert calls == ["slow"]


async def test_a_stop_does_not_wait_for_the_end_of_a_pull_request(clew: Clew, monkeypatch):
    monkeypatch.setattr(pull_requests, "WAIT", 3600.0)
    async with asyncio.timeout(60), served(clew, [serve_inbox]):
        pass


async def test_a_restart_of_the_server_does_not_stop_a_handler(clew: Clew, js, deployment):
    async with served(clew, (serve_inbox,)):
        await leave(js, "create_thread", {"thread_id": "thread_before"})
        await emptied(js)
        await deployment.stop()
        await deployment.start()
        async with connected_client(deployment.url) as again:
            await leave(again.jetstream(), "create_thread", {"thread_id": "thread_after"})
            await emptied(again.jetstream())
    assert len(await commits(clew, "thread_after")) == 1
