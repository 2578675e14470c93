"""Handling commands on a real server: once, in turn, and never misled by what a process remembers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from clew_events.commands import Command, CreateThread, DeleteMessage, UpdateMessage, UpdateThread
from clew_events.errors import AlreadyExists, Conflict, Corrupt, IdReused, NotFound
from clew_events.events import ItemAdded
from clew_events.ids import item_id as make_message_id
from clew_events.requests import NewMessage
from clew_events.subjects import event_stream
from clew_services.compose import Clew, connect
from clew_services.embedded.server import EmbeddedServer
from support.truth import buckets_equal_the_log, commits_of, log_of, projecting
from support.writers import Writer, handler, message_id, thread_id

HELLO = NewMessage(role="user", content="hello")


@pytest.fixture
async def other(deployment: EmbeddedServer) -> AsyncIterator[Clew]:
    """Another process, as far as NATS can tell."""
    async with connect(deployment.url, name="other") as composed:
        yield composed


async def published(clew: Clew) -> int:
    """How many messages the log's streams were ever given."""
    streams = [event_stream(shard) for shard in range(clew.deployment.shards)]
    return sum([(await clew.nc.jetstream().stream_info(stream)).state.last_seq for stream in streams])


# Once.


async def test_a_thread_created_under_an_id_is_the_same_thread_whoever_is_asked(clew: Clew, other: Clew) -> None:
    command = CreateThread(id="order-1", metadata={"a": "1"}, messages=(HELLO,))
    first = await clew.handler.handle("default", command)
    assert await clew.handler.handle("default", command) == first
    assert await other.handler.handle("default", command) == first
    assert await Writer(handler(other)).handler.handle("default", command) == first
    assert len(await commits_of(clew, thread_id(first))) == 1


async def test_the_same_id_makes_another_thread_for_another_tenant(clew: Clew) -> None:
    mine, theirs = [await clew.handler.handle(tenant, CreateThread(id="order-1")) for tenant in ("mine", "theirs")]
    assert thread_id(mine) != thread_id(theirs)


async def test_commands_without_an_id_are_each_carried_out(clew: Clew) -> None:
    first, second = [await clew.handler.handle("default", CreateThread()) for _ in range(2)]
    assert thread_id(first) != thread_id(second)
    assert [(await Writer(clew.handler).add(thread_id(first))).n for _ in range(2)] == [2, 3]


async def test_a_repeated_command_is_answered_as_the_first_was(clew: Clew, other: Clew) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create(id="c1"))
    message = message_id(await writer.add(thread, "one", id="c2"))
    commands: list[Command] = [
        UpdateThread(thread_id=thread, metadata={"step": "3"}, id="c3"),
        UpdateMessage(thread_id=thread, message_id=message, metadata={"step": "4"}, id="c4"),
        UpdateMessage(thread_id=thread, message_id=message, metadata={"step": "5"}, id="c5"),
        DeleteMessage(thread_id=thread, message_id=message, id="c6"),
    ]
    first = [await clew.handler.handle("default", command) for command in commands]
    assert [done.n for done in first] == [3, 4, 5, 6]
    await writer.set(thread, "step", "7")
    added = await writer.add(thread, "one", id="c8")
    ended = await writer.delete(thread, id="c9")
    before = await published(clew)
    for there in (clew, other, clew):
        again = Writer(there.handler)
        assert [await there.handler.handle("default", command) for command in commands] == first
        assert await again.add(thread, "one", id="c8") == added
        assert (await again.add(thread, "one", id="c2")).message is not None
        assert (await again.add(thread, "one", id="c2")).n == 2
        assert (await again.create(id="c1")).n == 1
        assert await again.delete(thread, id="c9") == ended
    assert await published(clew) == before


async def test_a_repeat_shows_the_state_at_its_commit_and_not_todays(clew: Clew) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create())
    second = await writer.set(thread, "a", "2", id="second")
    for n in range(3, 10):
        await writer.set(thread, "a", str(n))
    again = await Writer(handler(clew)).set(thread, "a", "2", id="second")
    assert again == second
    assert again.n == 2
    assert again.thread is not None
    assert again.thread.metadata == {"a": "2"}


