"""The NATS server of ``clew up``: what one may do there without a password, and what takes it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from signal import SIGHUP

import msgspec
import nats.errors
import nats.js.errors
import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.micro.service import ServiceInfo, ServicePing, ServiceStats

from clew_events import client
from clew_events.codec import decode
from clew_events.commands import CreateThread
from clew_events.operations import QUERIES
from clew_events.subjects import Address, event_stream, event_subject, shard_of
from clew_projections.kv.key_names import THREADS
from clew_projections.nats.request_mux import NotPermitted, Request
from clew_services import compose
from clew_services.api_keys.key_bucket import KEYS
from clew_services.embedded.server import EmbeddedServer
from support.accounts import SHARDS, User, everything, settled
from support.auditing import audit
from support.deployments import connected_client, deployed
from support.doors import ASKING, CHANGING, LISTENING, SERVING
from support.nats_services import all_of_clew
from support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

RELOADED = "Reloaded server configuration"
DIRECT = "$JS.API.DIRECT.GET."
OPEN = {*ASKING, "$SRV.PING", *(each for each in SERVING if each.startswith(DIRECT) and KEYS not in each)}
"""What may be asked without a password, of any tenant."""
CLOSED = sorted({
    *CHANGING, *SERVING, "clew.checkpoint.1", "$O.clew_index.M.latest", "$KV.clew_generations.threads",
    "$JS.API.STREAM.PURGE.OBJ_clew_index", "$JS.API.STREAM.CREATE.CLEW_CHECKPOINTS", "$JS.FC.CLEW_EVT_00.mine.1",
    "clew.live.evt.00.default.thread_door", "clew.cmd.default.create_thread.more", "clew.inbox.default",
    f"{DIRECT}KV_{KEYS}", f"{DIRECT}KV_{KEYS}.$KV.{KEYS}.0123456789abcdef", "$SYS.REQ.USER.INFO",
    "$SYS.REQ.ACCOUNT.PING.CONNZ",
} - OPEN)  # fmt: skip
OVERHEARING = ("clew.cmd", "clew.imported", "clew.query", "clew.inbox", "$JS.", "$SYS.", "_R_.")
"""Where one who listens would hear what others ask who have no password, and could answer them."""
QUIET = sorted({
    ">", "*.>", "*", "clew.>", "$KV.>", "clew.evt.>", "clew.live.>", "clew.rejected.>", "clew.checkpoint.>", "_INBOX.>",
    "_INBOX.*", "_INBOX.*.*", "$O.>", "$SRV.>", "clew.live.keys.*", "clew.live.generations.*", "clew.live.checkpoint.*",
})  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedServer]:
    """A server as ``clew up`` starts it, with Clew's streams in two shards."""
    async with deployed(tmp_path_factory.mktemp("open") / "data", shards=SHARDS, password="secret1") as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(server: EmbeddedServer) -> AsyncIterator[compose.Clew]:
    """All of Clew over NATS."""
    async with all_of_clew(server.url) as composed:
        yield composed


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator(server: EmbeddedServer, service: compose.Clew) -> AsyncIterator[compose.Connection]:
    async with compose.connection(server.url, name="operator") as connection:
        yield connection


@contextlib.asynccontextmanager
async def anybody(server: EmbeddedServer) -> AsyncIterator[User]:
    """Somebody who has no password, and notes what is denied."""
    user = User()
    await user.nc.connect(server.open_url, error_cb=user.note, max_reconnect_attempts=1)
    try:
        yield user
    finally:
        await user.nc.close()


async def test_without_a_password_every_door_is_shut_but_those_that_are_meant(
    server: EmbeddedServer, operator: compose.Connection
) -> None:
    before = await everything(operator)
    body = json.dumps({"thread_id": "thread_door"}).encode()
    async with anybody(server) as user:
        for subject in CLOSED:
            for reply in ("", user.nc.new_inbox()):
                await user.nc.publish(subject, body, reply=reply)
                await user.refused("publish", subject)
        for subject in (each for each in LISTENING if each.startswith(OVERHEARING)):
            await user.nc.subscribe(subject)
            await user.refused("subscription", subject)
            await user.nc.subscribe(subject, queue="clew-commands")
            await user.refused("subscription", subject, ' using queue "clew-commands"')
    assert await everything(operator) == before


