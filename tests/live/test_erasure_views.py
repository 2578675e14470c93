"""The buckets are renewed: what their blocks kept of superseded views is gone, and nobody notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from clew_events.errors import Conflict, Unavailable
from clew_events.queries import GetThread
from clew_events.subjects import Address
from clew_projections.kv.key_names import bucket_names, thread_key
from clew_services.compose import Clew, connect
from clew_services.embedded.server import EmbeddedServer
from clew_services.rebuild.view_renewal import SMALL, RenewalCost
from support.markers import find_marker, new_marker
from support.truth import buckets_equal_the_log, projecting
from support.waiting import eventually
from support.writers import Writer


@pytest.fixture
async def other(deployment: EmbeddedServer) -> AsyncIterator[Clew]:
    """Another process, as far as NATS can tell."""
    async with connect(deployment.url, name="other") as composed:
        yield composed


async def projected(clew: Clew, thread: str, n: int) -> None:
    """The live view of a thread is that of its commit ``n``."""

    async def there() -> bool:
        return (await clew.current.cached_view(Address("default", thread))).n == n

    await eventually(there)


def in_buckets(deployment: EmbeddedServer, marker: str) -> list[str]:
    return [each for each in find_marker(deployment.data, marker) if "/streams/KV_clew_" in f"/{each}"]


async def superseded(clew: Clew, marker: str) -> None:
    """A view with a marker, and a later one without."""
    writer = Writer(clew.handler)
    await writer.create("thread_a", metadata={"a": marker})
    await projected(clew, "thread_a", 1)
    await writer.update("thread_a", metadata={"a": "1"})
    await projected(clew, "thread_a", 2)


async def test_superseded_values_are_gone_with_every_generation_that_held_them(
    clew: Clew, other: Clew, deployment: EmbeddedServer
) -> None:
    marker = new_marker()
    async with projecting(other):
        await superseded(clew, marker)
        # No read finds it, and it is there: also in a generation that is kept to go back to.
        assert (await clew.kept.go_back((await clew.rebuild().run()).generation)).live == 2
        assert in_buckets(deployment, marker)
        renewal = clew.renewal()
        assert await renewal.newest() == 2
        assert not await renewal.is_done(2)
        await renewal.run(2)
        assert await renewal.is_done(2)
        assert [each.generation for each in await clew.kept.list()] == [3]

        async def gone() -> bool:
            return in_buckets(deployment, marker) == []

        await eventually(gone)
        await projected(other, "thread_a", 2)
        found = await other.reader.thread("default", GetThread(thread_id="thread_a", consistency="eventual"))
        assert found.thread is not None
        assert found.thread.metadata == {"a": "1"}
        await buckets_equal_the_log(clew)
        # Once is enough.
        await renewal.run(2)
        assert [each.generation for each in await clew.kept.list()] == [3]


async def test_an_unfinished_build_from_before_is_finished_and_not_taken_for_the_new_one(
    clew: Clew, other: Clew, deployment: EmbeddedServer
) -> None:
    marker = new_marker()
    async with projecting(other):
        await superseded(clew, marker)
        building = asyncio.create_task(other.rebuild().run())
        renewal = clew.renewal()
        while await renewal.newest() < 2:
            await asyncio.sleep(0)
        await renewal.run(2)
        assert (await building).generation == 2
        assert [each.generation for each in await clew.kept.list()] == [3]


async def test_an_interrupted_renewal_is_resumed_wherever_it_was(clew: Clew, monkeypatch: pytest.MonkeyPatch) -> None:
    await Writer(clew.handler).create("thread_a")
    renewal, js = clew.renewal(), clew.js
    call, left = js.api, 0

    async def interrupted(name: str, request: object = None) -> dict[str, object]:
        nonlocal left
        if ".DELETE." in name or ".CREATE." in name:
            left -= 1
            if left < 0:
                raise Unavailable("gone")
        return await call(name, request)

    monkeypatch.setattr(js, "api", interrupted)
    for calls in range(1, 50):
        left = calls
        try:
            await renewal.run(1)
        except Unavailable:
            continue
        break
    assert await renewal.is_done(1)
    assert [each.generation for each in await clew.kept.list()] == [2]
    names = [name for name in await js.streams() if name.startswith(("KV_clew_threads", "KV_clew_commands"))]
    assert sorted(names) == sorted(f"KV_{each}" for each in bucket_names(2) if "messages" not in each)
    assert await clew.live.current.threads.latest(thread_key(Address("default", "thread_a"))) is not None


async def test_one_object_renews_once_at_a_time(clew: Clew) -> None:
    await Writer(clew.handler).create("thread_a")
    renewal = clew.renewal()
    first = asyncio.create_task(renewal.run(1))
    await asyncio.sleep(0)  # it has begun
    with pytest.raises(Conflict, match="already"):
        await renewal.run(1)
    await first


async def test_the_cost_says_whether_it_is_small(clew: Clew) -> None:
    assert (await clew.renewal().cost()).commits == 0
    for _ in range(3):
        await Writer(clew.handler).create()
    assert (await clew.renewal().cost()).commits == 3
    assert RenewalCost(SMALL, 1).is_small
    assert not RenewalCost(SMALL + 1, 1).is_small
