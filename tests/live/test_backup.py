"""A backup is exactly what the log was, is whole or no backup, and comes back only where nothing is."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from clew_events.errors import AlreadyExists, ClewError, Conflict, Corrupt, Invalid, Unavailable
from clew_events.queries import GetFeed, GetThread
from clew_events.subjects import INBOX_STREAM, REJECTED_STREAM, event_stream
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.stream_messages import MSG_ID
from clew_services import compose
from clew_services.backup import manifest, restore_backup, stream_snapshot, take_backup
from clew_services.backup.backup_folder import Folder
from clew_services.backup.manifest import Manifest
from clew_services.backup.restore_backup import RestoreResult, restore
from clew_services.backup.take_backup import Progress, take
from clew_services.cli import main
from clew_services.compose import Clew
from clew_services.compose.roles import serve_inbox
from clew_services.embedded import data_folder
from clew_services.embedded.server import EmbeddedServer
from clew_services.eventstore import provision
from clew_services.eventstore.topology import streams as wanted
from support.auditing import audit
from support.deployments import FAST, deployed
from support.truth import buckets_equal_the_log, projecting, raw
from support.waiting import eventually
from support.writers import Writer, thread_id


def silent(_: Progress) -> None:
    """Nobody listens."""


@asynccontextmanager
async def connecting(url: str) -> AsyncIterator[compose.Connection]:
    async with compose.connection(url, name="operator") as made:
        yield made


async def backed_up(url: str, out: Path, tell: take_backup.Tell = silent) -> Manifest:
    async with connecting(url) as connection:
        return await take(connection, Folder(out), "0", tell)


async def brought_back(
    url: str, out: Path, replicas: int | None = None, tell: take_backup.Tell = silent
) -> RestoreResult:
    async with connecting(url) as connection:
        return await restore(connection, Folder(out), replicas, tell)


async def contents(clew: Clew, stream: str) -> list[tuple[object, ...]]:
    """All of a stream: sequences, times, subjects, headers and bytes."""
    if stream == INBOX_STREAM:  # nothing else may consume it
        last = (await clew.nc.jetstream().stream_info(stream)).state.last_seq
        found = [await clew.js.from_leader(stream, {"seq": seq}) for seq in range(1, last + 1)]
        return [(each.seq, each.subject, each.headers, each.body) for each in found if each is not None]
    return [
        (seq, each.metadata.timestamp, each.subject, each.headers, each.data) for seq, each in await raw(clew, stream)
    ]


async def names(js: JetStream) -> list[str]:
    return sorted(await js.streams())


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A server where nothing is yet."""
    async with EmbeddedServer(tmp_path / "empty", sync=FAST) as server:
        yield server


@pytest.fixture
async def kept(clew: Clew, deployment: EmbeddedServer, tmp_path: Path) -> Path:
    """A backup of a deployment with a few threads."""
    writer = Writer(clew.handler)
    for number in range(6):
        await writer.create(f"thread_{number}")
    await backed_up(deployment.url, tmp_path / "backup")
    return tmp_path / "backup"


async def test_a_backup_under_load_brings_back_exactly_what_was_there(
    clew: Clew, deployment: EmbeddedServer, empty: EmbeddedServer, tmp_path: Path
) -> None:
    await clew.keys.create("default", "ours", ["read"])
    await clew.js.publish("clew.inbox.default.update_thread", b'{"thread_id":"thread_none"}', {MSG_ID: "lost"})
    stop = asyncio.Event()
    serving = asyncio.create_task(serve_inbox(clew, stop))
    refused = clew.nc.jetstream()

    async def is_refused() -> bool:
        return (await refused.stream_info(REJECTED_STREAM)).state.messages == 1

    await eventually(is_refused)
    stop.set()
    await serving
    waits = await clew.js.publish("clew.inbox.default.create_thread", b'{"thread_id":"thread_waits"}', {MSG_ID: "w"})
    writer, acknowledged, done = Writer(clew.handler), 0, False

    async def lane(number: int) -> None:
        nonlocal acknowledged
        thread = thread_id(await writer.create(f"thread_lane{number}"))
        while not done:
            await writer.add(thread, "x" * 20_000)
            acknowledged += 1

    async with asyncio.TaskGroup() as lanes:
        for number in range(8):
            lanes.create_task(lane(number))

        async def some() -> bool:
            return acknowledged >= 200

        await eventually(some)
        before = acknowledged
        whole = await backed_up(deployment.url, tmp_path / "backup")
        done = True
    assert sum(each.last_seq for each in whole.streams if each.stream in whole.events()) >= before

    restored = await brought_back(empty.url, tmp_path / "backup")
    async with compose.connect(empty.url, name="restored") as again:
        for each in whole.streams[1:]:  # the record of generations goes on: buckets are made again
            ours, theirs = await contents(clew, each.stream), await contents(again, each.stream)
            assert theirs == ours[: len(theirs)], each.stream
            assert len(theirs) >= each.messages, each.stream
        assert restored.commits >= before
        assert (await again.js.from_leader(INBOX_STREAM, {"seq": waits.seq})) is not None
        assert again.deployment.identity != clew.deployment.identity
        assert [each.tenant for each in await again.keys.all()] == ["default"]

        # Reads are right before there is any view; then the projector makes them all.
        seen = await again.reader.thread("default", GetThread(thread_id="thread_lane0"))
        assert seen.n > 1
        assert [folded.finding async for _, folded in audit(again).verify() if folded.finding] == []
        async with projecting(again):
            await buckets_equal_the_log(again)
        assert {each.finding async for each in again.prover().prove()} == {None}

        # What waited in the inbox is carried out, once, and threads go on from where they are.
        stop = asyncio.Event()
        serving = asyncio.create_task(serve_inbox(again, stop))
        try:

            async def is_there() -> bool:
                try:
                    return (await again.reader.thread("default", GetThread(thread_id="thread_waits"))).n == 1
                except ClewError:
                    return False

            await eventually(is_there)
        finally:
            stop.set()
            await serving
        assert (await Writer(again.handler).set("thread_lane0", "a", "b")).n == seen.n + 1


