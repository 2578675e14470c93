"""The order of each thread in the inbox, kept by several processes that are killed and frozen under load."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import nats.errors
import pytest
from nats.aio.msg import Msg
from nats.js.client import JetStreamContext

from clew_events.commands import CreateThread
from clew_events.subjects import Address
from clew_projections.kv.bucket import Bucket, Value
from clew_services import lease as leases
from clew_services.compose import Clew
from clew_services.compose.roles import serve_inbox
from clew_services.eventstore.topology import LEASES
from clew_services.inbox import attempt as carrying
from clew_services.inbox import term as terms
from clew_services.inbox.poison import Trials
from clew_services.inbox.term import Term
from clew_services.lease import Lease, LeaseLost, LeaseRecord
from support.deployments import connected_client
from support.freezing import freeze, go_on
from support.nats_services import child, served
from support.truth import commits_of, log_of
from support.waiting import PATIENCE, eventually

QUICK = "from clew_services import lease; lease.TTL = 1.6; lease.RENEW = 0.2"
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
    return int(msgspec.json.decode(value.body, type=LeaseRecord).where.rpartition(":")[2])


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


@pytest.fixture
async def leases_of(clew: Clew) -> Callable[[], Awaitable[Lease]]:
    """Gives the lease as another process each time, which takes it from the one before."""
    bucket = Bucket(clew.js, LEASES)
    given: list[Lease] = []

    async def take() -> Lease:
        if (value := await bucket.latest(leases.KEY)) is not None and value.body:
            await bucket.delete(leases.KEY, value.revision)
        lease = Lease(bucket)
        assert await lease.take()
        given.append(lease)
        return lease

    return take


async def begin(clew: Clew, lease: Lease) -> Term:
    return await terms.begin(clew.js, lease, Trials(Bucket(clew.js, LEASES), lease.holder))


async def fetch(js: JetStreamContext, term: Term, batch: int = 10) -> list[Msg]:
    return await (await js.pull_subscribe_bind(term.consumer, "CLEW_INBOX")).fetch(batch, timeout=60)


async def consumers(clew: Clew) -> list[str]:
    return [each.name for each in await clew.nc.jetstream().consumers_info("CLEW_INBOX")]


async def leave(js: JetStreamContext, thread: str, *steps: int) -> None:
    for step in steps:
        body = {"thread_id": thread, "metadata": {"step": str(step)}}
        await js.publish(f"clew.inbox.default.{'update' if step else 'create'}_thread", json.dumps(body).encode())


async def steps(clew: Clew, thread: str) -> list[str]:
    first, *others = await commits_of(clew, thread)
    return [first.events[0].metadata["step"], *(commit.events[0].set["step"] for commit in others)]


async def test_each_term_has_a_consumer_of_its_own_that_delivers_everything_from_the_first_on(
    clew: Clew, js, leases_of
) -> None:
    await leave(js, "thread_a", 0, 1, 2)
    one = await begin(clew, await leases_of())
    held = await fetch(js, one)
    assert [each.metadata.sequence.stream for each in held] == [1, 2, 3]
    await held[0].ack_sync(timeout=60)
    two = await begin(clew, await leases_of())
    assert await consumers(clew) == [two.consumer]
    assert int(two.consumer.split("-")[1]) > int(one.consumer.split("-")[1])
    # What the earlier holder still acknowledges goes nowhere.
    with pytest.raises(nats.errors.NoRespondersError):
        await clew.nc.request(held[1].reply, b"+ACK", timeout=60)
    again = [each.metadata.sequence for each in await fetch(js, two)]
    assert [(each.stream, each.consumer) for each in again] == [(2, 1), (3, 2)]


async def test_who_has_lost_the_lease_has_no_term_and_ends_nobodys(clew: Clew, js, leases_of) -> None:
    late = await leases_of()
    term = await begin(clew, await leases_of())
    with pytest.raises(LeaseLost):
        await begin(clew, late)
    assert await consumers(clew) == [term.consumer]


async def test_a_consumer_that_was_made_too_late_by_an_earlier_holder_is_deleted(
    clew: Clew, js, leases_of, monkeypatch
) -> None:
    late, call, made = await leases_of(), clew.js.api, asyncio.Event()
    lease = await leases_of()

    async def others_first(name: str, request: object = None) -> dict[str, object]:
        if name.startswith("CONSUMER.CREATE") and not made.is_set():
            made.set()
            assert await terms._create(clew.js, f"{terms.PREFIX}{late.number}-{late.holder}")
        return await call(name, request)

    monkeypatch.setattr(clew.js, "api", others_first)
    term = await begin(clew, lease)
    assert made.is_set()
    assert await consumers(clew) == [term.consumer]


async def test_a_consumer_that_is_not_clews_is_named_and_left_alone(clew: Clew, js, caplog) -> None:
    await js.pull_subscribe("clew.inbox.acme.*", durable="mine", stream="CLEW_INBOX")
    async with served(clew, (serve_inbox,)):
        pass
    (said,) = [each.getMessage() for each in caplog.records if "mine" in each.getMessage()]
    assert "remove mine with 'nats consumer rm'" in said
    assert await consumers(clew) == ["mine"]
    await js.delete_consumer("CLEW_INBOX", "mine")
    await leave(js, "thread_a", 0)
    async with served(clew, (serve_inbox,)):
        await eventually(lambda: is_empty(clew))
    assert await consumers(clew) == []


async def test_a_message_that_went_elsewhere_is_fetched_back_before_what_follows_it(
    clew: Clew, js, monkeypatch
) -> None:
    await leave(js, "thread_a", 0, 1, 2)
    call, stolen = clew.js.api, asyncio.Event()

    async def steal_first(name: str, request: object = None) -> dict[str, object]:
        answer = await call(name, request)
        if name.startswith("CONSUMER.CREATE") and not stolen.is_set():
            thief = await js.pull_subscribe_bind(name.rpartition(".")[2], "CLEW_INBOX")
            (message,) = await thief.fetch(1, timeout=60)
            assert message.metadata.sequence.stream == 1
            stolen.set()
        return answer

    monkeypatch.setattr(clew.js, "api", steal_first)
    async with served(clew, (serve_inbox,)):
        await eventually(lambda: is_empty(clew))
    assert stolen.is_set()
    assert await steps(clew, "thread_a") == ["0", "1", "2"]


@pytest.mark.parametrize("what", ["RESET", "DELETE"])
async def test_the_inbox_goes_on_when_the_server_confirms_no_acknowledgement_any_more(
    clew: Clew, js, monkeypatch, what: str
) -> None:
    """All that may be in the works is, so nothing is fetched while nothing is acknowledged."""
    monkeypatch.setattr(carrying, "CONFIRMED", 0.1)
    many = terms.LIMIT + 50
    for number in range(many):
        await js.publish("clew.inbox.default.create_thread", b'{"thread_id":"thread_%d"}' % number)
    handle, calls, held = type(clew.handler).handle, list[str](), asyncio.Event()

    async def wait_first(self, tenant, command, **around):
        calls.append(command.thread_id)
        await held.wait()
        return await handle(self, tenant, command, **around)

    monkeypatch.setattr(type(clew.handler), "handle", wait_first)
    async with served(clew, (serve_inbox,)):

        async def full() -> bool:
            return len(calls) == terms.LIMIT

        await eventually(full)
        (consumer,) = await consumers(clew)
        await clew.js.api(f"CONSUMER.{what}.CLEW_INBOX.{consumer}")
        held.set()
        await eventually(lambda: is_empty(clew))
    assert [len(commits) for commits in (await log_of(clew)).values()] == [1] * many


async def test_a_command_that_found_the_lease_lost_is_delivered_again_before_what_follows_it(
    clew: Clew, js, monkeypatch
) -> None:
    tried, told = carrying.Carrier._try, asyncio.Event()

    async def lost_at_first(self, message, attempt) -> None:
        if message.metadata.sequence.stream == 2 and not told.is_set():
            told.set()
            raise LeaseLost("gone")
        await tried(self, message, attempt)

    monkeypatch.setattr(carrying.Carrier, "_try", lost_at_first)
    monkeypatch.setattr(terms, "ACK_WAIT", 10 * PATIENCE)  # not by being delivered again for its age
    await leave(js, "thread_a", 0, 1, 2)
    async with served(clew, (serve_inbox,)):
        await eventually(lambda: is_empty(clew))
    assert told.is_set()
    assert await steps(clew, "thread_a") == ["0", "1", "2"]


async def test_what_was_refused_stays_refused_though_nobody_came_to_acknowledge_it(clew: Clew, js, monkeypatch) -> None:
    acknowledge, crashed = carrying.Carrier._acknowledge, asyncio.Event()

    async def crash_once(self, message, attempt) -> None:
        if not crashed.is_set():
            # Before it is delivered again, the reason for the refusal goes away.
            await clew.handler.handle("default", CreateThread(thread_id="thread_a"))
            crashed.set()
            self._term.end("gone")
            self._term.check()
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
        return one._until == now + leases.TTL - leases.MARGIN

    for _ in range(20):
        now += leases.TTL / 2
        await eventually(renewed)
        assert not await two.take()
        one.check()
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping
    # From here on it shows none, and has let go of it before it is taken.
    shown = now
    while not await two.take():
        now += leases.TTL / 20
    assert leases.TTL <= now - shown <= leases.TTL * 1.2
    assert two.is_held
    with pytest.raises(LeaseLost):
        one.check()
    with pytest.raises(LeaseLost):
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