async def test_a_creation_is_recognised_after_any_number_of_commits(clew: Clew, other: Clew) -> None:
    writer = Writer(clew.handler)
    command = CreateThread(id="first", metadata={"a": "0"})
    first = await clew.handler.handle("default", command)
    for n in range(110):
        await writer.set(thread_id(first), "a", str(n + 1))
    for there in (clew, other):
        assert await there.handler.handle("default", command) == first
    with pytest.raises(IdReused):
        await other.handler.handle("default", CreateThread(id="first", metadata={"a": "1"}))
    assert len(await commits_of(clew, thread_id(first))) == 111


async def test_a_repeat_within_the_servers_window_is_recognised_after_a_hundred_other_commits(
    clew: Clew, other: Clew
) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create())
    first = await writer.add(thread, "once", id="once")
    changed = await writer.change(thread, message_id(first), metadata={"a": "1"}, id="changed")
    await writer.change(thread, message_id(first), metadata={"a": "2"})
    for n in range(110):
        await writer.set(thread, "a", str(n))
    for there in (clew, other):
        again = Writer(there.handler)
        assert await again.add(thread, "once", id="once") == first
        assert await again.change(thread, message_id(first), metadata={"a": "1"}, id="changed") == changed
        with pytest.raises(IdReused):
            await again.add(thread, "another", id="once")
    assert len(await commits_of(clew, thread)) == 114


async def test_an_id_that_was_spent_on_one_command_is_refused_to_another(clew: Clew, other: Clew) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create(id="c1"))
    await writer.add(thread, "one", id="c2")
    before = await published(clew)
    for there in (clew, other):
        again = Writer(there.handler)
        for clash in (
            again.add(thread, "two", id="c2"),
            again.set(thread, "a", "1", id="c2"),
            again.delete(thread, id="c1"),
            again.create(id="c1", metadata={"a": "1"}),
        ):
            with pytest.raises(IdReused) as refusal:
                await clash
            assert refusal.value.param == "id"
    assert await published(clew) == before
    assert (await writer.add(thread, "one", id="c3")).n == 3


async def test_a_repeat_may_come_from_another_actor_and_ask_for_its_answer_elsewhere(clew: Clew) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create())
    first = await writer.set(thread, "a", "1", id="c1", actor="anna", expected_version=1)
    again = await writer.set(thread, "a", "1", id="c1", actor="ben", reply_to="elsewhere", expected_version=1)
    assert again == first


async def test_a_thread_is_created_once_under_an_id_of_the_callers_choice(clew: Clew, other: Clew) -> None:
    await Writer(clew.handler).create("thread_mine")
    for there in (clew, other, clew):
        with pytest.raises(AlreadyExists):
            await Writer(there.handler).create("thread_mine")
    await Writer(other.handler).delete("thread_mine")
    for there in (clew, other):
        with pytest.raises(AlreadyExists):
            await Writer(there.handler).create("thread_mine")
    assert len(await commits_of(clew, "thread_mine")) == 2


async def test_a_command_with_nothing_to_do_succeeds_without_a_commit(clew: Clew, other: Clew) -> None:
    thread = thread_id(await Writer(clew.handler).create(metadata={"a": "1"}, messages=(HELLO,)))
    (created,) = await commits_of(clew, thread)
    (message,) = [event.item for event in created.events if isinstance(event, ItemAdded)]
    for there in (clew, other):
        writer = Writer(there.handler)
        for done in (
            await writer.set(thread, "a", "1"),
            await writer.update(thread),
            await writer.change(thread, message, metadata={}),
        ):
            assert (done.n, done.position.seq) == (1, 1)
            assert (done.thread is None) != (done.message is None)
    assert await published(clew) == 1


# Versions.