async def test_nobody_is_let_in_with_a_wrong_password(server: EmbeddedServer) -> None:
    for login in ("clew:wrong", "clew:", "operator:secret1", "token", "admin:secret1", "clew"):
        nobody = Client()
        with pytest.raises(nats.errors.Error, match="Authorization"):
            await nobody.connect(server.open_url.replace("//", f"//{login}@"), allow_reconnect=False, error_cb=ignore)
        await nobody.close()


async def ignore(_: Exception) -> None:
    pass


async def test_without_a_password_one_commands_reads_and_audits_for_every_tenant(
    server: EmbeddedServer, service: compose.Clew
) -> None:
    for tenant in ("acme", "globex"):
        async with client.connect(server.open_url, tenant=tenant, actor="anybody", timeout=60) as clew_:
            done = await clew_.create_thread(messages=["hello"], metadata={"a": "1"})
            async with contextlib.aclosing(clew_.feed(follow=True)) as feed:
                first = await anext(feed)
                await clew_.patch_metadata(done.thread.id, set={"b": "2"})
                second = await anext(feed)
            assert [each.commit.n for each in (first, second) if each.commit is not None] == [1, 2]
            assert (await clew_.get_thread(done.thread.id)).thread.metadata == {"a": "1", "b": "2"}
            assert [each.commit.actor for each in (await clew_.history(done.thread.id)).commits] == ["anybody"] * 2
            await clew_.enqueue(CreateThread(id="cmd_later", thread_id="thread_later"))
            assert (await clew_.wait_for("thread_later", 1)).n == 1


async def test_outcomes_and_commits_are_heard_without_a_password(server: EmbeddedServer, service: compose.Clew) -> None:
    async with anybody(server) as user:
        outcomes = await user.nc.subscribe("clew.outcome.default.shop")
        commits = await user.nc.subscribe("clew.live.evt.*.default.thread_heard")
        await user.seen()
        command = {"thread_id": "thread_heard", "reply_to": "clew.outcome.default.shop"}
        stored = json.loads(
            (await user.nc.request("clew.inbox.default.create_thread", json.dumps(command).encode())).data
        )
        assert stored["stream"] == "CLEW_INBOX"
        assert json.loads((await outcomes.next_msg(timeout=60)).data)["ok"]["n"] == 1
        assert decode((await commits.next_msg(timeout=60)).data).thread == "thread_heard"
        assert user.denied == []


async def test_the_log_and_the_views_are_read_without_a_password_one_by_one_and_by_the_page(
    server: EmbeddedServer, operator: compose.Connection
) -> None:
    async with client.connect(server.open_url, timeout=60) as clew_:
        thread = (await clew_.create_thread()).thread.id
        await clew_.patch_metadata(thread, set={"a": "1"})
        await clew_.patch_metadata(thread, set={"a": "2"})
    await settled(operator)
    shard = shard_of(thread, SHARDS)
    stream, subject = event_stream(shard), event_subject(shard, Address("default", thread))
    async with anybody(server) as user:
        last = await user.nc.request(f"{DIRECT}{stream}.{subject}", b"", timeout=60)
        assert decode(last.data).n == 3
        inbox = user.nc.new_inbox()
        page = await user.nc.subscribe(inbox)
        request = json.dumps({"seq": 1, "next_by_subj": subject, "batch": 10}).encode()
        await user.nc.publish(f"{DIRECT}{stream}", request, reply=inbox)
        got = [await page.next_msg(timeout=60) for _ in range(4)]
        assert [decode(each.data).n for each in got[:3]] == [1, 2, 3]
        assert got[3].headers is not None
        assert got[3].headers["Status"] == "204"
        view = await user.nc.request(f"{DIRECT}KV_{THREADS}.$KV.{THREADS}.default.{thread}", b"", timeout=60)
        assert json.loads(view.data)["n"] == 3
        assert user.denied == []