async def test_a_cursor_of_the_feed_and_a_command_id_mean_after_a_restore_what_they_meant(
    clew: Clew, deployment: EmbeddedServer, empty: EmbeddedServer, tmp_path: Path
) -> None:
    writer = Writer(clew.handler)
    await writer.create("thread_a", id="once")
    first = await clew.reader.feed("default", GetFeed(limit=1))
    await writer.create("thread_b")
    await backed_up(deployment.url, tmp_path / "backup")
    await brought_back(empty.url, tmp_path / "backup")
    async with compose.connect(empty.url, name="restored") as again:
        rest = await again.reader.feed("default", GetFeed(after=first.next))
        assert [each.commit.thread for each in rest.data if each.commit is not None] == ["thread_b"]
        repeated = await Writer(again.handler).create("thread_a", id="once")
        assert repeated.n == 1


async def test_a_restored_backup_can_be_backed_up_and_restored_again(
    kept: Path, empty: EmbeddedServer, tmp_path: Path
) -> None:
    await brought_back(empty.url, kept)
    second = await backed_up(empty.url, tmp_path / "second")
    async with EmbeddedServer(tmp_path / "third", sync=FAST) as third:
        restored = await brought_back(third.url, tmp_path / "second")
        assert restored.commits == 6
        async with compose.connect(third.url, name="third") as clew:
            assert clew.deployment.shards == second.shards == 2


