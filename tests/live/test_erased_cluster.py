"""Three servers: what is erased is in no replica's blocks, whoever of them is asked, by the user that may erase."""

from __future__ import annotations

import asyncio
from pathlib import Path

from clew_events.codec import decode
from clew_events.commands import CreateThread, UpdateThread
from clew_events.events import is_erased
from clew_events.requests import MetadataPatch, NewMessage
from clew_events.subjects import Address, event_stream
from clew_services.compose import Clew, connection
from clew_services.erasure.eraser import Budget, Eraser, Loss
from support.cluster import Cluster
from support.waiting import eventually

THREAD = Address("default", "thread_erased")
MARKER = "marker-of-what-goes"


async def at_once(_: float) -> None: ...


def blocks_with(cluster: Cluster, word: str) -> list[Path]:
    blocks = [each for node in cluster.nodes.values() for each in node.folder.rglob("*.blk")]
    return [each for each in blocks if "/streams/CLEW_" in str(each) and word.encode() in each.read_bytes()]


async def test_every_replica_loses_what_is_erased_and_every_server_answers_with_the_rest(
    cluster: Cluster, clews: list[Clew]
) -> None:
    handle = clews[0].handler.handle
    messages = tuple(NewMessage(role="user", content=f"{MARKER} {each}") for each in range(3))
    await handle("default", CreateThread(thread_id=THREAD.thread, messages=messages), actor="shop")
    await handle("default", UpdateThread(thread_id=THREAD.thread, patch=MetadataPatch(set={"a": "b"})), actor="shop")
    first, last = await clews[0].histories.tail(THREAD, 0)
    await eventually(lambda: asyncio.sleep(0, len({each.parts for each in blocks_with(cluster, MARKER)}) == 3))
    numbers = range(1, len(first.commit.events) + 1)
    async with connection(cluster.url(user="erasure"), name="erasure") as made:
        eraser = Eraser(made.js, Budget(sleep=at_once))
        for some in (numbers[:2], numbers):
            await eraser.erase([Loss(first.position, some)])
            for clew in clews:
                left, same = await clew.histories.tail(THREAD, 0)
                assert [is_erased(event) for event in left.commit.events] == [each in some for each in numbers]
                assert (left.hash, left.position, same) == (first.hash, first.position, last)
                (stored,) = await clew.js.at(event_stream(first.position.shard), [first.position.seq])
                assert stored is not None
                assert decode(stored.body) == left.commit
    await eventually(lambda: asyncio.sleep(0, not blocks_with(cluster, MARKER)))
