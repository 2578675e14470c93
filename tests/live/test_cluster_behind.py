"""Three servers, one of which is kept behind: whichever of them answers, no answer is older than the log.

In a soak the other two are lost as well, which takes elections, and those their time.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from clew_events.errors import Unavailable
from clew_events.queries import GetHistory, GetStateAt, GetThread, ListItems, ListMessages
from clew_events.subjects import event_stream
from clew_services import compose
from clew_services.compose import Clew, Connection
from clew_services.imports import chatgpt_export
from clew_services.imports.source_thread import conversation_id
from clew_services.imports.thread_import import ThreadImport
from clew_services.threads.result import Outcome
from support.behind import Life, behind
from support.cluster import SHARDS, Cluster, deployed_cluster
from support.cluster_load import clean
from support.exports import assistant, conversation, node, written
from support.indexes import caught_up, fed
from support.routes import Routes, routes
from support.truth import checkpointed, projecting
from support.waiting import eventually
from support.writers import Writer, handler

LAGS = 3
LOG = tuple(event_stream(shard) for shard in range(SHARDS))
VIEWS = ("KV_clew_threads_v1", "KV_clew_commands_v1")


@pytest.fixture(scope="module")
def wires() -> Iterator[Routes]:
    with routes() as made:
        yield made


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, wires: Routes) -> Iterator[Cluster]:
    with deployed_cluster(tmp_path_factory.mktemp("cluster"), wires) as running:
        yield running


@pytest.fixture
async def operator(cluster: Cluster) -> AsyncIterator[Connection]:
    async with compose.connection(cluster.url(user="operator"), name="operator") as made:
        yield made


async def test_no_answer_is_older_than_what_was_acknowledged_though_a_replica_lags(
    cluster: Cluster, clews: list[Clew], wires: Routes, operator: Connection
) -> None:
    life, writer = Life([f"thread_{n}" for n in range(3)], 1), clews[0]
    async with projecting(writer):
        await life.go_on(writer, 30)
        for streams in (LOG, (*LOG, *VIEWS)):
            await checkpointed(writer)
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(behind(wires, operator, f"clew-{LAGS}", streams))
                kept = wires.kept
                await life.go_on(writer, 20)
                await checkpointed(writer)
                new = await stack.enter_async_context(compose.connect(cluster.url(LAGS), name="knows nothing"))
                for each in (*clews, new):
                    assert await life.wrong_answers(each) == []
                assert await life.wrong_repeats(new) == []
                await clean(new)
                assert wires.kept > kept
            assert await life.wrong_answers(clews[LAGS - 1]) == []


async def test_an_index_that_is_fed_by_a_replica_that_lags_leaves_nothing_out(
    clews: list[Clew], wires: Routes, operator: Connection, tmp_path: Path
) -> None:
    life = Life([f"thread_listed_{n}" for n in range(5)], 5)
    async with behind(wires, operator, f"clew-{LAGS}", LOG):
        kept = wires.kept
        await life.go_on(clews[0], 40)
        async with fed(clews[LAGS - 1], tmp_path):
            await life.go_on(clews[0], 40)
            found = await caught_up(clews[LAGS - 1], tmp_path)
            listed = {thread: n for thread, (n, _) in found.items() if thread in life.threads}
        assert listed == {thread: len(life.history(thread)) for thread in life.threads}
        assert wires.kept > kept


async def refused(asked: Awaitable[object]) -> bool:
    """Whether nobody says anything, for lack of somebody who knows."""
    try:
        await asked
    except Unavailable:
        return True
    return False


async def test_threads_from_elsewhere_are_imported_once_though_the_replica_that_is_asked_lags(
    clews: list[Clew], wires: Routes, operator: Connection, tmp_path: Path
) -> None:
    nodes = [node("a", "root", "user", "Hi"), assistant("b", "a", "Hello"), node("c", "b", "user", "So?")]
    names = [f"c{number}" for number in range(5)]
    early = written(tmp_path, [conversation("b", nodes[:2], name) for name in names], "early.json")
    late = written(tmp_path, [conversation("c", nodes, name) for name in names], "late.json")
    async with behind(wires, operator, f"clew-{LAGS}", LOG):
        importing = ThreadImport(clews[LAGS - 1].opened, chatgpt_export, tenant="default")
        reports = [await importing.run([file]) for file in (early, early, late, late, early)]
        assert [(each.new, each.grown, each.there, each.items) for each in reports] == [
            (5, 0, 0, 10),
            (0, 0, 5, 0),
            (0, 5, 0, 5),
            (0, 0, 5, 0),
            (0, 0, 5, 0),
        ]
        assert [each.refused for each in reports] == [[]] * 5
        for clew in clews:
            for name in names:
                thread = conversation_id("chatgpt", name)
                page = (await clew.reader.answer("default", ListItems(thread_id=thread, order="asc"))).items
                assert len(page.data) == len(nodes)


@pytest.mark.soak
async def test_where_two_of_three_are_gone_nobody_lies_and_one_that_comes_back_brings_everything(
    cluster: Cluster, clews: list[Clew], auditor: Clew, wires: Routes, operator: Connection
) -> None:
    life, left = Life(["thread_left_0", "thread_left_1"], 7), clews[LAGS - 1]
    await life.go_on(clews[0], 20)
    async with behind(wires, operator, f"clew-{LAGS}", (*LOG, *VIEWS)):
        await life.go_on(clews[0], 20)
        cluster.nodes[1].stop(signal.SIGKILL)
        cluster.nodes[2].stop(signal.SIGKILL)
    # The one that is left lacks what the others acknowledged.
    thread = life.threads[0]
    queries = (
        GetThread(thread_id=thread),
        ListMessages(thread_id=thread),
        GetHistory(thread_id=thread),
        GetStateAt(thread_id=thread, as_of=1),
    )
    writer = Writer(handler(left, deadline=2.0))
    assert all(
        await asyncio.gather(
            *(refused(left.reader.answer("default", query)) for query in queries),
            refused(writer.set(thread, "while", "alone", id="alone")),
        )
    )
    cluster.start(2)

    async def is_written() -> Outcome | None:
        try:
            return await writer.set(thread, "while", "alone", id="alone")
        except Unavailable:
            return None

    done = await eventually(is_written)
    assert done is not None
    assert done.n == len(life.history(thread)) + 1
    before = life.history(thread)

    async def is_read() -> bool:
        await life.read(auditor)
        return True

    await eventually(is_read)
    assert life.history(thread)[: len(before)] == before
    assert await life.wrong_answers(left) == []
    assert await life.wrong_repeats(left) == []
