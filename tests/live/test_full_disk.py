"""A disk that is really full: what is refused says so, nothing dies, and all goes on once there is room."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from nats.js.api import StreamConfig

from clew_events.errors import Unavailable
from clew_services.compose import Clew, connect
from clew_services.compose.roles import compose_readiness
from clew_services.embedded.server import EmbeddedServer
from clew_services.host import CannotStart
from clew_services.http.health import Readiness
from clew_services.metrics.counter_files import PROCESS, VARIABLE, reset_folder
from support.deployments import connected_client
from support.small_disk import SmallDisk
from support.up import SOURCES, Up, running_up
from support.waiting import eventually
from support.writers import Writer, handler, thread_id

T = TypeVar("T")

COUNTING = """
import sys
from clew_services.metrics.counter_files import name_process_files
kept = name_process_files()
from clew_services.metrics.instruments import Instruments
from clew_services.compose.roles import compose_readiness
from clew_services.http.health import Readiness
seen = Instruments()
for line in sys.stdin:
    for shard in range(int(line)):
        seen.shard(shard)(1, 0.1)
    kept.write()
    print("counted", flush=True)
"""


@pytest.fixture
async def clew(disk_deployment: EmbeddedServer) -> AsyncIterator[Clew]:
    """Everything that is composed on a connection to it."""
    async with connect(disk_deployment.url, name="test") as composed:
        yield composed


async def refused(writer: Writer) -> Unavailable:
    """The answer to a command that is refused."""
    with pytest.raises(Unavailable) as refusal:
        await writer.create(metadata={"a": "x" * 500})
    return refusal.value


async def fill_log(disk: SmallDisk, writer: Writer) -> None:
    """Fill the disk and write until the log takes no more."""
    disk.fill()

    async def no_more() -> bool:
        return await refused_or_done(writer) == "log_full"

    await eventually(no_more)


async def refused_or_done(writer: Writer, **said: object) -> str:
    """``done``, or the code of the refusal."""
    try:
        await writer.create(metadata={"a": "x" * 500}, **said)
    except Unavailable as fault:
        return fault.code
    return "done"


async def ready(readiness: Readiness) -> bool:
    return (await readiness.look()).ok


async def answers(asking: Awaitable[T], wanted: T | Callable[[T], bool]) -> bool:
    """Whether what is asked answers what is wanted."""
    found = await asking
    return wanted(found) if callable(wanted) else found == wanted


def over_http(up: Up, path: str, body: object = None) -> tuple[int, str]:
    """The status of an answer, and the code of its error."""
    data = None if body is None else json.dumps(body).encode()
    headers = {
        "Authorization": f"Bearer {up.api_key}",
        "Content-Type": "application/json",
        "OpenAI-Beta": "assistants=v2",
    }
    try:
        with urlopen(Request(up.base_url.removesuffix("/v1") + path, data, headers), timeout=60) as answer:
            return answer.status, ""
    except HTTPError as refused:
        said = json.loads(refused.read())
        return refused.code, said["error"]["code"] if "error" in said else ""


async def create(up: Up) -> tuple[int, str]:
    """Create a thread."""
    return await asyncio.to_thread(over_http, up, "/v1/threads", {"metadata": {"a": "x" * 500}})


async def asked_ready(up: Up) -> int:
    """The status of ``/readyz``."""
    return (await asyncio.to_thread(over_http, up, "/readyz"))[0]


async def got(up: Up, path: str) -> str:
    """What is there."""

    def get() -> str:
        headers = {"Authorization": f"Bearer {up.api_key}", "OpenAI-Beta": "assistants=v2"}
        with urlopen(Request(up.base_url.removesuffix("/v1") + path, headers=headers), timeout=60) as answer:
            return str(answer.read(), "utf-8")

    return await asyncio.to_thread(get)


async def behind(up: Up) -> int:
    """How many commits are not projected yet."""
    said = json.loads(await got(up, "/readyz"))
    return sum(each.get("behind", 0) for each in said["shards"])


async def listed(up: Up) -> int:
    """How many threads a list has; none while the index is behind."""
    try:
        return len(json.loads(await got(up, "/v1/threads"))["data"])
    except HTTPError as refused:
        if refused.code != 503:
            raise
        return 0


def counted(folder: Path) -> float:
    """The commits that all processes counted."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    (found,) = (each for each in registry.collect() if each.name == "clew_projected_commits")
    return sum(each.value for each in found.samples)


def test_a_process_counts_on_where_its_metrics_find_no_room(disk: SmallDisk) -> None:
    environment = reset_folder(disk.path)
    folder = Path(environment[VARIABLE])
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", COUNTING],
        env={**os.environ, **environment, PROCESS: "api", "PYTHONPATH": SOURCES},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdin is not None
        assert process.stdout is not None

        def count(shards: int) -> None:
            print(shards, file=process.stdin, flush=True)
            assert process.stdout.readline() == "counted\n", process.wait()

        count(2)
        disk.fill()
        for _ in range(2):
            count(100)
        assert counted(folder) >= 2
        disk.relieve()
        count(1)
        assert counted(folder) == 203
        process.stdin.close()


async def test_a_write_to_a_full_disk_is_refused_as_such_and_at_once(disk: SmallDisk, clew: Clew) -> None:
    writer = Writer(handler(clew, attempt=1.0))
    await fill_log(disk, writer)
    first = await refused(writer)
    assert (first.code, first.outcome_unknown) == ("log_full", True)
    # No time is given to any of these, so none waits for an answer that does not come.
    crowd = await asyncio.gather(*(refused(writer) for _ in range(300)))
    assert {each.code for each in crowd} == {"log_full"}


