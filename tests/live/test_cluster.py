"""Three servers, three replicas: no acknowledged commit is lost, nothing happens twice, and no read is behind.

The servers are configured by the very files of ``infra/nats``. In a soak one
disturbance comes after the other for CLEW_SOAK_SECONDS.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import shutil
import signal
from collections.abc import Iterable

import pytest

from clew_events.commands import CreateThread, UpdateThread
from clew_events.errors import Unavailable
from clew_events.events import MetadataUpdated
from clew_events.queries import GetMessage, GetThread
from clew_events.requests import MetadataPatch, NewMessage
from clew_events.subjects import Address, event_stream
from clew_projections.kv.bucket import Value
from clew_projections.nats.stream_messages import MSG_ID
from clew_projections.places import PAGE
from clew_services import compose
from clew_services.compose import Clew
from clew_services.compose.roles import serve_inbox
from clew_services.threads.result import Outcome
from support.cli import clew
from support.cluster import NUMBERS, SHARDS, Cluster, leader_of, operating
from support.cluster_load import Load, clean
from support.commits import CREATED, added, body_of, chain, store
from support.lasting import SECONDS
from support.truth import buckets_equal_the_log, commits_of, projecting
from support.waiting import eventually
from support.writers import Writer, handler, message_id, thread_id

pytestmark = pytest.mark.timeout(300 + 3 * SECONDS)


async def test_fifty_writers_through_three_servers_change_one_thread_without_losing_a_change(
    clews: list[Clew], auditor: Clew
) -> None:
    writers = [Writer(handler(clew)) for clew in clews]
    thread = thread_id(await writers[0].create())
    done = await asyncio.gather(*(writers[i % 3].set(thread, str(i % 10), str(i)) for i in range(50)))
    assert sorted(each.n for each in done) == list(range(2, 52))
    commits = await commits_of(auditor, thread)
    assert [commit.n for commit in commits] == list(range(1, 52))


async def test_a_command_that_comes_through_three_servers_at_once_happens_once(
    clews: list[Clew], auditor: Clew
) -> None:
    thread = thread_id(await Writer(clews[0].handler).create())
    for step in range(10):
        command = UpdateThread(id=f"once-{step}", thread_id=thread, patch=MetadataPatch(set={"step": str(step)}))
        done = await asyncio.gather(*(clew.handler.handle("default", command) for clew in clews))
        assert {each.n for each in done} == {step + 2}
    assert len(await commits_of(auditor, thread)) == 11


async def test_what_is_written_through_one_server_is_read_through_the_others_at_once(clews: list[Clew]) -> None:
    async with projecting(clews[0]):
        writers = [Writer(clew.handler) for clew in clews]

        async def lane(number: int) -> None:
            ours, others = writers[number], [clew for clew in clews if clew is not clews[number]]
            thread = thread_id(await ours.create())
            message = message_id(await ours.add(thread))
            for step in range(25):
                done = await ours.change(thread, message, patch=MetadataPatch(set={"step": str(step)}))
                for reader in (clew.reader for clew in others):
                    seen = await reader.thread("default", GetThread(thread_id=thread))
                    assert seen.n == done.n
                    found = await reader.message("default", GetMessage(thread_id=thread, message_id=message))
                    assert found.message is not None
                    assert found.message.metadata == {"step": str(step)}

        await asyncio.gather(*(lane(number % 3) for number in range(6)))


async def test_a_message_is_never_older_than_its_thread_though_its_replica_lags(
    clews: list[Clew], auditor: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, other = Writer(clews[0].handler), clews[1]
    thread, message = "thread_of_a_full_page", added(1).item
    (filled,) = chain([CREATED, *(added(ordinal) for ordinal in range(1, PAGE + 1))], thread=thread)
    await store(clews[0].nc, Address("default", thread), body_of(filled.commit), shards=SHARDS)
    threads = other.live.current.threads
    async with projecting(clews[0]):
        await buckets_equal_the_log(auditor)
        behind = await threads.get_many(await threads.keys(f"default.{thread}.*"))
        assert behind
        await writer.change(thread, message, patch=MetadataPatch(set={"now": "yes"}))
        await buckets_equal_the_log(auditor)

    async def from_a_replica_that_lags(keys: Iterable[str]) -> dict[str, Value]:
        return {key: behind[key] for key in keys}

    monkeypatch.setattr(threads, "get_many", from_a_replica_that_lags)
    found = await other.reader.message("default", GetMessage(thread_id=thread, message_id=message))
    assert found.message is not None
    assert found.message.metadata == {"now": "yes"}
    late = await other.reader.message(
        "default", GetMessage(thread_id=thread, message_id=message, consistency="eventual", at_least=2)
    )
    assert late.message == found.message


async def test_leaders_that_step_down_under_load_lose_nothing(
    cluster: Cluster, clews: list[Clew], auditor: Clew
) -> None:
    load = Load(clews)
    names = [event_stream(shard) for shard in range(SHARDS)]
    others = ["KV_clew_threads_v1", "KV_clew_commands_v1", "KV_clew_leases"]
    async with operating(cluster) as operator, operating(cluster, "admin") as admin:
        async with projecting(clews[0]), projecting(clews[1]):
            async with load.running(60):
                await load.more(100)
                for stream in (*names, *others):
                    await operator.js.api(f"STREAM.LEADER.STEPDOWN.{stream}")
                for stream in names:
                    await operator.js.api(f"CONSUMER.LEADER.STEPDOWN.{stream}.clew_threads_v1")
                await load.more(200)
                await admin.js.api("META.LEADER.STEPDOWN")
                for stream in names:
                    await operator.js.api(f"STREAM.LEADER.STEPDOWN.{stream}")
                await load.more(200)
            await load.account(auditor)
            await buckets_equal_the_log(auditor)
        await clean(clews[2])


async def test_a_server_that_is_killed_under_load_and_comes_back_loses_nothing(
    cluster: Cluster, clews: list[Clew], auditor: Clew
) -> None:
    load = Load(clews)
    async with operating(cluster) as operator:
        leader = cluster.number_of(await leader_of(operator, event_stream(0)))
    async with projecting(clews[0]), projecting(clews[1]):
        async with load.running(60):
            await load.more(100)
            cluster.nodes[leader].stop(signal.SIGKILL)
            await load.more(300)
            cluster.start(leader)
            await load.more(100)
            await cluster.healthy()
            await load.more(100)
        await load.account(auditor)
        await buckets_equal_the_log(auditor)
    await clean(clews[leader - 1])
    # What a replica holds is not what a read shows, as long as another one answers.
    assert "corrupt" not in cluster.nodes[leader].log()
    for name in await auditor.js.streams():
        config = (await auditor.js.api(f"STREAM.INFO.{name}"))["config"]
        assert isinstance(config, dict)
        assert config["compression"] == "none", name


async def left(operator: compose.Connection, command: str, body: bytes, message: str) -> None:
    """Leave a command in the inbox; while nobody leads there, try again under the same id."""

    async def taken() -> bool:
        try:
            ack = await operator.js.publish(f"clew.inbox.default.{command}", body, {MSG_ID: message}, 1.0)
        except Unavailable:
            return False
        return ack.error is None

    await eventually(taken)


async def test_the_inbox_changes_hands_and_leaders_and_carries_everything_out_once(
    cluster: Cluster, clews: list[Clew], auditor: Clew
) -> None:
    stop = asyncio.Event()
    serving = [asyncio.create_task(serve_inbox(clew, stop)) for clew in clews]
    commands = 150
    try:
        async with operating(cluster) as operator:
            js = operator.nc.jetstream()
            thread = "thread_inbox"
            await left(operator, "create_thread", b'{"thread_id":"thread_inbox"}', "inbox-new")
            for step in range(commands):
                body = b'{"thread_id":"%s","metadata":{"step":"%d"}}' % (thread.encode(), step)
                await left(operator, "update_thread", body, f"inbox-{step}")
                if step % 50 == 25:
                    for stream in ("KV_clew_leases", "CLEW_INBOX", "CLEW_REJECTED"):
                        await operator.js.api(f"STREAM.LEADER.STEPDOWN.{stream}")
                    for name in (await operator.js.api("CONSUMER.NAMES.CLEW_INBOX"))["consumers"] or ():
                        with contextlib.suppress(Unavailable):  # another term has begun meanwhile
                            await operator.js.api(f"CONSUMER.LEADER.STEPDOWN.CLEW_INBOX.{name}")

            async def is_empty() -> bool:
                return (await js.stream_info("CLEW_INBOX")).state.messages == 0

            await eventually(is_empty)
    finally:
        stop.set()
        await asyncio.gather(*serving)
    said = [each.events[0] for each in (await commits_of(auditor, "thread_inbox"))[1:]]
    assert [each.set["step"] for each in said if isinstance(each, MetadataUpdated)] == [
        str(step) for step in range(commands)
    ]


async def test_a_server_whose_disk_is_gone_gets_everything_from_the_others(
    cluster: Cluster, clews: list[Clew], auditor: Clew
) -> None:
    writers = [Writer(handler(clew)) for clew in clews]
    threads = [thread_id(await writers[i % 3].create()) for i in range(20)]
    new, other = cluster.nodes[3], cluster.nodes[1]
    new.stop(signal.SIGKILL)
    shutil.rmtree(new.folder / "clew-nats")
    cluster.start(new.number)
    await cluster.healthy()
    # Two are a majority, so from now on the new one has to have it all.
    other.stop(signal.SIGKILL)

    async def change(writer: Writer, thread: str) -> Outcome | None:
        try:
            return await writer.set(thread, "after", "yes", id=f"after-{thread}")
        except Unavailable:  # the one that was killed led it, and they take seconds to elect another
            return None

    done = await asyncio.gather(
        *(eventually(functools.partial(change, writers[i % 2 + 1], thread)) for i, thread in enumerate(threads))
    )
    assert [each.n for each in done if each is not None] == [2] * len(threads)

    async def is_clean() -> bool:
        # The one that was killed may have led what is asked, and the other two take their time to agree.
        try:
            await clean(auditor)
        except Unavailable:
            return False
        return True

    await eventually(is_clean)
    cluster.start(other.number)
    await cluster.healthy()


async def test_the_command_line_looks_at_a_cluster_through_any_of_its_servers(cluster: Cluster) -> None:
    await cluster.healthy()
    asked = await asyncio.to_thread(clew, "status", "--json", env={"CLEW_NATS": cluster.url()})
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["replicas"] == 3


@pytest.mark.soak
async def test_servers_that_are_restarted_and_killed_in_turn_lose_nothing(
    cluster: Cluster, clews: list[Clew], auditor: Clew
) -> None:
    load, until = Load(clews), asyncio.get_running_loop().time() + SECONDS
    async with projecting(clews[0]), projecting(clews[1]):
        async with load.running(40):
            for number, how in itertools.cycle(itertools.product(NUMBERS, (signal.SIGTERM, signal.SIGKILL))):
                await load.more(50)
                await asyncio.to_thread(cluster.nodes[number].stop, how)
                await load.more(50)
                cluster.start(number)
                await cluster.healthy()
                if asyncio.get_running_loop().time() > until:
                    break
        await load.account(auditor)
        await buckets_equal_the_log(auditor)
    await clean(auditor)


async def test_a_commit_as_large_as_there_can_be_is_read_through_every_server(clews: list[Clew]) -> None:
    messages = tuple(NewMessage(role="user", content=f"{i}" * 900_000) for i in range(8))
    done = await clews[0].handler.handle("default", CreateThread(messages=messages))
    for each in clews:
        seen = await each.reader.thread("default", GetThread(thread_id=thread_id(done)))
        assert seen.n == 1
