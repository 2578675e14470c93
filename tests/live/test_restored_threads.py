"""A deleted thread that is restored is there again at every door, and in lists and searches, as it was."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from clew_events import client
from clew_events.client.sync import connect as connect_blocking
from clew_events.commands import EraseThread, RestoreThread
from clew_events.errors import AlreadyErased, Conflict, NotFound
from clew_events.events import Event, ItemDeleted, MetadataUpdated, ThreadCreated, ThreadDeleted, ThreadRestored
from clew_events.ids import item_id as id_of
from clew_events.list_query import Condition, ListThreads
from clew_events.subjects import Address
from clew_projections.history.log_reads import LogReads
from clew_projections.index.index import CurrentIndex
from clew_projections.index.notes import notes
from clew_projections.nats.stream_messages import StoredMessage
from clew_services.compose import Clew
from support.asgi import IN, call
from support.commits import CREATED, added, body_of, chain, commit, store
from support.indexes import caught_up, created, drift, fed, names, threads
from support.nats_services import served
from support.truth import buckets_equal_the_log, checkpointed, projecting
from support.waiting import eventually
from support.writers import Writer, message_id

ACME = "acme"
HOME = Address("default", "thread_made_by_hand")
LIFE: list[list[Event]] = [
    [ThreadCreated(metadata={"plan": "gold"})],
    [added(1, "a refund please")],
    [added(2, "never mind the parcel")],
    [ItemDeleted(item=id_of(2, "made"))],
    [MetadataUpdated(set={"plan": "silver"}, unset=())],
    [ThreadDeleted()],
]


async def tell(clew: Clew, *batches: list[Event], known: int = 0) -> None:
    """Store a thread's history, but for the commits that are known."""
    for each in chain(*batches, thread=HOME.thread)[known:]:
        await store(clew.nc, HOME, body_of(each.commit))


async def found(index: CurrentIndex, **query: object) -> list[str]:
    return [each.id for each in (await index.list("default", ListThreads(**query))).data]  # type: ignore[arg-type]


async def check_is_listed(clew: Clew, root: Path, index: CurrentIndex) -> None:
    """Check that the thread is found by what it has, and by nothing that it has no more."""
    assert await found(index, search="refund") == [HOME.thread]
    assert await found(index, search="parcel") == []
    assert await found(index, where=Condition.equal("plan", "silver")) == [HOME.thread]
    assert await found(index, where=Condition.equal("plan", "gold")) == []
    (listed,) = (await index.list("default", ListThreads(where=Condition.equal("plan", "silver")))).data
    assert (listed.metadata, listed.message_count, listed.created_by) == ({"plan": "silver"}, 1, "test")
    page = await index.list("default", ListThreads(count=True, facets=("plan",)))
    assert page.count is not None
    assert page.count.threads == len(await found(index, limit=100))
    assert await drift(clew, root) == []


# In the index.


async def test_lists_and_searches_find_a_restored_thread_by_all_that_it_has(clew: Clew, tmp_path: Path) -> None:
    root = tmp_path / "index"
    index = CurrentIndex(clew.index_in(root))
    async with fed(clew, root), projecting(clew):
        await created(clew, *names(10))
        await tell(clew, *LIFE)
        await caught_up(clew, root)
        assert await found(index, search="refund") == []
        await tell(clew, *LIFE, [ThreadRestored()], known=len(LIFE))
        await caught_up(clew, root)
        await check_is_listed(clew, root, index)
        # And once more, while something else happens to it.
        again = [*LIFE, [ThreadRestored()], [added(3, "another refund")], [ThreadDeleted()]]
        await tell(clew, *again, known=len(LIFE) + 1)
        await caught_up(clew, root)
        await tell(clew, *again, [ThreadRestored()], [ItemDeleted(item=id_of(3, "made"))], known=len(again))
        await caught_up(clew, root)
        await check_is_listed(clew, root, index)
        await buckets_equal_the_log(clew)
        await checkpointed(clew)
    await index.close()


