"""What is too large for the NATS server: refused where it is sent or decided, and never the end of a connection."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import msgspec
import pytest
from click.testing import CliRunner
from nats.aio.client import Client

from clew_events.client import connect
from clew_events.commands import AddMessage
from clew_events.commit import Commit, Position, Recorded
from clew_events.errors import NotFound, TooLarge
from clew_events.events import MetadataUpdated
from clew_events.objects import Message, TextPart
from clew_events.replies import Done, Rejection
from clew_events.requests import NewAttachment, NewImageUrl, NewImageUrlSource, NewMessage, NewTool
from clew_events.subjects import Address
from clew_projections import views
from clew_projections.apply import advance
from clew_projections.projector.parked_threads import list_parked
from clew_services.cli import main
from clew_services.compose import Clew
from clew_services.compose import connect as connected
from clew_services.compose.roles import serve_commands, serve_inbox, serve_queries
from clew_services.embedded import config
from clew_services.embedded.server import EmbeddedServer
from support.api import ACME
from support.api import served as served_over_http
from support.commits import CREATED, body_of, commit, hash_of, store
from support.deployments import connected_client, deployed
from support.indexes import caught_up, fed
from support.nats_services import served
from support.truth import checkpointed, projecting
from support.waiting import eventually
from support.writers import Writer, message_id, thread_id

LIMIT = 256 * 1024
IN = {"Authorization": f"Bearer {ACME}", "OpenAI-Beta": "assistants=v2"}


@pytest.fixture
async def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedServer]:
    """A server that takes messages of at most ``LIMIT`` bytes."""
    monkeypatch.setattr(config, "MAX_PAYLOAD", LIMIT)
    async with deployed(tmp_path / "deployment") as server:
        yield server


@pytest.fixture
async def clew(deployment: EmbeddedServer) -> AsyncIterator[Clew]:
    """Everything composed on a connection that must not have been lost by the end of the test."""
    async with connected(deployment.url, name="test") as composed:
        yield composed
        assert composed.nc.is_connected
        assert composed.connection.made == 1, "the connection was lost"


@pytest.fixture
async def nc(deployment: EmbeddedServer) -> AsyncIterator[Client]:
    async with connected_client(deployment.url) as client:
        yield client


def picture(size: int) -> NewMessage:
    """A message with an image whose URL has so many bytes."""
    return NewMessage(role="user", content=(NewImageUrl(image_url=NewImageUrlSource(url="u" * size)),))


async def add(clew: Clew, thread: str, message: NewMessage) -> Done:
    return await clew.handler.handle("default", AddMessage(thread_id=thread, message=message))


def attached(*names: str) -> NewMessage:
    """A message with files for the search tool, which the thread keeps from then on."""
    tools = (NewTool(type="file_search"),)
    return NewMessage(
        role="user", content="hi", attachments=tuple(NewAttachment(file_id=n, tools=tools) for n in names)
    )


async def emptied(clew: Clew) -> None:
    async def nothing_left() -> bool:
        return not (await clew.nc.jetstream().stream_info("CLEW_INBOX")).state.messages

    await eventually(nothing_left)


# Where it is sent.


@pytest.mark.parametrize("over", [-1, 0])
async def test_a_message_that_the_server_just_takes_is_sent(clew: Clew, over: int) -> None:
    head = {"a": "b" * 100}
    size = LIMIT - len(b"NATS/1.0\r\na: \r\n\r\n") - 100 + over
    assert (await clew.js.publish("$KV.clew_threads_v1.default.a", bytes(size), head)).error is None
    await clew.nc.publish("nobody", bytes(size), headers=head)
    await clew.nc.flush()


@pytest.mark.parametrize("over", [1, 50, 118, 119])
async def test_a_message_too_large_together_with_its_headers_is_refused_with_the_limit(clew: Clew, over: int) -> None:
    head = {"a": "b" * 100}
    size = LIMIT - len(b"NATS/1.0\r\na: \r\n\r\n") - 100 + over
    for send in (
        lambda: clew.js.publish("$KV.clew_threads_v1.default.a", bytes(size), head),
        lambda: clew.nc.publish("nobody", bytes(size), headers=head),
        lambda: clew.nc.request("nobody", bytes(size), headers=head),
    ):
        with pytest.raises(TooLarge, match=f"at most {LIMIT} "):
            await send()
    await clew.nc.flush()


async def test_subjects_that_the_server_cannot_read_in_one_line_are_refused(clew: Clew) -> None:
    for subject, reply in (("a" * 4097, ""), ("a" * 2000, "b" * 2097), ("\N{SNOWMAN}" * 1366, "")):
        with pytest.raises(TooLarge, match="subject"):
            await clew.nc.publish(subject, b"", reply=reply)
    await clew.nc.publish("a" * 2000, b"", reply="b" * 2000)
    await clew.nc.flush()


async def test_the_client_refuses_what_is_too_large_with_its_headers_and_stays_connected(
    clew: Clew, deployment: EmbeddedServer
) -> None:
    async with served(clew, (serve_commands,)), connect(deployment.url, timeout=60) as client:
        enqueued: list[int] = []
        for under in range(0, 401, 25):
            command = AddMessage(thread_id="thread_x", message=picture(LIMIT - under), id="x")
            with contextlib.suppress(TooLarge):
                enqueued.append(await client.enqueue(command))
            with pytest.raises((TooLarge, NotFound)):
                await client.send(command)
        assert 0 < len(enqueued) < 17
        assert (await client.create_thread()).n == 1
        assert (client.nc.is_connected, client.nc.stats["reconnects"]) == (True, 0)


# Where it is decided.


async def test_a_message_that_grows_beyond_the_limit_is_refused_over_http_with_413(clew: Clew) -> None:
    part = {"type": "image_file", "image_file": {"file_id": "f"}}
    grows = {"role": "user", "content": [part] * (LIMIT // len(json.dumps(part, separators=(",", ":"))) - 100)}
    async with served_over_http(clew) as url, httpx2.AsyncClient(base_url=url, headers=IN, timeout=60) as http:
        thread = (await http.post("/v1/threads")).json()["id"]
        for path, body in ((f"/v1/threads/{thread}/messages", grows), ("/v1/threads", {"messages": [grows]})):
            refused = await http.post(path, content=json.dumps(body, separators=(",", ":")))
            assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")
            assert str(LIMIT) in refused.json()["error"]["message"]
        assert (await http.get(f"/v1/threads/{thread}")).status_code == 200
        assert (await http.get(f"/v1/threads/{thread}/messages")).json()["data"] == []


async def test_no_size_of_a_message_is_answered_with_503(clew: Clew) -> None:
    found: set[int] = set()
    async with served_over_http(clew) as url, httpx2.AsyncClient(base_url=url, headers=IN, timeout=60) as http:
        for size in (LIMIT - 5_000, *range(LIMIT - 800, LIMIT - 200, 30)):
            body = msgspec.json.encode({"messages": [picture(size)]})
            found.add((await http.post("/v1/threads", content=body)).status_code)
    assert found == {200, 413}


async def test_a_command_over_nats_that_grows_beyond_the_limit_is_refused(clew: Clew, nc: Client) -> None:
    part = {"type": "image_file", "image_file": {"file_id": "f"}}
    body: dict[str, object] = {"messages": [{"role": "user", "content": [part] * 4_600}]}
    async with served(clew, (serve_commands,)):
        for _ in range(2):
            reply = await nc.request("clew.cmd.default.create_thread", json.dumps(body).encode(), timeout=60)
            assert json.loads(reply.data)["error"]["code"] == "too_large"
        assert json.loads((await nc.request("clew.cmd.default.create_thread", b"{}", timeout=60)).data)["ok"]


async def largest(clew: Clew, thread: str) -> str:
    """The id of a message that is as large as one can be."""
    fits, too_large = LIMIT - 6_000, LIMIT
    while too_large - fits > 1:
        size = (fits + too_large) // 2
        try:
            found = message_id(await add(clew, thread, picture(size)))
        except TooLarge:
            too_large = size
        else:
            fits = size
            await Writer(clew.handler).remove(thread, found)
    return message_id(await add(clew, thread, picture(fits)))


async def test_a_change_whose_view_would_be_too_large_is_refused_and_deleting_is_not(clew: Clew, nc: Client) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create())
    message = await largest(clew, thread)
    full = {f"k{n}": "v" * 512 for n in range(16)}
    async with projecting(clew), served(clew, (serve_commands, serve_queries)):
        with pytest.raises(TooLarge, match=f"at most {LIMIT} "):
            await writer.change(thread, message, metadata=full)
        asked = json.dumps({"thread_id": thread, "message_id": message}).encode()
        for query in ("get_message", "history", "list_messages"):
            body = asked if query == "get_message" else json.dumps({"thread_id": thread, "limit": 1}).encode()
            assert "ok" in json.loads((await nc.request(f"clew.query.default.{query}", body, timeout=60)).data), query
        await writer.remove(thread, message)
        await checkpointed(clew)
        assert await list_parked(clew.live.current.threads) == []


async def test_a_page_has_no_more_than_fits_into_a_reply_and_readers_go_on_from_there(
    clew: Clew, deployment: EmbeddedServer, tmp_path: Path
) -> None:
    writer = Writer(clew.handler, "acme")
    full = {f"k{n}": "\x01" * 512 for n in range(16)}  # 49 kB in JSON
    many = [thread_id(await writer.create(metadata=full)) for _ in range(6)]
    thread = thread_id(await writer.create())
    texts = [f"{n}" + "\x01" * 14_000 for n in range(12)]  # 84 kB each in JSON
    for text in texts:
        await writer.add(thread, text)
    async with (
        projecting(clew),
        served(clew, (serve_queries,)),
        connect(deployment.url, tenant="acme", timeout=60) as client,
    ):
        await checkpointed(clew)
        for order, expected in (("asc", texts), ("desc", texts[::-1])):
            found = [message async for message in client.iter_messages(thread, order=order)]
            assert [_text(message) for message in found] == expected
            assert [entry.commit.n async for entry in client.iter_history(thread, order=order)] == (
                list(range(1, 14)) if order == "asc" else list(range(13, 0, -1))
            )
            page = (await client.list_messages(thread, limit=100, order=order)).messages
            then = (await client.messages_at(thread, 13, limit=100, order=order)).messages
            assert page is not None
            assert then == page
            assert (len(page.data), page.has_more) == (3, True)
            feed = await client.feed_page(limit=100, order=order, thread_id=thread)
            assert (1 < len(feed.data) < 13, feed.has_more) == (True, True)
        found = client.feed(thread_id=thread)
        assert [entry.commit.n async for entry in found if entry.commit] == list(range(1, 14))
        command = (
            "thread",
            "messages",
            thread,
            "--limit",
            "11",
            "--tenant",
            "acme",
            "--nats",
            deployment.url,
            "--json",
        )
        shown = json.loads((await asyncio.to_thread(CliRunner().invoke, main, command)).output)["messages"]
        assert [message["content"][0]["text"]["value"] for message in shown["data"]] == texts[:11]
        assert shown["has_more"] is True
        clew.open_index(tmp_path / "index")
        async with fed(clew, tmp_path / "index"):
            await caught_up(clew, tmp_path / "index")
            assert len((await client.list_threads(limit=100)).data) < 7
            assert sorted([each.id async for each in client.iter_threads(limit=100)]) == sorted([thread, *many])
    async with served_over_http(clew) as url, httpx2.AsyncClient(base_url=url, headers=IN, timeout=60) as http:
        got: list[str] = []
        page, more = f"/v1/threads/{thread}/messages?limit=100&order=asc", True
        while more:
            answer = (await http.get(page + (f"&after={got[-1]}" if got else ""))).json()
            got += [message["id"] for message in answer["data"]]
            more = answer["has_more"]
        assert (len(got), len(answer["data"]) < 12) == (12, True)


def _text(message: Message) -> str:
    (part,) = message.content
    assert isinstance(part, TextPart)
    return part.text.value


async def test_a_thread_that_grows_commit_by_commit_is_refused_before_its_view_is_too_large(clew: Clew) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create())
    steps = 0

    async def grow() -> None:
        nonlocal steps
        for steps in range(1000):
            await add(clew, thread, attached(f"file_{steps}_{'x' * 4_000}"))

    with pytest.raises(TooLarge, match="The thread would have"):
        await grow()
    assert steps > 40
    with pytest.raises(TooLarge, match="The thread would have"):
        await writer.update(thread, metadata={f"key{number}": "\x01" * 512 for number in range(16)})
    await writer.delete(thread)
    async with projecting(clew):
        await checkpointed(clew)
        assert await list_parked(clew.live.current.threads) == []


# What is there already.


@pytest.mark.parametrize("under", [-1, 0, 30, 100])
async def test_a_view_that_does_not_fit_parks_its_thread_and_the_checkpoint_goes_on(clew: Clew, under: int) -> None:
    address = Address("default", "thread_large")

    def filled(size: int) -> tuple[Commit, ...]:
        commits: list[Commit] = [commit(1, CREATED, thread=address.thread)]
        for n, text in enumerate(("x" * (LIMIT // 2), "x" * size), start=2):
            event = MetadataUpdated(set={f"k{n}": text}, unset=())
            commits.append(commit(n, event, prev=hash_of(commits[-1]), thread=address.thread))
        return tuple(commits)

    def view_after(commits: tuple[Commit, ...]) -> bytes:
        view = views.absent_stored(*address)
        for each in commits:
            view = advance(view, Recorded(each, Position(0, each.n), hash_of(each)))
        return views.encode(view)

    commits = filled(LIMIT - under - len(view_after(filled(0))))
    assert len(view_after(commits)) == LIMIT - under
    for each in commits:
        await store(clew.nc, address, body_of(each))
    async with projecting(clew):
        thread = thread_id(await Writer(clew.handler).create())
        await checkpointed(clew)
        assert await clew.live.current.threads.get(f"default.{thread}") is not None
    found = await list_parked(clew.live.current.threads)
    assert [each.code for each in found] == ([] if under == 100 else ["view_too_large"])


async def test_poison_of_any_size_and_under_any_subject_is_on_record_and_stepped_over(clew: Clew) -> None:
    js = clew.nc.jetstream()
    for subject in (
        f"clew.evt.00.default.{'x' * 3900}",
        f"clew.evt.01.{'x' * 3800}.thread_a",
        f"clew.evt.01.{chr(0x2603) * 1200}.thread_{'b' * 130}",
    ):
        await js.publish(subject, b"garbage")
    huge = body_of(commit(1, CREATED, thread="thread_huge")).replace(b'"Made"', b'"' + b"M" * 200_000 + b'"')
    await store(clew.nc, Address("default", "thread_huge"), huge.replace(b"thread_huge", b"thread_other"))
    async with projecting(clew):
        thread = thread_id(await Writer(clew.handler).create())

        async def all_on_record() -> bool:
            return len(await list_parked(clew.live.current.threads)) == 4

        await eventually(all_on_record)
        await checkpointed(clew)
        assert await clew.live.current.threads.get(f"default.{thread}") is not None
    # And again by whoever starts next.
    async with projecting(clew):
        await Writer(clew.handler).create()
        await checkpointed(clew)
    assert len(await list_parked(clew.live.current.threads)) == 4


# The inbox.


async def on_record(clew: Clew) -> list[Rejection]:
    js = clew.nc.jetstream()
    last = (await js.stream_info("CLEW_REJECTED")).state.last_seq
    return [
        msgspec.json.decode((await js.get_msg("CLEW_REJECTED", seq)).data or b"", type=Rejection)
        for seq in range(1, last + 1)
    ]


@pytest.mark.parametrize("body", [b"x", b"\x00", b"\xff", b"\\", b'{"', "\N{SNOWMAN}".encode()])
async def test_garbage_of_every_size_near_the_limit_is_on_record_and_stepped_over(clew: Clew, body: bytes) -> None:
    js = clew.nc.jetstream()
    sizes = [LIMIT, LIMIT - 100, LIMIT - 347, LIMIT - 500, LIMIT - 700, LIMIT // 3, LIMIT // 6]
    left = [(body * LIMIT)[:size] for size in sizes]
    for each in left:
        await js.publish("clew.inbox.default.create_thread", each)
    await js.publish("clew.inbox.default.create_thread", b'{"thread_id":"thread_after"}')
    async with served(clew, (serve_inbox,)):
        await emptied(clew)
    found = await on_record(clew)
    assert len(found) == len(left)
    for each, said in zip(left, found, strict=True):
        if said.shortened:
            assert (said.size, said.sha256) == (len(each), hashlib.sha256(each).hexdigest())
            assert len(said.body) >= 1024
        else:
            assert said.body == each.decode(errors="replace")
    assert found[0].shortened


async def test_an_inbox_command_that_would_grow_too_large_is_refused_on_record(clew: Clew) -> None:
    part = {"type": "image_file", "image_file": {"file_id": "f"}}
    body = {"messages": [{"role": "user", "content": [part] * 4_600}]}
    await clew.nc.jetstream().publish("clew.inbox.default.create_thread", json.dumps(body).encode())
    async with served(clew, (serve_inbox,)):
        await emptied(clew)
    (said,) = await on_record(clew)
    assert said.error.code == "too_large"


async def test_inbox_messages_under_the_longest_subjects_are_on_record_and_stepped_over(clew: Clew) -> None:
    js = clew.nc.jetstream()
    subjects = [f"clew.inbox.{'t' * 3900}.create_thread", f"clew.inbox.default.{'c' * 3900}"]
    for subject in subjects:
        await js.publish(subject, b"{}")
    await js.publish("clew.inbox.default.create_thread", b'{"thread_id":"thread_after"}')
    async with served(clew, (serve_inbox,)):
        await emptied(clew)
    assert [f"clew.inbox.{said.tenant}.{said.command}" for said in await on_record(clew)] == subjects


async def test_a_reply_that_is_too_large_is_replaced_by_one_that_says_so(clew: Clew, nc: Client) -> None:
    heard = await nc.subscribe("billing.done")
    name = "k" * (LIMIT - 200)
    body = {"thread_id": "thread_r", "reply_to": "billing.done", name: 1}
    async with served(clew, (serve_inbox, serve_commands)):
        reply = await nc.request("clew.cmd.default.create_thread", json.dumps(body).encode(), timeout=60)
        assert json.loads(reply.data)["error"]["type"] == "rejected"
        await nc.jetstream().publish("clew.inbox.default.create_thread", json.dumps({**body, name: 2}).encode())
        await emptied(clew)
    assert heard.pending_msgs == 0  # what cannot be read names no reply subject
