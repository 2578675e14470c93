"""Messages in short threads and in a very long one: appending and paging, over NATS and HTTP, with keys and without."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count

import msgspec
import nats
from nats.aio.client import Client

from bench.http_load import http_load, request_bytes
from bench.lane import Lane, Run, in_turn
from bench.load import Measured, Operation, closed_loop
from bench.service import KEY, Service, service
from clew_events import ids
from clew_events.codec import encode
from clew_events.commit import FORMAT, Commit
from clew_events.content import Message, Text, ToolResources
from clew_events.events import Event, ItemAdded, ThreadCreated
from clew_events.subjects import command_subject, query_subject
from clew_projections.apply import advance
from clew_projections.views import ThreadView, absent
from clew_services import compose
from clew_services.compose import Clew
from clew_services.eventstore.append import AppendResult, Log

TENANT = "bench"
SHORT, LONG = 10, 100_000
A_COMMIT = 100
"""Messages in each commit of a thread that is made long."""
STAYS_SHORT = 20
"""Messages that are appended to a short thread before the next one takes its place."""


async def messages(seconds: float) -> list[Lane]:
    """The lanes; what is compared is the long thread with short ones, and keys with none."""
    async with (
        service(extra={"CLEW_MAX_MESSAGES": "1000000"}) as running,
        compose.connect(running.nats, name="bench") as clew,
    ):
        nc = await nats.connect(running.nats)
        try:
            long = (await made(clew, LONG)).id
            shorts = [(await made(clew, SHORT)).id for _ in range(2_000)]
            await wait_until_projected(clew)
            return [
                *(await _appending(nc, running, shorts, long, seconds)),
                *(await _paging(nc, running, shorts, long, seconds)),
            ]
        finally:
            await nc.close()


async def made(clew: Clew, length: int, *, own: bool = False) -> ThreadView:
    """A thread with so many messages, written straight to the log, under ids of the caller's ``own`` or Clew's."""
    log = Log(clew.js, clew.deployment.shards)
    view = absent(TENANT, ids.random_id("thread_"))
    while view.messages < length:
        first = view.last_ordinal + 1
        some = range(first, min(first + A_COMMIT, length + 1))
        events: tuple[Event, ...] = tuple(_added(view.id, ordinal, own) for ordinal in some)
        if view.n == 0:
            events = (ThreadCreated(metadata={}, tool_resources=ToolResources()), *events)
        commit = Commit(
            v=FORMAT,
            id=ids.random_id("cmd_"),
            tenant=TENANT,
            thread=view.id,
            n=view.n + 1,
            at=datetime.now(UTC),
            actor="bench",
            by="nats",
            command="CreateThread" if view.n == 0 else "AddMessage",
            prev=view.hash,
            events=events,
        )
        encoded = encode(commit, ids.random_salts(len(events) + 1))
        appended = await log.append(encoded, view.seq)
        if not isinstance(appended, AppendResult):
            raise RuntimeError(appended)  # noqa: TRY004 - somebody else writes this thread
        view = advance(view, appended.recorded)
    return view


async def wait_until_projected(clew: Clew) -> None:
    """Wait until the projector has seen everything: what is measured is Clew at work, not one that just started."""
    for shard in range(clew.deployment.shards):
        while (state := await clew.generations.position(shard).state()).num_pending or state.num_ack_pending:
            await asyncio.sleep(0.1)


def _added(thread: str, ordinal: int, own: bool) -> ItemAdded:
    text = (Text(f"Line {ordinal} of a long conversation."),)
    name = f"own-{ordinal}" if own else ids.item_id(ordinal, thread)
    return ItemAdded(item=name, ordinal=ordinal, message=Message(role="user", content=text, metadata={}))


async def _appending(nc: Client, running: Service, shorts: list[str], long: str, seconds: float) -> list[Lane]:
    keys = count()

    def over_nats(thread: Callable[[int], str], *, keyed: bool = False) -> Operation:
        async def append(number: int) -> None:
            command: dict[str, object] = {
                "thread_id": thread(number),
                "message": {"role": "user", "content": "How warm is it?"},
            }
            if keyed:
                command["id"] = f"key-{next(keys)}"
            reply = await nc.request(command_subject(TENANT, "add_message"), msgspec.json.encode(command), timeout=10)
            if not reply.data.startswith(b'{"ok"'):
                raise RuntimeError(reply.data)

        return append

    async def run(operation: Operation) -> Measured:
        return await closed_loop(operation, workers=1, seconds=seconds)

    async def over_http(thread: Callable[[int], str]) -> Measured:
        def request(number: int) -> bytes:
            path = f"/v1/threads/{thread(number)}/messages"
            return request_bytes("POST", path, KEY, b'{"role":"user","content":"How warm is it?"}')

        return await http_load(running.host, running.port, request, workers=1, seconds=seconds)

    def short(number: int) -> str:
        return shorts[number // STAYS_SHORT % len(shorts)]

    plain = over_nats(lambda _: long)
    return [
        await _compared(
            "append over NATS, one writer",
            lambda: run(plain),
            lambda: run(over_nats(short)),
        ),
        await _compared(
            "append over NATS with keys, one writer",
            lambda: run(over_nats(lambda _: long, keyed=True)),
            lambda: run(plain),
            beside="without keys",
            goal=0.9,
        ),
        await _compared(
            "append over HTTP, one writer",
            lambda: over_http(lambda _: long),
            lambda: over_http(short),
        ),
    ]


async def _paging(nc: Client, running: Service, shorts: list[str], long: str, seconds: float) -> list[Lane]:
    def over_nats(thread: Callable[[int], str]) -> Operation:
        async def page(number: int) -> None:
            query = b'{"thread_id":"%s","limit":10}' % thread(number).encode()
            reply = await nc.request(query_subject(TENANT, "list_messages"), query, timeout=10)
            if not reply.data.startswith(b'{"ok"'):
                raise RuntimeError(reply.data)

        return page

    async def run(operation: Operation) -> Measured:
        return await closed_loop(operation, workers=8, seconds=seconds)

    async def over_http(thread: Callable[[int], str]) -> Measured:
        return await http_load(
            running.host,
            running.port,
            lambda number: request_bytes("GET", f"/v1/threads/{thread(number)}/messages?limit=10", KEY),
            workers=8,
            seconds=seconds,
        )

    def short(number: int) -> str:
        return shorts[number % len(shorts)]

    return [
        await _compared(
            "page of 10 over NATS, 8 at once",
            lambda: run(over_nats(lambda _: long)),
            lambda: run(over_nats(short)),
        ),
        await _compared(
            "page of 10 over HTTP, 8 at once",
            lambda: over_http(lambda _: long),
            lambda: over_http(short),
        ),
    ]


async def _compared(name: str, ours: Run, theirs: Run, *, beside: str = "", goal: float = 0.8) -> Lane:
    measured, other = await in_turn(ours, theirs)
    return Lane(
        name=f"{name}, {LONG:,} messages", clew=measured, raw_name=beside or f"{SHORT} messages", raw=other, goal=goal
    )
