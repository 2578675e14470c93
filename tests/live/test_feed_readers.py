"""Who may listen to the feed, and how many: keys that are revoked meanwhile, too many readers, and hundreds of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx2
import pytest

from clew_services.api_keys import Holder, Keys
from clew_services.api_keys.holders import digest
from clew_services.compose import Clew
from clew_services.http.routes import event_feed
from clew_services.packs.exporter import PackExport
from support.api import ACME, GLOBEX, served
from support.feed_reading import until_cut
from support.waiting import eventually
from support.writers import Writer, handler

HERE = "v1/events?stream=true&after=latest"


def auth(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_a_key_that_is_revoked_hears_nothing_more(clew: Clew) -> None:
    keys = Keys.parse(f"{ACME}:acme")
    keys.admit(digest("clew_soon-gone"), Holder("acme", "soon-gone", frozenset({"audit"})))
    writer = Writer(handler(clew), "acme")
    async with served(clew, keys=keys) as url, httpx2.AsyncClient(timeout=30) as http:
        async with http.stream("GET", f"{url}/{HERE}", headers=auth("clew_soon-gone")) as answer:
            assert answer.status_code == 200
            lines = answer.aiter_lines()
            assert await anext(lines) == "retry: 1000"
            await writer.create(metadata={"seen": "yes"})
            heard = [await anext(lines) for _ in range(4)]
            assert "event: commit" in heard
            keys.shut_out(digest("clew_soon-gone"))
            await writer.create(metadata={"secret": "yes"})
            assert "secret" not in "\n".join(await until_cut(lines))
        refused = await http.get(f"{url}/{HERE}", headers=auth("clew_soon-gone"))
        assert refused.status_code == 401


async def test_a_download_whose_key_is_revoked_does_not_look_whole(clew: Clew, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys.parse(f"{ACME}:acme")
    keys.admit(digest("clew_soon-gone"), Holder("acme", "soon-gone", frozenset({"audit"})))
    await Writer(handler(clew), "acme").create("thread_taken")
    chunks = PackExport.chunks

    async def revoked_meanwhile(packing: PackExport) -> AsyncIterator[bytes]:
        async for chunk in chunks(packing):
            yield chunk
            keys.shut_out(digest("clew_soon-gone"))

    monkeypatch.setattr(PackExport, "chunks", revoked_meanwhile)
    async with served(clew, keys=keys) as url, httpx2.AsyncClient(timeout=30) as http:
        with pytest.raises(httpx2.RemoteProtocolError):
            await http.get(f"{url}/v1/threads/thread_taken/export", headers=auth("clew_soon-gone"))


async def test_beyond_so_many_readers_others_wait_and_another_tenant_does_not(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "MOST_OF_A_TENANT", 2)
    async with served(clew) as url, httpx2.AsyncClient(timeout=30) as http:
        lines: list[AsyncIterator[str]] = []

        async def listening(stack: AsyncExitStack, key: str) -> int:
            answer = await stack.enter_async_context(http.stream("GET", f"{url}/{HERE}", headers=auth(key)))
            if answer.status_code == 200:
                lines.append(answer.aiter_lines())  # one that is let go ends its answer
                assert await anext(lines[-1]) == "retry: 1000"
            else:
                assert int(answer.headers["retry-after"]) > 0
            return answer.status_code

        async with AsyncExitStack() as stack:
            assert [await listening(stack, ACME) for _ in range(3)] == [200, 200, 429]
            assert await listening(stack, GLOBEX) == 200
            monkeypatch.setattr(event_feed, "MOST", 3)
            assert await listening(stack, GLOBEX) == 429

        async def free_again() -> bool:
            async with AsyncExitStack() as stack:
                return await listening(stack, ACME) == 200

        await eventually(free_again)


async def test_readers_who_come_at_once_do_not_share_the_last_place(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "MOST_OF_A_TENANT", 3)
    async with served(clew) as url, httpx2.AsyncClient(timeout=30) as http, AsyncExitStack() as stack:
        asked = [stack.enter_async_context(http.stream("GET", f"{url}/{HERE}", headers=auth(ACME))) for _ in range(12)]
        answers = await asyncio.gather(*asked)
        assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 9


async def test_whoever_is_refused_or_takes_only_the_headers_leaves_their_place(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "MOST_OF_A_TENANT", 1)
    async with served(clew) as url, httpx2.AsyncClient(timeout=30) as http:
        for _ in range(3):
            refused = await http.get(f"{url}/{HERE}", headers={**auth(ACME), "Last-Event-ID": "nonsense"})
            assert refused.status_code == 400
            assert (await http.head(f"{url}/{HERE}", headers=auth(ACME))).status_code == 200
        async with http.stream("GET", f"{url}/{HERE}", headers=auth(ACME)) as answer:
            assert answer.status_code == 200
            assert (await http.head(f"{url}/{HERE}", headers=auth(ACME))).status_code == 429


async def test_hundreds_listen_and_each_hears_everything(clew: Clew) -> None:
    writer = Writer(handler(clew), "acme")
    limits = httpx2.Limits(max_connections=300)
    async with served(clew) as url, httpx2.AsyncClient(timeout=60, limits=limits) as http:
        begun = 0

        async def one() -> int:
            nonlocal begun
            heard = 0
            async with http.stream("GET", f"{url}/{HERE}", headers=auth(ACME)) as answer:
                async for line in answer.aiter_lines():
                    begun += line == "retry: 1000"
                    heard += line == "event: commit"
                    if heard == 20:
                        break
            return heard

        tasks = [asyncio.create_task(one()) for _ in range(200)]

        async def all_there() -> bool:
            return begun == len(tasks)

        await eventually(all_there)
        await asyncio.gather(*(writer.create() for _ in range(20)))
        assert await asyncio.gather(*tasks) == [20] * len(tasks)