async def test_a_crowd_is_told_that_the_disk_is_full_and_nobody_waits_in_a_queue(disk: SmallDisk, clew: Clew) -> None:
    writer = Writer(handler(clew, attempt=1.0, deadline=30.0))
    disk.fill()
    answers = await asyncio.gather(*(refused_or_done(writer) for _ in range(400)))
    assert set(answers) <= {"done", "log_full"}
    assert answers.count("log_full") > 300


async def test_readiness_says_no_while_the_disk_is_full_and_until_the_server_was_restarted(
    disk: SmallDisk, disk_deployment: EmbeddedServer, clew: Clew
) -> None:
    readiness, writer = compose_readiness(clew, 0), Writer(clew.handler)
    assert (await readiness.look()).ok
    await fill_log(disk, writer)
    full = await readiness.look()
    assert full.reasons == ("stream CLEW_EVT_00 is full: the disk of its server is full",)
    disk.relieve()
    (stopped,) = (await readiness.look()).reasons
    assert "nats-server stopped writing to it when the disk was full" in stopped
    assert (await refused(writer)).code == "log_full"
    disk_deployment.kill()
    await disk_deployment.wait()
    await disk_deployment.start()
    await eventually(lambda: ready(readiness))
    assert (await writer.create()).n == 1


async def test_what_was_refused_on_a_full_disk_is_stored_once_when_it_is_sent_again(
    disk: SmallDisk, disk_deployment: EmbeddedServer, clew: Clew
) -> None:
    writer = Writer(handler(clew, attempt=1.0))
    disk.fill()
    ids = [f"c{number}" for number in range(200)]
    before = await asyncio.gather(*(refused_or_done(writer, id=each) for each in ids))
    assert "log_full" in before
    disk.relieve()
    disk_deployment.kill()
    await disk_deployment.wait()
    await disk_deployment.start()
    # Some of them are in a batch that the server stores now, since it had been put on the disk whole.
    after = await asyncio.gather(*(refused_or_done(writer, id=each) for each in ids))
    assert set(after) == {"done"}
    state = (await clew.js.api("STREAM.INFO.CLEW_EVT_00"))["state"]
    assert state["messages"] == 200  # type: ignore[index]


async def test_clew_up_survives_a_full_disk_and_goes_on_when_there_is_room(disk: SmallDisk) -> None:
    with running_up(disk.path / "data", env={"CLEW_SHARDS": "1"}) as up:
        parts = up.children()
        assert await create(up) == (200, "")

        async def full() -> bool:
            disk.fill()  # again and again, since the index takes back what it could not write
            return await create(up) == (503, "log_full") and await asked_ready(up) == 503

        await eventually(full)
        disk.relieve()
        await eventually(lambda: answers(create(up), (200, "")))
        await eventually(lambda: answers(asked_ready(up), 200))
        # Views, index and metrics follow.
        await eventually(lambda: answers(behind(up), 0))
        await eventually(lambda: answers(listed(up), lambda found: found >= 2))
        assert "clew_jetstream_storage_limit_bytes" in await got(up, "/metrics")
        # The server was restarted, and nothing else.
        assert {name for name, pid in up.children().items() if parts[name] != pid} == {"nats-server"}


async def test_the_server_may_keep_what_its_disk_has_room_for_but_a_tenth(
    disk: SmallDisk, disk_deployment: EmbeddedServer, clew: Clew
) -> None:
    async def limit() -> int:
        limits = (await clew.js.api("INFO"))["limits"]
        return limits["max_storage"]  # type: ignore[index, no-any-return]

    megabyte = 1024 * 1024
    assert 50 * megabyte < await limit() < 60 * megabyte
    (disk.path / "other").write_bytes(bytes(45 * megabyte))
    await disk_deployment.look()
    await eventually(lambda: answers(limit(), lambda found: found < 20 * megabyte))
    # Refused by the limit, so the server never meets a full disk: it needs no restart.
    writer = Writer(handler(clew))
    thread = thread_id(await writer.create())

    async def no_more() -> bool:
        try:
            await writer.add(thread, "x" * 900_000)
        except Unavailable as fault:
            return fault.code == "log_full"
        return False

    await eventually(no_more)
    assert disk.free > 3 * megabyte
    (disk.path / "other").unlink()
    await disk_deployment.look()
    await eventually(lambda: answers(refused_or_done(writer), "done"))


async def test_a_server_is_not_allowed_less_with_every_start(disk: SmallDisk) -> None:
    limits = []
    for start in range(3):
        async with EmbeddedServer(disk.path / "data") as server, connected_client(server.url) as client:
            js = client.jetstream()
            if not start:
                await js.add_stream(StreamConfig(name="S", subjects=["s"]))
            for _ in range(10):
                await js.publish("s", bytes(1024 * 1024))
            limits.append((await js.account_info()).limits.max_storage)
    assert min(limits) > 0.95 * max(limits)


async def test_a_disk_that_is_full_at_the_start_is_named(disk: SmallDisk) -> None:
    (disk.path / "data").mkdir()
    disk.fill()
    with pytest.raises(CannotStart) as refusal:
        await EmbeddedServer(disk.path / "data").start()
    assert "full" in refusal.value.message or "No space" in refusal.value.message
