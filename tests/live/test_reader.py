"""Reading on a real server: as fresh as the log, whether or not anything projects it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from clew_events.commands import EraseMessage, EraseThread
from clew_events.errors import Corrupt, Invalid, NotFound, Unavailable
from clew_events.events import ErasureRequested, ItemAdded, ItemDeleted, ItemReplaced, ItemsCleared
from clew_events.ids import item_id as make_message_id
from clew_events.objects import CodeInterpreterFiles, Resources
from clew_events.queries import (
    Consistency,
    GetHistory,
    GetMessage,
    GetStateAt,
    GetThread,
    ListMessages,
    Order,
    Query,
)
from clew_events.replies import Found, History, Moment
from clew_events.requests import NewMessage
from clew_events.subjects import Address, shard_of
from clew_projections import places
from clew_projections.kv.key_names import THREADS, page_key, thread_key
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.views import ItemView, encode
from clew_services.compose import Clew, connect
from clew_services.embedded.server import EmbeddedServer
from support.commits import CREATED, THREAD, added, body_of, chain, commit, store
from support.truth import buckets_equal_the_log, log_of, projecting
from support.writers import Writer, message_id, thread_id

NOBODY = "thread_nobody"


@pytest.fixture
async def other(deployment: EmbeddedServer) -> AsyncIterator[Clew]:
    """Another process, as far as NATS can tell."""
    async with connect(deployment.url, name="other") as composed:
        yield composed


@pytest.fixture(params=["no projector", "projected"])
async def settle(request: pytest.FixtureRequest, clew: Clew) -> object:
    """Either nothing projects at all, or everything has been projected before it is read."""

    async def projected() -> None:
        async with projecting(clew):
            await buckets_equal_the_log(clew)

    async def nothing() -> None:
        return

    return projected if request.param == "projected" else nothing


async def found(clew: Clew, query: Query) -> Found:
    answer = await clew.reader.answer("default", query)
    assert isinstance(answer, Found)
    return answer


async def texts(clew: Clew, thread: str, **asked: object) -> list[str]:
    """The texts of a page, whose ends are checked."""
    page = (await found(clew, ListMessages(thread_id=thread, **asked))).messages  # type: ignore[arg-type]
    assert page is not None
    assert page.first_id == (page.data[0].id if page.data else None)
    assert page.last_id == (page.data[-1].id if page.data else None)
    return [message.content[0].text.value for message in page.data]  # type: ignore[union-attr]


async def has_more(clew: Clew, thread: str, **asked: object) -> bool:
    page = (await found(clew, ListMessages(thread_id=thread, **asked))).messages  # type: ignore[arg-type]
    assert page is not None
    return page.has_more


async def filled(clew: Clew, count: int) -> tuple[str, list[str]]:
    """A thread with messages "1", "2", "3" … and their ids, the first hundred made together."""
    writer = Writer(clew.handler)
    numbers = [str(n) for n in range(1, count + 1)]
    thread = thread_id(
        await writer.create(messages=tuple(NewMessage(role="user", content=text) for text in numbers[:100]))
    )
    for text in numbers[100:]:
        await writer.add(thread, text)
    records = (await log_of(clew))[Address("default", thread)]
    added = [event for each in records for event in each.commit.events if isinstance(event, ItemAdded)]
    return thread, [event.item for event in added]


# A thread.


async def test_a_thread_is_found_as_it_is(clew: Clew, other: Clew, settle) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create(metadata={"a": "1"}))
    await writer.add(thread)
    done = await writer.set(thread, "a", "2")
    await settle()
    for there in (clew, other):
        answer = await found(there, GetThread(thread_id=thread))
        assert (answer.n, answer.position) == (3, done.position)
        # A change answers `{}` where a thread has no resources; see the contract with OpenAI's clients.
        no_files = Resources(code_interpreter=CodeInterpreterFiles())
        assert (done.thread.tool_resources, answer.thread.tool_resources) == (Resources(), no_files)
        assert replace(answer.thread, tool_resources=Resources()) == done.thread


async def test_a_deleted_thread_and_one_that_never_was_are_not_found(clew: Clew, other: Clew, settle) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create(messages=(NewMessage(role="user", content="one"),)))
    await writer.delete(thread)
    await settle()
    first = make_message_id(1, "anything")
    for there in (clew, other):
        for gone in (thread, NOBODY):
            for query in (
                GetThread(thread_id=gone),
                GetThread(thread_id=gone, consistency="eventual"),
                ListMessages(thread_id=gone),
                GetMessage(thread_id=gone, message_id=first),
            ):
                with pytest.raises(NotFound) as refusal:
                    await there.reader.answer("default", query)
                assert refusal.value.message == f"No thread found with id '{gone}'."
                assert refusal.value.code == "thread_not_found"


async def test_another_tenants_thread_is_not_there(clew: Clew, settle) -> None:
    thread, ids = await filled(clew, 1)
    await settle()
    for query in (
        GetThread(thread_id=thread),
        GetMessage(thread_id=thread, message_id=ids[0]),
        ListMessages(thread_id=thread),
        GetHistory(thread_id=thread),
        GetStateAt(thread_id=thread, n=1),
    ):
        with pytest.raises(NotFound):
            await clew.reader.answer("other", query)


async def test_what_was_written_is_read_at_once_by_everybody(clew: Clew, other: Clew) -> None:
    theirs = Writer(other.handler)
    async with projecting(other):
        thread = thread_id(await Writer(clew.handler).create())
        for n in range(1, 40):
            writer, reader = ((clew, other), (other, clew))[n % 2]
            await Writer(writer.handler).set(thread, "n", str(n))
            answer = await found(reader, GetThread(thread_id=thread))
            assert answer.thread is not None
            assert answer.thread.metadata == {"n": str(n)}
            added = message_id(await Writer(writer.handler).add(thread, str(n)))
            assert (await texts(reader, thread, limit=1)) == [str(n)]
            await theirs.change(thread, added, metadata={"n": str(n)})
            message = (await found(clew, GetMessage(thread_id=thread, message_id=added))).message
            assert message is not None
            assert message.metadata == {"n": str(n)}
            if n % 5 == 0:
                await Writer(writer.handler).remove(thread, added)
                with pytest.raises(NotFound):
                    await reader.reader.answer("default", GetMessage(thread_id=thread, message_id=added))


async def test_an_eventual_answer_may_be_old_and_at_least_holds_it_to_a_commit(clew: Clew, other: Clew) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create(metadata={"n": "1"}))
    async with projecting(clew):
        await buckets_equal_the_log(clew)
    await writer.set(thread, "n", "2")
    added = message_id(await writer.add(thread, "late"))
    old = await found(other, GetThread(thread_id=thread, consistency="eventual"))
    assert (old.n, old.thread and old.thread.metadata) == (1, {"n": "1"})
    assert await texts(other, thread, consistency="eventual") == []
    with pytest.raises(NotFound):
        await other.reader.answer("default", GetMessage(thread_id=thread, message_id=added, consistency="eventual"))
    for consistency in ("eventual", "strong"):
        asked: dict[str, object] = {"thread_id": thread, "consistency": consistency, "at_least": 3}
        assert (await found(other, GetThread(**asked))).n == 3  # type: ignore[arg-type]
        assert await texts(other, thread, consistency=consistency, at_least=3) == ["late"]
        assert (await found(other, GetMessage(message_id=added, **asked))).n == 3  # type: ignore[arg-type]


@pytest.mark.parametrize("consistency", ["strong", "eventual"])
async def test_a_commit_that_is_not_there_yet_is_said_to_be_so(clew: Clew, consistency: Consistency) -> None:
    thread, ids = await filled(clew, 1)
    for query in (
        GetThread(thread_id=thread, consistency=consistency, at_least=2),
        ListMessages(thread_id=thread, consistency=consistency, at_least=2),
        GetMessage(thread_id=thread, message_id=ids[0], consistency=consistency, at_least=2),
    ):
        with pytest.raises(Unavailable) as not_yet:
            await clew.reader.answer("default", query)
        assert not_yet.value.code == "not_there_yet"


# Messages.


async def test_a_message_is_found_as_it_is_and_not_once_it_is_deleted(clew: Clew, other: Clew, settle) -> None:
    writer = Writer(clew.handler)
    thread, (first, second) = await filled(clew, 2)
    changed = await writer.change(thread, first, metadata={"a": "1"})
    await writer.remove(thread, second)
    await settle()
    for there in (clew, other):
        answer = await found(there, GetMessage(thread_id=thread, message_id=first))
        assert (answer.message, answer.n) == (changed.message, 3)
        for gone in (second, make_message_id(1, "another"), make_message_id(3, "later")):
            with pytest.raises(NotFound) as refusal:
                await there.reader.answer("default", GetMessage(thread_id=thread, message_id=gone))
            assert refusal.value.message == f"No message found with id '{gone}'."


async def test_an_empty_thread_has_an_empty_page(clew: Clew, settle) -> None:
    thread, _ = await filled(clew, 0)
    await settle()
    for order in ("asc", "desc"):
        assert await texts(clew, thread, order=order) == []
        assert not await has_more(clew, thread, order=order)


async def test_the_newest_twenty_come_first_unless_asked_otherwise(clew: Clew, settle) -> None:
    thread, _ = await filled(clew, 25)
    await settle()
    assert await texts(clew, thread) == [str(n) for n in range(25, 5, -1)]
    assert await texts(clew, thread, order="asc") == [str(n) for n in range(1, 21)]
    assert await texts(clew, thread, limit=100) == [str(n) for n in range(25, 0, -1)]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_there_is_more_exactly_when_one_more_could_be_shown(clew: Clew, settle, order: Order) -> None:
    thread, ids = await filled(clew, 5)
    await Writer(clew.handler).remove(thread, ids[0] if order == "desc" else ids[-1])
    await settle()
    for limit, more in ((1, True), (3, True), (4, False), (5, False)):
        assert await has_more(clew, thread, limit=limit, order=order) is more
        assert len(await texts(clew, thread, limit=limit, order=order)) == min(limit, 4)


async def test_pages_walk_through_all_messages_in_both_orders(clew: Clew, settle) -> None:
    thread, ids = await filled(clew, 23)
    await settle()
    forward = [str(n) for n in range(1, 24)]
    for order, everything in (("asc", forward), ("desc", forward[::-1])):
        for limit in (1, 5, 22, 23):
            walked: list[str] = []
            more = True
            while more:
                after = ids[int(walked[-1]) - 1] if walked else None
                page = await texts(clew, thread, limit=limit, order=order, after=after)
                more = await has_more(clew, thread, limit=limit, order=order, after=after)
                walked += page
            assert walked == everything


async def test_cursors_cut_on_both_sides_even_where_their_messages_are_gone(clew: Clew, settle) -> None:
    thread, ids = await filled(clew, 9)
    for gone in (3, 7):
        await Writer(clew.handler).remove(thread, ids[gone - 1])
    await settle()
    for order, after, before, expected in (
        ("asc", 3, None, "45689"),
        ("asc", None, 7, "12456"),
        ("asc", 3, 7, "456"),
        ("asc", 4, 5, ""),
        ("asc", 5, 4, ""),
        ("asc", 9, None, ""),
        ("asc", None, 1, ""),
        ("desc", 7, None, "65421"),
        ("desc", None, 3, "98654"),
        ("desc", 7, 3, "654"),
        ("desc", 3, 7, ""),
        ("desc", 1, None, ""),
    ):
        cursors = {"after": after and ids[after - 1], "before": before and ids[before - 1]}
        assert "".join(await texts(clew, thread, order=order, **cursors)) == expected
        assert not await has_more(clew, thread, order=order, **cursors)


@pytest.mark.parametrize("cursor", ["after", "before"])
@pytest.mark.parametrize(
    "nobody", [make_message_id(1, "another"), make_message_id(99, "later"), "msg_", "1", "", "msg_" + "0" * 24]
)
async def test_a_cursor_the_thread_never_had_is_named(clew: Clew, cursor: str, nobody: str) -> None:
    thread, _ = await filled(clew, 2)
    with pytest.raises(NotFound) as refusal:
        await texts(clew, thread, **{cursor: nobody})
    assert refusal.value.param == cursor
    assert refusal.value.code == "message_not_found"


async def test_a_hole_of_hundreds_of_deleted_messages_is_stepped_over(clew: Clew, settle) -> None:
    everything = [added(n, str(n)) for n in range(1, 331)]
    ids = [event.item for event in everything]
    gone = [ItemDeleted(item=message) for message in ids[10:-10]]
    for record in chain([CREATED, *everything], gone):
        await store(clew.nc, Address("default", THREAD), body_of(record.commit))
    await settle()
    old, new = [str(n) for n in range(1, 11)], [str(n) for n in range(321, 331)]
    assert await texts(clew, THREAD, order="asc", limit=100) == old + new
    assert await texts(clew, THREAD, limit=11) == [*new[::-1], "10"]
    assert await has_more(clew, THREAD, limit=11)
    assert not await has_more(clew, THREAD, limit=20)
    assert await texts(clew, THREAD, order="asc", limit=1, after=ids[10]) == ["321"]
    assert not await has_more(clew, THREAD, order="asc", limit=10, after=ids[9])


async def test_large_messages_come_in_shorter_pages_however_many_read_them_at_once(clew: Clew, settle) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create())
    for n in range(12):
        await writer.add(thread, str(n) + "x" * 1_000_000)
    made = clew.connection.made
    await settle()

    async def read_all() -> list[int]:
        sizes, after, more = [], None, True
        while more:
            query = ListMessages(thread_id=thread, order="asc", limit=100, after=after)
            page = (await found(clew, query)).messages
            assert page is not None
            sizes.append(len(page.data))
            after, more = page.last_id, page.has_more
        return sizes

    assert await asyncio.gather(*(read_all() for _ in range(4))) == [[4] * 3] * 4
    assert clew.connection.made == made


# Views that are not as they should be.


async def overwrite(clew: Clew, bucket: str, key: str, body: bytes, headers: dict[str, str] | None = None) -> None:
    await clew.nc.jetstream().publish(f"$KV.{bucket}.{key}", body, headers=headers)


@pytest.fixture
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two items to a page, so that short threads have full ones."""
    monkeypatch.setattr(places, "PAGE", 2)