async def test_a_stale_expectation_is_a_conflict_at_once_and_nothing_is_sent(clew: Clew, other: Clew) -> None:
    thread = thread_id(await Writer(clew.handler).create())
    await Writer(clew.handler).set(thread, "a", "1")
    before = await published(clew)
    for there in (clew, other):
        for stale in (0, 1, 3):
            with pytest.raises(Conflict) as conflict:
                await Writer(there.handler).set(thread, "a", "9", expected_version=stale)
            assert conflict.value.code == "version_conflict"
            assert conflict.value.param == "expected_version"
            assert f"version 2, not {stale}" in conflict.value.message
    assert await published(clew) == before


async def test_one_of_many_who_expect_the_same_version_wins(clew: Clew, other: Clew) -> None:
    thread = thread_id(await Writer(clew.handler).create())
    tries = [
        Writer(there.handler).set(thread, "by", str(n), expected_version=1) for n, there in enumerate([clew, other] * 5)
    ]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Conflict"] * 9 + ["Outcome"]
    assert len(await commits_of(clew, thread)) == 2


async def test_a_right_expectation_holds_whatever_this_process_remembers(clew: Clew, other: Clew) -> None:
    mine, theirs = Writer(clew.handler), Writer(other.handler)
    thread = thread_id(await mine.create())
    await theirs.set(thread, "a", "1")
    assert (await mine.set(thread, "a", "2", expected_version=2)).n == 3
    assert (await theirs.set(thread, "a", "3", expected_version=3)).n == 4


async def test_nothing_may_be_expected_of_a_thread_about_to_be_created_but_that_it_is_not_there(clew: Clew) -> None:
    writer = Writer(clew.handler)
    with pytest.raises(Conflict):
        await writer.create("thread_new", expected_version=1)
    assert (await writer.create("thread_new", expected_version=0)).n == 1


# A memory that others have overtaken.


async def test_a_stale_memory_causes_no_false_refusal_and_no_false_success(clew: Clew, other: Clew) -> None:
    mine, theirs = Writer(clew.handler), Writer(other.handler)
    thread = thread_id(await mine.create(metadata={"a": "1"}))
    await theirs.set(thread, "a", "2")
    done = await mine.set(thread, "a", "1")
    assert done.n == 3
    await theirs.set(thread, "b", "1")
    done = await mine.set(thread, "a", "1")
    assert (done.n, done.thread) == (4, (await theirs.update(thread)).thread)
    await theirs.delete(thread)
    for refused in (mine.set(thread, "a", "1"), mine.update(thread), mine.add(thread), mine.delete(thread)):
        with pytest.raises(NotFound):
            await refused
    assert len(await commits_of(clew, thread)) == 5


async def test_a_message_another_process_added_or_deleted_is_known_at_once(clew: Clew, other: Clew) -> None:
    mine, theirs = Writer(clew.handler), Writer(other.handler)
    thread = thread_id(await mine.create())
    first = message_id(await theirs.add(thread, "one"))
    assert (await mine.change(thread, first, metadata={"a": "1"})).n == 3
    assert (await theirs.change(thread, first, metadata={"a": "1"})).n == 3
    await mine.remove(thread, first)
    for refused in (theirs.change(thread, first, metadata={"a": "2"}), theirs.remove(thread, first)):
        with pytest.raises(NotFound):
            await refused
    assert (await theirs.add(thread, "two")).n == 5
    assert [made.n for made in await commits_of(clew, thread)] == [1, 2, 3, 4, 5]


async def test_a_refusal_is_decided_on_the_present(clew: Clew, other: Clew) -> None:
    mine, theirs = Writer(clew.handler), Writer(other.handler)
    full = {f"k{n}": "v" for n in range(16)}
    thread = thread_id(await mine.create(metadata=full))
    await theirs.update(thread, metadata={})
    assert (await mine.set(thread, "one more", "1")).n == 3


async def test_threads_and_messages_that_never_were_are_not_found(clew: Clew) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create())
    nobody = make_message_id(1, "nobody")
    for refused, code in (
        (writer.set("thread_nobody", "a", "1"), "thread_not_found"),
        (writer.add("thread_nobody"), "thread_not_found"),
        (writer.remove("thread_nobody", nobody), "thread_not_found"),
        (writer.remove(thread, nobody), "message_not_found"),
        (writer.change(thread, nobody, metadata={}), "message_not_found"),
    ):
        with pytest.raises(NotFound) as refusal:
            await refused
        assert refusal.value.code == code
    with pytest.raises(NotFound):
        await Writer(clew.handler, "other").set(thread, "a", "1")
    assert await published(clew) == 1