DOORS = {
    "inbox": ("clew.inbox.acme.create_thread", True),
    "command": ("clew.cmd.acme.create_thread", True),
    "query": ("clew.query.acme.get_thread", False),
    "read": (f"{DIRECT}CLEW_EVT_00", False),
    "read by subject": (f"{DIRECT}KV_{THREADS}.$KV.{THREADS}.acme.thread_door", False),
}


@pytest.mark.parametrize("door", DOORS)
async def test_no_reply_or_trace_of_a_request_without_a_password_reaches_a_stream(
    server: EmbeddedServer, service: compose.Clew, operator: compose.Connection, door: str
) -> None:
    """NATS asks for no permission on the subject of a reply, and JetStream's acknowledgement is one."""
    subject, creates = DOORS[door]
    command = CreateThread(id=f"cmd_{door}".replace(" ", "_"), thread_id=f"thread_{door}".replace(" ", "_"))
    asked = {"read": b'{"seq":1}', "query": b'{"thread_id":"thread_door"}'}.get(door, b"")
    body = msgspec.json.encode(command) if creates else asked
    async with anybody(server) as user, client.connect(server.open_url, tenant="acme", timeout=60) as acme:
        if creates:
            await acme.send(command)
        before = await everything(operator)
        aims = [each for each in CLOSED if not each.startswith(("_R_", "$JS.ACK"))]
        for aim in aims:  # replies with "_R_" and "$JS.ACK" the server refuses by itself
            await user.nc.publish(subject, body, reply=aim)
            await user.nc.publish(subject, body, reply=aim, headers={"Nats-Trace-Dest": aim})
            await user.nc.publish(
                subject,
                body,
                headers={"Nats-Trace-Dest": aim, "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"},
            )
        await user.seen()
        # What comes after on the same way is answered, so what came before has been seen to.
        await user.nc.request(subject, body, timeout=60)
        after = await everything(operator)
    del before["CLEW_INBOX"], after["CLEW_INBOX"]  # where what was left there is numbered
    assert after == before


async def test_a_reply_subject_with_wildcards_loses_no_reply_of_others(
    server: EmbeddedServer, service: compose.Clew
) -> None:
    """nats-server forgets all replies due in an account when a service import responds to such a subject."""
    requests = {
        "clew.cmd.acme.create_thread": msgspec.json.encode(CreateThread(id="cmd_wild", thread_id="thread_wild")),
        "clew.query.acme.get_thread": b'{"thread_id":"thread_wild"}',
    }
    async with anybody(server) as careless, anybody(server) as asking:
        await asking.nc.request(*next(iter(requests.items())), timeout=60)
        for _ in range(20):
            for subject, body in requests.items():
                for reply in (">", "_INBOX.>"):
                    await careless.nc.publish(subject, body, reply=reply)
            await careless.seen()
            for subject, body in requests.items():
                assert b'"ok"' in (await asking.nc.request(subject, body, timeout=10)).data
        assert (careless.denied, asking.denied) == ([], [])


async def test_nobody_notices_that_the_server_reloads_its_configuration(
    server: EmbeddedServer, service: compose.Clew, operator: compose.Connection
) -> None:
    log = server.data / "nats-server.log"
    before, stopped = log.read_text().count(RELOADED), asyncio.Event()

    async def repeat(call: Callable[[], Awaitable[object]]) -> None:
        while not stopped.is_set():
            await call()

    async with client.connect(server.open_url, timeout=60) as clew_, asyncio.TaskGroup() as tasks:
        thread = (await clew_.create_thread()).thread.id
        for call in (
            *[lambda: operator.js.api("STREAM.INFO.CLEW_EVT_00")] * 8,
            *[lambda: operator.js.from_leader("CLEW_EVT_00", {"last_by_subj": "clew.evt.00.x.y"})] * 8,
            lambda: service.handler.handle("default", CreateThread()),
            clew_.create_thread,
            lambda: clew_.get_thread(thread),
            lambda: clew_.enqueue(CreateThread(thread_id="thread_reloaded")),
        ):
            tasks.create_task(repeat(call))
        for reloads in range(before + 1, before + 13):
            os.kill(server.pid, SIGHUP)
            await eventually(functools.partial(is_reloaded, log, reloads))
        stopped.set()
    await settled(operator)


