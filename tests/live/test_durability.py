"""Processes killed under load: what was acknowledged is there, once, and the buckets come to equal the log."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from signal import SIGKILL

import pytest

from clew_events.commands import AddMessage, Command, CreateThread, UpdateThread
from clew_events.errors import ClewError, Unavailable
from clew_events.objects import Message
from clew_events.queries import GetThread, ListMessages
from clew_events.replies import Found
from clew_events.requests import MetadataPatch, NewMessage
from clew_projections import places
from clew_services.compose import Clew, connect
from clew_services.embedded.server import EmbeddedServer
from clew_services.threads.result import Outcome
from support.lanes import InLanes
from support.truth import buckets_equal_the_log, checkpointed, impatient, log_of, projecting
from support.waiting import eventually
from support.writers import Writer, handler, message_id, thread_id

ROOT = Path(__file__).parents[2]
PROJECTOR = """
import asyncio, sys
from clew_projections.projector import projector
from clew_projections.projector.batch import BatchProjection
from clew_services.compose import connect

projector.BATCH = 10
apply, left = BatchProjection.apply, 30

async def as_far_as_it_gets(*of):
    global left
    left -= 1
    await (apply(*of) if left > 0 else asyncio.Event().wait())

BatchProjection.apply = as_far_as_it_gets

async def main():
    async with connect(sys.argv[1], name="to be killed") as clew:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await clew.project(asyncio.Event())

asyncio.run(main())
"""


class Load(InLanes):
    """Commands in flight, more than two hundred at a time, and what became of each."""

    def __init__(self, clews: list[Clew], threads: list[str]) -> None:
        super().__init__()
        self._writers = [Writer(handler(clew, attempt=0.5, deadline=15.0)) for clew in clews]
        self._threads = threads
        self._tasks: set[asyncio.Task[None]] = set()
        self.commands: dict[str, Command] = {}
        self.answers: dict[str, Outcome | ClewError] = {}

    async def _lane(self, lane: int) -> None:
        step = 0
        while not self.stopped:
            await self.send(f"lane-{lane}-{step}", self._next(lane, step))
            step += 1

    def _next(self, lane: int, step: int) -> Command:
        thread, command_id = self._threads[lane % len(self._threads)], f"lane-{lane}-{step}"
        match step % 3:
            case 0:
                return CreateThread(id=command_id, metadata={"lane": str(lane)})
            case 1:
                return AddMessage(id=command_id, thread_id=thread, message=NewMessage(role="user", content=command_id))
            case _:
                patch = MetadataPatch(set={str(lane % 16): command_id})
                return UpdateThread(id=command_id, thread_id=thread, patch=patch)

    async def send(self, command_id: str, command: Command) -> None:
        """Send one command and keep its answer."""
        self.commands[command_id] = command
        writer = self._writers[len(self.commands) % len(self._writers)]
        try:
            self.answers[command_id] = await writer.handler.handle("default", command)
        except ClewError as fault:
            self.answers[command_id] = fault

    def acknowledged(self) -> int:
        return sum(isinstance(answer, Outcome) for answer in self.answers.values())


async def test_what_was_acknowledged_outlives_a_server_that_is_killed_under_load(
    durable_deployment: EmbeddedServer,
) -> None:
    server = durable_deployment
    async with connect(server.url, name="one") as one, connect(server.url, name="two") as two:
        await impatient(one)
        threads = [thread_id(await Writer(one.handler).create(messages=())) for _ in range(80)]
        load = Load([one, two], threads)
        async with projecting(one), projecting(two):
            async with load.running(240):
                for _ in range(2):
                    before = load.acknowledged()
                    await eventually(lambda wanted=before + 300: enough(load, wanted))
                    os.kill(server.pid, SIGKILL)
                    assert await server.wait() == -SIGKILL
                    await server.start()
                before = load.acknowledged()
                await eventually(lambda: enough(load, before + 300))
            unknown = [key for key, answer in load.answers.items() if not isinstance(answer, Outcome)]
            assert all(isinstance(load.answers[key], Unavailable) for key in unknown)
            for key in unknown:
                await load.send(key, load.commands[key])
            histories = await log_of(one)
            await buckets_equal_the_log(one)
        times = Counter(each.commit.id for records in histories.values() for each in records)
        for command_id, answer in load.answers.items():
            assert isinstance(answer, Outcome), answer
            assert times[command_id] == 1
        places = {each.commit.id: (each.position, each.commit.n) for records in histories.values() for each in records}
        for command_id, answer in load.answers.items():
            assert isinstance(answer, Outcome)
            assert places[command_id] == (answer.position, answer.n)
        assert times.total() == len(load.answers) + len(threads)


async def enough(load: Load, wanted: int) -> bool:
    return load.acknowledged() >= wanted


@pytest.mark.parametrize("both", [False, True], ids=["one projector", "two projectors"])
async def test_views_that_a_server_lost_are_written_again_by_projectors_that_lived_through_it(
    durable_deployment: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, both: bool
) -> None:
    monkeypatch.setattr(places, "PAGE", 1)
    server, saved = durable_deployment, tmp_path / "saved"
    (store,) = {folder.parent for folder in server.data.glob("nats/**/streams/KV_clew_threads_v1")}
    buckets = [folder for folder in store.iterdir() if folder.name.startswith("KV_")]
    async with connect(server.url, name="one") as one, connect(server.url, name="two") as two:
        await impatient(one)
        writer = Writer(handler(one))
        threads = [thread_id(await writer.create(metadata={"n": str(n)})) for n in range(12)]
        messages = [message_id(await writer.add(thread, "early")) for thread in threads]
        async with projecting(one), projecting(two) if both else nullcontext():
            await buckets_equal_the_log(one)
            await down(server)
            for bucket in buckets:
                shutil.copytree(bucket, saved / bucket.name)
            await server.start()
            for thread, message in zip(threads, messages, strict=True):
                await writer.change(thread, message, metadata={"a": "1"})
                await writer.add(thread, "later")
                await writer.create(id=f"beside-{thread}")
            await buckets_equal_the_log(one)
            await checkpointed(one)
            await down(server)
            for bucket in buckets:
                shutil.rmtree(bucket)
                shutil.copytree(saved / bucket.name, bucket)
            await server.start()
            for there in (one, two):
                for thread, message in zip(threads, messages, strict=True):
                    page = await eventually(lambda there=there, thread=thread: listed(there, thread))
                    assert [each.metadata for each in page] == [{}, {"a": "1"}]
                    assert page[1].id == message
            truth = await buckets_equal_the_log(two)
    assert (len(truth.threads), len(truth.pages)) == (24, 24)


async def down(server: EmbeddedServer) -> None:
    """Kill the server and wait until it is gone."""
    server.kill()
    await server.wait()


async def listed(clew: Clew, thread: str) -> tuple[Message, ...] | None:
    """A thread's messages, once the connection is there again."""
    try:
        answer = await clew.reader.answer("default", ListMessages(thread_id=thread))
    except Unavailable:
        return None
    assert isinstance(answer, Found)
    assert answer.messages is not None
    return answer.messages.data