async def test_a_log_that_has_lost_what_a_process_remembers_is_called_corrupt(clew: Clew) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create())
    lost = await writer.set(thread, "a", "1")
    await clew.js.api(f"STREAM.MSG.DELETE.{event_stream(lost.position.shard)}", {"seq": lost.position.seq})
    with pytest.raises(Corrupt) as fault:
        await writer.set(thread, "a", "2")
    assert fault.value.code == "log_cut_off"
    assert thread in fault.value.message
    assert len(await commits_of(clew, thread)) == 1


# Many at once.


async def test_fifty_writers_on_one_thread_lose_nothing_and_do_nothing_twice(clew: Clew, other: Clew) -> None:
    thread = thread_id(await Writer(clew.handler).create())
    async with projecting(clew), projecting(other):
        done = await asyncio.gather(
            *(Writer((clew, other)[n % 2].handler).add(thread, f"text {n}", id=f"w{n}") for n in range(50))
        )
        await buckets_equal_the_log(clew)
    assert sorted(each.n for each in done) == list(range(2, 52))
    commits = (await commits_of(clew, thread))[1:]
    texts = [event.message.content[0].text for made in commits for event in made.events]  # type: ignore[union-attr]
    assert sorted(texts) == sorted(f"text {n}" for n in range(50))
    for each in done:
        assert commits[each.n - 2].events[0].item == message_id(each)  # type: ignore[union-attr]


async def test_processes_that_only_share_the_log_all_get_their_turn(clew: Clew) -> None:
    thread = thread_id(await Writer(clew.handler).create())
    writers = [Writer(handler(clew)) for _ in range(30)]
    done = await asyncio.gather(*(writer.add(thread, str(n)) for n, writer in enumerate(writers)))
    assert sorted(each.n for each in done) == list(range(2, 32))
    assert len({message_id(each) for each in done}) == 30
    assert len(await commits_of(clew, thread)) == 31


async def test_one_command_sent_many_times_at_once_is_carried_out_once(clew: Clew, other: Clew) -> None:
    thread = thread_id(await Writer(clew.handler).create())
    adds = (Writer((clew, other)[n % 2].handler).add(thread, "once", id="same") for n in range(10))
    creates = (Writer((clew, other)[n % 2].handler).create(id="new") for n in range(10))
    done = await asyncio.gather(*adds, *creates)
    assert all(one == two for one, two in pairwise(done[:10]))
    assert all(one == two for one, two in pairwise(done[10:]))
    assert {address.thread: len(records) for address, records in (await log_of(clew)).items()} == {
        thread: 2,
        thread_id(done[10]): 1,
    }


async def test_a_caller_who_goes_away_leaves_the_thread_to_the_next(clew: Clew) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create())
    for pauses in range(12):
        going = asyncio.create_task(writer.set(thread, "a", f"going {pauses}"))
        for _ in range(pauses):
            await asyncio.sleep(0)
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
        await writer.set(thread, "a", f"staying {pauses}")
    values = [made.events[0].set["a"] for made in (await commits_of(clew, thread))[1:]]  # type: ignore[union-attr]
    assert [value for value in values if value.startswith("staying")] == [f"staying {n}" for n in range(12)]


async def test_many_threads_at_once_each_have_their_own_history(clew: Clew, other: Clew) -> None:
    async def live(n: int) -> str:
        mine, theirs = Writer((clew, other)[n % 2].handler), Writer((other, clew)[n % 2].handler)
        thread = thread_id(await mine.create(metadata={"n": str(n)}))
        await theirs.add(thread, str(n))
        await mine.add(thread, str(n))
        return thread

    threads = await asyncio.gather(*(live(n) for n in range(100)))
    histories = await log_of(clew)
    assert {address.thread for address in histories} == set(threads)
    assert {len(records) for records in histories.values()} == {3}