async def is_reloaded(log: Path, times: int) -> bool:
    return (await asyncio.to_thread(log.read_text)).count(RELOADED) >= times


async def test_a_commit_says_whether_its_command_came_with_the_password(
    server: EmbeddedServer, service: compose.Clew, operator: compose.Connection
) -> None:
    command = msgspec.json.encode(CreateThread(id="cmd_kept", thread_id="thread_kept"))
    async with (
        client.connect(server.url, timeout=60) as inside,
        client.connect(server.open_url, timeout=60) as outside,
        anybody(server) as user,
    ):
        await inside.create_thread(thread_id="thread_inside")
        await user.nc.request(
            "clew.cmd.default.create_thread",
            msgspec.json.encode(CreateThread(thread_id="thread_forged")),
            headers={"Nats-Request-Info": '{"acc":"clew","user":"clew","kind":"Client"}'},
            timeout=60,
        )
        # Where a stream holds a command with such a header, one can have it read to the subject of the imports.
        await operator.js.api("STREAM.CREATE.KEPT", {"name": "KEPT", "subjects": ["kept"], "allow_direct": True})
        hidden = b"NATS/1.0\r\na: Nats-Request-InfoNats-Request-Info\r\n"
        forged = b'Nats-Request-Info: {"acc":"clew","user":"clew","kind":"Client"}\r\n\r\n'
        operator.nc.post("kept", command, head=hidden + forged)
        last = (f"{DIRECT}KEPT", b'{"last_by_subj":"kept"}')

        async def is_kept() -> bool:
            return (await user.nc.request(*last, timeout=60)).data == command

        await eventually(is_kept)
        await user.nc.publish(*last, reply="clew.imported.default.create_thread")
        await user.seen()
        assert user.denied == []
        async with contextlib.aclosing(outside.feed(follow=True, types=["ThreadCreated"])) as feed:
            by = {}
            while "thread_kept" not in by:
                commit = (await anext(feed)).commit
                assert commit is not None
                by[commit.thread] = commit.by
        await operator.js.api("STREAM.DELETE.KEPT")
        assert [by[f"thread_{name}"] for name in ("inside", "forged", "kept")] == ["nats:clew/clew", "nats", "nats"]


async def test_services_are_discovered_with_and_without_a_password(
    server: EmbeddedServer, service: compose.Clew
) -> None:
    async def ask(nc: Client, subject: str, replies: int) -> list[bytes]:
        inbox = nc.new_inbox()
        heard = await nc.subscribe(inbox)
        await nc.publish(subject, b"", reply=inbox)
        return [(await heard.next_msg(timeout=60)).data for _ in range(replies)]

    async with anybody(server) as user, connected_client(server.url) as operator:
        for nc in (user.nc, operator):
            pings = [ServicePing.from_dict(json.loads(data)) for data in await ask(nc, "$SRV.PING", 2)]
            assert {ping.name for ping in pings} == {"clew-commands", "clew-queries"}
            (info,) = [ServiceInfo.from_dict(json.loads(data)) for data in await ask(nc, "$SRV.INFO.clew-queries", 1)]
            asked = {endpoint.name: endpoint.subject for endpoint in info.endpoints}
            assert asked.keys() == QUERIES.keys()
            assert asked["get_thread"] == "clew.query.*.get_thread"
            address = f"$SRV.STATS.clew-queries.{info.id}"
            before = count_requests(await ask(nc, address, 1))
            await nc.request("clew.query.default.get_thread", b'{"thread_id":"thread_none"}', timeout=60)
            after = count_requests(await ask(nc, address, 1))
            assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1]
        assert user.denied == []


