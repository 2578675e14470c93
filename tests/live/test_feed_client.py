"""The feed from another service: followed over NATS alone, whatever goes down meanwhile."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from pathlib import Path
from signal import SIGKILL

import pytest

from clew_events.client import Clew as Client
from clew_events.client import connect, feed, sync
from clew_events.errors import Invalid
from clew_events.replies import FeedEntry
from clew_services.compose import Clew
from clew_services.compose import connect as connected
from clew_services.compose.roles import serve_queries
from support.deployments import deployed
from support.nats_services import served
from support.truth import log_of
from support.waiting import eventually
from support.writers import Writer, handler, thread_id

PlacesOf = list[tuple[int, int]]


def places(entries: list[FeedEntry]) -> PlacesOf:
    return [(each.position.shard, each.position.seq) for each in entries]


async def log_places(clew: Clew, tenant: str = "default") -> PlacesOf:
    threads = await log_of(clew)
    return sorted(
        (each.position.shard, each.position.seq) for at, some in threads.items() if at.tenant == tenant for each in some
    )


async def follow(client: Client, into: list[FeedEntry], after: str | None = None) -> None:
    async with aclosing(client.feed(after=after, follow=True)) as feed:
        async for entry in feed:
            into.append(entry)  # noqa: PERF401 - others look on


async def test_a_follower_gets_everything_once_and_in_order_through_kills_and_restarts(tmp_path: Path) -> None:
    async with deployed(tmp_path / "data") as server, connected(server.url, name="writer") as clew:  # noqa: SIM117
        async with served(clew, [serve_queries]), connect(server.url, timeout=5) as client:
            seen: list[FeedEntry] = []
            stop = asyncio.Event()

            async def writing() -> None:
                writer = Writer(handler(clew, deadline=30))
                while not stop.is_set():
                    thread = thread_id(await writer.create())
                    await writer.add(thread)

            task = asyncio.create_task(follow(client, seen))
            writers = [asyncio.create_task(writing()) for _ in range(3)]
            for _ in range(2):
                had = len(seen)
                await eventually(lambda had=had: len(seen) > had + 20)
                os.kill(server.pid, SIGKILL)
                await server.wait()
                await server.start()
            stop.set()
            await asyncio.gather(*writers)
            wanted = await log_places(clew)
            await eventually(lambda: len(seen) >= len(wanted))
            task.cancel()
            assert sorted(places(seen)) == wanted
            assert [each.stored_at for each in seen] == sorted(each.stored_at for each in seen)
            onwards = [each async for each in client.feed(after=seen[10].id)]
            assert places(onwards) == places(seen)[11:]


async def test_a_follower_who_is_told_nothing_looks_for_itself(clew: Clew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "POLL", 0.1)
    monkeypatch.setattr(feed, "LIVE", "nothing.comes.here")
    async with served(clew, [serve_queries]):
        client, seen = Client(clew.nc), list[FeedEntry]()
        task = asyncio.create_task(follow(client, seen))
        await Writer(handler(clew)).create()
        await eventually(lambda: len(seen) == 1)
        await Writer(handler(clew)).create()
        await eventually(lambda: len(seen) == 2)
        task.cancel()


async def test_the_feed_without_async(clew: Clew) -> None:
    writer = Writer(handler(clew))
    for _ in range(3):
        await writer.create()
    await Writer(handler(clew), "other").create()
    url = clew.nc.connected_url
    assert url is not None

    def read() -> tuple[list[FeedEntry], list[FeedEntry]]:
        with sync.connect(url.geturl()) as client:
            some = list(client.feed())
            feed = client.feed(after=some[0].id, follow=True)
            rest = [next(feed), next(feed)]
            feed.close()
            with pytest.raises(Invalid):
                client.feed_page(after="nonsense")
            return some, rest

    async with served(clew, [serve_queries]):
        some, rest = await asyncio.to_thread(read)
    assert sorted(places(some)) == await log_places(clew)
    assert places(rest) == places(some)[1:]
