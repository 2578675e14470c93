"""A command that comes again is answered as it was the first time, however long ago and whoever is asked."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from clew_events.commands import AddMessage, Command, CreateThread, UpdateThread
from clew_events.errors import IdReused
from clew_events.requests import NewMessage
from clew_events.subjects import Address
from clew_projections.kv.command_ids import mark
from clew_projections.kv.key_names import checkpoint_key
from clew_projections.kv.position import ProjectorPosition
from clew_services.compose import Clew, connect
from clew_services.eventstore.provision import verify
from clew_services.eventstore.topology import SPENT_IDS_KEPT
from clew_services.threads.result import Outcome
from support.waiting import eventually

LONG = 250
"""Commits of a thread that has outgrown what its view remembers more than twice."""


def said(thread: str, number: int) -> AddMessage:
    return AddMessage(id=f"key-{number}", thread_id=thread, message=NewMessage(role="user", content=f"line {number}"))


async def told(clew: Clew, command: Command) -> Outcome:
    return await clew.handler.handle("default", command)


async def long_thread(clew: Clew) -> tuple[str, list[Outcome]]:
    created = await told(clew, CreateThread(id="key-0"))
    assert created.thread is not None
    thread = created.thread.id
    return thread, [created, *[await told(clew, said(thread, number)) for number in range(1, LONG)]]


async def projected(clew: Clew, thread: str, n: int) -> None:
    stop = asyncio.Event()
    projecting = asyncio.create_task(clew.project(stop))

    async def is_projected() -> bool:
        return (await clew.current.cached_view(Address("default", thread))).n >= n

    await eventually(is_projected)
    stop.set()
    await projecting


@pytest.mark.parametrize("projecting", [False, True], ids=["before it is projected", "after it was projected"])
async def test_an_outgrown_id_is_known_to_who_carried_it_out_and_to_everybody_else(
    clew: Clew, deployment, projecting: bool
) -> None:
    thread, first = await long_thread(clew)
    if projecting:
        await projected(clew, thread, LONG)
    async with connect(deployment.url, name="another process") as other:
        for process in (clew, other):
            for number in (1, 77, LONG - 101, LONG - 100, LONG - 99, LONG - 1):
                assert await told(process, said(thread, number)) == first[number]
            assert await told(process, CreateThread(id="key-0")) == first[0]
        view = await other.current.catch_up(await other.current.cached_view(Address("default", thread)))
    assert view.n == LONG


async def test_ids_that_a_dying_server_lost_are_looked_for_in_the_log(clew: Clew, deployment) -> None:
    thread, _ = await long_thread(clew)
    await projected(clew, thread, LONG)
    address = Address("default", thread)
    known = await clew.current.read_older_ids(address)
    # The bucket of ids as it was early on, as after a crash, while that of threads kept everything.
    await clew.js.api(f"STREAM.PURGE.{clew.live.current.commands.stream}")
    early = (await clew.histories.first(address)).position
    await clew.live.current.commands.put(
        checkpoint_key(early.shard), msgspec.json.encode(ProjectorPosition(early.seq)), 0
    )
    async with connect(deployment.url, name="after the crash") as later:
        left = await later.current.read_older_ids(address)
        assert known.marks
        assert left.marks == set()
        assert left.seq <= early.seq  # whatever came after it is looked for in the log


async def test_an_outgrown_id_with_another_command_is_refused_and_changes_nothing(clew: Clew, deployment) -> None:
    thread, _ = await long_thread(clew)
    await projected(clew, thread, LONG)
    async with connect(deployment.url, name="another process") as other:
        for process in (clew, other):
            with pytest.raises(IdReused, match="key-5"):
                await told(process, UpdateThread(id="key-5", thread_id=thread, metadata={"a": "b"}))
        assert (await other.current.catch_up(await other.current.cached_view(Address("default", thread)))).n == LONG


async def test_ids_that_another_process_spent_in_the_meantime_are_known_too(clew: Clew, deployment) -> None:
    thread, _ = await long_thread(clew)
    async with connect(deployment.url, name="another process") as other:
        await told(other, said(thread, 1))  # from now on the other process knows this thread's ids by itself
        for batch in (range(LONG, LONG + 60), range(LONG + 60, LONG + 300)):
            made = {number: await told(clew, said(thread, number)) for number in batch}
            for number in (batch[0], batch[len(batch) // 2], batch[-1]):
                assert await told(other, said(thread, number)) == made[number]
    assert sorted({each.commit.n for each in await clew.histories.tail(Address("default", thread), 0)}) == list(
        range(1, LONG + 301)
    )


async def test_only_ids_that_callers_chose_are_kept(clew: Clew) -> None:
    created = await told(clew, CreateThread())
    assert created.thread is not None
    await told(clew, said(created.thread.id, 1))
    await projected(clew, created.thread.id, 2)
    assert await clew.live.current.spent.marks(Address("default", created.thread.id)) == {mark("key-1")}


async def test_a_bucket_that_forgets_too_soon_is_refused(clew: Clew) -> None:
    stream = "KV_clew_commands_v1"
    info = await clew.js.api(f"STREAM.INFO.{stream}")
    assert info["config"]["max_age"] == SPENT_IDS_KEPT * 1_000_000_000  # type: ignore[index]
    await clew.js.api(f"STREAM.UPDATE.{stream}", {**info["config"], "max_age": 3_600_000_000_000})  # type: ignore[dict-item]
    with pytest.raises(Exception, match="max_age"):
        await verify(clew.js)