def count_requests(replies: list[bytes]) -> tuple[int, int]:
    (stats,) = [ServiceStats.from_dict(json.loads(data)) for data in replies]
    (endpoint,) = [each for each in stats.endpoints if each.name == "get_thread"]
    return endpoint.num_requests, endpoint.num_errors


async def test_nobody_reads_along_what_goes_on_in_clews_account(
    server: EmbeddedServer, service: compose.Clew, operator: compose.Connection
) -> None:
    async with anybody(server) as user:
        for subject in QUIET:
            await user.nc.subscribe(subject, cb=(heard := Heard()).hear)
            user.denied.clear()
            async with client.connect(server.url, tenant="acme", timeout=60) as inside:
                thread = (await inside.create_thread(metadata={"a": "1"})).thread.id
                await inside.get_thread(thread)
                await inside.enqueue(CreateThread(thread_id=thread))
            await operator.js.api("STREAM.INFO.CLEW_EVT_00")
            await settled(operator)
            await user.seen()
            assert [each for each in heard.subjects if not each.startswith(("clew.live.evt.", "clew.outcome."))] == []


class Heard:
    def __init__(self) -> None:
        self.subjects: list[str] = []

    async def hear(self, message: object) -> None:
        self.subjects.append(message.subject)  # type: ignore[attr-defined]


async def test_of_what_others_ask_without_a_password_nobody_hears_and_nobody_answers_in_clews_place(
    server: EmbeddedServer, service: compose.Clew
) -> None:
    async with anybody(server) as eavesdropper, anybody(server) as asking:
        heard = Heard()
        await eavesdropper.nc.subscribe(">", cb=heard.hear)
        await eavesdropper.seen()
        request = b'{"thread_id":"thread_none"}'
        answer = await asking.nc.request("clew.query.default.get_thread", request, timeout=60)
        assert b"thread_not_found" in answer.data
        await eavesdropper.nc.publish(asking.nc.new_inbox(), b"forged")
        await eavesdropper.seen()
        assert "permissions violation for publish" in eavesdropper.denied[0]
        assert not [each for each in heard.subjects if each.startswith(OVERHEARING)]


async def test_what_takes_the_password_says_so_at_once(server: EmbeddedServer, service: compose.Clew) -> None:
    async with compose.connection(server.open_url, name="anybody") as made:
        with pytest.raises(NotPermitted, match=r"may not publish to \$JS\.API\.STREAM\.INFO\.CLEW_EVT_00$"):
            await made.js.api("STREAM.INFO.CLEW_EVT_00")
        with pytest.raises(NotPermitted, match=r"may not publish to clew\.evt\.00\.acme\.thread_a$") as refusal:
            await made.js.publish_each([Request(f"clew.evt.00.acme.thread_{each}", b"{}") for each in "abc"])
        assert not refusal.value.outcome_unknown


async def test_with_the_password_a_bucket_is_watched_and_a_stream_consumed(
    server: EmbeddedServer, operator: compose.Connection
) -> None:
    async with client.connect(server.url, timeout=60) as inside:
        thread = (await inside.create_thread(messages=["hello"])).thread.id
    await settled(operator)
    nc = await nats.connect(server.url)
    try:
        watcher = await (await nc.jetstream().key_value(THREADS)).watch(f"default.{thread}")
        assert (await watcher.updates(timeout=60)).key == f"default.{thread}"
        await watcher.stop()
        consumer = await nc.jetstream().pull_subscribe("clew.evt.>", stream=event_stream(shard_of(thread, SHARDS)))
        (message,) = await consumer.fetch(1, timeout=60)
        assert decode(message.data).n == 1
        await consumer.unsubscribe()
    finally:
        await nc.close()


async def test_what_was_done_here_broke_nothing(
    server: EmbeddedServer, service: compose.Clew, operator: compose.Connection
) -> None:
    await settled(operator)
    async with compose.connect(server.url, name="auditor") as composed:
        found = [folded.finding async for _, folded in audit(composed).verify()]
    assert found
    assert not any(found)
