"""Histories, read in either order and from anywhere, with the projector running and without."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import pytest
from msgspec.structs import replace

from clew_events.commands import AddMessage, CreateThread
from clew_events.commit import record_hash
from clew_events.errors import Corrupt, Invalid, NotFound
from clew_events.events import MetadataUpdated
from clew_events.queries import GetHistory, GetThread, Order
from clew_events.replies import Entry, History
from clew_events.requests import NewMessage
from clew_events.subjects import Address, event_stream, event_subject, shard_of
from clew_projections.apply import advance
from clew_projections.history.log_reads import LogReads
from clew_projections.history.stretch import Spot
from clew_projections.nats import stream_reads
from clew_projections.nats.request_mux import Reply
from clew_projections.nats.stream_messages import EXPECTED, MSG_ID, Ack, StoredMessage
from clew_projections.views import absent
from clew_services.compose import Clew
from clew_services.queries import history_pages
from support.asgi import IN, call
from support.commits import CREATED, body_of, commit, hash_of, store
from support.truth import projecting
from support.waiting import eventually
from support.writers import Writer

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def long_history(clew: Clew, thread: str, length: int, tenant: str = "default") -> list[int]:
    """A thread with many commits, stored at once; among them lie another's. The sequences of its commits."""
    shard = shard_of(thread, 2)
    subject, other = event_subject(shard, Address(tenant, thread)), event_subject(shard, Address(tenant, "thread_z"))
    state = (await clew.js.api(f"STREAM.INFO.{event_stream(shard)}"))["state"]
    assert isinstance(state, dict)
    seq, seqs, last = int(state["last_seq"]), [0], None
    publishing: list[Awaitable[Ack]] = []
    for n in range(1, length + 1):
        events = (CREATED,) if n == 1 else (MetadataUpdated(set={"n": str(n)}, unset=()),)
        made = commit(n, *events, prev=last, thread=thread, tenant=tenant, actor=f"key:{'odd' if n % 2 else 'even'}/1")
        body = body_of(made)
        last = record_hash(body)
        headers = {EXPECTED: str(seqs[-1]), MSG_ID: f"{tenant}:{thread}:{n}"}
        if n % 50 == 1:
            publishing.append(clew.js.publish(other, b"{}"))
            seq += 1
        publishing.append(clew.js.publish(subject, body, headers))
        seq += 1
        seqs.append(seq)
    assert all(ack.error is None for ack in await asyncio.gather(*publishing))
    return seqs[1:]


