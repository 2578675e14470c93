"""Generations of buckets: built beside the live one, switched to and back, and nobody notices."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from clew_events.errors import Conflict, Corrupt, Invalid, NotFound
from clew_events.queries import GetThread, ListMessages
from clew_events.requests import NewMessage
from clew_events.subjects import Address, event_stream
from clew_projections import apply
from clew_projections.consistency import watch
from clew_projections.fold import FOLD, ThreadState, evolve
from clew_projections.generations.generation import GenerationBuckets
from clew_projections.kv.key_names import bucket_names, thread_key
from clew_projections.views import decode_thread
from clew_services.compose import Clew, connect
from clew_services.embedded.server import EmbeddedServer
from clew_services.eventstore import generation_streams, provision
from clew_services.rebuild import bucket_rebuild as rebuilding
from clew_services.rebuild.bucket_rebuild import Rebuild
from clew_services.threads.result import Outcome
from support.truth import buckets_equal_the_log, checkpointed, projecting
from support.up import environment
from support.waiting import PATIENCE, eventually
from support.writers import Writer, message_id, thread_id

HELLO = NewMessage(role="user", content="hello")


@pytest.fixture
async def other(deployment: EmbeddedServer) -> AsyncIterator[Clew]:
    """Another process, as far as NATS can tell."""
    async with connect(deployment.url, name="other") as composed:
        yield composed


async def filled(clew: Clew, threads: int = 20) -> list[str]:
    """Threads with two messages each, of which one was changed."""
    writer = Writer(clew.handler)

    async def one(n: int) -> str:
        thread = thread_id(await writer.create(metadata={"n": str(n)}, messages=(HELLO,)))
        await writer.change(thread, message_id(await writer.add(thread, "one")), metadata={"a": "1"})
        return thread

    return await asyncio.gather(*(one(n) for n in range(threads)))


async def live_in(clew: Clew, number: int) -> None:
    async def there() -> bool:
        return clew.live.current.number == number

    await eventually(there)


async def texts(clew: Clew, thread: str) -> list[str]:
    found = await clew.reader.messages("default", ListMessages(thread_id=thread, order="asc", limit=100))
    return [str(each.content[0].text.value) for each in found.messages.data]  # type: ignore[union-attr]


async def test_a_rebuilt_generation_takes_over_everywhere_and_the_one_before_is_kept(clew: Clew, other: Clew) -> None:
    async with projecting(other):
        await filled(clew)
        told: list[rebuilding.Progress] = []
        done = await clew.rebuild(told.append).run()
        assert (done.generation, done.before, done.live, done.threads) == (2, 1, True, 20)
        assert (done.findings, done.parked, done.resumed) == ((), (), False)
        assert told[-1].done <= told[-1].total == 60
        await live_in(other, 2)
        await filled(other, 5)
        await buckets_equal_the_log(clew)
    listed = {each.generation: each for each in await clew.kept.list()}
    assert [(each.live, each.standing, each.fold) for each in listed.values()] == [
        (False, "kept", FOLD),
        (True, "kept", FOLD),
    ]
    assert listed[2].behind == 0
    assert listed[1].behind  # nobody feeds it any more


async def test_nobody_notices_a_rebuild_a_switch_and_the_way_back(clew: Clew, other: Clew) -> None:
    threads = await filled(clew, 8)
    writers, readers = Writer(clew.handler), other.reader
    over = asyncio.Event()
    said: dict[str, list[str]] = {thread: ["hello", "one"] for thread in threads}
    switches: list[int] = []

    async def lives(thread: str) -> None:
        n = 3
        while not over.is_set():
            done = await writers.add(thread, f"m{n}")
            said[thread].append(f"m{n}")
            await writers.set(thread, "last", str(n))
            found = await readers.thread("default", GetThread(thread_id=thread))
            assert found.n == done.n + 1
            assert found.thread is not None
            assert found.thread.metadata["last"] == str(n)
            page = await texts(other, thread)
            assert page == said[thread][:100]
            n += 1
            await asyncio.sleep(0)

    async def rebuilds() -> None:
        for _ in range(2):
            done = await clew.rebuild().run()
            assert done.live
            await live_in(other, done.generation)
            switches.append(other.live.current.number)
            await clew.kept.go_back()
            await live_in(other, done.generation - 1)
            switches.append(other.live.current.number)
            await clew.kept.go_back(done.generation)
            await live_in(other, done.generation)
        over.set()

    async with projecting(other):
        async with asyncio.TaskGroup() as everybody:
            for thread in threads[:4]:
                everybody.create_task(lives(thread))
            everybody.create_task(rebuilds())
        assert switches == [2, 1, 3, 2]
        await buckets_equal_the_log(other)


async def test_what_was_begun_on_one_side_is_finished_on_it(clew: Clew) -> None:
    (thread,) = await filled(clew, 1)
    address = Address("default", thread)
    async with projecting(clew):
        await buckets_equal_the_log(clew)
    await clew.rebuild().run()
    writer = Writer(clew.handler)
    message = (await clew.reader.messages("default", ListMessages(thread_id=thread, order="asc"))).messages
    assert message is not None
    await writer.change(thread, message.data[0].id, metadata={"b": "2"})
    async with projecting(clew):
        await buckets_equal_the_log(clew)
    # The new side holds the change, the old one does not.
    present = await clew.current.read_current(address)
    await clew.kept.go_back()
    assert (await clew.current.items(present, (1,)))[1].metadata == {"b": "2"}
    assert (await clew.current.items(await clew.current.read_current(address), (1,)))[1].metadata == {"b": "2"}
    old = await clew.live.current.threads.get(thread_key(address))
    assert old is not None
    assert decode_thread(old.body).n < present.thread.n


REBUILD_FOR_EVER = """
import asyncio
from clew_services.cli import main
from clew_services.rebuild.bucket_rebuild import Rebuild