@pytest.mark.usefixtures("_small_pages")
@pytest.mark.parametrize("damage", ["deleted", "purged", "garbage"])
@pytest.mark.parametrize("damaged", ["view and pages", "pages"])
async def test_a_view_that_is_gone_or_unreadable_changes_no_answer(
    clew: Clew, other: Clew, damage: str, damaged: str
) -> None:
    thread, ids = await filled(clew, 5)
    writer = Writer(clew.handler)
    await writer.change(thread, ids[1], metadata={"a": "1"})
    await writer.remove(thread, ids[2])
    async with projecting(clew):
        await buckets_equal_the_log(clew)
    address = Address("default", thread)
    keys = [thread_key(address), page_key(address, 0), page_key(address, 1)]
    for key in keys if damaged == "view and pages" else keys[1:]:
        if damage == "purged":
            await clew.js.api(f"STREAM.PURGE.KV_{THREADS}", {"filter": f"$KV.{THREADS}.{key}"})
        else:
            marker = {"KV-Operation": "DEL"} if damage == "deleted" else None
            await overwrite(clew, THREADS, key, b"" if damage == "deleted" else b"\xffgarbage", marker)
    assert (await found(other, GetThread(thread_id=thread))).n == 3
    assert await texts(other, thread, order="asc") == ["1", "2", "4", "5"]
    message = (await found(other, GetMessage(thread_id=thread, message_id=ids[1]))).message
    assert message is not None
    assert message.metadata == {"a": "1"}
    for refused in (writer.remove(thread, ids[2]), Writer(other.handler).change(thread, ids[2], metadata={})):
        with pytest.raises(NotFound):
            await refused


