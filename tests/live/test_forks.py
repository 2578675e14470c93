"""Forks: threads that begin as the past of another, which they refer to and do not copy."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from clew_events.client import Clew as Client
from clew_events.client import connect
from clew_events.commands import EraseItem, EraseThread
from clew_events.errors import AlreadyErased, AlreadyExists, Invalid, NotFound
from clew_projections import places
from clew_services.compose import Clew
from support.nats_services import served
from support.truth import buckets_equal_the_log, projecting


@pytest.fixture(params=["views", "log"])
async def client(clew: Clew, deployment, request, monkeypatch) -> AsyncIterator[Client]:
    """A client of a deployment that answers from views and the log's tail, or from the log alone."""
    monkeypatch.setattr(places, "PAGE", 4)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(served(clew))
        if request.param == "views":
            await stack.enter_async_context(projecting(clew))
        yield await stack.enter_async_context(connect(deployment.url, actor="agent"))


def note(number: int, **more: object) -> dict[str, object]:
    return {"type": "note", "text": number, **more}


async def texts(client: Client, thread: str, **how: Any) -> list[object]:
    """What the items say, as their numbers."""
    return [json.loads(bytes(item)).get("text") async for item in client.iter_items(thread, **how)]


async def new_parent(client: Client, count: int = 6) -> str:
    done = await client.create_thread(items=[note(n) for n in range(1, count + 1)], metadata={"topic": "wool"})
    return done.thread.id


async def new_fork(client: Client, parent: str, **how: Any) -> str:
    return (await client.fork_thread(parent, **how)).thread.id


async def test_a_fork_shows_its_parent_as_it_was_whatever_becomes_of_it(client: Client) -> None:
    parent = await new_parent(client)
    fork = await new_fork(client, parent)
    assert (await client.get_thread(fork)).thread.metadata == {"topic": "wool"}
    await client.add_items(parent, [note(7)])
    await client.pop_item(parent)
    await client.pop_item(parent)
    await client.clear_items(parent)
    await client.add_items(fork, [note(70), note(71)])
    assert await texts(client, fork) == [1, 2, 3, 4, 5, 6, 70, 71]
    assert await texts(client, fork, order="desc") == [71, 70, 6, 5, 4, 3, 2, 1]
    await client.delete_thread(parent)
    assert await texts(client, fork) == [1, 2, 3, 4, 5, 6, 70, 71]


async def test_a_fork_begins_at_a_version_or_an_item_with_metadata_kept_or_given(client: Client) -> None:
    parent = await new_parent(client, 3)
    await client.add_items(parent, [note(4, id="note_4"), note(5)])
    await client.clear_items(parent)
    await client.add_items(parent, [note(6)])
    assert await texts(client, await new_fork(client, parent, at=1)) == [1, 2, 3]
    assert await texts(client, await new_fork(client, parent, at=2)) == [1, 2, 3, 4, 5]
    assert await texts(client, await new_fork(client, parent, at=3)) == []
    kept = await new_fork(client, parent, at=2, metadata={})
    assert (await client.get_thread(kept)).thread.metadata == {}
    cut = await new_fork(client, kept, at="note_4")
    assert await texts(client, cut) == [1, 2, 3, 4]
    assert json.loads(bytes((await client.get_item(cut, "note_4")).item))["text"] == 4


async def test_what_a_fork_changes_of_its_past_is_changed_in_it_alone(client: Client) -> None:
    parent = await new_parent(client)
    fork = await new_fork(client, parent)
    first = json.loads(bytes((await client.list_items(fork, order="asc", limit=1)).items.data[0]))["id"]
    await client.replace_item(fork, first, note(10))
    assert json.loads(bytes((await client.pop_item(fork)).popped))["text"] == 6
    child = await new_fork(client, fork)
    assert (await texts(client, fork), await texts(client, child)) == ([10, 2, 3, 4, 5], [10, 2, 3, 4, 5])
    await client.replace_item(child, first, note(11))
    await client.clear_items(fork)
    assert (await texts(client, fork), await texts(client, child)) == ([], [11, 2, 3, 4, 5])
    assert await texts(client, parent) == [1, 2, 3, 4, 5, 6]


async def test_a_fork_is_read_as_of_any_moment_of_its_own(client: Client) -> None:
    parent = await new_parent(client, 3)
    child = await new_fork(client, await new_fork(client, parent))
    await client.pop_item(child)
    await client.add_items(child, [note(4)])
    await client.clear_items(parent)
    then = [(await client.items_at(child, n, order="asc")).items for n in (1, 2, 3)]
    assert [[json.loads(bytes(item))["text"] for item in page.data] for page in then] == [[1, 2, 3], [1, 2], [1, 2, 4]]


async def test_a_chain_of_forks_is_read_as_one_thread(client: Client) -> None:
    thread = await new_parent(client, 2)
    for number in range(3, 13):
        thread = await new_fork(client, thread)
        await client.add_items(thread, [note(number)])
    assert await texts(client, thread) == list(range(1, 13))


async def test_what_is_erased_in_a_parent_is_seen_in_its_forks(client: Client) -> None:
    parent = await new_parent(client, 3)
    child = await new_fork(client, await new_fork(client, parent))
    second = json.loads(bytes((await client.list_items(parent, order="asc")).items.data[1]))["id"]
    with pytest.raises(Invalid, match="is inherited from thread"):
        await client.send(EraseItem(thread_id=child, item_id=second))
    await client.send(EraseItem(thread_id=parent, item_id=second))
    assert await texts(client, child) == [1, 3]
    await client.send(EraseThread(thread_id=parent))
    assert await texts(client, child) == []
    with pytest.raises(AlreadyErased):
        await client.fork_thread(parent)


async def test_what_cannot_be_forked_is_named(client: Client) -> None:
    parent = await new_parent(client, 1)
    with pytest.raises(Invalid, match="no version 2, it is at version 1"):
        await client.fork_thread(parent, at=2)
    with pytest.raises(NotFound, match="note_7"):
        await client.fork_thread(parent, at="note_7")
    with pytest.raises(AlreadyExists):
        await client.fork_thread(parent, thread_id=parent)
    with pytest.raises(NotFound, match="thread_none"):
        await client.fork_thread("thread_none")
    await client.delete_thread(parent)
    with pytest.raises(NotFound):
        await client.fork_thread(parent)


async def test_a_fork_that_is_asked_for_twice_is_made_once(client: Client) -> None:
    parent = await new_parent(client, 1)
    first = await client.fork_thread(parent, command_id="fork-1")
    await client.add_items(parent, [note(2)])
    assert (await client.fork_thread(parent, command_id="fork-1")).thread.id == first.thread.id
    assert await texts(client, first.thread.id) == [1]
    conversation = (await client.create_thread(kind="conversation")).thread.id
    assert (await client.fork_thread(conversation)).thread.id.startswith("conv_")


async def test_the_buckets_are_the_fold_of_the_log(clew: Clew, deployment) -> None:
    async with served(clew), projecting(clew), connect(deployment.url) as client:
        fork = await new_fork(client, await new_parent(client))
        await client.pop_item(fork)
        await client.add_items(fork, [note(7)])
    await buckets_equal_the_log(clew)
