"""Three servers, and what is under way when an answer is lost, a leader steps down or a server is killed."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from clew_events.commands import CreateThread
from clew_events.errors import Unavailable
from clew_events.subjects import event_stream
from clew_projections.kv import watcher
from clew_projections.nats.request_mux import Disconnected, Request
from clew_projections.nats.stream_messages import Ack
from clew_projections.projector.shard_consumer import ShardConsumer
from clew_services import compose
from clew_services.api_keys import Keys
from clew_services.api_keys.follower import follow_keys
from clew_services.compose import Clew
from clew_services.eventstore.group_commit import ShardWriter
from clew_services.rebuild.bucket_rebuild import Progress
from support.behind import carried_out
from support.cluster import PASSWORD, Cluster, leader_of, operating
from support.cluster_load import Load, clean
from support.indexes import caught_up, fed
from support.proxy import Proxy, between
from support.truth import checkpointed, commits_of, log_of, projecting
from support.waiting import eventually
from support.writers import Writer, thread_id

NEVER = 3600.0
T = TypeVar("T")
Meanwhile = Callable[[str], Coroutine[None, None, None]]


@asynccontextmanager
async def through_a_wire(cluster: Cluster, number: int) -> AsyncIterator[tuple[Clew, Proxy]]:
    """A process whose connection to one of the servers can be cut. It takes another one then."""
    async with between(f"nats://{cluster.nodes[number].client}") as wire:
        url = wire.url.replace("//", f"//clew:{PASSWORD}@")
        async with compose.connect(url, name="through a wire") as clew:
            yield clew, wire


def before_it_is_sent_again(clew: Clew, happens: Meanwhile) -> list[str]:
    """Have something happen after a commit was stored whose answer was lost; the list says in which streams."""
    publish, lost = ShardWriter.publish, list[str]()

    async def published(writer: ShardWriter, request: Request, timeout: float, until: float) -> Ack:
        try:
            return await publish(writer, request, timeout, until)
        except Disconnected:
            lost.append(event_stream(int(request.subject.split(".")[2])))
            await happens(lost[-1])
            raise

    for writer in clew.log._writers:
        writer.publish = partial(published, writer)  # type: ignore[method-assign]
    return lost


async def answered(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer to what may be asked again while nobody leads who could give it."""

    async def asked() -> list[T]:
        try:
            return [await ask()]
        except Unavailable:
            return []

    return (await eventually(asked))[0]


async def another_leads(cluster: Cluster, stream: str) -> None:
    async with operating(cluster) as operator:
        before = await leader_of(operator, stream)
        await operator.js.api(f"STREAM.LEADER.STEPDOWN.{stream}")

        async def changed() -> bool:
            return await leader_of(operator, stream) != before

        await eventually(changed)


@pytest.mark.parametrize("change", [False, True], ids=["the leader stays", "another leads"])
async def test_a_commit_whose_acknowledgement_is_lost_is_there_once_and_its_sender_learns_of_it(
    cluster: Cluster, clews: list[Clew], auditor: Clew, change: bool
) -> None:
    async def happens(stream: str) -> None:
        if change:
            await another_leads(cluster, stream)

    for number, other in enumerate(clews, start=1):
        async with through_a_wire(cluster, number) as (clew, wire):
            writer = Writer(clew.handler)
            thread = thread_id(await writer.create())
            lost = before_it_is_sent_again(clew, happens)
            wire.lose("answer", b"clew.evt.")
            done = await writer.set(thread, "a", "1", id="once")
            assert lost
            assert wire.swallowed
            assert done.n == 2
            assert await Writer(other.handler).set(thread, "a", "1", id="once") == done
        commits = await commits_of(auditor, thread)
        assert [each.n for each in commits] == [1, 2]
        assert commits[1].id == "once"