@pytest.mark.usefixtures("_small_pages")
async def test_places_that_are_wrong_are_not_believed(clew: Clew, other: Clew) -> None:
    thread, _ = await filled(clew, 3)
    await filled(clew, 1)
    async with projecting(clew):
        await buckets_equal_the_log(clew)
    key = page_key(Address("default", thread), 0)
    page = await clew.live.current.threads.get(key)
    assert page is not None
    stored = places.decode_page(page.body, 0)
    for wrong in ((stored.added[0], stored.added[0] + 1000), (stored.seq + 1, stored.seq)):
        await overwrite(clew, THREADS, key, encode(replace(stored, added=wrong)))
        assert await texts(other, thread, order="asc") == ["1", "2", "3"]


@pytest.mark.usefixtures("_small_pages")
async def test_pages_older_than_the_view_that_names_them_are_made_up_for_from_the_log(
    deployment: EmbeddedServer, clew: Clew, other: Clew
) -> None:
    thread, ids = await filled(clew, 3)
    writer = Writer(clew.handler)
    async with projecting(clew):
        old = await buckets_equal_the_log(clew)
    await writer.change(thread, ids[0], metadata={"a": "1"})
    await writer.remove(thread, ids[1])
    await writer.add(thread, "4")
    async with projecting(clew):
        await buckets_equal_the_log(clew)
    assert await texts(other, thread, order="asc") == ["1", "3", "4"]
    for key, body in old.pages.items():
        await overwrite(clew, THREADS, key, body)
    async with connect(deployment.url, name="after that") as later:
        for process in (other, later):
            assert await texts(process, thread, order="asc") == ["1", "3", "4"]
        message = (await found(later, GetMessage(thread_id=thread, message_id=ids[0]))).message
        assert message is not None
        assert message.metadata == {"a": "1"}
        with pytest.raises(NotFound):
            await Writer(later.handler).remove(thread, ids[1])
        assert (await Writer(later.handler).change(thread, ids[0], metadata={"a": "1"})).n == 4