async def test_a_thread_that_was_restored_while_nothing_indexed_is_listed_and_so_is_one_deleted_since(
    clew: Clew, tmp_path: Path
) -> None:
    root = tmp_path / "index"
    index = CurrentIndex(clew.index_in(root))
    async with fed(clew, root):
        await tell(clew, *LIFE)
        await caught_up(clew, root)
    await tell(clew, *LIFE, [ThreadRestored()], known=len(LIFE))
    async with fed(clew, root):
        await caught_up(clew, root)
        await check_is_listed(clew, root, index)
    more = [*LIFE, [ThreadRestored()], [ThreadDeleted()], [ThreadRestored()], [ThreadDeleted()]]
    await tell(clew, *more, known=len(LIFE) + 1)
    async with fed(clew, root):
        await caught_up(clew, root)
        assert await found(index) == []
        assert await drift(clew, root) == []
    # A new index reads the whole history anyway.
    assert (await clew.index_rebuild(root, lambda _: None).run()).findings == ()
    assert await drift(clew, root) == []
    await index.close()


async def test_a_restored_thread_is_whole_beside_one_that_cannot_be_folded(clew: Clew, tmp_path: Path) -> None:
    root = tmp_path / "index"
    index = CurrentIndex(clew.index_in(root))
    broken = Address("default", "thread_broken")
    async with fed(clew, root):
        await store(clew.nc, broken, body_of(commit(1, CREATED, thread=broken.thread)))
        await tell(clew, *LIFE)
        await caught_up(clew, root)
    # All in one batch: a commit that does not follow, and threads deleted and restored.
    await store(clew.nc, broken, body_of(commit(2, added(1), prev="0" * 64, thread=broken.thread)))
    await tell(clew, *LIFE, [ThreadRestored()], [ThreadDeleted()], [ThreadRestored()], known=len(LIFE))
    async with fed(clew, root):
        await caught_up(clew, root)
        folder = clew.index_in(root)
        assert [each.thread for each in notes(folder.file(1)).aside] == [broken.thread]
        await check_is_listed(clew, root, index)
    await index.close()