async def test_a_commit_whose_sequence_is_known_is_read_without_those_that_follow(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    seqs = await long_history(clew, "thread_a", 3)

    async def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the log is read on from a sequence")

    monkeypatch.setattr(LogReads, "after", refuse)
    address = Address("default", "thread_a")
    assert (await clew.histories.at(address, seqs[1])).commit.n == 2
    with pytest.raises(Corrupt, match="no commit at sequence 99"):
        await clew.histories.at(address, 99)


@pytest.fixture
def singly(clew: Clew, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sequences that were read by a request for each."""
    exchange, asked = clew.js._exchange, list[int]()
    one = exchange.one

    async def note(subject: str, body: bytes = b"", *rest: bytes, **options: float) -> Reply:
        if subject.startswith("$JS.API.DIRECT.GET.") and body.startswith(b'{"seq":'):
            asked.append(json.loads(body)["seq"])
        return await one(subject, body, *rest, **options)

    monkeypatch.setattr(exchange, "one", note)
    return asked


@pytest.mark.parametrize(("length", "order"), [(100, "asc"), (100, "desc"), (150, "asc")])
async def test_a_history_of_known_sequences_is_read_by_the_page(
    clew: Clew, singly: list[int], length: int, order: Order
) -> None:
    await long_history(clew, "thread_a", length)
    await clew.reader.thread("default", GetThread(thread_id="thread_a"))
    assert clew.memory.recall(Address("default", "thread_a")) is not None
    found = await page(clew, "thread_a", order=order, limit=100)
    assert sorted(numbers(list(found.commits))) == list(range(1, 101))
    assert singly == []


async def test_known_sequences_are_read_by_the_page_only_where_that_costs_less(
    clew: Clew, singly: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seqs = await long_history(clew, "thread_a", 40)
    shard = shard_of("thread_a", 2)
    stream, subject = event_stream(shard), event_subject(shard, Address("default", "thread_a"))

    async def reads(some: list[int]) -> int:
        singly.clear()
        assert [each and each.seq for each in await clew.js.at(stream, some, first_on=subject)] == some
        assert sorted(singly) in ([], sorted(some))
        return len(singly)

    assert [await reads(seqs[:count]) for count in (1, 3, 4, 40)] == [1, 3, 0, 0]
    assert await reads(seqs[::-1]) == 0
    monkeypatch.setattr(stream_reads, "SKIPPED", 1)
    assert await reads(seqs) == 40


@pytest.mark.parametrize("lost", [0, 1, 39])
async def test_known_sequences_are_read_whatever_the_page_has_of_them(
    clew: Clew, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    seqs = await long_history(clew, "thread_a", 40)
    shard = shard_of("thread_a", 2)
    stream = event_stream(shard)
    wanted = [each and (each.seq, each.body) for each in await clew.js.at(stream, seqs)]

    async def read(thread: str = "thread_a") -> list[tuple[int, bytes] | None]:
        first_on = event_subject(shard, Address("default", thread))
        return [each and (each.seq, each.body) for each in await clew.js.at(stream, seqs, first_on=first_on)]

    direct = clew.js._direct

    async def lag(stream: str, request: Mapping[str, object], subject: str) -> list[StoredMessage]:
        return (await direct(stream, request, subject))[: 40 - lost]

    monkeypatch.setattr(clew.js, "_direct", lag)  # as a replica does that lacks the newest
    assert await read() == wanted
    assert await read("thread_z") == wanted
    assert await read("thread_none") == wanted
    monkeypatch.setattr(stream_reads, "PAGE_BYTES", 2000)  # a few messages
    assert await read() == wanted
    await clew.js.api(f"STREAM.MSG.DELETE.{stream}", {"seq": seqs[7]})
    wanted[7] = None
    assert await read() == wanted


async def page(clew: Clew, thread: str, **asked: object) -> History:
    answer = await clew.reader.answer("default", GetHistory(thread_id=thread, **asked))  # type: ignore[arg-type]
    assert isinstance(answer, History)
    return answer


async def pages(clew: Clew, thread: str, **asked: object) -> list[Entry]:
    found: list[Entry] = []
    cursor: str | None = None
    while True:
        one = await page(clew, thread, after=cursor, **asked)
        found += one.commits
        cursor = one.cursor
        if cursor is None:
            return found


def numbers(entries: list[Entry]) -> list[int]:
    return [each.commit.n for each in entries]


@pytest.fixture(params=["with a view", "without a view"])
async def story(request: pytest.FixtureRequest, clew: Clew) -> str:
    """A thread of 230 commits, of which a view knows the places of the last hundred, if there is one."""
    await long_history(clew, "thread_story", 230)
    if request.param == "with a view":
        async with projecting(clew):
            address = Address("default", "thread_story")

            async def there() -> bool:
                return (await clew.current.cached_view(address)).n == 230

            await eventually(there)
    return "thread_story"


async def test_pages_in_either_order_add_up_to_the_history(clew: Clew, story: str) -> None:
    for limit in (1000, 100, 17):
        assert numbers(await pages(clew, story, limit=limit)) == list(range(1, 231))
        assert numbers(await pages(clew, story, limit=limit, order="desc")) == list(range(230, 0, -1))
    first, last = await page(clew, story, limit=5), await page(clew, story, limit=5, order="desc")
    assert (first.next, last.next) == (6, 225)
    assert numbers(list((await page(clew, story, start=225, order="desc", limit=2)).commits)) == [225, 224]
    assert numbers(list((await page(clew, story, start=500, order="desc", limit=1)).commits)) == [230]
    assert (await page(clew, story, start=231)) == History(commits=())


async def test_a_page_begins_and_ends_at_any_cursor(clew: Clew, story: str) -> None:
    everything = await pages(clew, story, limit=1000)
    end = everything[-1].id
    for at in (3, 120, 200, 229):
        for after in (everything[at - 1].id, str(at)):
            onward = await page(clew, story, after=after, before=end, limit=1000)
            assert numbers(list(onward.commits)) == list(range(at + 1, 230))
            assert list(onward.commits) == everything[at:-1]
            back = await page(clew, story, after=after, before="1", order="desc", limit=1000)
            assert numbers(list(back.commits)) == list(range(at - 1, 1, -1))


async def test_before_alone_is_the_page_before_a_cursor(clew: Clew, story: str) -> None:
    everything = await pages(clew, story, limit=1000)
    for order, nearest in (("asc", [118, 119]), ("desc", [122, 121])):
        for before in (everything[119].id, "120"):
            found = await page(clew, story, order=order, before=before, limit=2)
            assert numbers(list(found.commits)) == nearest
            assert found.previous == found.commits[0].id
            # Forward again from its end comes what the page was before.
            onward = await page(clew, story, order=order, after=found.cursor, limit=1)
            assert numbers(list(onward.commits)) == [120]
            assert onward.previous == onward.commits[0].id
    # Backwards from the end, page by page, is all of it, also where a filter leaves pages empty.
    for order in ("asc", "desc"):
        for filters in ({}, {"types": ("ThreadCreated",)}):
            wanted = await pages(clew, story, limit=100, order=order, **filters)
            last = 230 if order == "asc" else 1
            back: list[Entry] = []
            before: str | None = str(last)
            while before is not None:
                one = await page(clew, story, limit=50, order=order, before=before, **filters)
                back = [*one.commits, *back]
                before = one.previous
            assert back == [each for each in wanted if each.commit.n != last]
    assert (await page(clew, story, limit=3)).previous is None
    assert (await page(clew, story, start=5, limit=3)).previous == everything[4].id


async def test_a_history_goes_on_where_the_view_ends(clew: Clew, story: str) -> None:
    prev = (await page(clew, story, order="desc", limit=1)).commits[0].hash
    made = commit(231, MetadataUpdated(set={"late": "1"}, unset=()), prev=prev, thread=story)
    await store(clew.nc, Address("default", story), body_of(made))
    assert numbers(await pages(clew, story, limit=50)) == list(range(1, 232))
    assert numbers(await pages(clew, story, limit=50, order="desc")) == list(range(231, 0, -1))


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_only_what_is_asked_for_is_shown(
    clew: Clew, story: str, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_pages, "LOOKED_AT", 40)
    everything = await pages(clew, story, limit=1000)

    async def shown(**asked: object) -> list[int]:
        return sorted(numbers(await pages(clew, story, limit=30, order=order, **asked)))

    at = {entry.commit.n: entry.commit.at for entry in everything}
    assert await shown(types=("ThreadCreated",)) == [1]
    assert await shown(types=("ThreadCreated", "ItemAdded")) == [1]
    assert await shown(types=("ThreadDeleted",)) == []
    assert await shown(actor="key:odd/1") == list(range(1, 231, 2))
    assert await shown(actor="key:*") == list(range(1, 231))
    assert await shown(actor="key:odd") == []
    assert await shown(since=at[100], until=at[103]) == [100, 101, 102, 103]
    assert await shown(since=int(at[100].timestamp()), until=int(at[103].timestamp())) == [100, 101, 102, 103]
    assert await shown(since=at[230] + timedelta(microseconds=1)) == []
    assert await shown(actor="key:even/1", since=at[220]) == [220, 222, 224, 226, 228, 230]


async def test_a_cursor_of_another_history_is_refused_by_name(clew: Clew, story: str) -> None:
    await long_history(clew, "thread_other", 3)
    foreign = (await page(clew, "thread_other")).commits[1].id
    for order in ("asc", "desc"):
        for name in ("after", "before"):
            for wrong in (foreign, "231", "2-999999", "3-1"):
                with pytest.raises(Invalid) as refused:
                    await page(clew, story, order=order, **{name: wrong})
                assert refused.value.param == name
                assert wrong in refused.value.message
    with pytest.raises(Invalid):
        await page(clew, story, start=3, after="2")
    for asked in ({}, {"order": "desc"}, {"after": "1"}, {"start": 7}, {"order": "desc", "start": 7}):
        with pytest.raises(NotFound):
            await page(clew, "thread_nobody", **asked)


async def test_where_hints_are_wrong_the_log_is_searched(clew: Clew) -> None:
    await long_history(clew, "thread_moved", 12)
    thread = Address("default", "thread_moved")
    log = [found async for found in clew.histories.after(thread, 0)]
    view = absent(*thread)
    for found in log:
        view = advance(view, found)
    # As after a restore: everything stands elsewhere.
    lying = replace(view, commands=tuple(replace(spent, seq=spent.seq + 1) for spent in view.commands))
    assert [each async for each in clew.trail.forward(lying, Spot(0))] == log
    assert [each async for each in clew.trail.backward(lying, None)] == log[::-1]
    assert await clew.trail.find_spot(lying, Spot(5)) == Spot(5, log[4].position.seq)


async def test_however_old_a_hint_is_no_commit_is_left_out(clew: Clew) -> None:
    await long_history(clew, "thread_aged", 12)
    thread = Address("default", "thread_aged")
    log = [found async for found in clew.histories.after(thread, 0)]
    aged = [absent(*thread)]
    for found in log:
        aged.append(advance(aged[-1], found))
    forgetful = [replace(view, commands=view.commands[-2:]) for view in aged]
    for hint in aged + forgetful:
        for ahead in (2, 128):
            for n in range(13):
                assert [each async for each in clew.trail.forward(hint, Spot(n), ahead)] == log[n:]
            for place, found in enumerate(log):
                before = Spot(found.commit.n, found.position.seq)
                assert [each async for each in clew.trail.backward(hint, before, ahead)] == log[:place][::-1]
            assert [each async for each in clew.trail.backward(hint, None, ahead)] == log[::-1]


async def test_a_guard_that_leads_nowhere_does_not_end_a_history(clew: Clew) -> None:
    thread, prev = "thread_unguarded", None
    for n in (1, 2, 3):
        made = commit(n, CREATED if n == 1 else MetadataUpdated(set={}, unset=()), prev=prev, thread=thread)
        prev = hash_of(made)
        await store(clew.nc, Address("default", thread), body_of(made))
    assert numbers(await pages(clew, thread, order="desc", limit=1)) == [3, 2, 1]


async def test_a_bad_commit_is_named_and_the_pages_before_it_are_read(clew: Clew) -> None:
    await long_history(clew, "thread_bad", 4)
    body = body_of(commit(5, CREATED, prev="f" * 64, thread="thread_bad")).replace(b"ThreadCreated", b"ThreadForked2")
    seq = await store(clew.nc, Address("default", "thread_bad"), body)
    assert numbers(list((await page(clew, "thread_bad", limit=3)).commits)) == [1, 2, 3]
    for asked in ({}, {"order": "desc"}, {"after": "2"}):
        with pytest.raises(Corrupt, match=rf"sequence {seq} .*ThreadForked2"):
            await page(clew, "thread_bad", **asked)


async def test_the_trace_of_a_command_is_shown_with_its_commit(clew: Clew) -> None:
    done = await clew.handler.handle("default", CreateThread(), trace=TRACE)
    assert done.thread is not None
    message = NewMessage(role="user", content="hello")
    await clew.handler.handle("default", AddMessage(thread_id=done.thread.id, message=message))
    for order in ("asc", "desc"):
        traces = {entry.commit.n: entry.trace_id for entry in await pages(clew, done.thread.id, order=order)}
        assert traces == {1: "4bf92f3577b34da6a3ce929d0e0e4736", 2: None}


# Over HTTP.


@pytest.fixture
async def get(clew: Clew) -> Callable[..., Awaitable[dict[str, object]]]:
    """GET a path of the thread ``thread_shop`` of tenant acme, which has 30 commits and was deleted by the last."""
    writer = Writer(clew.handler, "acme")
    await writer.create("thread_shop", metadata={"plan": "free"})
    for n in range(28):
        await writer.add("thread_shop", f"line {n}", actor="key:shop/1", id=f"line-{n}")
    await writer.delete("thread_shop", actor="key:admin/2", reason="asked by Ana\u00efs")

    async def ask(path: str, status: int = 200, headers: dict[str, str] = IN) -> dict[str, object]:
        answered = await call(clew, "GET", f"/v1/threads/thread_shop{path}", headers=headers)
        assert answered.status == status, answered.body
        return dict(json.loads(answered.body))

    return ask


async def test_the_events_of_a_deleted_thread_are_listed_as_everything_else_is(get) -> None:
    await get("", 404)
    first = await get("/events")
    assert first["object"] == "list"
    assert [each["n"] for each in first["data"]] == list(range(1, 21))
    assert (first["first_id"], first["last_id"]) == (first["data"][0]["id"], first["data"][-1]["id"])
    assert (first["has_more"], first["next"]) == (True, first["last_id"])
    rest = await get(f"/events?after={first['next']}")
    assert [each["n"] for each in rest["data"]] == list(range(21, 31))
    assert (rest["has_more"], rest["next"]) == (False, None)
    created, added = first["data"][:2]
    assert created["object"] == "thread.commit"
    assert created["events"][0] == {"type": "ThreadCreated", "metadata": {"plan": "free"}, "tool_resources": {}}
    assert added["prev"] == created["hash"]
    assert (added["actor"], added["command"], added["command_id"]) == ("key:shop/1", "AddMessage", "line-0")
    (gone,) = (await get("/events?order=desc&limit=1"))["data"]
    assert (gone["n"], gone["actor"], gone["events"]) == (30, "key:admin/2", [{"type": "ThreadDeleted"}])
    assert (gone["reason"], gone["reason_erased"], added["reason"]) == ("asked by Ana\u00efs", False, None)
    assert [each["n"] for each in (await get("/events?by=un*&limit=2"))["data"]] == [1, 2]
    assert (await get("/events?by=nats"))["data"] == []
    (as_stored,) = (await get("/events?order=desc&limit=1&stored=true"))["data"]
    assert record_hash(as_stored["stored"].encode()) == gone["hash"]
    assert "Ana" not in as_stored["stored"].partition("\n")[0]
    assert gone["stored"] is None
    chosen = await get("/events?type=ThreadCreated,ThreadDeleted&actor=key:*")
    assert [each["n"] for each in chosen["data"]] == [30]
    since = created["at"].replace("Z", "+00:00")  # as somebody types it who does not know that "+" is a space
    assert len((await get(f"/events?since={since}&limit=100"))["data"]) == 30


REFUSED = [
    ("limit=0", "limit", "integer below minimum"),
    ("limit=1001", "limit", "integer above maximum"),
    ("order=up", "order", "'asc' and 'desc'"),
    ("after=thread_x", "after", "id of an entry"),
    ("after=31", "after", "has no commit '31'"),
    ("before=1-77777", "before", "has no commit '1-77777'"),
    ("type=Nothing", "type", "'ThreadCreated'"),
    ("type=", "type", "''"),
    ("actor=", "actor", "actor"),
    ("since=2026-11-22T10:00:00", "since", "offset from UTC"),
    ("since=yesterday", "since", "since"),
    ("until=1795384800000", "until", "milliseconds"),
    ("colour=red", "colour", "Unknown parameter"),
]


async def test_what_cannot_be_asked_of_a_history_is_refused_by_name(get) -> None:
    for query, param, saying in REFUSED:
        error = (await get(f"/events?{query}", 400))["error"]
        assert (query, error["param"]) == (query, param)
        assert saying in error["message"]


async def test_another_tenant_sees_no_history(get) -> None:
    other = {**IN, "Authorization": "Bearer a-key-for-globex"}
    missing = (await get("/events", 404, other))["error"]
    assert "thread_shop" in missing["message"]
