"""Group commit on a real server: nobody can tell, except by the number of fsyncs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from clew_events import ids
from clew_events.commands import CreateThread, UpdateThread
from clew_events.errors import Conflict
from clew_events.requests import MetadataPatch
from clew_events.subjects import Address, event_stream, event_subject, shard_of
from clew_projections.nats.headers import encode_headers
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.request_mux import Request, Timeout, Waiter
from clew_projections.nats.stream_messages import BATCH_ID, Ack
from clew_services.compose import Clew
from clew_services.eventstore.group_commit import ShardWriter
from support.auditing import audit

FOREVER = 60.0


def guarded(subject: str, message_id: str, expected: int = 0) -> Request:
    headers = {"Nats-Msg-Id": message_id, "Nats-Expected-Last-Subject-Sequence": str(expected)}
    return Request(subject, b"{}", encode_headers(headers))


def until(seconds: float = FOREVER) -> float:
    return asyncio.get_running_loop().time() + seconds


def thread_of_shard(shard: int, shards: int) -> str:
    while True:
        thread = ids.random_id("thread_")
        if shard_of(thread, shards) == shard:
            return thread


async def written(clew: Clew, count: int, expected: dict[int, int] | None = None) -> tuple[list[str], list[Ack]]:
    """Publish many commits to shard 0 at once; ``expected`` overrides the guard of some."""
    writer = ShardWriter(clew.js)
    shards = clew.deployment.shards
    subjects = [event_subject(0, Address("default", thread_of_shard(0, shards))) for _ in range(count)]
    acks = await asyncio.gather(
        *(
            writer.publish(guarded(subject, f"m{place}", (expected or {}).get(place, 0)), FOREVER, until())
            for place, subject in enumerate(subjects)
        )
    )
    return subjects, list(acks)


async def test_what_waits_together_is_stored_as_a_batch_and_each_gets_its_own_sequence(clew: Clew) -> None:
    subjects, acks = await written(clew, 120)

    for subject, ack in zip(subjects, acks, strict=True):
        stored = await clew.js.last(event_stream(0), subject)
        assert stored is not None
        assert ack.error is None
        assert ack.seq == stored.seq
    stored = await clew.js.lasts(event_stream(0), subjects)
    assert sum(BATCH_ID in each.headers for each in stored.values()) >= 64


async def test_a_lone_writer_never_waits_for_company(clew: Clew) -> None:
    (subject,), (ack,) = await written(clew, 1)
    stored = await clew.js.last(event_stream(0), subject)
    assert stored is not None
    assert stored.seq == ack.seq
    assert BATCH_ID not in stored.headers


async def test_one_stale_guard_refuses_its_own_commit_and_no_other(clew: Clew) -> None:
    subjects, acks = await written(clew, 100, expected={50: 7})

    assert [place for place, ack in enumerate(acks) if ack.error is not None] == [50]
    assert acks[50].error is not None
    assert acks[50].error.err_code in {10071, 10164}
    stored = await clew.js.lasts(event_stream(0), subjects)
    assert set(stored) == {subject for place, subject in enumerate(subjects) if place != 50}


async def test_a_batch_whose_answer_is_lost_is_resolved_member_by_member(clew: Clew) -> None:
    class Deaf(JetStream):
        """Stores the batch for real, and says that no answer came."""

        lost = 0

        async def store_batch(self, requests: Sequence[Request], timeout: float) -> list[Ack]:
            await clew.js.store_batch(requests, timeout)
            self.lost += 1
            raise Timeout("no answer", outcome_unknown=True)

    deaf = Deaf(clew.js._exchange)
    writer = ShardWriter(deaf)
    subjects = [event_subject(0, Address("default", thread_of_shard(0, 2))) for _ in range(60)]
    acks = await asyncio.gather(
        *(writer.publish(guarded(subject, f"m{place}"), FOREVER, until()) for place, subject in enumerate(subjects))
    )

    assert deaf.lost >= 1
    # What the lost batch stored is found by the guard on the way back in, and nothing is stored twice.
    assert all(ack.error is None or ack.error.err_code == 10071 for ack in acks)
    assert any(ack.error is not None for ack in acks)
    info = await clew.js.api(f"STREAM.INFO.{event_stream(0)}")
    assert info["state"]["messages"] == 60  # type: ignore[index]


class Held(JetStream):
    """Publishes nothing before it is let go."""

    def __init__(self, js: JetStream) -> None:
        super().__init__(js._exchange)
        self._held: list[tuple[Waiter, Request, float]] | None = []

    def begin(self, waiting: Waiter, request: Request, timeout: float) -> Callable[[], None]:
        if self._held is None:
            return super().begin(waiting, request, timeout)
        self._held.append((waiting, request, timeout))
        return lambda: None

    def let_go(self) -> None:
        held, self._held = self._held, None
        for each in held or ():
            super().begin(*each)


def publishes(writer: ShardWriter, count: int, seconds: float = FOREVER) -> list[asyncio.Task[Ack]]:
    subjects = [event_subject(0, Address("default", thread_of_shard(0, 2))) for _ in range(count)]
    return [
        asyncio.create_task(writer.publish(guarded(subject, subject), FOREVER, until(seconds))) for subject in subjects
    ]


async def test_what_waits_longer_than_it_may_is_in_doubt_and_holds_up_nobody(clew: Clew) -> None:
    held = Held(clew.js)
    writer = ShardWriter(held)
    under_way = publishes(writer, 1)
    await asyncio.sleep(0)
    late = await asyncio.gather(*publishes(writer, 20, 0.02), return_exceptions=True)
    assert all(isinstance(each, Timeout) and each.outcome_unknown for each in late)
    held.let_go()
    assert all(ack.error is None for ack in await asyncio.gather(*under_way, *publishes(writer, 30)))


async def test_those_that_are_cancelled_give_their_places_to_others(clew: Clew) -> None:
    held = Held(clew.js)
    writer = ShardWriter(held)
    waiting = publishes(writer, 12)
    await asyncio.sleep(0)  # one is under way, the others are queued
    await asyncio.sleep(0)  # seven more are under way
    for each in waiting[1:8]:
        each.cancel()
    held.let_go()
    acks = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(ack, asyncio.CancelledError) for ack in acks] == [False, *[True] * 7, *[False] * 4]
    assert all(ack.error is None for ack in await asyncio.gather(*publishes(writer, 30)))


async def test_commands_in_a_crowd_are_each_carried_out_once(clew: Clew) -> None:
    done = await asyncio.gather(
        *(clew.handler.handle("default", CreateThread(id=f"c{i}", metadata={"i": str(i)})) for i in range(400))
    )

    assert len({each.position for each in done}) == 400
    state = [await clew.js.api(f"STREAM.INFO.{event_stream(shard)}") for shard in range(2)]
    assert sum(each["state"]["messages"] for each in state) == 400  # type: ignore[index]
    async for _, folded in audit(clew).verify():
        assert folded.finding is None


async def test_a_crowd_on_one_thread_and_one_conflict_in_it(clew: Clew) -> None:
    created = await clew.handler.handle("default", CreateThread())
    assert created.thread is not None
    thread = created.thread.id

    async def patch(i: int) -> object:
        expected = 99 if i == 7 else None
        command = UpdateThread(
            thread_id=thread, patch=MetadataPatch(set={f"k{i % 16}": str(i)}), expected_version=expected
        )
        try:
            return await clew.handler.handle("default", command)
        except Conflict as conflict:
            return conflict

    results = await asyncio.gather(*(patch(i) for i in range(60)))
    assert [i for i, result in enumerate(results) if isinstance(result, Conflict)] == [7]
    numbers = sorted(result.n for result in results if not isinstance(result, Conflict))  # type: ignore[attr-defined]
    assert numbers == list(range(2, 61))