def _flip(folder: Path) -> None:
    file = folder / f"{event_stream(1)}.tar.s2"
    body = bytearray(file.read_bytes())
    body[len(body) // 2] ^= 1
    file.write_bytes(body)


def _shorten(folder: Path) -> None:
    file = folder / f"{event_stream(0)}.tar.s2"
    file.write_bytes(file.read_bytes()[:-1])


def _edit(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        said = json.loads((folder / manifest.NAME).read_bytes())
        change(said)
        (folder / manifest.NAME).write_text(json.dumps(said))

    return edit


@pytest.mark.parametrize(
    ("damage", "error", "code"),
    [
        (_flip, Corrupt, "backup_damaged"),
        (_shorten, Corrupt, "backup_damaged"),
        (lambda folder: (folder / f"{INBOX_STREAM}.tar.s2").unlink(), Corrupt, "backup_damaged"),
        (lambda folder: (folder / manifest.NAME).unlink(), Invalid, "no_backup"),
        (lambda folder: (folder / manifest.NAME).write_text("{"), Corrupt, "backup_damaged"),
        (_edit(lambda said: said.update(format=2)), Invalid, "backup_format"),
        (_edit(lambda said: said.update(kind="other")), Invalid, "backup_format"),
        (_edit(lambda said: said.update(shards=3)), Corrupt, "backup_damaged"),
        (_edit(lambda said: said.update(shards=-1)), Corrupt, "backup_damaged"),
        (_edit(lambda said: said["streams"].append(said["streams"][0])), Corrupt, "backup_damaged"),  # type: ignore[attr-defined, index]
        (_edit(lambda said: said["streams"][0].update(file="../../etc/passwd")), Corrupt, "backup_damaged"),  # type: ignore[index]
        (_edit(lambda said: said.update(max_msg_size=1 << 40)), Invalid, "max_payload_too_small"),
    ],
)
async def test_a_damaged_incomplete_or_foreign_backup_is_refused_before_anything_is_written(
    kept: Path, empty: EmbeddedServer, damage: Callable[[Path], None], error: type[ClewError], code: str
) -> None:
    damage(kept)
    with pytest.raises(error) as refusal:
        await brought_back(empty.url, kept)
    assert refusal.value.code == code
    async with connecting(empty.url) as connection:
        assert await names(connection.js) == []


async def test_nothing_is_restored_where_something_is(kept: Path, clew: Clew, deployment: EmbeddedServer) -> None:
    before = await names(clew.js)
    with pytest.raises(AlreadyExists, match=r"CLEW_EVT_00.*KV_clew_keys_v1"):
        await brought_back(deployment.url, kept)
    assert await names(clew.js) == before
    await clew.js.api(f"STREAM.DELETE.{event_stream(0)}")
    with pytest.raises(AlreadyExists, match=event_stream(1)):
        await brought_back(deployment.url, kept)


async def test_a_restore_that_is_broken_off_goes_on_and_nobody_builds_on_half_of_it(
    kept: Path, empty: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = stream_snapshot.restore
    for broken_at in (INBOX_STREAM, event_stream(1), event_stream(0)):

        async def breaks(
            connection: compose.Connection, description: stream_snapshot.Description, chunks: AsyncIterator[bytes]
        ) -> stream_snapshot.State:
            if description.config["name"] == broken_at:  # noqa: B023 - called in this round only
                raise Unavailable("the power went")
            return await taken(connection, description, chunks)

        monkeypatch.setattr(stream_snapshot, "restore", breaks)
        with pytest.raises(Unavailable, match="power"):
            await brought_back(empty.url, kept)
        async with connecting(empty.url) as connection:
            with pytest.raises(Conflict, match="clew restore"):
                await provision.init(connection.js, shards=2, max_msg_size=connection.nc.max_payload)
    monkeypatch.setattr(stream_snapshot, "restore", taken)
    # What is there and not whole is brought again.
    async with connecting(empty.url) as connection:
        js = connection.js
        config = (await js.api(f"STREAM.INFO.{event_stream(1)}"))["config"]
        await js.api(f"STREAM.DELETE.{event_stream(1)}")
        await js.api(f"STREAM.CREATE.{event_stream(1)}", config)
    assert (await brought_back(empty.url, kept)).commits == 6


async def test_another_backup_takes_the_place_of_one_that_was_given_up_half_restored(
    kept: Path, empty: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*_: object) -> stream_snapshot.State:
        if not begun:
            begun.append(True)
            return await taken(*_)  # type: ignore[arg-type]
        raise Unavailable("the power went")

    begun: list[bool] = []
    taken = stream_snapshot.restore
    monkeypatch.setattr(stream_snapshot, "restore", breaks)
    with pytest.raises(Unavailable, match="power"):
        await brought_back(empty.url, kept)
    monkeypatch.setattr(stream_snapshot, "restore", taken)
    other = _copied(kept, tmp_path / "other")
    restored = await brought_back(empty.url, other)
    assert (restored.name, restored.commits) == (manifest.read(other).name, 6)


def _copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    _edit(lambda said: said.update(clew="another"))(to)
    return to


async def test_a_restore_that_only_lacked_its_views_is_completed_by_init(kept: Path, empty: EmbeddedServer) -> None:
    async with connecting(empty.url) as connection:

        async def cut(*_: object, **__: object) -> list[str]:
            raise Unavailable("the power went")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(restore_backup.provision, "init", cut)
            with pytest.raises(Unavailable, match="power"):
                await restore(connection, Folder(kept), None, silent)
        with pytest.raises(AlreadyExists, match="clew init"):
            await restore(connection, Folder(kept), None, silent)
        await provision.init(connection.js, shards=2, max_msg_size=connection.nc.max_payload)
        await provision.verify(connection.js)


async def test_a_backup_whose_server_dies_on_the_way_is_none(
    clew: Clew, deployment: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_snapshot, "SILENCE", 2.0)
    monkeypatch.setattr(stream_snapshot, "CHUNK", 4096)
    monkeypatch.setattr(stream_snapshot, "WINDOW", 4096)
    await asyncio.gather(*(Writer(clew.handler).create(metadata={"a": os.urandom(200).hex()}) for _ in range(200)))
    killed = []

    def kill(done: Progress) -> None:
        if done.stream == event_stream(0) and not killed:
            killed.append(done.done)
            os.kill(deployment.pid, signal.SIGKILL)

    with pytest.raises(Unavailable):
        await backed_up(deployment.url, tmp_path / "backup", kill)
    assert killed
    assert not (tmp_path / "backup" / manifest.NAME).exists()
    with pytest.raises(Invalid, match="no complete backup"):
        manifest.read(tmp_path / "backup")
    await deployment.wait()
    await deployment.start()
    with pytest.raises(Invalid, match="not empty"):
        await backed_up(deployment.url, tmp_path / "backup")


async def test_damage_that_a_server_did_not_notice_comes_to_light_when_it_is_restored(
    kept: Path, empty: EmbeddedServer, tmp_path: Path
) -> None:
    async with deployed(tmp_path / "data") as server:
        async with compose.connect(server.url, name="writer") as clew:
            await asyncio.gather(*(Writer(clew.handler).create() for _ in range(50)))
        await server.stop()
        (messages,) = (tmp_path / "data/nats").rglob("CLEW_EVT_00/msgs")
        while not (messages / "index.db").exists():
            # It was too slow to stop, and killed. Without its index it would read the blocks, and notice.
            await server.start()
            await server.stop()
        for block in messages.glob("*.blk"):
            body = bytearray(block.read_bytes())
            body[len(body) // 2] ^= 0xFF
            block.write_bytes(body)
        await server.start()
        await backed_up(server.url, tmp_path / "damaged")
    with pytest.raises(Corrupt, match="use another backup") as refusal:
        await brought_back(empty.url, tmp_path / "damaged")
    assert refusal.value.code == "restored_short"
    async with connecting(empty.url) as connection:
        assert event_stream(0) not in await names(connection.js)
    # What that left behind is in nobody's way.
    assert (await brought_back(empty.url, kept)).commits == 6


async def test_where_nothing_is_nothing_is_backed_up(empty: EmbeddedServer, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no Clew"):
        await backed_up(empty.url, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


async def test_a_server_alone_refuses_three_copies_and_nothing_is_left_behind(
    kept: Path, empty: EmbeddedServer
) -> None:
    with pytest.raises(Unavailable, match="replicas"):
        await brought_back(empty.url, kept, 3)
    async with connecting(empty.url) as connection:
        assert await names(connection.js) == []
    assert (await brought_back(empty.url, kept)).replicas == 1


def test_every_stream_that_cannot_be_made_again_is_in_a_backup() -> None:
    made_again = {"KV_clew_leases", "OBJ_clew_index"}
    assert {str(each["name"]) for each in wanted(2, 1, 1)} - set(take_backup.order(2)) == made_again


async def test_a_data_folder_that_is_in_use_is_not_restored_into(
    deployment: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_folder, "PATIENCE", 0.1)
    with pytest.raises(data_folder.CannotStart, match="use"):
        async with EmbeddedServer(deployment.data):
            raise AssertionError


async def test_the_commands_say_what_they_did_and_what_is_in_the_way(
    clew: Clew, deployment: EmbeddedServer, tmp_path: Path
) -> None:
    async def run(*words: str, **env: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, main, words, env=env)

    await Writer(clew.handler).create("thread_kept", metadata={"user": "ada"})
    out, into, url = str(tmp_path / "backup"), str(tmp_path / "new"), deployment.url
    taken = await run("backup", "--out", out, CLEW_NATS=url)
    assert taken.exit_code == 0, taken.stderr
    assert "is a complete backup" in taken.stdout
    again = await run("backup", "--out", out, CLEW_NATS=url)
    assert (again.exit_code, "folder_not_empty" in again.stderr) == (1, True)
    refused = await run("restore", out, CLEW_NATS=url)
    assert (refused.exit_code, "deployment_exists" in refused.stderr) == (1, True)
    assert msgspec.json.decode((Path(out) / manifest.NAME).read_bytes(), type=Manifest).nats_server
    assert {oct(each.stat().st_mode & 0o777) for each in Path(out).iterdir()} == {"0o600"}
    assert (await run("restore", out, "--into", into, "--replicas", "3")).exit_code == 2


def test_a_backup_is_restored_into_a_data_folder_by_command(tmp_path: Path) -> None:
    def run(*words: str) -> Result:
        return CliRunner().invoke(main, words)

    async def begin() -> None:
        async with deployed(tmp_path / "data") as server, compose.connect(server.url, name="writer") as clew:
            await Writer(clew.handler).create("thread_kept", metadata={"user": "ada"})

    async def look() -> dict[str, str] | None:
        async with EmbeddedServer(tmp_path / "new") as server, compose.connect(server.url, name="reader") as clew:
            return (await clew.reader.thread("default", GetThread(thread_id="thread_kept"))).thread.metadata

    asyncio.run(begin())
    taken = run("backup", "--from", str(tmp_path / "data"), "--out", str(tmp_path / "backup"))
    assert taken.exit_code == 0, taken.stderr
    done = run("restore", str(tmp_path / "backup"), "--into", str(tmp_path / "new"), "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["commits"] == 1
    assert asyncio.run(look()) == {"user": "ada"}
