"""Requests to erase, from every door: what they leave on record, and how far each erasure is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
import pytest
from msgspec.structs import replace

from clew_events import client
from clew_events.client.sync import connect as connect_blocking
from clew_events.commands import (
    AddMessage,
    CreateThread,
    DeleteThread,
    EraseMessage,
    EraseThread,
    UpdateMessage,
    UpdateThread,
)
from clew_events.erasures import Erasure
from clew_events.errors import AlreadyErased, AlreadyExists, Conflict, IdReused, Invalid, NotFound, Unavailable
from clew_events.queries import GetErasure, ListErasures
from clew_events.requests import MetadataPatch, NewMessage
from clew_events.subjects import ERASED_STREAM, Address, erasure_subject, event_stream, event_subject
from clew_projections.history.pending_erasures import PendingErasures
from clew_projections.nats.jetstream import stream_state
from clew_projections.nats.request_mux import Request
from clew_services.compose import Clew
from clew_services.erasure import records as records_module
from clew_services.erasure import worker as worker_module
from clew_services.erasure.eraser import Budget, Eraser, Loss
from clew_services.erasure.records import ErasureRecords
from clew_services.threads.handler import Handler
from support import erasure_worker
from support.asgi import ERASURE_ID, IN, KEYS, MESSAGE_ID, call
from support.nats_services import served
from support.truth import projecting
from support.waiting import eventually
from support.writers import handler

ACME = "acme"
HI = NewMessage(role="user", content="a text to be erased")


async def create(clew: Clew, thread: str, messages: int = 2, tenant: str = ACME) -> list[str]:
    """A thread with messages, whose ids are returned."""
    created = await clew.handler.handle(tenant, CreateThread(thread_id=thread, messages=(HI,) * messages))
    assert created.thread is not None
    page = [each async for each in clew.histories.after(Address(tenant, thread), 0)]
    return [event.item for event in page[0].commit.events[1:]]


async def erase(clew: Clew, thread: str, **fields: object) -> Erasure:
    done = await clew.handler.handle(ACME, EraseThread(thread_id=thread, **fields), actor="dpo", by="test")
    assert done.erasure is not None
    return done.erasure


async def newest(clew: Clew, erasure: Erasure, tenant: str = ACME) -> Erasure:
    found = await clew.erasure_records.find(tenant, erasure.id)
    assert found is not None
    return found.erasure


async def carry_on(clew: Clew, erasure: Erasure, **changes: object) -> Erasure:
    """The next record of an erasure, as the worker writes it."""
    record = await clew.erasure_records.find(ACME, erasure.id)
    assert record is not None
    written = await clew.erasure_records.write(ACME, replace(record.erasure, **changes), record.revision)
    assert written is not None
    return written.erasure


async def complete(clew: Clew, erasure: Erasure) -> str:
    """Have an erasure completed, and return its certificate."""
    await erasure_worker.complete_all(clew)
    certificate = await clew.erasure_records.certificate(erasure.id)
    assert certificate is not None
    return certificate.note.decode()


# What is on record.


async def test_an_erasure_is_on_record_with_the_place_of_its_request(clew: Clew) -> None:
    await create(clew, "thread_a")
    erasure = await erase(clew, "thread_a", reason="asked_by_customer")
    assert (erasure.status, erasure.code, erasure.actor, erasure.by) == (
        "requested",
        "asked_by_customer",
        "dpo",
        "test",
    )
    assert erasure.n == 2
    request = await clew.histories.at(Address(ACME, "thread_a"), erasure.position.seq)
    assert [type(event).__name__ for event in request.commit.events] == ["ThreadDeleted", "ErasureRequested"]
    assert await newest(clew, erasure) == erasure
    assert [record.erasure for record in await clew.erasure_records.pending()] == [erasure]


async def test_the_record_is_there_before_the_request_is_in_the_log(clew: Clew) -> None:
    await create(clew, "thread_a")
    seen: list[Erasure] = []

    class Watched(ErasureRecords):
        async def announce(self, tenant: str, erasure: Erasure) -> None:
            await super().announce(tenant, erasure)
            found = await self.find(tenant, erasure.id)
            assert found is not None
            assert (await clew.current.read_current(Address(tenant, "thread_a"))).thread.n == 1
            seen.append(found.erasure)

    await with_records(clew, Watched(clew.js, clew.js.pending)).handle(ACME, EraseThread(thread_id="thread_a"))
    assert [(erasure.status, erasure.n, erasure.position) for erasure in seen] == [("requested", None, None)]


def with_records(clew: Clew, records: ErasureRecords) -> Handler:
    """A handler of another process, with records that a test watches."""
    made = handler(clew)
    made._erasures = records
    return made


async def test_whoever_dies_between_the_request_and_its_record_leaves_what_a_repeat_repairs(clew: Clew) -> None:
    await create(clew, "thread_a")

    class Dying(ErasureRecords):
        async def confirm(self, tenant: str, erasure: Erasure) -> Erasure:
            raise Unavailable("died")

    command = EraseThread(id="erase-1", thread_id="thread_a")
    with pytest.raises(Unavailable) as fault:
        await with_records(clew, Dying(clew.js, clew.js.pending)).handle(ACME, command)
    assert fault.value.outcome_unknown
    (left,) = await clew.erasure_records.pending()
    assert left.erasure.n is None

    repeated = await clew.handler.handle(ACME, command)
    assert repeated.erasure is not None
    assert (repeated.erasure.id, repeated.erasure.n) == (left.erasure.id, 2)
    assert await newest(clew, repeated.erasure) == repeated.erasure


async def test_a_record_that_was_lost_is_written_again_by_a_repeat(clew: Clew) -> None:
    await create(clew, "thread_a")
    erasure = await erase(clew, "thread_a", id="erase-1")
    await clew.js.api(f"STREAM.PURGE.{ERASED_STREAM}", {"filter": erasure_subject(ACME, erasure.id)})
    assert await clew.erasure_records.find(ACME, erasure.id) is None
    assert await erase(clew, "thread_a", id="erase-1") == erasure
    assert await newest(clew, erasure) == erasure


async def test_a_repeat_is_answered_with_the_erasure_as_it_is_now(clew: Clew) -> None:
    await create(clew, "thread_a")
    erasure = await erase(clew, "thread_a", id="erase-1", reason="asked")
    now = await carry_on(clew, erasure, status="erased", commits=1, erased_at=datetime.now(UTC))
    assert await erase(clew, "thread_a", id="erase-1", reason="asked") == now
    assert await erase(clew, "thread_a", id="erase-1", reason="another_code") == now  # why is no part of what is asked
    with pytest.raises(IdReused):
        await clew.handler.handle(ACME, DeleteThread(id="erase-1", thread_id="thread_a"))


async def test_an_erasure_that_is_taken_for_failed_is_requested_again_when_its_commit_comes_late(clew: Clew) -> None:
    await create(clew, "thread_a")
    late: list[Erasure] = []

    class Late(ErasureRecords):
        async def announce(self, tenant: str, erasure: Erasure) -> None:
            await super().announce(tenant, erasure)
            late.append(await carry_on(clew, erasure, status="failed", fault="no request"))

    done = await with_records(clew, Late(clew.js, clew.js.pending)).handle(ACME, EraseThread(thread_id="thread_a"))
    assert late[0].status == "failed"
    assert done.erasure is not None
    assert (done.erasure.status, done.erasure.n, done.erasure.fault) == ("requested", 2, None)
    assert await newest(clew, done.erasure) == done.erasure


async def test_a_request_that_is_refused_leaves_no_record(clew: Clew) -> None:
    messages = await create(clew, "thread_a")
    for command, refusal in (
        (EraseThread(thread_id="thread_a", expected_version=7), Conflict),
        (EraseThread(thread_id="thread_a", reason="by mail, from Ada"), Invalid),
        (EraseThread(thread_id="thread_unknown"), NotFound),
        (EraseMessage(thread_id="thread_a", message_id=MESSAGE_ID), NotFound),
        (EraseMessage(thread_id="thread_a", message_id=messages[0], expected_version=3), Conflict),
        (EraseMessage(thread_id="thread_unknown", message_id=messages[0]), NotFound),
    ):
        with pytest.raises(refusal):
            await clew.handler.handle(ACME, command)
    with pytest.raises(NotFound):
        await clew.handler.handle("globex", EraseThread(thread_id="thread_a"))
    assert await clew.erasure_records.pending() == ()
    assert await clew.js.subjects(ERASED_STREAM, ">") == {}


async def test_a_process_that_knows_of_no_erasure_yet_leaves_no_record_of_another(clew: Clew) -> None:
    behind = handler(clew)
    await behind.handle(ACME, CreateThread(thread_id="thread_a"))
    erasure = await erase(clew, "thread_a")
    with pytest.raises(AlreadyErased):
        await behind.handle(ACME, EraseThread(thread_id="thread_a"))
    assert [each.erasure for each in await clew.erasure_records.pending()] == [erasure]


async def test_messages_of_one_commit_are_erased_one_after_the_other_and_then_their_thread(clew: Clew) -> None:
    first, second = await create(clew, "thread_a")
    erasures = []
    for message in (first, second):
        done = await clew.handler.handle(ACME, EraseMessage(thread_id="thread_a", message_id=message))
        assert done.erasure is not None
        assert done.erasure.message_id == message
        erasures.append(done.erasure)
        with pytest.raises(AlreadyErased, match=done.erasure.id):
            await clew.handler.handle(ACME, EraseMessage(thread_id="thread_a", message_id=message))
    erasures.append(await erase(clew, "thread_a"))
    assert erasures[2].message_id is None
    for command in (EraseThread(thread_id="thread_a"), EraseMessage(thread_id="thread_a", message_id=first)):
        with pytest.raises(AlreadyErased, match=erasures[2].id):
            await clew.handler.handle(ACME, command)
    assert [record.erasure for record in await clew.erasure_records.pending()] == erasures


async def test_a_deleted_thread_and_its_messages_can_be_erased(clew: Clew) -> None:
    first, _ = await create(clew, "thread_a")
    await clew.handler.handle(ACME, DeleteThread(thread_id="thread_a"))
    done = await clew.handler.handle(ACME, EraseMessage(thread_id="thread_a", message_id=first))
    assert done.erasure is not None
    assert (await erase(clew, "thread_a")).n == 4


async def test_a_repeat_of_what_was_erased_since_is_told_so_and_writes_nothing(clew: Clew) -> None:
    await create(clew, "thread_a")
    add = AddMessage(id="add-1", thread_id="thread_a", message=HI)
    added = await clew.handler.handle(ACME, add)
    assert added.message is not None
    erased = await clew.handler.handle(ACME, EraseMessage(thread_id="thread_a", message_id=added.message.id))
    assert erased.erasure is not None
    with pytest.raises(AlreadyErased, match=erased.erasure.id):
        await clew.handler.handle(ACME, add)

    update = UpdateThread(id="update-1", thread_id="thread_a", metadata={"customer": "c-1"})
    updated = await clew.handler.handle(ACME, update)
    assert (await clew.handler.handle(ACME, update)).n == updated.n
    whole = await erase(clew, "thread_a")
    with pytest.raises(AlreadyExists):
        await clew.handler.handle(ACME, CreateThread(id="create-2", thread_id="thread_a"))
    with pytest.raises(AlreadyErased, match=whole.id):
        await clew.handler.handle(ACME, update)
    assert (await clew.current.read_current(Address(ACME, "thread_a"))).thread.n == whole.n


async def test_an_id_whose_contents_were_erased_is_no_id_for_another_command(clew: Clew) -> None:
    created = await clew.handler.handle(ACME, CreateThread(id="first", thread_id="thread_a", messages=(HI, HI)))
    record = (await clew.histories.tail(Address(ACME, "thread_a"), 0))[0]
    first, second = (event.item for event in record.commit.events[1:])
    patch = MetadataPatch(set={"a": "b"})
    changed = UpdateMessage(id="second", thread_id="thread_a", message_id=first, patch=patch)
    await clew.handler.handle(ACME, changed)
    await clew.handler.handle(ACME, EraseMessage(thread_id="thread_a", message_id=first))
    await erasure_worker.complete_all(clew)
    again = await clew.handler.handle(ACME, CreateThread(id="first", thread_id="thread_a", messages=(HI, HI)))
    assert (again.n, again.thread) == (1, created.thread)
    for other in (
        UpdateThread(id="first", thread_id="thread_a", patch=patch),
        UpdateMessage(id="second", thread_id="thread_a", message_id=second, patch=patch),
        AddMessage(id="second", thread_id="thread_a", message=HI),
    ):
        with pytest.raises(IdReused):
            await clew.handler.handle(ACME, other)
    with pytest.raises(AlreadyErased):
        await clew.handler.handle(ACME, changed)


async def test_the_creation_of_a_thread_that_was_erased_since_is_not_repeated(clew: Clew) -> None:
    command = CreateThread(id="create-1", metadata={"customer": "c-1"})
    created = await clew.handler.handle(ACME, command)
    assert created.thread is not None
    erasure = await erase(clew, created.thread.id)
    with pytest.raises(AlreadyErased, match=erasure.id):
        await handler(clew).handle(ACME, command)


# Lists.


async def test_erasures_are_listed_newest_first_page_by_page_each_as_it_is_now(clew: Clew) -> None:
    made = []
    for number in range(7):
        await create(clew, f"thread_{number}", messages=0)
        made.append(await erase(clew, f"thread_{number}"))
    made[3] = await carry_on(clew, made[3], status="erased")
    made.reverse()
    pages, after = [], None
    while True:
        page = await clew.erasures.page(ACME, ListErasures(limit=3, after=after))
        pages.append(page)
        if not page.has_more:
            break
        after = page.last_id
    assert [len(page.data) for page in pages] == [3, 3, 1]
    assert [erasure for page in pages for erasure in page.data] == made
    for page in pages:
        assert (page.first_id, page.last_id) == (page.data[0].id, page.data[-1].id)
    assert (await clew.erasures.page("globex", ListErasures())).data == ()


async def test_a_list_of_erasures_goes_through_however_much_lies_between_them(clew: Clew) -> None:
    await create(clew, "thread_a", messages=0)
    old = await erase(clew, "thread_a")
    for round_ in range(4):
        await clew.js.publish_each(
            [Request(f"clew.erased.00.0.{round_ * 500 + seq}.acme.thread_b.1", b"x") for seq in range(500)]
        )
    await create(clew, "thread_c", messages=0)
    new = await erase(clew, "thread_c")
    assert (await clew.erasures.page(ACME, ListErasures())).data == (new, old)
    assert (await clew.erasures.page(ACME, ListErasures(after=new.id))).data == (old,)
    assert [record.erasure for record in await ErasureRecords(clew.js, clew.js.pending).pending()] == [old, new]


async def test_erasures_are_chosen_by_status_and_by_thread(clew: Clew) -> None:
    first, second = await create(clew, "thread_a")
    of_first = (await clew.handler.handle(ACME, EraseMessage(thread_id="thread_a", message_id=first))).erasure
    assert of_first is not None
    await create(clew, "thread_b")
    of_b = await erase(clew, "thread_b")
    of_second = (await clew.handler.handle(ACME, EraseMessage(thread_id="thread_a", message_id=second))).erasure
    assert of_second is not None
    await carry_on(clew, of_first, status="completed")
    completed = await newest(clew, of_first)

    async def chosen(**query: object) -> tuple[Erasure, ...]:
        return (await clew.erasures.page(ACME, ListErasures(**query))).data

    assert await chosen(status="requested") == (of_second, of_b)
    assert await chosen(status="completed") == (completed,)
    assert await chosen(thread_id="thread_a") == (of_second, completed)
    assert await chosen(thread_id="thread_a", status="requested") == (of_second,)
    assert await chosen(thread_id="thread_unknown") == ()
    assert await chosen(status="requested", limit=1) == (of_second,)
    assert await chosen(status="requested", limit=1, after=of_second.id) == (of_b,)


async def test_pending_erasures_are_those_of_all_tenants_that_are_not_done(clew: Clew) -> None:
    records = ErasureRecords(clew.js, clew.js.pending)
    assert await records.pending() == ()
    await create(clew, "thread_a", tenant="globex")
    other = (await clew.handler.handle("globex", EraseThread(thread_id="thread_a"))).erasure
    await create(clew, "thread_b")
    mine = await erase(clew, "thread_b")
    assert [(each.tenant, each.erasure) for each in await records.pending()] == [("globex", other), (ACME, mine)]
    await carry_on(clew, mine, status="completed")
    assert [each.erasure for each in await records.pending()] == [other]
    assert await records.pending() == await ErasureRecords(clew.js, clew.js.pending).pending()


async def test_a_process_that_starts_reads_only_what_was_written_since_the_oldest_pending_erasure(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records_module, "_FLOORS_APART", 1)
    for number in range(3):
        await create(clew, f"thread_{number}")
        await erase(clew, f"thread_{number}")
    async with projecting(clew):
        await erasure_worker.complete_all(clew)
    last = (await stream_state(clew.connection.js, ERASED_STREAM)).last_seq
    await create(clew, "thread_a")
    pending = await erase(clew, "thread_a")
    await clew.erasure_records.pending()
    await clew.erasure_records.raise_floor()
    later = PendingErasures(clew.connection.js)
    assert [each.erasure for each in await later.records()] == [pending]
    assert later.floor_read > last
    assert pending.position is not None
    assert later.may_concern(event_subject(pending.position.shard, Address(ACME, "thread_a")))


async def test_shards_are_gone_through_side_by_side(clew: Clew) -> None:
    """Each waits for the other, so one after the other would never end."""
    both, made = asyncio.Barrier(2), erasure_worker.worker(clew)

    class Waiting(Eraser):
        async def erase(self, losses: Iterable[Loss], tell: Callable[[int], None] = lambda _: None) -> None:
            await both.wait()
            await super().erase(losses, tell)

    threads = {clew.histories.shard(Address(ACME, thread)): thread for thread in (f"thread_{n}" for n in range(9))}
    assert len(threads) == 2
    for thread in threads.values():
        await create(clew, thread)
        await erase(clew, thread)
    made._parts = replace(made._parts, eraser=Waiting(clew.connection.js, Budget()))
    async with projecting(clew):
        await made.step()
    assert {each.erasure.commits for each in await clew.erasure_records.pending()} <= {1}
    assert {(await clew.connection.js.at(event_stream(shard), [1]))[0] for shard in threads} == {None}


async def test_a_request_that_is_not_in_the_log_keeps_nobody_waiting(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "REST", 1e9)  # times what a renewal takes: while others can share it, none
    made = erasure_worker.worker(clew)

    announced = list[Erasure]()

    async def done() -> bool:
        return await made.step() == len(announced)

    async with projecting(clew):
        for thread in ("thread_a", "thread_b"):
            await create(clew, thread)
            erasure = await erase(clew, thread)
            await eventually(done)
            announced.append(replace(erasure, id=f"erasure_{thread[-1] * 24}", n=None, position=None))
            await clew.erasure_records.announce(ACME, announced[-1])
    assert {each.erasure.id for each in await clew.erasure_records.pending()} == {each.id for each in announced}


async def test_a_record_is_written_only_after_the_one_that_was_read(clew: Clew) -> None:
    await create(clew, "thread_a")
    erasure = await erase(clew, "thread_a")
    records = clew.erasure_records
    read = await records.find(ACME, erasure.id)
    assert read is not None
    assert await records.write(ACME, replace(erasure, status="erased"), read.revision) is not None
    assert await records.write(ACME, replace(erasure, status="failed"), read.revision) is None
    assert (await newest(clew, erasure)).status == "erased"


async def test_an_erasure_comes_with_its_certificate_once_it_is_completed(clew: Clew) -> None:
    await create(clew, "thread_a")
    erasure = await erase(clew, "thread_a")
    assert (await clew.erasures.one(ACME, GetErasure(erasure_id=erasure.id))).signed is None
    note = await complete(clew, erasure)
    found = await clew.erasures.one(ACME, GetErasure(erasure_id=erasure.id))
    assert found.status == "completed"
    assert found.signed is not None
    assert (found.signed.note, found.signed.says.erasure) == (note, erasure.id)
    assert len(found.signed.keys) == 1
    with pytest.raises(NotFound):
        await clew.erasures.one("globex", GetErasure(erasure_id=erasure.id))


# Over HTTP.


async def post(clew: Clew, path: str, body: bytes = b"", **headers: str):
    return await call(clew, "POST", path, body, {**IN, **headers})


async def got(clew: Clew, path: str):
    return await call(clew, "GET", path)


async def test_over_http_an_erasure_is_accepted_followed_and_listed(clew: Clew) -> None:
    await create(clew, "thread_a")
    asked = await post(clew, "/v1/threads/thread_a/erase", b'{"reason": "asked_by_customer"}')
    assert asked.status == 202
    erasure = json.loads(asked.body)
    assert (erasure["object"], erasure["status"], erasure["code"]) == ("erasure", "requested", "asked_by_customer")
    followed = await got(clew, f"/v1/erasures/{erasure['id']}")
    assert json.loads(followed.body) == {**erasure, "signed": None}
    listed = json.loads((await got(clew, "/v1/erasures?thread_id=thread_a&limit=5")).body)
    assert listed == {
        "object": "list", "data": [erasure], "first_id": erasure["id"], "last_id": erasure["id"], "has_more": False,
    }  # fmt: skip
    note = await complete(clew, await newest(clew, msgspec.json.decode(asked.body, type=Erasure)))
    done = json.loads((await got(clew, f"/v1/erasures/{erasure['id']}")).body)
    assert (done["status"], done["signed"]["note"]) == ("completed", note)
    assert done["signed"]["says"]["thread"] == "thread_a"


async def test_over_http_a_key_of_idempotency_finds_its_erasure_again(clew: Clew) -> None:
    first, second = await create(clew, "thread_a")
    path = f"/v1/threads/thread_a/messages/{first}/erase"
    asked = await post(clew, path, **{"Idempotency-Key": "order-7"})
    again = await post(clew, path, **{"Idempotency-Key": "order-7"})
    assert (asked.status, again.status) == (202, 202)
    assert again.body == asked.body
    other = await post(clew, f"/v1/threads/thread_a/messages/{second}/erase", **{"Idempotency-Key": "order-7"})
    assert (other.status, other.error["code"], other.error["param"]) == (409, "command_id_reused", "Idempotency-Key")
    without = await post(clew, path)
    assert (without.status, without.error["code"]) == (409, "already_erased")
    assert json.loads(asked.body)["id"] in without.error["message"]


async def test_over_http_bad_requests_are_told_what_is_wrong_and_erase_nothing(clew: Clew) -> None:
    (message,) = await create(clew, "thread_a", messages=1)
    thread, one = "/v1/threads/thread_a/erase", f"/v1/threads/thread_a/messages/{message}/erase"
    for path, body, headers, status, code, param in (
        ("/v1/threads/thread_unknown/erase", b"", {}, 404, None, None),
        (f"/v1/threads/thread_a/messages/{MESSAGE_ID}/erase", b"", {}, 404, None, None),
        (thread, b'{"reason": "by mail from Ada"}', {}, 400, "invalid_value", "reason"),
        (thread, b"", {"Clew-Reason": "by mail from Ada"}, 400, "invalid_value", "Clew-Reason"),
        (one, b'{"reason": 7}', {}, 400, "invalid_type", "reason"),
        (one, b'{"why": "x"}', {}, 400, "unknown_parameter", "why"),
        (thread, b"[]", {}, 400, "invalid_type", None),
        (thread, b"", {"If-Match": '"9"'}, 412, "version_conflict", "If-Match"),
        (one, b"", {"If-Match": '"9"'}, 412, "version_conflict", "If-Match"),
        ("/v1/threads/no-thread/erase", b"", {}, 400, "invalid_value", "thread_id"),
    ):  # fmt: skip
        refused = await post(clew, path, body, **headers)
        assert refused.status == status, (path, refused.body)
        assert (refused.error["code"], refused.error["param"]) == (code, param), (path, refused.body)
    assert await clew.js.subjects(ERASED_STREAM, ">") == {}
    assert (await post(clew, one, **{"If-Match": '"1"'})).status == 202


async def test_over_http_a_question_about_erasures_that_cannot_be_answered_says_why(clew: Clew) -> None:
    await create(clew, "thread_a")
    erasure = await erase(clew, "thread_a")
    for path, status, code, param in (
        (f"/v1/erasures/{ERASURE_ID}", 404, None, None),
        ("/v1/erasures/7", 404, None, None),
        ("/v1/erasures/erasure_*", 404, None, None),
        (f"/v1/erasures?after={ERASURE_ID}", 404, None, None),
        ("/v1/erasures?after=latest", 400, "invalid_value", "after"),
        ("/v1/erasures?status=gone", 400, "invalid_value", "status"),
        ("/v1/erasures?limit=0", 400, "integer_below_min_value", "limit"),
        ("/v1/erasures?thread_id=x", 400, "invalid_value", "thread_id"),
        ("/v1/erasures?order=asc", 400, "unknown_parameter", "order"),
    ):
        refused = await got(clew, path)
        assert refused.status == status, (path, refused.body)
        assert (refused.error["code"], refused.error["param"]) == (code, param), (path, refused.body)
    other = {**IN, "Authorization": "Bearer a-key-for-globex"}
    assert (await call(clew, "GET", f"/v1/erasures/{erasure.id}", headers=other, keys=KEYS)).status == 404
    assert json.loads((await call(clew, "GET", "/v1/erasures", headers=other, keys=KEYS)).body)["data"] == []


async def test_a_key_that_may_write_everything_erases_nothing_without_the_scope_for_it(clew: Clew) -> None:
    (message,) = await create(clew, "thread_a", messages=1)
    holders = {}
    for scope in ("write", "erase", "audit", "read"):
        key, issued = await clew.keys.create(ACME, "tester", ["write", "read"] if scope == "write" else [scope])
        holders[scope] = key
        KEYS.admit(bytes.fromhex(issued.sha256), issued.holder)
    erasing = ["/v1/threads/thread_a/erase", f"/v1/threads/thread_a/messages/{message}/erase"]
    for scope in ("write", "audit", "read"):
        for path in erasing:
            refused = await post(clew, path, Authorization=f"Bearer {holders[scope]}")
            assert (refused.status, refused.error["code"]) == (403, "missing_scope")
            assert str(refused.error["message"]).endswith("Missing scopes: erase.")
    for scope, status in (("write", 403), ("read", 403), ("erase", 200), ("audit", 200)):
        listed = await call(clew, "GET", "/v1/erasures", headers={**IN, "Authorization": f"Bearer {holders[scope]}"})
        assert listed.status == status
        if status == 403:
            assert str(listed.error["message"]).endswith("Missing scopes: erase or audit.")
    assert (await post(clew, erasing[0], Authorization=f"Bearer {holders['erase']}")).status == 202


# Over NATS.


@asynccontextmanager
async def over_nats(clew: Clew, url: str) -> AsyncIterator[client.Clew]:
    async with served(clew), client.connect(url, tenant=ACME, actor="dpo") as asked:
        yield asked


async def test_over_nats_an_erasure_is_requested_followed_and_listed(clew: Clew, deployment) -> None:
    first, second = await create(clew, "thread_a")
    async with over_nats(clew, deployment.url) as asked:
        one = (await asked.erase_message("thread_a", first, reason="asked")).erasure
        whole = (await asked.erase_thread("thread_a")).erasure
        assert [erasure async for erasure in asked.iter_erasures()] == [whole, one]
        assert [erasure async for erasure in asked.iter_erasures(status="completed")] == []
        assert (await asked.list_erasures(limit=1, thread_id="thread_a")).has_more
        note = await complete(clew, one)
        found = await asked.get_erasure(one.id)
        assert found.signed is not None
        assert found.signed.note == note
        with pytest.raises(AlreadyErased, match=whole.id):
            await asked.erase_message("thread_a", second)
        await create(clew, "thread_b")
        with pytest.raises(Invalid) as refused:
            await asked.erase_thread("thread_b", reason="by mail from Ada")
        assert refused.value.param == "reason"
        with pytest.raises(NotFound) as missing:
            await asked.get_erasure(ERASURE_ID)
        assert missing.value.code == "erasure_not_found"
        with pytest.raises(Invalid):
            await asked.get_erasure("erasure_x")


async def test_over_nats_without_async_the_same_is_asked(clew: Clew, deployment) -> None:
    import asyncio

    await create(clew, "thread_a")
    async with served(clew):

        def asking() -> tuple[Erasure, list[Erasure], Erasure]:
            with connect_blocking(deployment.url, tenant=ACME) as asked:
                done = asked.erase_thread("thread_a").erasure
                return done, list(asked.iter_erasures()), asked.get_erasure(done.id)

        done, listed, found = await asyncio.to_thread(asking)
    assert listed == [done]
    assert (found.id, found.n) == (done.id, 2)


async def test_over_the_inbox_what_became_of_it_says_how_far_it_is(clew: Clew, deployment) -> None:
    await create(clew, "thread_a")
    async with over_nats(clew, deployment.url) as asked:
        outcome = await asked.nc.subscribe("clew.outcome.acme.dpo")
        command = {"id": "erase-1", "thread_id": "thread_a", "reply_to": "clew.outcome.acme.dpo"}
        await asked.nc.publish("clew.inbox.acme.erase_thread", json.dumps(command).encode())
        reply = json.loads((await outcome.next_msg(timeout=60)).data)
    assert reply["ok"]["erasure"]["status"] == "requested"
    assert await clew.erasure_records.find(ACME, reply["ok"]["erasure"]["id"]) is not None
