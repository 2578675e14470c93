"""Items of any type, over NATS: kept as they were given, one commit a command, and read from any moment."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec import UNSET, Raw
from msgspec.structs import replace

from clew_events import ids
from clew_events.client import Clew as Client
from clew_events.client import connect
from clew_events.commands import AddItems, CreateThread, EraseItem
from clew_events.errors import AlreadyErased, AlreadyExists, IdReused, Invalid, NotFound, TooLarge
from clew_events.list_query import ListThreads
from clew_projections.index.index import CurrentIndex
from clew_services.cli import main
from clew_services.compose import Clew
from support.asgi import call
from support.erasure_worker import complete_all
from support.indexes import caught_up, fed
from support.markers import find_marker, new_marker
from support.nats_services import served
from support.truth import buckets_equal_the_log, projecting

CALL = Raw(
    b'{"call_id":"call_1","type":"function_call","n":[1.10,1e400,-0,12345678901234567890123],"id":"fc_1",'
    b'"arguments":"{\\u0022a\\": 1}","unknown":{"z":null,"a":"\xc3\xa9 \\u00e9"}}'
)
SAID = {"type": "message", "role": "user", "content": "Where is my parcel?"}


@pytest.fixture(params=["views", "log"])
async def client(clew: Clew, deployment, request) -> AsyncIterator[Client]:
    """A client of a deployment that answers from views and the log's tail, or from the log alone."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(served(clew))
        if request.param == "views":
            await stack.enter_async_context(projecting(clew))
        yield await stack.enter_async_context(connect(deployment.url, actor="agent"))


async def texts(client: Client, thread: str, **how: Any) -> list[object]:
    """What the items say, as their numbers."""
    return [json.loads(bytes(item)).get("text") async for item in client.iter_items(thread, **how)]


def note(number: int, **more: object) -> dict[str, object]:
    return {"type": "note", "text": number, **more}


async def test_an_item_comes_back_byte_for_byte(client: Client) -> None:
    thread = (await client.create_thread(thread_id="conv_1")).thread.id
    spaced = Raw(b' { "type" : "x" , "b" : 1.10,\n"a":[ ] } ')
    done = await client.add_items(thread, [CALL, spaced, SAID])
    assert (done.n, done.items.version, done.items.ids[0]) == (2, 2, "fc_1")
    assert [item[:4] for item in done.items.ids[1:]] == ["item", "msg_"]
    assert (await client.get_item(thread, "fc_1")).item == CALL
    other = (await client.get_item(thread, done.items.ids[1])).item
    assert bytes(other) == b'{"id":"%s","type":"x","b":1.10,"a":[]}' % done.items.ids[1].encode()
    page = (await client.list_items(thread, limit=2)).items
    assert [json.loads(bytes(item))["id"] for item in page.data] == [done.items.ids[2], done.items.ids[1]]
    assert (page.first_id, page.last_id, page.has_more) == (done.items.ids[2], done.items.ids[1], True)
    rest = (await client.list_items(thread, after=page.last_id)).items
    assert (rest.data, rest.has_more) == ((CALL,), False)
    before = (await client.list_items(thread, order="asc", before=done.items.ids[2], limit=1)).items
    assert (before.first_id, before.has_more) == (done.items.ids[1], True)
    stored = (await client.history(thread)).commits[1].commit.events
    assert [event.ordinal for event in stored] == [1, 2, 3]


