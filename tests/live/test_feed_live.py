"""The feed as it happens: whatever goes down or is slow, every reader gets what the log has, once."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from signal import SIGKILL
from urllib.parse import urlsplit

import httpx2
import pytest

from clew_events.errors import Unavailable
from clew_events.queries import GetFeed
from clew_projections.feed import live_end as listening
from clew_projections.feed.follow import follow
from clew_services.compose import Clew, connect
from clew_services.http import http_server
from clew_services.http.routes import event_feed
from support.api import ACME, GLOBEX, served
from support.deployments import deployed
from support.feed_reading import Reader, events_of, reading
from support.truth import log_of
from support.waiting import PATIENCE, eventually
from support.writers import Writer, handler, thread_id


async def places_of(clew: Clew, tenant: str) -> list[tuple[int, int]]:
    threads = await log_of(clew)
    return sorted(
        (each.position.shard, each.position.seq) for at, all_ in threads.items() if at.tenant == tenant for each in all_
    )


async def has_all(reader: Reader, clew: Clew, tenant: str) -> None:
    wanted = await places_of(clew, tenant)

    async def all_there() -> bool:
        assert len(reader.places) >= len(wanted)
        return True

    await eventually(all_there)
    assert sorted(reader.places) == wanted  # nothing missed, nothing twice, nothing of another
    newest: dict[object, int] = {}
    for event in reader.events:
        assert event["n"] == newest.get(event["thread_id"], 0) + 1
        newest[event["thread_id"]] = event["n"]


async def write(clew: Clew, tenant: str, threads: int, each: int) -> None:
    writer = Writer(handler(clew), tenant)

    async def one() -> None:
        thread = thread_id(await writer.create())
        for _ in range(each - 1):
            await writer.add(thread)

    await asyncio.gather(*(one() for _ in range(threads)))


async def test_readers_get_what_there_was_and_what_comes_and_of_their_own_tenant_only(clew: Clew) -> None:
    await write(clew, "acme", 5, 3)
    await write(clew, "globex", 2, 2)
    async with served(clew) as url:
        acme, late = Reader(lambda: url, ACME), Reader(lambda: url, ACME, after="latest")
        globex, some = Reader(lambda: url, GLOBEX), Reader(lambda: url, ACME, type="ItemAdded", stream="true")
        async with reading(acme, late, globex, some):
            await eventually(lambda: len(acme.events) == 15 and late.times and len(some.events) == 10)
            await write(clew, "acme", 8, 5)
            await write(clew, "globex", 3, 2)
            await has_all(acme, clew, "acme")
            await has_all(globex, clew, "globex")
            await eventually(lambda: len(some.events) == 10 + 32)
            await eventually(lambda: len(late.events) == 40)
        assert set(late.places) == set(acme.places[15:])
        assert acme.times == 1


async def test_a_reader_of_a_quiet_thread_gets_heartbeats_while_other_threads_are_busy(clew: Clew) -> None:
    writer, stop = Writer(handler(clew), "acme"), asyncio.Event()
    quiet, busy = thread_id(await writer.create()), thread_id(await writer.create())

    async def keep_busy() -> None:
        while not stop.is_set():
            await writer.add(busy)

    queries = (
        GetFeed(after="latest", thread_id=quiet),
        GetFeed(after="latest", types=("ThreadDeleted",)),
        GetFeed(after="latest", actor="nobody"),
        GetFeed(thread_id=quiet),
    )
    work = asyncio.create_task(keep_busy())
    try:
        async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
            for query in queries:
                following = follow(clew.feed, clew.tail, "acme", query, idle=0.3)
                await stack.enter_async_context(aclosing(following))
                beats = 0
                while beats < 2:
                    beats += not await anext(following)
    finally:
        stop.set()
        await work


async def test_what_comes_after_any_id_is_exactly_the_next(clew: Clew) -> None:
    async with served(clew) as url:
        first = Reader(lambda: url, ACME)
        async with reading(first):
            await write(clew, "acme", 6, 5)
            await has_all(first, clew, "acme")
        for place in (0, 7, 28, 29):
            onwards = Reader(lambda: url, ACME)
            onwards.last = first.ids[place]
            left = sorted(first.places[place + 1 :])
            async with reading(onwards):
                await eventually(lambda onwards=onwards, left=left: len(onwards.places) >= len(left))
            assert sorted(onwards.places) == left


async def test_readers_are_whole_through_kills_of_the_server_and_restarts_of_the_api(tmp_path: Path) -> None:
    async with deployed(tmp_path / "data") as server, connect(server.url, name="writer") as clew:
        here: list[str] = []
        stop = asyncio.Event()
        readers = [
            Reader(lambda: here[-1], ACME),
            Reader(lambda: here[-1], ACME, after="latest"),
            Reader(lambda: here[-1], GLOBEX),
        ]

        async def api(stack: AsyncExitStack) -> None:
            other = await stack.enter_async_context(connect(server.url, name="api"))
            here.append(await stack.enter_async_context(served(other)))

        async def writing(tenant: str) -> None:
            writer = Writer(handler(clew, deadline=30), tenant)
            while not stop.is_set():
                thread = thread_id(await writer.create())
                for _ in range(4):
                    await writer.add(thread)

        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(AsyncExitStack())
            await api(first)
            async with reading(*readers):
                writers = [asyncio.create_task(writing(tenant)) for tenant in ("acme", "acme", "globex")]
                for step in range(3):
                    seen = len(readers[0].events)
                    await eventually(lambda seen=seen: len(readers[0].events) > seen + 20)
                    if step == 1:
                        await first.aclose()
                        await api(stack)
                    else:
                        os.kill(server.pid, SIGKILL)
                        await server.wait()
                        await server.start()
                stop.set()
                await asyncio.gather(*writers)
                await has_all(readers[0], clew, "acme")
                await has_all(readers[2], clew, "globex")


async def test_a_slow_reader_is_served_from_the_log_and_misses_nothing(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "ROOM", 3_000)
    async with served(clew) as url, httpx2.AsyncClient(timeout=30) as http:
        slow = Reader(lambda: url, ACME)
        headers = {"Authorization": f"Bearer {ACME}"}
        async with http.stream("GET", f"{url}/v1/events?stream=true", headers=headers) as answer:
            await write(clew, "acme", 30, 5)
            async for event in events_of(answer):
                slow.take(event)
                if len(slow.events) == 150:
                    break
        await has_all(slow, clew, "acme")


async def test_a_commit_that_was_never_heard_of_is_read_from_the_log(clew: Clew) -> None:
    async with served(clew) as url:
        reader = Reader(lambda: url, ACME)
        async with reading(reader):
            await write(clew, "acme", 3, 1)
            await has_all(reader, clew, "acme")
            subscription = clew.tail._subscription
            assert subscription is not None
            deaf, subscription._cb = subscription._cb, _hears_nothing  # as when a network loses messages
            await write(clew, "acme", 3, 1)
            subscription._cb = deaf
            await write(clew, "acme", 4, 2)
            await has_all(reader, clew, "acme")
            assert reader.times == 1


async def test_nothing_is_subscribed_to_when_nobody_listens_and_a_stop_ends_every_stream(clew: Clew) -> None:
    async with served(clew) as url:
        readers = [Reader(lambda: url, ACME) for _ in range(20)]
        async with reading(*readers):
            await write(clew, "acme", 2, 2)
            for reader in readers:
                await has_all(reader, clew, "acme")
            assert clew.tail._subscription is not None
        await eventually(lambda: clew.tail._subscription is None)
        async with httpx2.AsyncClient(timeout=30) as http:
            headers = {"Authorization": f"Bearer {ACME}", "Accept": "text/event-stream"}
            async with http.stream("GET", f"{url}/v1/events", headers=headers) as answer:
                lines = answer.aiter_lines()
                assert await anext(lines) == "retry: 1000"
                begun = [await anext(lines) for _ in range(1 + 4 * 4)]
                assert begun.count("event: commit") == 4
                await clew.tail.close()
                assert [line async for line in lines if line] == []
    with pytest.raises(Unavailable):
        await clew.tail.listen("acme")


async def test_a_reader_who_takes_nothing_does_not_hold_up_a_stop(
    clew: Clew, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http_server, "GRACE", 3600)
    monkeypatch.setattr(http_server, "STALL", 0.2)
    # More than all the buffers between here and there have room for.
    monkeypatch.setattr(event_feed, "_BEGIN", b": " + b"x" * 48_000_000 + b"\n\n")
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.setblocking(False)
        async with asyncio.timeout(60), served(clew) as url:
            loop, where = asyncio.get_running_loop(), urlsplit(url)
            await loop.sock_connect(stuck, (where.hostname, where.port))
            request = f"GET /v1/events HTTP/1.1\r\nHost: clew\r\nAuthorization: Bearer {ACME}\r\n"
            await loop.sock_sendall(stuck, f"{request}Accept: text/event-stream\r\n\r\n".encode())
            assert await loop.sock_recv(stuck, 12) == b"HTTP/1.1 200"
    assert caplog.records == []


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"order": "desc"}, "order"),
        ({"until": "2026-01-01T00:00:00Z"}, "until"),
        ({"after": "nonsense"}, "after"),
        ({"type": "Nothing"}, "type"),
        ({"stream": "maybe"}, "stream"),
    ],
)
async def test_a_stream_that_cannot_be_is_refused_before_it_begins(
    clew: Clew, asked: dict[str, str], param: str
) -> None:
    async with served(clew) as url, httpx2.AsyncClient(timeout=30) as http:
        headers = {"Authorization": f"Bearer {ACME}"}
        answer = await http.get(f"{url}/v1/events", headers=headers, params={"stream": "true", **asked})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == param


async def _hears_nothing(message: object) -> None:
    pass