async def test_a_batch_whose_acknowledgement_is_lost_is_there_once(
    cluster: Cluster, clews: list[Clew], auditor: Clew
) -> None:
    ids = [f"thread_batch_{n}" for n in range(60)]
    async with through_a_wire(cluster, 1) as (clew, wire):
        wire.lose("answer", b"Nats-Batch-Commit")
        commands = [CreateThread(thread_id=each, id=f"new-{each}") for each in ids]
        done = await asyncio.gather(*(clew.handler.handle("default", each) for each in commands))
        assert wire.swallowed
        assert {each.n for each in done} == {1}
        again = await asyncio.gather(*(clews[2].handler.handle("default", each) for each in commands))
        assert again == done
    times = Counter(each.commit.id for records in (await log_of(auditor)).values() for each in records)
    assert [times[each.id] for each in commands if each.id is not None] == [1] * len(ids)


async def test_full_batches_of_a_consumer_with_replicas_are_no_fault(clews: list[Clew], auditor: Clew) -> None:
    await asyncio.gather(*(Writer(each.handler).create() for each in clews * 20))
    consumer = auditor.live.current.consumer
    for shard in range(auditor.deployment.shards):
        pulling = ShardConsumer(auditor.nc, event_stream(shard), consumer, auditor.js.pending)
        delivered: set[int] = set()
        while len(delivered) < 10:
            batch = await pulling.next(2)
            delivered |= {each.seq for each in batch}
            pulling.ack(batch)
        await pulling.close()


async def test_a_rebuild_during_which_leaders_step_down_ends_right_under_load(
    cluster: Cluster, clews: list[Clew], auditor: Clew
) -> None:
    load, begun = Load(clews), asyncio.Event()

    def tell(_: Progress) -> None:
        begun.set()

    async def leaders_step_down() -> None:
        await begun.wait()
        for stream in (event_stream(0), "KV_clew_generations", "KV_clew_threads_v2", "KV_clew_commands_v2"):
            await answered(partial(operator.js.api, f"STREAM.LEADER.STEPDOWN.{stream}"))
        consumer = f"{event_stream(0)}.clew_threads_v2"
        await answered(partial(operator.js.api, f"CONSUMER.LEADER.STEPDOWN.{consumer}"))

    async with operating(cluster) as operator, projecting(clews[1]):
        async with load.running(10):
            await load.more(150)
            stepping = asyncio.create_task(leaders_step_down())
            rebuilt = await answered(auditor.rebuild(tell).run)
            await stepping
            await load.more(50)
        assert (rebuilt.live, rebuilt.findings, rebuilt.parked) == (True, (), ())
        await load.account(auditor)
        await checkpointed(auditor)
        await clean(clews[2])
    for clew in clews:
        assert clew.live.current.number == rebuilt.generation


async def test_an_index_follows_when_the_server_it_was_fed_by_is_killed(
    cluster: Cluster, clews: list[Clew], auditor: Clew, tmp_path: Path
) -> None:
    async def created() -> bool:
        return not isinstance(await carried_out(auditor, CreateThread(thread_id="thread_after")), Unavailable)

    async with fed(clews[2], tmp_path):
        before = await caught_up(clews[2], tmp_path)
        cluster.nodes[3].stop(signal.SIGKILL)
        await eventually(created)
        found = await caught_up(clews[2], tmp_path)
    assert found.keys() - before.keys() == {"thread_after"}
    cluster.start(3)
    await cluster.healthy()


async def test_a_revoked_key_is_refused_everywhere_right_after_its_leader_changed(
    cluster: Cluster, clews: list[Clew], auditor: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "SOON", NEVER)
    async with AsyncExitStack() as stack:
        known = [Keys() for _ in clews]
        for clew, keys in zip(clews, known, strict=True):
            every = follow_keys(clew.nc, clew.keys, keys, clew.connection.reconnected, anew=NEVER, note=NEVER)
            await stack.enter_async_context(every)
        for n in range(5):
            key, issued = await answered(partial(auditor.keys.create, "default", f"leaked-{n}", ["read"]))

            async def opens(key: str = key) -> bool:
                return all(keys.holder(key) for keys in known)

            async def opens_nothing(key: str = key) -> bool:
                return not any(keys.holder(key) for keys in known)

            await eventually(opens)
            await another_leads(cluster, "KV_clew_keys_v1")
            await answered(partial(auditor.keys.revoke, issued.id))
            await eventually(opens_nothing)
