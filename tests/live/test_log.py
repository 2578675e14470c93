"""The log on a real server: whatever happens to a publish, its commit is there once or not at all, and one is told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from signal import SIGKILL
from typing import cast

import msgspec
import pytest

from clew_events.commands import CreateThread, UpdateThread
from clew_events.errors import TooLarge, Unavailable
from clew_events.subjects import Address, event_stream, event_subject, shard_of
from clew_projections.history import log_reads
from clew_projections.nats.request_mux import NotPermitted, Reply
from clew_projections.nats.stream_messages import DIGEST, STORED_AT, microseconds, stored_at
from clew_projections.nats.stream_reads import IN_FLIGHT_BYTES
from clew_projections.nats.walks import LAPSE, LONG, Walk
from clew_services.compose import Clew, connect
from clew_services.embedded.server import EmbeddedServer
from clew_services.eventstore.append import AppendResult, Log, UncertainAppend
from clew_services.threads.cache import Memory
from clew_services.threads.handler import Handler
from clew_services.threads.idempotency import Repeats
from support.commits import CREATED, NOON, added, commit, encoded
from support.forging import stored
from support.freezing import frozen
from support.proxy import Proxy, between
from support.truth import commits_of, log_of, raw
from support.waiting import eventually
from support.writers import Writer, handler, thread_id

PUBLISH = b"HPUB clew.evt."


async def configure(clew: Clew, thread: str, **settings: object) -> None:
    """Change the settings of the stream that a thread lives in."""
    stream = event_stream(shard_of(thread, clew.deployment.shards))
    config = (await clew.js.api(f"STREAM.INFO.{stream}"))["config"]
    assert isinstance(config, dict)
    await clew.js.api(f"STREAM.UPDATE.{stream}", {**config, **settings})


# What is read.


async def test_however_much_is_read_at_once_no_more_is_under_way_than_the_server_lets_wait(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(handler(clew))
    threads = [thread_id(await writer.create()) for _ in range(40)]
    under_way, most = 0, 0

    def count(ask: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def counted(subject: str, body: bytes, **options: object) -> object:
            nonlocal under_way, most
            newest = b"multi_last" in body  # reads of the newest commits are sent together anyway
            under_way += not newest
            most = max(most, under_way)
            try:
                return await ask(subject, body, **options)
            finally:
                under_way -= not newest

        return counted

    monkeypatch.setattr(clew.js._exchange, "many", count(clew.js._exchange.many))
    monkeypatch.setattr(clew.js._exchange, "one", count(clew.js._exchange.one))
    stream = event_stream(0)
    seqs = [seq for seq, _ in await raw(clew, stream)]
    subjects = [event_subject(shard_of(thread, 2), Address("default", thread)) for thread in threads]
    limit = IN_FLIGHT_BYTES // clew.nc.max_payload
    for read in (
        lambda: asyncio.gather(*(clew.histories.tail(Address("default", thread), 0) for thread in threads)),
        lambda: clew.js.at(stream, seqs),
        lambda: clew.js.lasts_at_leader(stream, subjects),
    ):
        most = 0
        assert len(await read()) >= len(seqs)
        assert most == limit


async def names_of_consumers(clew: Clew) -> list[str]:
    names = (await clew.js.api(f"CONSUMER.NAMES.{event_stream(0)}"))["consumers"]
    return [name for name in cast("list[str]", names) if name.startswith("clew-walk-")]


async def delete_consumers(clew: Clew) -> None:
    for name in await names_of_consumers(clew):
        await clew.js.api(f"CONSUMER.DELETE.{event_stream(0)}.{name}")


async def lose_one(clew: Clew) -> None:
    for walk in clew.js._walks._walks.values():
        walk._delivered -= 1


async def wait_long(clew: Clew) -> None:
    for walk in clew.js._walks._walks.values():
        walk.asked_at -= LAPSE


@pytest.fixture
async def nine(clew: Clew) -> None:
    """Nine commits or more in the first shard."""
    writer = Writer(handler(clew))
    while len(await raw(clew, event_stream(0))) < 9:
        await writer.create()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of more than one page is a long one."""
    monkeypatch.setattr(log_reads, "LONG", 1)
    monkeypatch.setattr(log_reads, "PAGE", 1)