@pytest.mark.usefixtures("_small_pages")
async def test_a_view_older_than_its_pages_tells_of_its_own_moment(clew: Clew, other: Clew) -> None:
    thread, ids = await filled(clew, 4)
    writer, eventual = Writer(clew.handler), ListMessages(thread_id=thread, order="asc", consistency="eventual")
    async with projecting(clew):
        old = await buckets_equal_the_log(clew)
    await writer.change(thread, ids[0], metadata={"a": "1"})
    await writer.remove(thread, ids[1])
    async with projecting(clew):
        await buckets_equal_the_log(clew)
    # As if the pages were written, and the view not yet.
    await overwrite(clew, THREADS, thread_key(Address("default", thread)), *old.threads.values())
    page = await found(other, eventual)
    assert page.messages is not None
    assert (page.n, [each.metadata for each in page.messages.data]) == (1, [{}, {}, {}, {}])
    page = await found(other, ListMessages(thread_id=thread, order="asc"))
    assert page.messages is not None
    assert (page.n, [each.metadata for each in page.messages.data]) == (3, [{"a": "1"}, {}, {}])


@pytest.mark.usefixtures("_small_pages")
async def test_messages_that_change_while_they_are_read_are_told_as_of_the_commit_that_is_named(
    clew: Clew, other: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread, ids = await filled(clew, 3)
    writer, read, changes = Writer(clew.handler), other.current.items, iter("12")

    async def meanwhile(*asked: Any, **how: Any) -> dict[int, ItemView]:
        await writer.change(thread, ids[0], metadata={"a": next(changes)})
        async with projecting(clew):
            await buckets_equal_the_log(clew)
        return await read(*asked, **how)

    monkeypatch.setattr(other.current, "items", meanwhile)
    page = await found(other, ListMessages(thread_id=thread))
    assert page.messages is not None
    assert (page.n, page.messages.data[-1].metadata) == (1, {})
    one = await found(other, GetMessage(thread_id=thread, message_id=ids[0], consistency="eventual"))
    assert one.message is not None
    assert (one.n, one.message.metadata) == (2, {"a": "1"})


async def test_items_that_a_process_remembers_are_answered_only_as_the_log_has_them(
    clew: Clew, other: Clew, settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread, ids = await filled(clew, 5)
    async with projecting(clew):
        await buckets_equal_the_log(clew)
    other.js.pending.noted.clear()  # it may learn of an erasure late
    read: list[int] = []
    at = other.js.at

    async def counted(stream: str, seqs: Sequence[int], *, small: bool = False) -> list[StoredMessage | None]:
        read.extend(seqs)
        return await at(stream, seqs, small=small)

    monkeypatch.setattr(other.js, "at", counted)
    assert await texts(other, thread) == await texts(other, thread) == ["5", "4", "3", "2", "1"]
    assert await texts(other, thread, after=ids[3], limit=2) == ["3", "2"]
    await found(other, GetMessage(thread_id=thread, message_id=ids[0]))
    assert read == [1]
    assert await texts(other, thread, consistency="eventual") == ["5", "4", "3", "2", "1"]
    assert read == [1, 1]

    writer = Writer(clew.handler)
    await writer.change(thread, ids[0], metadata={"a": "1"})
    await writer.remove(thread, ids[1])
    await clew.handler.handle("default", EraseMessage(thread_id=thread, message_id=ids[2]))
    await settle()
    page = (await found(other, ListMessages(thread_id=thread))).messages
    assert page is not None
    assert [(each.id, each.metadata) for each in page.data] == [(ids[4], {}), (ids[3], {}), (ids[0], {"a": "1"})]
    await clew.handler.handle("default", EraseThread(thread_id=thread))
    with pytest.raises(NotFound):
        await texts(other, thread)


@pytest.mark.usefixtures("_small_pages")
async def test_items_that_were_replaced_or_cleared_or_erased_are_read_as_they_are_now(
    clew: Clew, other: Clew, settle
) -> None:
    items = [added(n, str(n)) for n in range(1, 8)]
    request = ErasureRequested(erasure="erasure_1", items=(items[5].item,), code=None)
    history = chain(
        [CREATED, *items[:3]],
        [ItemsCleared()],
        items[3:],
        [ItemReplaced(item=items[4].item, message=added(5, "five").message)],
        [ItemDeleted(item=items[5].item), request],
    )
    for record in history[:-1]:
        await store(clew.nc, Address("default", THREAD), body_of(record.commit))
    await settle()
    assert await texts(other, THREAD, order="asc") == ["4", "five", "6", "7"]
    await store(clew.nc, Address("default", THREAD), body_of(history[-1].commit))
    await settle()
    assert await texts(other, THREAD, order="asc") == ["4", "five", "7"]
    assert await texts(other, THREAD, order="asc", after=items[1].item, limit=1) == ["4"]
    assert await texts(other, THREAD, order="asc", after=items[5].item) == ["7"]
    for gone in (items[0], items[5]):
        with pytest.raises(NotFound):
            await found(other, GetMessage(thread_id=THREAD, message_id=gone.item))
    erased = await other.current.item(await other.current.read_current(Address("default", THREAD)), items[5].item)
    assert erased is not None
    assert (erased.deleted, erased.erasure) == (True, "erasure_1")


# The past.


async def test_a_history_is_read_page_by_page_with_places_and_hashes(clew: Clew) -> None:
    thread, _ = await filled(clew, 104)
    records = (await log_of(clew))[Address("default", thread)]
    read, start = [], 1
    while start is not None:
        page = await clew.reader.answer("default", GetHistory(thread_id=thread, start=start, limit=2))
        assert isinstance(page, History)
        read += page.commits
        assert page.next == (start + 2 if start + 2 <= 5 else None)
        start = page.next
    assert [(each.position, each.hash, each.commit) for each in read] == [
        (each.position, each.hash, each.commit) for each in records
    ]
    beyond = await clew.reader.answer("default", GetHistory(thread_id=thread, start=6))
    assert beyond == History(commits=())


async def test_a_deleted_thread_keeps_its_history_and_one_that_never_was_has_none(clew: Clew) -> None:
    thread, _ = await filled(clew, 1)
    await Writer(clew.handler).delete(thread)
    page = await clew.reader.answer("default", GetHistory(thread_id=thread))
    assert isinstance(page, History)
    assert [each.commit.n for each in page.commits] == [1, 2]
    for start in (1, 2):
        with pytest.raises(NotFound):
            await clew.reader.answer("default", GetHistory(thread_id=NOBODY, start=start))


async def moment(clew: Clew, thread: str, n: int | None = None, time: datetime | None = None) -> Moment:
    answer = await clew.reader.answer("default", GetStateAt(thread_id=thread, n=n, time=time))
    assert isinstance(answer, Moment)
    return answer


async def test_a_thread_is_shown_as_it_was_at_any_commit_and_at_any_time(clew: Clew) -> None:
    thread, ids = await filled(clew, 2)
    writer = Writer(clew.handler)
    await writer.set(thread, "a", "1")
    await writer.remove(thread, ids[0])
    await writer.delete(thread)
    records = (await log_of(clew))[Address("default", thread)]
    for record, metadata, messages in zip(records, ({}, {"a": "1"}, {"a": "1"}), (2, 2, 1), strict=False):
        at = record.commit.at
        for shown in (await moment(clew, thread, n=record.commit.n), await moment(clew, thread, time=at)):
            assert shown.thread is not None
            assert (shown.n, shown.at, shown.position) == (record.commit.n, at, record.position)
            assert (shown.thread.metadata, shown.message_count) == (metadata, messages)
    ended = await moment(clew, thread, time=records[-1].commit.at + timedelta(days=1))
    assert (ended.n, ended.thread) == (4, None)


async def test_a_moment_that_never_was_is_refused(clew: Clew) -> None:
    thread, _ = await filled(clew, 1)
    created = (await moment(clew, thread, n=1)).at
    for n, time in ((2, None), (None, created - timedelta(microseconds=1))):
        with pytest.raises(NotFound) as refusal:
            await moment(clew, thread, n, time)
        assert refusal.value.code == "moment_not_found"
    for n, time in ((None, None), (1, created), (None, datetime(2026, 1, 1))):  # noqa: DTZ001 - without a zone
        with pytest.raises(Invalid):
            await moment(clew, thread, n, time)
    with pytest.raises(NotFound):
        await moment(clew, NOBODY, None, datetime.now(UTC))


# A history that cannot be read.


@pytest.mark.parametrize("body", [b"garbage \xff", b'{"a":' * 50_000, body_of(commit(2, CREATED, prev="f" * 64))])
async def test_a_thread_with_a_bad_commit_is_corrupt_to_all_readers_and_others_are_not(
    clew: Clew, other: Clew, settle, body: bytes
) -> None:
    thread, ids = await filled(clew, 1)
    good, _ = await filled(clew, 1)
    await settle()
    seq = await store(clew.nc, Address("default", thread), body)
    for there in (clew, other):
        for query in (
            GetThread(thread_id=thread),
            ListMessages(thread_id=thread),
            GetMessage(thread_id=thread, message_id=ids[0]),
        ):
            with pytest.raises(Corrupt) as fault:
                await there.reader.answer("default", query)
            assert f"sequence {seq} of shard {shard_of(thread, 2)}" in fault.value.message
        with pytest.raises(Corrupt):
            await Writer(there.handler).set(thread, "a", "1")
        assert await texts(there, good) == ["1"]
        assert (await moment(there, thread, n=1)).n == 1