async def test_a_restored_thread_whose_history_is_damaged_is_left_out_and_the_others_go_on(
    clew: Clew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "index"
    async with fed(clew, root):
        await tell(clew, *LIFE)
        await caught_up(clew, root)
    reading = LogReads.after

    async def damaged(
        self: LogReads, stream: str, subject: str, seq: int, limit: int = 1000
    ) -> tuple[list[StoredMessage], bool]:
        page, more = await reading(self, stream, subject, seq, limit)
        spoilt = [replace(each, body=b"{}") if subject.endswith(HOME.thread) else each for each in page]
        return spoilt, more

    monkeypatch.setattr(LogReads, "after", damaged)
    await tell(clew, *LIFE, [ThreadRestored()], known=len(LIFE))
    await created(clew, *names(5))
    async with fed(clew, root):
        assert set(await caught_up(clew, root)) == set(names(5))
        assert [each.thread for each in notes(clew.index_in(root).file(1)).aside] == [HOME.thread]
    # After a repair it is there again.
    monkeypatch.undo()
    index = CurrentIndex(clew.index_in(root))
    async with fed(clew, root):
        await eventually(lambda: HOME.thread in threads(clew.index_in(root)))
        await check_is_listed(clew, root, index)
    await index.close()


# At the doors.


async def lived(clew: Clew, thread: str) -> tuple[str, str]:
    """A thread with two messages, one of them deleted, which was deleted itself."""
    writer = Writer(clew.handler, ACME)
    await writer.create(thread, metadata={"plan": "gold"})
    kept, gone = message_id(await writer.add(thread, "kept")), message_id(await writer.add(thread, "gone"))
    await writer.remove(thread, gone)
    await writer.delete(thread)
    return kept, gone


async def test_over_http_a_deleted_thread_is_restored(clew: Clew) -> None:
    kept, _ = await lived(clew, "thread_a")
    path = "/v1/threads/thread_a"
    assert (await call(clew, "GET", path)).status == 404
    said = {**IN, "Idempotency-Key": "undo-1", "If-Match": '"5"', "Clew-Reason": "deleted by mistake"}
    answers = [await call(clew, "POST", f"{path}/restore", headers=said) for _ in range(2)]
    for answer in answers:
        assert (answer.status, answer.headers["etag"]) == (200, '"6"')
        assert json.loads(answer.body)["metadata"] == {"plan": "gold"}
    page = json.loads((await call(clew, "GET", f"{path}/messages")).body)
    assert [each["id"] for each in page["data"]] == [kept]
    # Restored again, it stays as it is.
    answer = await call(clew, "POST", f"{path}/restore", b"{}")
    assert (answer.status, answer.headers["etag"]) == (200, '"6"')
    assert (await call(clew, "POST", f"{path}/messages", b'{"role": "user", "content": "more"}')).status == 200


async def test_over_http_what_cannot_be_restored_is_refused_with_the_reason(clew: Clew) -> None:
    await lived(clew, "thread_a")
    for path, headers, status, code in (
        ("thread_a", {"If-Match": '"4"'}, 412, "version_conflict"),
        ("thread_nowhere", {}, 404, None),
    ):
        refused = await call(clew, "POST", f"/v1/threads/{path}/restore", headers={**IN, **headers})
        assert (refused.status, refused.error["code"]) == (status, code)
    erasure = (await clew.handler.handle(ACME, EraseThread(thread_id="thread_a"))).erasure
    assert erasure is not None
    refused = await call(clew, "POST", "/v1/threads/thread_a/restore")
    assert (refused.status, refused.error["code"]) == (409, "already_erased")
    assert erasure.id in str(refused.error["message"])


async def test_over_nats_a_deleted_thread_is_restored_once_under_one_id(clew: Clew, deployment) -> None:
    kept, _ = await lived(clew, "thread_a")
    async with served(clew), client.connect(deployment.url, tenant=ACME, actor="support") as asked:
        with pytest.raises(Conflict):
            await asked.restore_thread("thread_a", expected_version=1)
        done = await asked.restore_thread("thread_a", command_id="undo-1", reason="deleted by mistake")
        assert (done.n, done.thread.version) == (6, 6)
        assert [each.id async for each in asked.iter_messages("thread_a")] == [kept]
        last = (await asked.history("thread_a", order="desc", limit=1)).commits[0].commit
        assert (last.command, last.actor, last.reason) == ("RestoreThread", "support", "deleted by mistake")
        await asked.delete_thread("thread_a")
        # The id was used, so the thread stays deleted.
        assert (await asked.restore_thread("thread_a", command_id="undo-1", reason="deleted by mistake")) == done
        with pytest.raises(NotFound):
            await asked.get_thread("thread_a")
        await asked.erase_thread("thread_a")
        with pytest.raises(AlreadyErased):
            await asked.restore_thread("thread_a")
        outcome = await asked.nc.subscribe("clew.outcome.acme.support")
        await lived(clew, "thread_b")
        await asked.enqueue(RestoreThread(thread_id="thread_b", reply_to="clew.outcome.acme.support"))
        reply = json.loads((await outcome.next_msg(timeout=60)).data)
        assert (reply["ok"]["n"], reply["ok"]["thread"]["id"]) == (6, "thread_b")


async def test_without_async_a_deleted_thread_is_restored(clew: Clew, deployment) -> None:
    await lived(clew, "thread_a")

    def restore() -> dict[str, str]:
        with connect_blocking(deployment.url, tenant=ACME) as asked:
            asked.restore_thread("thread_a")
            return asked.get_thread("thread_a").thread.metadata

    async with served(clew):
        assert await asyncio.to_thread(restore) == {"plan": "gold"}