async def read_on(
    clew: Clew, subject: str, after_each: Callable[[Clew], Awaitable[object]]
) -> list[tuple[object, ...]]:
    """Read the first shard two by two, and do something after each page."""
    found: list[tuple[object, ...]] = []
    more, seq = True, 1
    while more:
        page, more = await clew.js.after(event_stream(0), subject, seq, 2)
        found += [(each.seq, each.subject, each.body, stored_at(each), each.headers.get(DIGEST)) for each in page]
        assert all(microseconds(each.headers[STORED_AT]) == stored_at(each) for each in page)
        seq = page[-1].seq + 1
        await after_each(clew)
    return found


@pytest.mark.usefixtures("nine", "soon")
@pytest.mark.parametrize("happens", [names_of_consumers, delete_consumers, lose_one, wait_long])
@pytest.mark.parametrize("subject", [">", "clew.evt.00.default.*"])
async def test_a_long_read_goes_on_by_a_consumer_whatever_becomes_of_that(
    clew: Clew, subject: str, happens: Callable[[Clew], Awaitable[object]]
) -> None:
    read = await read_on(clew, subject, happens)
    assert [seq for seq, *_ in read] == [seq for seq, _ in await raw(clew, event_stream(0))]
    assert read == [
        (each.seq, each.subject, each.body, stored_at(each), each.headers.get(DIGEST))
        for each in await clew.js.at(event_stream(0), range(1, len(read) + 1))
        if each is not None
    ]


