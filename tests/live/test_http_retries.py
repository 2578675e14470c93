"""The ``openai`` client, as it is sold, over a wire that loses things: what it repeats by itself happens once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from openai import AsyncOpenAI, OpenAI

from clew_events.commit import Commit
from clew_events.subjects import Address, event_stream
from clew_services.compose import Clew
from clew_services.http.retries import Attempt
from support.api import ACME, served
from support.cutting import Cutting, Fate, Patient, cutting

pytestmark = pytest.mark.filterwarnings("ignore:The Assistants API is deprecated:DeprecationWarning")


@pytest.fixture(params=[False, True], ids=["done before the retry", "begun after the retry"])
def late(request: pytest.FixtureRequest) -> bool:
    """Whether the first attempt is not even begun before its repetition is done."""
    return bool(request.param)


@asynccontextmanager
async def over_a_wire(clew: Patient, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[AsyncOpenAI, Cutting]]:
    """A client of the API, and the wire between them."""
    real = Attempt.lost

    def lost(attempt: Attempt) -> None:
        real(attempt)
        clew.lost(attempt)

    monkeypatch.setattr(Attempt, "lost", lost)
    async with (
        served(clew) as url,
        cutting(url) as wire,
        AsyncOpenAI(api_key=ACME, base_url=f"{wire.url}/v1", max_retries=2, timeout=30) as client,
    ):
        yield client, wire


async def commits(clew: Clew, thread: str) -> list[Commit]:
    return [each.commit async for each in clew.histories.after(Address("acme", thread), 0)]


async def threads_in(clew: Clew) -> int:
    """How many threads there are in the log."""
    count = 0
    for shard in range(clew.deployment.shards):
        info = await clew.js.api(f"STREAM.INFO.{event_stream(shard)}", {"subjects_filter": ">"})
        count += len(info["state"].get("subjects") or {})
    return count


async def texts(client: AsyncOpenAI, thread: str) -> Counter[str]:
    found = [message async for message in client.beta.threads.messages.list(thread, limit=100)]
    return Counter(message.content[0].text.value for message in found)  # type: ignore[union-attr]


async def test_whatever_a_caller_did_not_stay_for_is_found_by_the_retry(
    clew: Clew, monkeypatch: pytest.MonkeyPatch, late: bool
):
    async with over_a_wire(Patient(clew, late=late), monkeypatch) as (client, wire):
        threads, messages = client.beta.threads, client.beta.threads.messages
        made = [
            await threads.create(messages=[{"role": "user", "content": "first"}], metadata={"n": str(n)})
            for n in range(5)
        ]
        firsts = [(await messages.list(thread.id)).data[0].id for thread in made]
        before = await threads_in(clew)

        calls = [
            threads.create(metadata={"k": "v"}),
            threads.update(made[0].id, metadata={"k": "v"}),
            messages.create(made[1].id, role="user", content="second"),
            messages.update(firsts[2], thread_id=made[2].id, metadata={"k": "v"}),
            messages.delete(firsts[3], thread_id=made[3].id),
            threads.delete(made[4].id),
        ]
        wire.fates.extend(["caller leaves"] * len(calls))
        created, updated, added, changed, dropped, deleted = await asyncio.gather(*calls)

        assert len([fate for fate, _ in wire.met if fate == "caller leaves"]) == len(calls)
        assert (updated.metadata, changed.metadata) == ({"k": "v"}, {"k": "v"})
        assert (dropped.id, deleted.id, deleted.deleted) == (firsts[3], made[4].id, True)
        assert [message.id for message in (await messages.list(made[1].id)).data] == [added.id, firsts[1]]
        assert await threads_in(clew) == before + 1
        assert [commit.n for commit in await commits(clew, created.id)] == [1]
        for thread in made:
            assert [commit.n for commit in await commits(clew, thread.id)] == [1, 2]


async def test_a_caller_who_lost_patience_finds_what_was_done(clew: Clew, monkeypatch: pytest.MonkeyPatch):
    began, left = asyncio.Event(), asyncio.Event()

    class Slow(Patient):
        async def handle(self, tenant, command, *, actor="", by="", trace=None, **_):
            done = await super().handle(tenant, command, actor=actor, by=by, trace=trace)
            if not began.is_set():
                began.set()
                await left.wait()
            return done

        def lost(self, attempt: Attempt) -> None:
            left.set()

    async with over_a_wire(Slow(clew), monkeypatch) as (client, wire):
        direct = client.with_options(timeout=4, base_url=f"{wire.behind}/v1")
        created = await direct.beta.threads.create()
        assert left.is_set()
        assert await threads_in(clew) == 1
        assert (await client.beta.threads.retrieve(created.id)).id == created.id


async def test_the_synchronous_client_finds_it_as_well(clew: Clew, monkeypatch: pytest.MonkeyPatch):
    async with over_a_wire(Patient(clew), monkeypatch) as (_, wire):

        def live() -> None:
            with OpenAI(api_key=ACME, base_url=f"{wire.url}/v1", max_retries=2) as client:
                thread = client.beta.threads.create().id
                client.beta.threads.messages.create(thread, role="user", content="hi")

        wire.fates.extend(["caller leaves", "caller leaves"])
        await asyncio.to_thread(live)
        assert [fate for fate, _ in wire.met] == ["caller leaves", "pass"] * 2
        assert await threads_in(clew) == 1


def mixed(fates: Iterable[Fate], times: int) -> list[Fate]:
    """Each of ``fates`` so often, in an order that is the same every time."""
    each = [fate for fate in fates for _ in range(times)]
    random.Random(7).shuffle(each)
    return each


async def test_of_equal_requests_at_once_none_is_swallowed_and_none_shares_an_answer(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
):
    async with over_a_wire(Patient(clew), monkeypatch) as (client, wire):
        wire.fates.extend(mixed(["pass", "never arrives", "caller leaves"], 17))
        made = await asyncio.gather(*(client.beta.threads.create() for _ in range(51)))
        assert len({thread.id for thread in made}) == 51
        assert await threads_in(clew) == 51

        thread = made[0].id
        wire.fates.extend(mixed(["pass", "never arrives", "caller leaves"], 7))
        said = await asyncio.gather(
            *(client.beta.threads.messages.create(thread, role="user", content="hello") for _ in range(21))
        )
        assert len({message.id for message in said}) == 21
        assert await texts(client, thread) == {"hello": 21}


async def test_a_retry_is_not_given_what_another_caller_waits_for(clew: Clew, monkeypatch: pytest.MonkeyPatch):
    began, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Patient):
        async def handle(self, tenant, command, *, actor="", by="", trace=None, **_):
            done = await super().handle(tenant, command, actor=actor, by=by, trace=trace)
            if not began.is_set():
                began.set()
                await go_on.wait()
            return done

    async with over_a_wire(Slow(clew), monkeypatch) as (client, wire):
        wire.fates.extend(["pass", "never arrives"])
        waiting = asyncio.create_task(client.beta.threads.create())
        await began.wait()
        retried = await client.beta.threads.create()
        go_on.set()
        assert (await waiting).id != retried.id
        assert await threads_in(clew) == 2


async def test_an_answer_lost_on_its_way_is_not_given_to_anybody_else(clew: Clew, monkeypatch: pytest.MonkeyPatch):
    """The service cannot know that it was lost, and the same request may come from somebody else."""
    async with over_a_wire(Patient(clew), monkeypatch) as (client, wire):
        wire.fates.append("answer is lost")
        await client.beta.threads.create()
        assert await threads_in(clew) == 2


LOSSES: list[Fate] = ["never arrives", "answer is lost"]


async def test_with_the_clients_own_keys_switched_on_no_loss_makes_a_second(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
):
    async with over_a_wire(Patient(clew), monkeypatch) as (client, wire):
        client._idempotency_header = "Idempotency-Key"
        for fate in LOSSES:
            before = await threads_in(clew)
            wire.fates.append(fate)
            thread = await client.beta.threads.create()
            wire.fates.append(fate)
            await client.beta.threads.messages.create(thread.id, role="user", content="hi")
            assert await threads_in(clew) == before + 1
            assert await texts(client, thread.id) == {"hi": 1}
        assert [fate for fate, _ in wire.met if fate != "pass"] == [fate for fate in LOSSES for _ in range(2)]


async def test_with_a_key_given_along_no_loss_makes_a_second(clew: Clew, monkeypatch: pytest.MonkeyPatch):
    async with over_a_wire(Patient(clew), monkeypatch) as (client, wire):
        wire.fates.extend(["answer is lost", "answer is lost"])
        thread = await client.beta.threads.create(extra_headers={"Idempotency-Key": "order-1042"})
        said = await client.beta.threads.messages.create(
            thread.id, role="user", content="hi", extra_headers={"Idempotency-Key": "order-1042-hello"}
        )
        assert await threads_in(clew) == 1
        assert [message.id for message in (await client.beta.threads.messages.list(thread.id)).data] == [said.id]
