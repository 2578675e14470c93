"""Items: adding 1, 20 and 100 in a commit, listing, popping, forking, and finding one by its caller's own id."""

from __future__ import annotations

from itertools import count
from random import Random

import msgspec
import nats
from nats.aio.client import Client

from bench.lane import Lane, in_turn
from bench.load import Measured, Operation, closed_loop
from bench.messages import LONG, SHORT, TENANT, made, wait_until_projected
from bench.service import service
from clew_events import ids
from clew_events.subjects import command_subject, query_subject
from clew_services import compose

TOGETHER = (1, 20, 100)
"""Items that are added in one commit."""
PAGES = (20, 100)
STAYS = 2_000
"""Items of a thread before another takes its place."""
_CALL = {"type": "function_call", "call_id": "call_1", "name": "find_parcel", "arguments": '{"order": 4711}'}


async def items(seconds: float) -> list[Lane]:
    """The lanes; a lookup by the caller's own id is compared with one by an id that Clew made."""
    async with (
        service(extra={"CLEW_MAX_MESSAGES": "1000000"}) as running,
        compose.connect(running.nats, name="bench") as clew,
    ):
        nc = await nats.connect(running.nats)
        try:
            own, plain = (await made(clew, LONG, own=True)).id, (await made(clew, LONG)).id
            await wait_until_projected(clew)
            adding = [await _alone(f"add {size} items over NATS", _adding(nc, size), seconds) for size in TOGETHER]
            listing = [await _alone(f"page of {size} items", _listing(nc, plain, size), seconds) for size in PAGES]
            finding = await _finding(nc, own, plain, seconds)
            short = (await made(clew, SHORT)).id
            forking = await _forking(nc, plain, short, seconds)
            chained = await _chained(nc, clew, plain, seconds)
            popping = await _alone("pop over NATS", _popping(nc, plain), seconds)
            return [*adding, *listing, finding, forking, chained, popping]
        finally:
            await nc.close()


async def _alone(name: str, operation: Operation, seconds: float) -> Lane:
    measured = await closed_loop(operation, workers=1, seconds=seconds)
    return Lane(name=f"{name}, one at a time", clew=measured)


def _adding(nc: Client, size: int) -> Operation:
    threads, each = count(), max(1, STAYS // size)
    thread = ""

    async def add(number: int) -> None:
        nonlocal thread
        if not thread or number % each == 0:
            thread = f"conv_{size}_{next(threads)}_{ids.random_id('')}"
            await _request(nc, command_subject(TENANT, "create_thread"), {"thread_id": thread})
        await _request(nc, command_subject(TENANT, "add_items"), {"thread_id": thread, "items": [_CALL] * size})

    return add


def _listing(nc: Client, thread: str, size: int) -> Operation:
    query = {"thread_id": thread, "limit": size}
    return lambda _: _request(nc, query_subject(TENANT, "list_items"), query)


def _popping(nc: Client, thread: str) -> Operation:
    return lambda _: _request(nc, command_subject(TENANT, "pop_item"), {"thread_id": thread})


async def _forking(nc: Client, long: str, short: str, seconds: float) -> Lane:
    def fork(parent: str) -> Operation:
        return lambda _: _request(nc, command_subject(TENANT, "fork_thread"), {"parent": parent})

    ours, theirs = await in_turn(
        lambda: closed_loop(fork(long), workers=1, seconds=seconds),
        lambda: closed_loop(fork(short), workers=1, seconds=seconds),
    )
    return Lane(name=f"fork of {LONG:,} items", clew=ours, raw_name=f"of {SHORT}", raw=theirs, goal=0.8)


async def _chained(nc: Client, clew: compose.Clew, plain: str, seconds: float) -> Lane:
    last = plain
    for step in range(10):
        parent, last = last, f"thread_step_{step}_{ids.random_id('')}"
        await _request(nc, command_subject(TENANT, "fork_thread"), {"parent": parent, "thread_id": last})
        await _request(nc, command_subject(TENANT, "add_items"), {"thread_id": last, "items": [_CALL] * 2})
    await wait_until_projected(clew)
    ours, theirs = await in_turn(
        lambda: closed_loop(_listing(nc, last, PAGES[0]), workers=1, seconds=seconds),
        lambda: closed_loop(_listing(nc, plain, PAGES[0]), workers=1, seconds=seconds),
    )
    name = f"page of {PAGES[0]} items, two of each of ten forks"
    return Lane(name=name, clew=ours, raw_name="of one thread", raw=theirs, goal=0.67)


async def _finding(nc: Client, own: str, plain: str, seconds: float) -> Lane:
    chance = Random(1)

    def find(thread: str, *, chosen: bool) -> Operation:
        async def get(_: int) -> None:
            ordinal = chance.randrange(1, LONG + 1)
            item = f"own-{ordinal}" if chosen else ids.item_id(ordinal, thread)
            await _request(nc, query_subject(TENANT, "get_item"), {"thread_id": thread, "item_id": item})

        return get

    async def run(operation: Operation) -> Measured:
        return await closed_loop(operation, workers=1, seconds=seconds)

    ours, theirs = await in_turn(lambda: run(find(own, chosen=True)), lambda: run(find(plain, chosen=False)))
    name = f"item by the caller's own id, {LONG:,} items"
    return Lane(name=name, clew=ours, raw_name="by Clew's id", raw=theirs, goal=0.8)


async def _request(nc: Client, subject: str, body: dict[str, object]) -> None:
    reply = await nc.request(subject, msgspec.json.encode(body), timeout=30)
    if not reply.data.startswith(b'{"ok"'):
        raise RuntimeError(reply.data)