async def test_answers_are_right_the_moment_a_killed_server_is_back(durable_deployment: EmbeddedServer) -> None:
    server = durable_deployment
    async with connect(server.url, name="writer") as clew, connect(server.url, name="reader") as reader:
        writer = Writer(handler(clew))
        threads = [thread_id(await writer.create()) for _ in range(20)]
        last: dict[str, int] = {}

        async def write(thread: str, times: int) -> None:
            for n in range(times):
                last[thread] = (await writer.set(thread, "n", str(n))).n

        for _ in range(3):
            async with projecting(clew):
                await asyncio.gather(*(write(thread, 15) for thread in threads))
                server.kill()
                await server.wait()
            await server.start()
            for there in (reader, clew):
                for thread in threads:
                    answer = await eventually(lambda there=there, thread=thread: asked(there, thread))
                    assert answer.n == last[thread]
                    assert answer.thread is not None
                    assert answer.thread.metadata == {"n": "14"}


async def asked(clew: Clew, thread: str) -> Found | None:
    """The answer, once the connection is there again."""
    try:
        answer = await clew.reader.answer("default", GetThread(thread_id=thread))
    except Unavailable:
        return None
    assert isinstance(answer, Found)
    return answer


async def test_a_projector_killed_in_the_middle_leaves_its_work_to_the_next(
    deployment: EmbeddedServer, clew: Clew
) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in PARTS)}
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROJECTOR, deployment.url, env=environment, **pipes
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        await impatient(clew)
        writer = Writer(clew.handler)

        async def live(n: int) -> None:
            thread = thread_id(await writer.create(metadata={"n": str(n)}))
            for text in ("one", "two", "three"):
                await writer.add(thread, text)

        await asyncio.gather(*(live(n) for n in range(500)))
        process.stdin.write(b"go\n")
        await process.stdin.drain()

        async def begun() -> bool:
            state = (await clew.nc.jetstream().stream_info("KV_clew_threads_v1")).state
            return state.messages > 0

        await eventually(begun)
    finally:
        process.kill()
        await process.wait()
    state = (await clew.nc.jetstream().stream_info("KV_clew_threads_v1")).state
    assert state.messages < 500
    async with projecting(clew):
        truth = await buckets_equal_the_log(clew)
    assert len(truth.threads) == 500


PARTS = ("events", "projections", "services")