async def never_ends(*_):
    await asyncio.Event().wait()

Rebuild._compare = never_ends
main(["rebuild", "threads", "--json"])
"""


async def test_a_rebuild_that_was_killed_is_finished_by_the_next(
    clew: Clew, deployment: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(clew, 200)
    killed = subprocess.Popen(
        [sys.executable, "-c", REBUILD_FOR_EVER],
        env=environment(CLEW_NATS=deployment.url), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:

        async def begun() -> bool:
            return clew.live.record.building is not None

        await eventually(begun)
    finally:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait(60)
    assert clew.live.record.live == 1
    done = await clew.rebuild().run()
    assert (done.generation, done.live, done.resumed, done.threads) == (2, True, True, 200)
    async with projecting(clew):
        await buckets_equal_the_log(clew)


@pytest.mark.parametrize("at", ["_fill", "_compare", "_stuck"])
async def test_a_rebuild_broken_off_at_any_stage_is_taken_up_again(
    clew: Clew, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    class BrokenOff(Exception):
        pass

    async def breaks(*_: object) -> None:
        raise BrokenOff

    await filled(clew)
    with monkeypatch.context() as patch:
        patch.setattr(Rebuild, at, breaks)
        with pytest.raises(BrokenOff):
            await clew.rebuild().run()
    done = await clew.rebuild().run()
    assert (done.generation, done.live, done.resumed, done.threads) == (2, True, True, 20)


async def test_two_rebuilds_at_once_share_the_work(clew: Clew, other: Clew) -> None:
    await filled(clew, 100)
    both = await asyncio.gather(clew.rebuild().run(), other.rebuild().run())
    assert {each.generation for each in both} == {2}
    assert all(each.live for each in both)
    assert [(each.generation, each.live) for each in await clew.kept.list()] == [(1, False), (2, True)]


async def test_the_live_generation_is_not_removed_and_others_are_whatever_is_left_of_them(clew: Clew) -> None:
    await filled(clew, 3)
    with pytest.raises(Invalid, match="live"):
        await clew.kept.remove(1)
    with pytest.raises(NotFound, match="rebuild list"):
        await clew.kept.remove(7)
    with pytest.raises(NotFound, match="no other generation"):
        await clew.kept.go_back()
    await clew.rebuild().run()
    await clew.js.api(f"STREAM.DELETE.KV_{bucket_names(1)[1]}")
    with pytest.raises(Corrupt, match="clew rebuild threads"):
        await clew.kept.go_back()
    assert clew.live.current.number == 2
    assert (await clew.kept.list())[0].keys is None
    await clew.kept.remove(1)
    assert [each.generation for each in await clew.kept.list()] == [2]
    names = (await clew.js.api("STREAM.NAMES"))["streams"]
    assert isinstance(names, list)
    assert not [name for name in names if name.endswith("_v1") and "keys" not in name]
    done = await clew.rebuild().run()
    assert done.generation == 3  # no number is given twice


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno > logging.INFO]


async def test_projectors_of_a_generation_that_is_removed_end_and_say_nothing(
    clew: Clew, other: Clew, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(clew, 3)
    # They work on it still, as they do until the notice of the switch arrives.
    running = [asyncio.create_task(each.run(asyncio.Event())) for each in other.projectors(other.live.current)]
    await checkpointed(other)
    await clew.rebuild().run()
    await clew.kept.remove(1)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*running)
    assert warnings(caplog) == []


async def test_a_consumer_that_somebody_else_deletes_is_warned_of_and_waited_for(
    clew: Clew, other: Clew, caplog: pytest.LogCaptureFixture
) -> None:
    stream, size = event_stream(0), clew.opened.layout
    async with projecting(other):
        await filled(clew, 3)
        await checkpointed(clew)
        await clew.js.api(f"CONSUMER.DELETE.{stream}.{clew.live.current.consumer}")

        async def said() -> bool:
            return any(f"the projector waits for JetStream: {stream}/" in each for each in warnings(caplog))

        await eventually(said)
        await generation_streams.make_generation(clew.js, 1, shards=size.shards, replicas=size.replicas)
        await filled(clew, 3)
        await buckets_equal_the_log(clew)
    assert len(warnings(caplog)) == len(set(warnings(caplog)))  # each reason once


async def test_the_proof_of_a_generation_that_is_removed_goes_on_with_the_live_one_and_says_nothing(
    clew: Clew, other: Clew, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(clew, 3)
    monkeypatch.setattr(watch, "PAUSE", 0.01)
    step, stop, proved = watch.Watch.step, asyncio.Event(), list[int]()

    async def step_late(self: watch.Watch, generation: GenerationBuckets, shard: int) -> float:
        if not proved:
            proved.append(generation.number)
            await clew.rebuild().run()
            await clew.kept.remove(1)
        cost = await step(self, generation, shard)
        proved.append(generation.number)
        stop.set()
        return cost

    monkeypatch.setattr(watch.Watch, "step", step_late)
    async with asyncio.timeout(PATIENCE):
        await other.watch(1_000_000).run(stop)
    assert proved == [1, 2]
    assert warnings(caplog) == []


async def test_a_half_built_generation_is_not_gone_to_and_can_be_given_up_while_it_is_built(
    clew: Clew, other: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(clew, 3)
    waiting = asyncio.Event()

    reached = Rebuild._reached

    async def never_there(self: Rebuild, side: GenerationBuckets) -> rebuilding._LogProgress:
        waiting.set()
        return replace(await reached(self, side), behind=5 if side.number == 2 else 0, floors=[-1, -1])

    monkeypatch.setattr(Rebuild, "_reached", never_there)
    building = asyncio.create_task(clew.rebuild().run())
    await waiting.wait()
    with pytest.raises(Invalid, match="being built"):
        await other.kept.go_back(2)
    await other.kept.remove(2)
    with pytest.raises(Conflict, match="generation 2 was removed"):
        await asyncio.wait_for(building, 60)
    assert clew.live.record.live == 1


async def test_a_generation_that_is_not_what_the_log_says_does_not_take_over(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    (thread, *_) = await filled(clew, 3)
    compare = Rebuild._compare

    async def spoiled(self: Rebuild, side: GenerationBuckets) -> object:
        bucket = side.threads
        value = await bucket.get(thread_key(Address("default", thread)))
        assert value is not None
        await bucket.put(
            thread_key(Address("default", thread)), value.body.replace(b'"n":"0"', b'"n":"9"'), value.revision
        )
        return await compare(self, side)

    monkeypatch.setattr(Rebuild, "_compare", spoiled)
    done = await clew.rebuild().run()
    assert (done.live, done.drifted) == (False, 1)
    assert done.findings[0].thread == thread
    assert clew.live.current.number == 1
    with pytest.raises(Invalid):
        await clew.kept.go_back(2)


# A bucket that is gone.


@pytest.mark.parametrize("which", [0, 1], ids=["threads", "commands"])
async def test_answers_stay_right_while_a_live_bucket_is_gone_and_init_brings_another_generation(
    clew: Clew, other: Clew, which: int
) -> None:
    (thread, *_) = await filled(clew, 3)
    writer = Writer(clew.handler)
    async with projecting(other):
        await buckets_equal_the_log(clew)
        await other.reader.thread("default", GetThread(thread_id=thread))
        await clew.js.api(f"STREAM.DELETE.KV_{bucket_names(1)[which]}")
        for n in range(3):
            done = await writer.add(thread, f"m{n}")
            assert (await other.reader.thread("default", GetThread(thread_id=thread))).n == done.n
        assert await texts(other, thread) == ["hello", "one", "m0", "m1", "m2"]
        async with connected_fresh(other) as fresh:
            assert await texts(fresh, thread) == ["hello", "one", "m0", "m1", "m2"]
        await provision.init(clew.js, shards=2, max_msg_size=clew.nc.max_payload)
        await live_in(other, 2)
        await live_in(clew, 2)
        await buckets_equal_the_log(clew)
        assert await texts(other, thread) == ["hello", "one", "m0", "m1", "m2"]


@contextlib.asynccontextmanager
async def connected_fresh(like: Clew) -> AsyncIterator[Clew]:
    """A process that remembers nothing, on a deployment that no new process would start on."""
    written = await like.live.alias.read_record()
    yield Clew(like.opened, written)


# A fold that was changed.


class Shouting:
    """A fold of another number: it keeps metadata in capitals."""

    FOLD = FOLD + 1

    @staticmethod
    def evolve(state: ThreadState, event: object) -> ThreadState:
        after = evolve(state, event)  # type: ignore[arg-type, type-var]
        return replace(after, metadata={key: value.upper() for key, value in after.metadata.items()})


async def created(clew: Clew, **metadata: str) -> Outcome:
    return await Writer(clew.handler).create(metadata=metadata)


async def test_a_version_with_another_fold_keeps_its_hands_off_the_live_generation_and_answers_by_its_own(
    clew: Clew, deployment: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    thread = thread_id(await created(clew, mood="calm"))
    async with projecting(clew):
        await buckets_equal_the_log(clew)
    before = await clew.live.current.threads.get(thread_key(Address("default", thread)))

    async with connect(deployment.url, name="next version", fold=Shouting.FOLD) as new:
        with monkeypatch.context() as patch:
            patch.setattr(apply, "evolve", Shouting.evolve)
            stop = asyncio.Event()
            feeding = asyncio.create_task(new.project(stop))
            for consistency in ("strong", "eventual"):
                found = await new.reader.thread("default", GetThread(thread_id=thread, consistency=consistency))  # type: ignore[arg-type]
                assert found.thread is not None
                assert found.thread.metadata == {"mood": "CALM"}
            await Writer(new.handler).add(thread, "more")
            assert await texts(new, thread) == ["more"]
            assert "clew rebuild threads" in caplog.text
            assert await clew.live.current.threads.get(thread_key(Address("default", thread))) == before

            # The release: the new version builds the next generation, and from then on feeds it.
            done = await new.rebuild().run()
            assert (done.live, done.fold) == (True, Shouting.FOLD)
            value = await new.live.current.threads.get(thread_key(Address("default", thread)))
            assert value is not None
            assert b'"mood":"CALM"' in value.body
            await Writer(new.handler).add(thread, "and more")
            await buckets_equal_the_log(new)
            stop.set()
            await feeding
        # The old version, where it still runs, answers by its own fold.
        await live_in(clew, 2)
        found = await clew.reader.thread("default", GetThread(thread_id=thread))
        assert found.thread is not None
        assert found.thread.metadata == {"mood": "calm"}
        assert await texts(clew, thread) == ["more", "and more"]


async def test_two_folds_do_not_build_at_once(clew: Clew, deployment: EmbeddedServer) -> None:
    await filled(clew, 1)
    async with connect(deployment.url, name="next version", fold=FOLD + 1) as new:
        await new.live.alias.change(lambda each: rebuilding.record.begin_build(each, FOLD + 1, rebuilding._now()))
        with pytest.raises(Conflict, match="rebuild remove 2") as refused:
            await clew.rebuild().run()
        assert refused.value.code == "rebuild_under_way"
        await clew.kept.remove(2)
        assert (await clew.rebuild().run()).generation == 3