@pytest.mark.usefixtures("nine", "soon")
async def test_a_long_read_has_one_consumer_and_a_short_one_has_none(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()

    async def look(clew: Clew) -> None:
        seen.update(await names_of_consumers(clew))

    await read_on(clew, ">", look)
    assert len(seen) == 1
    monkeypatch.setattr(log_reads, "LONG", LONG)
    await read_on(clew, ">", look)
    assert len(seen) == 1


@pytest.mark.usefixtures("nine", "soon")
async def test_where_nobody_may_make_consumers_that_is_tried_once(clew: Clew, monkeypatch: pytest.MonkeyPatch) -> None:
    ask, denied = clew.js._exchange.one, 0

    async def one(subject: str, *request: bytes, **options: float) -> Reply:
        nonlocal denied
        if "CONSUMER.CREATE" in subject:
            denied += 1
            raise NotPermitted("this user may not")
        return await ask(subject, *request, **options)

    monkeypatch.setattr(clew.js._exchange, "one", one)
    assert len(await read_on(clew, ">", names_of_consumers)) >= 9
    assert denied == 1


@pytest.mark.usefixtures("nine", "soon")
async def test_a_long_read_that_is_given_up_leaves_nothing_behind(clew: Clew, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = event_stream(0)
    monkeypatch.setattr(Walk, "_end", lambda _: None)
    subscriptions = len(clew.nc._subs)
    await clew.js.after(stream, ">", 1, 2)
    reading = asyncio.ensure_future(clew.js.after(stream, ">", 3, 2))
    await eventually(lambda: len(clew.nc._subs) > subscriptions)
    reading.cancel()
    await asyncio.wait([reading])
    assert (len(clew.nc._subs), clew.nc.batches, clew.js._walks._walks) == (subscriptions, {}, {})


# What is stored.


async def test_a_commit_is_one_message_on_its_threads_own_subject(clew: Clew) -> None:
    writer = Writer(handler(clew))
    thread = thread_id(await writer.create(id="cmd-1"))
    await clew.handler.handle("default", UpdateThread(thread_id=thread, metadata={"a": "1"}, id="cmd-2"), trace="00-aa")
    shard = shard_of(thread, 2)
    (_, first), (_, second) = await raw(clew, event_stream(shard))
    assert first.subject == second.subject == event_subject(shard, Address("default", thread))
    for message, guard, command in ((first, "0", "cmd-1"), (second, "1", "cmd-2")):
        assert message.headers is not None
        assert message.headers["Nats-Expected-Last-Subject-Sequence"] == guard
        assert message.headers["Nats-Msg-Id"] == f"default:{thread}:{command}"
        assert len(message.headers) <= 6
    assert second.headers is not None
    assert second.headers["traceparent"] == "00-aa"
    assert first.headers is not None
    assert "traceparent" not in first.headers


async def test_a_commit_says_who_asked_for_what(clew: Clew) -> None:
    command = CreateThread(id="cmd-1", actor="billing")
    thread = thread_id(await clew.handler.handle("acme", command, actor="nobody"))
    await clew.handler.handle("acme", UpdateThread(thread_id=thread, metadata={"a": "1"}), actor="key-1")
    first, second = await commits_of(clew, thread, "acme")
    assert (first.tenant, first.actor, first.command, first.id) == ("acme", "billing", "CreateThread", "cmd-1")
    assert (second.actor, second.command) == ("key-1", "UpdateThread")


async def test_time_never_goes_backwards_within_a_thread(clew: Clew) -> None:
    times = iter([NOON, NOON - timedelta(hours=1), NOON + timedelta(seconds=1)])
    log = Log(clew.js, clew.deployment.shards)
    repeats = Repeats(clew.current, clew.histories)
    parts = (log.append, clew.current, clew.histories, repeats, Memory())
    writer = Writer(
        Handler(
            *parts,
            tenants=clew.tenant_histories,
            impacts=clew.lists,
            erasures=clew.erasure_records,
            forks=clew.forks,
            clock=lambda: next(times),
            max_payload=lambda: clew.nc.max_payload,
        )
    )
    thread = thread_id(await writer.create())
    await writer.set(thread, "a", "1")
    await writer.set(thread, "a", "2")
    assert [made.at for made in await commits_of(clew, thread)] == [NOON, NOON, NOON + timedelta(seconds=1)]


async def test_each_content_and_each_digest_has_a_salt_of_its_own(
    clew: Clew,
) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create(metadata={"pin": "PIN: 4711"}))
    await writer.add(thread, "PIN: 4711", reason="PIN: 4711")
    await writer.add(thread, "PIN: 4711", reason="PIN: 4711")
    kept = await stored(clew, Address("default", thread))
    contents = [line for each in kept for line in each.body.split(b"\n")[1:] if line]
    salts = [msgspec.json.decode(line)["salt"] for line in contents]
    salts += [each.headers["Clew-Digest"].partition(".")[0] for each in kept]
    assert len(set(salts)) == len(salts) == 1 + 2 * 2 + 3  # one content, then two of each message, and three digests
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", salt) for salt in salts)
    assert not any(b"PIN: 4711" in each.body.split(b"\n")[0] for each in kept)


# The guard.


async def test_a_commit_decided_on_an_old_state_is_refused(clew: Clew) -> None:
    log = Log(clew.js, clew.deployment.shards)
    first = await log.append(encoded(commit(1, CREATED)), 0)
    assert isinstance(first, AppendResult)
    for expected in (0, first.recorded.position.seq + 1):
        assert await log.append(encoded(commit(2, CREATED, id="other")), expected) == UncertainAppend("stale")
    assert len(await commits_of(clew, commit(1).thread)) == 1


async def test_a_commit_sent_again_is_never_stored_again(clew: Clew) -> None:
    log = Log(clew.js, clew.deployment.shards)
    first = await log.append(encoded(commit(1, CREATED)), 0)
    assert isinstance(first, AppendResult)
    assert isinstance(await log.append(encoded(commit(1, CREATED)), 0), UncertainAppend)
    assert await log.append(encoded(commit(1, CREATED)), first.recorded.position.seq) == UncertainAppend("duplicate")
    assert len(await commits_of(clew, commit(1).thread)) == 1


# Lost on the way.


async def through(proxy: Proxy, work: str, clew: Clew) -> tuple[list[str], int]:
    """Carry out one kind of work three times over a wire that loses its publish; threads, and commits wanted."""
    writer = Writer(handler(clew))
    if work == "create":
        return [thread_id(await writer.create(metadata={"a": str(n)})) for n in range(3)], 1
    thread = thread_id(await Writer(handler(clew)).create())
    for n in range(3):
        done = await (writer.add(thread, str(n)) if work == "add" else writer.set(thread, "a", str(n)))
        assert done.n == n + 2
    return [thread], 4


@pytest.mark.parametrize("work", ["create", "set", "add"])
@pytest.mark.parametrize("lost", ["answer", "request"])
async def test_a_lost_publish_and_a_lost_acknowledgement_end_in_one_commit_and_success(
    deployment: EmbeddedServer, clew: Clew, lost: str, work: str
) -> None:
    async with between(deployment.url) as proxy, connect(proxy.url, name="far away") as far:
        proxy.lose("answer" if lost == "answer" else "request", PUBLISH)
        threads, wanted = await through(proxy, work, far)
        assert len(proxy.swallowed) == (lost == "answer")
        assert all(b'"seq":' in each and b'"error"' not in each for each in proxy.swallowed)
    histories = await log_of(clew)
    assert {address.thread: len(records) for address, records in histories.items()} == dict.fromkeys(threads, wanted)


async def test_an_acknowledgement_that_is_lost_again_and_again_still_ends_in_one_commit(
    deployment: EmbeddedServer, clew: Clew
) -> None:
    async with between(deployment.url) as proxy, connect(proxy.url, name="far away") as far:
        for what in ("answer", "answer", "request", "answer"):
            proxy.lose(what, PUBLISH)  # type: ignore[arg-type]
        done = await Writer(handler(far)).create(metadata={"a": "1"})
        assert len(proxy.swallowed) == 3
    (made,) = await commits_of(clew, thread_id(done))
    assert done.n == made.n == 1


async def test_a_message_whose_acknowledgement_was_lost_is_shown_as_it_was_added(
    deployment: EmbeddedServer, clew: Clew
) -> None:
    async with between(deployment.url) as proxy, connect(proxy.url, name="far away") as far:
        writer = Writer(handler(far))
        thread = thread_id(await writer.create())
        proxy.lose("answer", PUBLISH)
        added = await writer.add(thread, "once")
        assert proxy.swallowed
        assert added.message is not None
        proxy.lose("answer", PUBLISH)
        changed = await writer.change(thread, added.message.id, metadata={"a": "1"})
        assert changed.message is not None
        assert (changed.message.metadata, changed.message.content) == ({"a": "1"}, added.message.content)
        proxy.lose("answer", PUBLISH)
        gone = await writer.remove(thread, added.message.id)
        assert gone.deleted is not None
        assert len(proxy.swallowed) == 3
    assert [made.n for made in await commits_of(clew, thread)] == [1, 2, 3, 4]


# A server that says nothing, or is gone.


async def sent(clew: Clew, more: int) -> None:
    """Wait until a connection has sent so many messages more than now."""
    before = clew.nc.stats["out_msgs"]

    async def enough() -> bool:
        return clew.nc.stats["out_msgs"] >= before + more

    await eventually(enough)


async def test_a_command_outlasts_a_server_that_stands_still(deployment: EmbeddedServer, clew: Clew) -> None:
    writer = Writer(handler(clew, attempt=0.1))
    thread = thread_id(await writer.create())
    with frozen(deployment.pid):
        setting = asyncio.create_task(writer.set(thread, "a", "1"))
        await sent(clew, 3)
        assert not setting.done()
    assert (await setting).n == 2
    assert [made.n for made in await commits_of(clew, thread)] == [1, 2]


async def test_a_command_that_gives_up_says_that_it_may_have_happened_and_its_repeat_finds_out(
    deployment: EmbeddedServer, clew: Clew
) -> None:
    writer = Writer(handler(clew, attempt=0.1))
    thread = thread_id(await writer.create())
    writer.handler._append.__self__._deadline = 0.3
    with frozen(deployment.pid):
        with pytest.raises(Unavailable) as silence:
            await writer.set(thread, "a", "1", id="again")
        assert silence.value.code == "log_unavailable"
        assert silence.value.outcome_unknown
    done = await Writer(handler(clew)).set(thread, "a", "1", id="again")
    assert done.n == 2
    assert [made.id for made in await commits_of(clew, thread)][1:] == ["again"]


async def test_nobody_waits_longer_for_having_to_queue(deployment: EmbeddedServer, clew: Clew) -> None:
    writer = Writer(handler(clew, attempt=10.0, deadline=0.5))
    with frozen(deployment.pid):
        waiting = asyncio.gather(*(writer.create() for _ in range(300)), return_exceptions=True)
        answers = await asyncio.wait_for(waiting, 60)
    assert {type(answer) for answer in answers} == {Unavailable}
    done = await Writer(handler(clew)).create()
    assert done.n == 1


async def test_a_command_outlasts_a_server_that_dies_and_comes_back(deployment: EmbeddedServer, clew: Clew) -> None:
    writer = Writer(handler(clew))
    thread = thread_id(await writer.create())
    deployment.kill()
    assert await deployment.wait() == -SIGKILL
    commands = [
        asyncio.create_task(writer.set(thread, "a", "1")),
        asyncio.create_task(writer.create(thread="thread_meanwhile")),
    ]
    await asyncio.sleep(0)
    await deployment.start()
    assert [(await done).n for done in commands] == [2, 1]
    assert {address.thread: len(records) for address, records in (await log_of(clew)).items()} == {
        thread: 2,
        "thread_meanwhile": 1,
    }


# What the log does not take.


async def test_a_full_log_says_so_and_nothing_is_half_done(clew: Clew) -> None:
    writer = Writer(handler(clew))
    thread = thread_id(await writer.create())
    stream = event_stream(shard_of(thread, 2))
    state = (await clew.nc.jetstream().stream_info(stream)).state
    await configure(clew, thread, max_bytes=state.bytes + 500)
    for _ in range(2):
        with pytest.raises(Unavailable) as full:
            await writer.add(thread, "x" * 1000, id="late")
        assert full.value.code == "log_full"
        assert not full.value.outcome_unknown
    assert (await writer.update(thread)).n == 1
    await configure(clew, thread, max_bytes=-1)
    assert (await writer.add(thread, "x" * 1000, id="late")).n == 2
    assert [made.id for made in await commits_of(clew, thread)][1:] == ["late"]


async def test_a_commit_larger_than_a_connection_takes_is_refused(clew: Clew) -> None:
    log = Log(clew.js, clew.deployment.shards)
    with pytest.raises(TooLarge):
        await log.append(encoded(commit(1, CREATED, added(1, "x" * clew.nc.max_payload))), 0)
    assert isinstance(await log.append(encoded(commit(1, CREATED, added(1, "small"))), 0), AppendResult)


async def test_a_commit_larger_than_a_stream_takes_is_refused_and_the_writer_goes_on(clew: Clew) -> None:
    writer = Writer(handler(clew))
    thread = thread_id(await writer.create())
    await configure(clew, thread, max_msg_size=4096)
    with pytest.raises(TooLarge):
        await writer.add(thread, "x" * 5000, id="large")
    assert (await writer.add(thread, "small", id="large")).n == 2
    assert len(await commits_of(clew, thread)) == 2
