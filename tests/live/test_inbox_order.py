"""The order of each thread in the inbox, kept by several processes that are killed and frozen under load."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator

import msgspec
import pytest
from nats.js.client import JetStreamContext

from clew_events.commands import CreateThread
from clew_events.subjects import Address
from clew_projections.buckets.bucket import Bucket, Value
from clew_services.apps import serve_inbox
from clew_services.apps.inbox import lease as leases
from clew_services.apps.inbox.lease import Held, Lease, Lost
from clew_services.compose import Clew
from clew_services.streams.wanted import LEASES
from support.deployments import connected_client
from support.freezing import freeze, go_on
from support.nats_services import child, served
from support.truth import commits_of, log_of
from support.waiting import eventually

QUICK = "from clew_services.apps.inbox import lease; lease.TERM = 1.6; lease.RENEW = 0.2"
THREADS = [f"thread_{i:02d}" for i in range(12)]
STEPS = 90


@pytest.fixture
async def js(deployment) -> AsyncIterator[JetStreamContext]:
    async with connected_client(deployment.url) as client:
        yield client.jetstream()


def said(thread: str, step: int) -> tuple[str, dict[str, object]]:
    """What is left for a thread as its ``step``: first what must be refused, and every fifth changes nothing."""
    if step == 1:
        return "create_thread", {"thread_id": thread}
    value = str(step - 1 if step % 5 == 0 else step)
    return "update_thread", {"thread_id": thread, "metadata": {"step": value}}


async def publish(js: JetStreamContext, progress: asyncio.Event | None = None) -> None:
    for step in range(STEPS):
        for thread in THREADS:
            command, body = said(thread, step)
            await js.publish(f"clew.inbox.default.{command}", json.dumps(body).encode())
        if progress is not None and step > STEPS // 6:
            progress.set()


async def leader(clew: Clew) -> int:
    """The process that holds the lease, once one does."""

    async def held() -> Value | None:
        value = await Bucket(clew.js, LEASES).get(leases.KEY)
        return value if value is not None and value.body else None

    value = await eventually(held)
    assert value is not None
    return int(msgspec.json.decode(value.body, type=Held).where.rpartition(":")[2])


async def is_empty(clew: Clew) -> bool:
    return (await clew.nc.jetstream().stream_info("CLEW_INBOX")).state.messages == 0


async def every_thread_went_as_it_was_left(clew: Clew) -> None:
    log = await log_of(clew)
    changing = [str(step) for step in range(2, STEPS) if step % 5]
    for thread in THREADS:
        first, *others = (record.commit for record in log[Address("default", thread)])
        assert first.command == "CreateThread"
        assert [commit.events[0].set["step"] for commit in others] == changing
    # The one that came before its thread was created was refused, once.
    assert (await clew.nc.jetstream().stream_info("CLEW_REJECTED")).state.messages == len(THREADS)


async def test_the_order_holds_when_the_process_at_work_is_killed(clew: Clew, js, deployment) -> None:
    progress = asyncio.Event()
    async with child(deployment.url, "inbox", first=QUICK) as one, child(deployment.url, "inbox", first=QUICK) as two:
        publishing = asyncio.create_task(publish(js, progress))
        await progress.wait()
        killed = await leader(clew)
        assert killed in {one.pid, two.pid}
        os.kill(killed, signal.SIGKILL)
        await publishing
        await eventually(lambda: is_empty(clew))
        assert await leader(clew) in {one.pid, two.pid} - {killed}
    await every_thread_went_as_it_was_left(clew)


async def test_the_order_holds_when_a_process_at_work_is_frozen_and_wakes_up_after_it_was_replaced(
    clew: Clew, js, deployment
) -> None:
    progress = asyncio.Event()
    async with child(deployment.url, "inbox", first=QUICK) as one, child(deployment.url, "inbox", first=QUICK) as two:
        publishing = asyncio.create_task(publish(js, progress))
        await progress.wait()
        for _ in range(3):
            frozen = await leader(clew)
            freeze(frozen)

            async def replaced(by_another_than: int = frozen) -> bool:
                return await leader(clew) != by_another_than

            await eventually(replaced)
            go_on(frozen)
        await publishing
        await eventually(lambda: is_empty(clew))
        assert {one.returncode, two.returncode} == {None}
    await every_thread_went_as_it_was_left(clew)


async def test_a_message_that_went_elsewhere_is_fetched_back_before_what_follows_it(clew: Clew, js) -> None:
    for i in range(3):
        command = "create_thread" if i == 0 else "update_thread"
        body = {"thread_id": "thread_a", "metadata": {"i": str(i)}}
        await js.publish(f"clew.inbox.default.{command}", json.dumps(body).encode())
    thief = await js.pull_subscribe_bind("handlers", "CLEW_INBOX")
    stolen = asyncio.Event()
    call = clew.js.api

    async def steal_first(name: str, request: object = None) -> dict[str, object]:
        answer = await call(name, request)
        if name.startswith("CONSUMER.RESET") and not stolen.is_set():
            (message,) = await thief.fetch(1, timeout=60)
            assert message.metadata.sequence.stream == 1
            stolen.set()
        return answer

    clew.js.api = steal_first  # type: ignore[method-assign]
    async with served(clew, (serve_inbox,)):
        await eventually(lambda: is_empty(clew))
    assert stolen.is_set()
    assert [commit.events[0].metadata["i"] for commit in (await commits_of(clew, "thread_a"))[:1]] == ["0"]
    assert len(await commits_of(clew, "thread_a")) == 3


async def test_what_was_refused_stays_refused_though_nobody_came_to_acknowledge_it(clew: Clew, js, monkeypatch) -> None:
    from clew_services.apps.inbox import carrying

    acknowledge, crashed = carrying.Carrier._acknowledge, asyncio.Event()

    async def crash_once(self, message, attempt) -> None:
        if not crashed.is_set():
            # Before it is delivered again, the reason for the refusal goes away.
            await clew.handler.handle("default", CreateThread(thread_id="thread_a"))
            crashed.set()
            self._lease._until = 0.0
            raise Lost("gone")
        await acknowledge(self, message, attempt)

    monkeypatch.setattr(carrying.Carrier, "_acknowledge", crash_once)
    heard = await clew.nc.subscribe("shop.done")
    body = {"thread_id": "thread_a", "metadata": {}, "reply_to": "shop.done"}
    await js.publish("clew.inbox.default.update_thread", json.dumps(body).encode())
    async with served(clew, (serve_inbox,)):
        await crashed.wait()
        await eventually(lambda: is_empty(clew))
    assert [commit.command for commit in await commits_of(clew, "thread_a")] == ["CreateThread"]
    for _ in range(2):
        assert json.loads((await heard.next_msg(timeout=60)).data)["error"]["code"] == "thread_not_found"
    assert (await clew.nc.jetstream().stream_info("CLEW_REJECTED")).state.messages == 1


async def test_nobody_leads_while_another_shows_signs_of_life(clew: Clew, monkeypatch) -> None:
    monkeypatch.setattr(leases, "RENEW", 0.01)
    monkeypatch.setattr(leases, "_now", lambda: now)
    now = 0.0
    bucket = Bucket(clew.js, LEASES)
    one, two = Lease(bucket), Lease(bucket)
    assert await one.take()
    keeping = asyncio.create_task(one.keep())

    async def renewed() -> bool:
        return one._until == now + leases.TERM - leases.MARGIN

    for _ in range(20):
        now += leases.TERM / 2
        await eventually(renewed)
        assert not await two.take()
        one.check()
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping
    # From here on it shows none, and has let go of it before it is taken.
    shown = now
    while not await two.take():
        now += leases.TERM / 20
    assert leases.TERM <= now - shown <= leases.TERM * 1.2
    assert two.is_held
    with pytest.raises(Lost):
        one.check()
    with pytest.raises(Lost):
        await one.keep()
    await two.give_up()
    assert not two.is_held
    assert await one.take()


async def test_who_stops_in_the_middle_of_a_renewal_lets_others_lead_at_once(clew: Clew) -> None:
    bucket = Bucket(clew.js, LEASES)
    one, two = Lease(bucket), Lease(bucket)
    assert await one.take()
    value = await bucket.latest(leases.KEY)
    assert value is not None
    # Renewed, and stopped before it was told so.
    await bucket.put(leases.KEY, value.body, value.revision)
    await one.give_up()
    assert await two.take()
    # What is somebody else's by now is left alone.
    one._until = two._until
    await one.give_up()
    assert not one.is_held
    assert not await one.take()