async def test_all_items_of_a_command_are_added_or_none(client: Client) -> None:
    thread = (await client.create_thread(items=[note(0, id="a")])).thread.id
    for items, error, param, saying in (
        ([note(1), note(2, id="b"), note(3, id="b")], Invalid, "items[2].id", "'items[1]' and 'items[2]'"),
        ([note(1), note(2, id="a")], AlreadyExists, "items[1].id", "an item with id 'a' already"),
        ([note(1), note(2, id="a b")], Invalid, "items[1].id", "letters, digits"),
        ([note(1), {"text": 2}], Invalid, "items[1].type", "Missing required parameter"),
        ([note(1), {"role": "bot", "content": "x"}], Invalid, "items[1]", "'assistant', 'system'"),
        ([note(1), Raw(b"[1]")], Invalid, "items[1]", "expected an object, but got an array"),
        ([note(1), Raw(b'{"type":"x","a":{"b":1,"b":2}}')], Invalid, "items[1]", "the key 'b' is there twice"),
        ([note(1), Raw(b'{"type":"x","a":"\\udc00"}')], Invalid, "items[1]", "lone surrogate"),
        ([note(1), Raw(b'{"type":"x","a":%s}' % (b"[" * 200 + b"]" * 200))], Invalid, "items[1]", "nested too deeply"),
    ):
        with pytest.raises(error) as refused:
            await client.add_items(thread, items)
        assert (refused.value.param, saying in refused.value.message) == (param, True), refused.value.message
    assert (await client.get_thread(thread)).n == 1
    with pytest.raises(TooLarge, match=r"max_payload"):
        await client.add_items(thread, [note(n, data="x" * (client.nc.max_payload // 4 - 500)) for n in range(4)])
    assert await texts(client, thread) == [0]
    assert (await client.add_items(thread, [])).items.ids == ()


async def test_an_item_is_replaced_deleted_and_its_id_used_again(client: Client) -> None:
    thread = (await client.create_thread(thread_id="conv_1", items=[note(n, id=f"n.{n}") for n in range(4)])).thread.id
    with pytest.raises(Invalid, match=r"has the id 'n\.1'") as other:
        await client.replace_item(thread, "n.1", note(9, id="n.2"))
    assert other.value.param == "item.id"
    changed = await client.replace_item(thread, "n.1", {"type": "call", "text": 11})
    assert (changed.items.ids, changed.n) == (("n.1",), 2)
    assert (await client.replace_item(thread, "n.1", {"type": "call", "text": 11})).n == 2
    gone = await client.delete_item(thread, "n.2")
    assert (gone.deleted.id, gone.deleted.object) == ("n.2", "thread.item.deleted")
    for again in (client.delete_item(thread, "n.2"), client.get_item(thread, "n.2")):
        with pytest.raises(NotFound, match=r"Item with id 'n\.2'"):
            await again
    assert await texts(client, thread) == [0, 11, 3]
    await client.add_items(thread, [note(22, id="n.2")])
    assert await texts(client, thread) == [0, 11, 3, 22]
    assert json.loads(bytes((await client.get_item(thread, "n.2")).item))["text"] == 22
    assert await texts(client, thread, order="desc") == [22, 3, 11, 0]
    assert json.loads(bytes((await client.item_at(thread, "n.2", 1)).item))["text"] == 2
    then = (await client.items_at(thread, 3, order="asc", limit=2)).items
    assert ([json.loads(bytes(item))["text"] for item in then.data], then.has_more) == ([0, 11], True)


async def test_the_newest_is_popped_once_for_each_command(client: Client) -> None:
    thread = (await client.create_thread(items=[note(n) for n in range(40)])).thread.id
    for number in (39, 38):
        popped = await client.pop_item(thread, command_id=f"pop-{number}")
        assert popped.popped is not UNSET
        assert json.loads(bytes(popped.popped))["text"] == number
    again = await client.pop_item(thread, command_id="pop-39")
    assert again.popped is not UNSET
    assert (json.loads(bytes(again.popped))["text"], again.n) == (39, 2)
    for item in (await client.list_items(thread, limit=37)).items.data:
        await client.delete_item(thread, json.loads(bytes(item))["id"])
    last = await client.pop_item(thread)
    assert last.popped is not UNSET
    assert json.loads(bytes(last.popped))["text"] == 0
    assert (await client.pop_item(thread)).popped is UNSET
    await client.add_items(thread, [note(1), note(2)])
    assert (await client.clear_items(thread)).thread.id == thread
    assert (await client.pop_item(thread)).popped is UNSET
    assert await texts(client, thread) == []
    assert (await client.get_thread(thread)).thread.id == thread


async def test_a_repeat_is_answered_as_the_first_was(client: Client) -> None:
    thread = (await client.create_thread(thread_id="thread_a")).thread.id
    items = [note(1, id="a"), note(2)]
    first = await client.add_items(thread, items, command_id="add-1")
    await client.delete_item(thread, "a")
    spaced = AddItems(
        id="add-1", actor="agent", thread_id=thread, items=tuple(Raw(json.dumps(each).encode()) for each in items)
    )
    assert (await client.send(spaced)).items == first.items
    with pytest.raises(IdReused):
        await client.add_items(thread, [note(1)], command_id="add-1")


async def test_the_threads_api_shows_the_items_that_are_messages_for_it(client: Client) -> None:
    thread = (await client.create_thread(messages=["Hello"])).thread.id
    added = await client.add_items(
        thread,
        [
            SAID,
            {"type": "function_call", "name": "find"},
            {"role": "system", "content": "Be kind."},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Here", "annotations": []}]},
            {"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]},
            {"role": "user", "content": "under an id of its own", "id": "mine"},
        ],
    )
    shown = [(each.role, each.content[0].text.value) async for each in client.iter_messages(thread)]
    assert shown == [("user", "Hello"), ("user", SAID["content"]), ("assistant", "Here")]
    assert (await client.messages_at(thread, 2, limit=2)).messages.has_more
    call, said = added.items.ids[1], added.items.ids[0]
    with pytest.raises(NotFound):
        await client.get_message(thread, added.items.ids[2])
    assert (await client.list_messages(thread, after=call, order="asc")).messages.first_id == added.items.ids[3]
    await client.update_message(thread, said, metadata={"seen": "yes"})
    assert (await client.get_message(thread, said)).message.metadata == {"seen": "yes"}
    body = bytes((await client.get_item(thread, said)).item)
    assert json.loads(body) == {**SAID, "id": said, "metadata": {"seen": "yes"}}
    first = json.loads(bytes((await client.list_items(thread, order="asc")).items.data[0]))
    assert (first["type"], first["content"]) == ("message", [{"type": "text", "text": "Hello"}])
    assert (await client.state_at(thread, n=2)).message_count == 7


async def test_one_item_is_erased_alone_under_every_item_that_had_its_id(client: Client) -> None:
    thread = (await client.create_thread(items=[note(1, id="a"), note(2, id="b")])).thread.id
    await client.delete_item(thread, "a")
    await client.add_items(thread, [note(3, id="a"), note(4)])
    erased = await client.erase_item(thread, "a", reason="asked")
    assert (erased.erasure.message_id, erased.erasure.code) == ("a", "asked")
    with pytest.raises(AlreadyErased, match="Item 'a'"):
        await client.erase_item(thread, "a")
    assert await texts(client, thread) == [2, 4]
    then = [json.loads(bytes(item)) for item in (await client.items_at(thread, 1, order="asc")).items.data]
    assert then == [{"id": "a", "erased": True}, note(2, id="b")]
    with pytest.raises(NotFound):
        await client.send(EraseItem(thread_id=thread, item_id="c"))


async def test_an_id_is_found_among_many_that_callers_chose(clew: Clew, deployment) -> None:
    async with served(clew), projecting(clew), connect(deployment.url) as client:
        thread = (await client.create_thread()).thread.id
        for start in range(0, 900, 300):
            await client.add_items(thread, [note(n, id=f"own-{n}") for n in range(start, start + 300)])
        await buckets_equal_the_log(clew)
        for number in (0, 255, 256, 511, 512, 899):
            item = (await client.get_item(thread, f"own-{number}")).item
            assert json.loads(bytes(item)) == note(number, id=f"own-{number}")
        for missing in ("own-900", ids.item_id(3, "elsewhere")):
            with pytest.raises(NotFound):
                await client.get_item(thread, missing)
        with pytest.raises(AlreadyExists):
            await client.add_items(thread, [note(1, id="own-300")])
        done = await asyncio.gather(
            *(client.add_items(thread, [note(n, id="one")]) for n in range(4)), return_exceptions=True
        )
        assert sorted(isinstance(each, AlreadyExists) for each in done) == [False, True, True, True]


async def test_the_words_of_any_item_are_searched_and_kinds_are_listed(clew: Clew, deployment, tmp_path: Path) -> None:
    found = {"type": "function_call", "arguments": '{"animal": "giraffe"}', "deep": [{"a": ["zebra"]}]}
    hidden = dict.fromkeys(("data", "result", "encrypted_content", "image_url", "file_data"), "walrus")
    index = CurrentIndex(clew.index_in(tmp_path))

    async def listed(**how: Any) -> list[str]:
        await caught_up(clew, tmp_path)
        return [each.id for each in (await index.list("default", ListThreads(order="asc", **how))).data]

    async with served(clew), fed(clew, tmp_path), connect(deployment.url) as client:
        await client.create_thread(thread_id="thread_1", items=[note(1, said="heron")])
        long = {"long": "eleph" + "x" * 33_000, "id": "own"}
        await client.create_thread(thread_id="conv_1", items=[{**found, **hidden, **long}])
        await client.create_thread(thread_id="conv_2")
        assert await listed(search="giraffe zebra") == ["conv_1"]
        assert await listed(search="heron") == ["thread_1"]
        assert await listed(search="walrus") == await listed(search="eleph*") == []
        assert await listed(search="heron", kind="conversation") == []
        assert await listed() == ["thread_1", "conv_1", "conv_2"]
        assert await listed(kind="conversation") == ["conv_1", "conv_2"]
        assert await listed(kind="thread") == ["thread_1"]
        both = ListThreads(kind="conversation", limit=1, count=True)
        page = await index.list("default", both)
        assert page.count is not None
        assert ([each.id for each in page.data], page.count.threads) == (["conv_2"], 2)
        rest = await index.list("default", replace(both, after=page.next))
        assert [each.id for each in rest.data] == ["conv_1"]
        with pytest.raises(Invalid, match="another question"):
            await index.list("default", replace(both, kind="thread", after=page.next))
        await client.replace_item("conv_1", "own", {"type": "note", "text": "quail"})
        assert (await listed(search="giraffe"), await listed(search="quail")) == ([], ["conv_1"])
        await client.delete_item("conv_1", "own")
        assert await listed(search="quail") == []


async def test_a_message_as_it_is_answered_can_be_sent_back(clew: Clew) -> None:
    parts = [{"type": "text", "text": "Hi"}, {"type": "image_file", "image_file": {"file_id": "file-1"}}]
    said = {"role": "assistant", "content": parts, "metadata": {"a": "b"}}
    for thread in ("thread_a", "thread_b"):
        await clew.handler.handle("acme", CreateThread(thread_id=thread))
    first = await call(clew, "POST", "/v1/threads/thread_a/messages", json.dumps(said).encode())
    again = await call(clew, "POST", "/v1/threads/thread_a/messages", first.body)
    before, after = json.loads(first.body), json.loads(again.body)
    assert (again.status, after["id"] == before["id"]) == (200, False)
    kept = ("role", "content", "metadata", "attachments", "thread_id")
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    elsewhere = await call(clew, "POST", "/v1/threads/thread_b/messages", first.body)
    assert (elsewhere.status, elsewhere.error["param"]) == (400, "thread_id")
    within = await call(clew, "POST", "/v1/threads", b'{"messages": [%s]}' % first.body)
    assert within.status == 200


async def test_on_the_command_line_items_are_lines_of_json(clew: Clew, deployment, tmp_path: Path) -> None:
    def run(*arguments: str, said: bytes = b"", code: int = 0) -> str:
        result = CliRunner().invoke(main, ["item", *arguments], env={"CLEW_NATS": deployment.url}, input=said)
        assert result.exit_code == code, result.output
        return result.output

    def use() -> None:
        added = run("add", "thread_a", said=b"%s\n\n" % bytes(CALL) + b'{"type": "note", "n": 1.10}\n')
        assert re.fullmatch(r"item +fc_1\nitem +(item_\w{24})\nn +2\n", added)
        assert run("get", "thread_a", "fc_1").encode() == bytes(CALL) + b"\n"
        assert [json.loads(line)["type"] for line in run("list", "thread_a").splitlines()] == ["function_call", "note"]
        assert "fc_1" in run("replace", "thread_a", "fc_1", said=b'{"type":"note","n":2}')
        assert run("pop", "thread_a").endswith('"type":"note","n":1.10}\n')
        assert "fc_1" in run("delete", "thread_a", "fc_1", "--expected-version", "4")
        assert "No item found" in run("delete", "thread_a", "fc_1", code=6)
        assert json.loads(run("clear", "thread_a", "--json"))["thread"]["id"] == "thread_a"
        assert run("list", "thread_a") == ""

    async with served(clew):
        await clew.handler.handle("default", CreateThread(thread_id="thread_a"))
        await asyncio.to_thread(use)


async def test_an_erased_item_is_gone_from_every_file_and_the_others_are_not(clew: Clew, deployment) -> None:
    gone, stays = new_marker(), new_marker()
    async with served(clew), projecting(clew), connect(deployment.url) as client:
        items = [note(1, id="a", said=gone), note(2, id="b", said=stays)]
        thread = (await client.create_thread(items=items)).thread.id
        await client.replace_item(thread, "a", note(3, said=gone))
        await client.delete_item(thread, "a")
        await client.add_items(thread, [note(4, id="a", said=gone), note(5, said=stays)])
        erasure = (await client.erase_item(thread, "a")).erasure
        await complete_all(clew)
        assert (await client.get_erasure(erasure.id)).status == "completed"
        assert await texts(client, thread) == [2, 5]
        assert json.loads(bytes((await client.item_at(thread, "a", 4)).item)) == {"id": "a", "erased": True}
        await client.add_items(thread, [note(6, id="a")])
        assert await texts(client, thread) == [2, 5, 6]
    assert find_marker(deployment.data, gone) == []
    assert find_marker(deployment.data, stays) != []
