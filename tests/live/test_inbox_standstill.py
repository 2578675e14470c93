"""An inbox that stands still, as whoever asks whether Clew is ready hears of it."""

from __future__ import annotations

import asyncio
import json

import pytest

from clew_projections.kv.bucket import Bucket
from clew_services.compose import Clew
from clew_services.compose.roles import compose_readiness, serve_inbox
from clew_services.eventstore.topology import LEASES
from clew_services.inbox.standstill import Standstill
from clew_services.lease import Lease
from clew_services.metrics import catalogue
from clew_services.metrics.deployment import DeploymentMetrics
from support.nats_services import served
from support.waiting import eventually

PATIENCE = 0.2


async def leave(clew: Clew, thread: str) -> None:
    body = json.dumps({"thread_id": thread}).encode()
    await clew.js.publish("clew.inbox.default.create_thread", body)


async def test_where_nobody_is_meant_to_serve_the_inbox_that_is_a_note(clew: Clew) -> None:
    readiness = compose_readiness(clew, PATIENCE)
    assert (await readiness.look()).notes == ()
    await leave(clew, "thread_a")

    async def noted() -> str:
        found = await readiness.look()
        assert found.ok
        assert len(found.notes) == 1
        return found.notes[0]

    note = await eventually(noted)
    assert note.startswith("the inbox has stood still for ")
    assert note.endswith("and 1 commands wait. No process serves it: start 'clew serve commands'.")
    assert (await compose_readiness(clew, 0).look()).notes == ()
    async with served(clew, (serve_inbox,)):

        async def well() -> bool:
            found = await readiness.look()
            return found.ok and found.notes == () and found.inbox.still == 0

        await eventually(well)


async def test_where_somebody_has_the_lease_and_nothing_moves_nobody_is_ready(clew: Clew) -> None:
    lease = Lease(Bucket(clew.js, LEASES))
    assert await lease.take()
    readiness = compose_readiness(clew, PATIENCE)
    metrics = DeploymentMetrics(clew.opened, clew.live, readiness, None)
    await leave(clew, "thread_a")

    async def red() -> str:
        found = await readiness.look()
        assert not found.ok
        assert len(found.reasons) == 1
        return found.reasons[0]

    reason = await eventually(red)
    assert lease._held.where in reason
    values = await metrics.look()
    assert values[catalogue.READY][""] == 0
    assert values[catalogue.INBOX_STILL][""] >= PATIENCE
    await lease.give_up()
    async with served(clew, (serve_inbox,)):

        async def green() -> bool:
            return (await readiness.look()).ok

        await eventually(green)
    assert (await metrics.look())[catalogue.INBOX_STILL][""] == 0


async def test_an_inbox_that_moves_does_not_stand_still_however_old_what_waits_is(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = asyncio.Event()
    handle = type(clew.handler).handle

    async def one_waits(self, tenant, command, **around):
        if command.thread_id == "thread_slow":
            await held.wait()
        return await handle(self, tenant, command, **around)

    monkeypatch.setattr(type(clew.handler), "handle", one_waits)
    now = 0.0
    standstill = Standstill(clew.js)
    standstill._clock = lambda: now
    async with served(clew, (serve_inbox,)):
        await leave(clew, "thread_slow")
        for number in range(3):
            await leave(clew, f"thread_{number}")

            async def alone() -> bool:
                return (await standstill.look()).waiting == 1

            await eventually(alone)
            now += 100.0
            inbox = await standstill.look()
            # Nothing has left it since the look before, and no longer than since the oldest came.
            assert inbox.still == inbox.oldest > 0
            await leave(clew, f"thread_more_{number}")

            async def moved() -> bool:
                return (await standstill.look()).still == 0

            await eventually(moved)
        held.set()
