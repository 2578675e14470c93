"""What one more commit takes: bytes in the log, in the buckets and in the index, by what is in it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Struct

from bench.messages import TENANT, wait_until_projected
from bench.service import service
from clew_events.commands import AddMessage, Command, CreateThread, UpdateThread
from clew_events.requests import NewMessage
from clew_events.subjects import event_stream
from clew_projections.indexer.freshness import freshness
from clew_projections.kv.key_names import bucket_names
from clew_projections.nats.jetstream import stream_state
from clew_services import compose
from clew_services.compose import Clew
from clew_services.embedded.storage import room

AT_ONCE: Final = 32
TO_EACH: Final = 10
"""Messages, and changes of metadata, of each thread that they go to."""
_WORDS: Final = "how warm is it where you are and what will the weather be like on the way home tomorrow evening "


class Size(Struct, frozen=True):
    """Bytes that one commit of a kind adds, on average.

    ``log`` and ``buckets`` are those of messages that count, ``disk`` is all of nats-server's files, which still have
    what was superseded, and ``index`` is the file of the index.
    """

    kind: str
    log: float
    buckets: float
    disk: float
    index: float


async def sizing(commits: int) -> list[Size]:
    """The sizes, from so many commits of each kind."""
    with tempfile.TemporaryDirectory(prefix="clew-bench-") as data:
        async with service(data=Path(data)) as running, compose.connect(running.nats, name="bench") as clew:
            kinds: dict[str, Callable[[int], Command]] = {
                "a thread without messages": lambda number: CreateThread(thread_id=f"thread_{number}"),
                "a message of 300 bytes": partial(_message, 300),
                "a message of 3,000 bytes": partial(_message, 3_000),
                "a change of one value of metadata": _metadata,
            }
            return [await _measured(clew, Path(data), kind, commits, make) for kind, make in kinds.items()]


def _message(size: int, number: int) -> Command:
    text = (_WORDS * (size // len(_WORDS) + 1))[:size]
    return AddMessage(thread_id=f"thread_{number // TO_EACH}", message=NewMessage(role="user", content=text))


def _metadata(number: int) -> Command:
    return UpdateThread(thread_id=f"thread_{number // TO_EACH}", metadata={"stage": str(number)})


async def _measured(clew: Clew, data: Path, kind: str, commits: int, make: Callable[[int], Command]) -> Size:
    before = await _stored(clew, data)
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with room:
            await clew.handler.handle(TENANT, make(number))

    await asyncio.gather(*(one(number) for number in range(commits)))
    after = await _stored(clew, data)
    return Size(kind, *(round((now - then) / commits, 1) for then, now in zip(before, after, strict=True)))


async def _stored(clew: Clew, data: Path) -> tuple[int, int, int, int]:
    await wait_until_projected(clew)
    shards = clew.deployment.shards
    while (index := await freshness(clew.js, shards, clew.index_in(data / "index"))).behind:
        await asyncio.sleep(0.1)
    log = [await stream_state(clew.js, event_stream(shard)) for shard in range(shards)]
    buckets = [await stream_state(clew.js, f"KV_{name}") for name in bucket_names(clew.live.record.live)]
    taken = room(data / "nats").taken
    return sum(each.bytes for each in log), sum(each.bytes for each in buckets), taken, index.bytes
