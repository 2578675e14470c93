"""Legal holds, from every door: while a thread has one nothing of it is erased, and it can be found by it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from clew_events import client
from clew_events.client.sync import connect as connect_blocking
from clew_events.commands import EraseThread, PlaceHold, ReleaseHold, RestoreThread
from clew_events.errors import AlreadyErased, Conflict, Held, Invalid, NotFound
from clew_events.list_query import Condition, HoldTest, ListHolds, ListThreads
from clew_events.objects import HeldThread
from clew_events.subjects import Address
from clew_projections.index.index import CurrentIndex
from clew_services.compose import Clew
from support.asgi import IN, KEYS, Answered, call
from support.indexes import caught_up, drift, fed
from support.nats_services import served
from support.truth import buckets_equal_the_log, checkpointed, projecting
from support.writers import Writer, message_id

ACME = "acme"


async def hold(clew: Clew, thread: str, name: str, *, release: bool = False) -> HeldThread | None:
    command = (ReleaseHold if release else PlaceHold)(thread_id=thread, hold=name)
    return (await clew.handler.handle(ACME, command)).held


async def post(clew: Clew, thread: str, body: bytes, **headers: str) -> Answered:
    return await call(clew, "POST", f"/v1/threads/{thread}/holds", body, {**IN, **headers})


async def test_over_http_a_hold_is_placed_and_released_and_forbids_to_erase(clew: Clew) -> None:
    writer = Writer(clew.handler, ACME)
    await writer.create("thread_a")
    message = message_id(await writer.add("thread_a"))
    erasing = ("/v1/threads/thread_a/erase", f"/v1/threads/thread_a/messages/{message}/erase")
    placed = {"id": "thread_a", "object": "thread.holds", "holds": ["case-7"], "deleted": False}
    for _ in range(2):
        answer = await post(clew, "thread_a", b'{"hold": "case-7"}', **{"If-Match": "*"})
        assert (answer.status, answer.headers["etag"], json.loads(answer.body)) == (200, '"3"', placed)
    for path in erasing:
        refused = await call(clew, "POST", path)
        assert (refused.status, refused.error["code"]) == (409, "held")
        assert "the legal hold 'case-7'" in str(refused.error["message"])
    # Deleting is not erasing, and a deleted thread is held like any other.
    assert (await call(clew, "DELETE", "/v1/threads/thread_a")).status == 200
    answer = await post(clew, "thread_a", b'{"hold": "court:2026_1.a"}')
    assert json.loads(answer.body) == {**placed, "holds": ["case-7", "court:2026_1.a"], "deleted": True}
    for name in ("case-7", "court%3A2026_1.a"):
        assert (await call(clew, "POST", erasing[0])).status == 409
        assert (await call(clew, "DELETE", f"/v1/threads/thread_a/holds/{name}")).status == 200
    assert (await call(clew, "POST", erasing[0])).status == 202


async def test_over_http_what_cannot_be_held_or_released_is_refused_with_the_reason(clew: Clew) -> None:
    await Writer(clew.handler, ACME).create("thread_a")
    held = "/v1/threads/thread_a/holds"
    for method, path, body, headers, status, code, param in (
        ("POST", held, b"{}", {}, 400, "missing_required_parameter", "hold"),
        ("POST", held, b'{"hold": "by mail from Ada"}', {}, 400, "invalid_value", "hold"),
        ("POST", held, b'{"hold": ""}', {}, 400, "invalid_value", "hold"),
        ("POST", held, b'{"hold": "case-7"}', {"If-Match": '"9"'}, 412, "version_conflict", "If-Match"),
        ("POST", "/v1/threads/thread_none/holds", b'{"hold": "case-7"}', {}, 404, None, None),
        ("DELETE", f"{held}/case-7", b"", {}, 404, None, None),
        ("DELETE", f"{held}/a%20b", b"", {}, 400, "invalid_value", "hold"),
        ("GET", "/v1/holds?hold=a%20b", b"", {}, 400, "invalid_value", "hold"),
        ("GET", "/v1/holds?limit=0", b"", {}, 400, "integer_below_min_value", "limit"),
    ):  # fmt: skip
        refused = await call(clew, method, path, body, {**IN, **headers})
        assert (refused.status, refused.error["code"], refused.error["param"]) == (status, code, param), refused.body
    assert "has no legal hold 'case-7'" in str((await call(clew, "DELETE", f"{held}/case-7")).error["message"])
    assert len([each async for each in clew.histories.after(Address(ACME, "thread_a"), 0)]) == 1


async def test_a_key_holds_with_the_scope_for_it_and_is_not_shown_what_it_may_not_read(clew: Clew) -> None:
    await Writer(clew.handler, ACME).create("thread_a", metadata={"secret": "x"})
    holders = {}
    for scope in ("write", "erase", "hold", "audit", "read"):
        key, issued = await clew.keys.create(ACME, "tester", [scope])
        holders[scope] = f"Bearer {key}"
        KEYS.admit(bytes.fromhex(issued.sha256), issued.holder)
    for scope in ("write", "erase", "audit", "read"):
        refused = await post(clew, "thread_a", b'{"hold": "case-7"}', Authorization=holders[scope])
        assert (refused.status, refused.error["code"]) == (403, "missing_scope")
        assert str(refused.error["message"]).endswith("Missing scopes: hold.")
    placed = await post(clew, "thread_a", b'{"hold": "case-7"}', Authorization=holders["hold"])
    assert set(json.loads(placed.body)) == {"id", "object", "holds", "deleted"}
    for scope, status in (("write", 403), ("read", 403), ("hold", 503), ("audit", 503)):
        # There is no index in this process.
        headers = {**IN, "Authorization": holders[scope]}
        assert (await call(clew, "GET", "/v1/holds", headers=headers)).status == status


async def test_over_nats_a_thread_is_held_once_and_released(clew: Clew, deployment) -> None:
    await Writer(clew.handler, ACME).create("thread_a", metadata={"a": "1"})
    async with served(clew), client.connect(deployment.url, tenant=ACME, actor="counsel") as asked:
        done = await asked.place_hold("thread_a", "case-7", reason="a lawsuit", command_id="hold-1")
        assert (done.n, done.held.holds) == (2, ("case-7",))
        assert await asked.place_hold("thread_a", "case-7", reason="a lawsuit", command_id="hold-1") == done
        assert (await asked.place_hold("thread_a", "case-7")).n == 2
        with pytest.raises(Held, match="case-7"):
            await asked.erase_thread("thread_a")
        with pytest.raises(NotFound) as missing:
            await asked.release_hold("thread_a", "case-8")
        assert missing.value.code == "hold_not_found"
        with pytest.raises(Conflict):
            await asked.release_hold("thread_a", "case-7", expected_version=1)
        with pytest.raises(Invalid) as malformed:
            await asked.place_hold("thread_a", "by mail")
        assert malformed.value.param == "hold"
        assert (await asked.release_hold("thread_a", "case-7")).held.holds == ()
        # What was placed under that id was released since; its outcome is that of the first time.
        assert await asked.place_hold("thread_a", "case-7", reason="a lawsuit", command_id="hold-1") == done
        await asked.erase_thread("thread_a")
        with pytest.raises(AlreadyErased):
            await asked.place_hold("thread_a", "case-7")
        outcome = await asked.nc.subscribe("clew.outcome.acme.counsel")
        await Writer(clew.handler, ACME).create("thread_b")
        await asked.enqueue(PlaceHold(thread_id="thread_b", hold="case-9", reply_to="clew.outcome.acme.counsel"))
        reply = json.loads((await outcome.next_msg(timeout=60)).data)
        assert reply["ok"]["held"]["holds"] == ["case-9"]


async def test_without_async_a_thread_is_held_and_released(clew: Clew, deployment) -> None:
    await Writer(clew.handler, ACME).create("thread_a")

    def held() -> list[tuple[str, ...]]:
        with connect_blocking(deployment.url, tenant=ACME) as asked:
            return [
                asked.place_hold("thread_a", "case-7").held.holds,
                asked.release_hold("thread_a", "case-7").held.holds,
            ]

    async with served(clew):
        assert await asyncio.to_thread(held) == [("case-7",), ()]


async def test_threads_are_found_by_their_holds_also_when_they_are_deleted_and_restored(
    clew: Clew, tmp_path: Path
) -> None:
    root = tmp_path / "index"
    writer, index = Writer(clew.handler, ACME), CurrentIndex(clew.index_in(root))

    async def listed(**test: object) -> set[str]:
        query = ListThreads(where=Condition(hold=HoldTest(**test)))  # type: ignore[arg-type]
        return {each.id for each in (await index.list(ACME, query)).data}

    async def held(name: str | None = None) -> list[tuple[str, tuple[str, ...], bool]]:
        page = await index.ask(lambda reader: reader.holds(ACME, ListHolds(hold=name)))
        return [(each.id, each.holds, each.deleted) for each in page.data]

    async with fed(clew, root), projecting(clew):
        for thread in ("thread_a", "thread_b", "thread_c"):
            await writer.create(thread, metadata={"customer": "c-81"})
        await hold(clew, "thread_a", "case-7")
        await hold(clew, "thread_b", "case-77")
        await hold(clew, "thread_b", "case-7")
        await writer.delete("thread_b")
        await caught_up(clew, root)
        assert await listed(exists=True) == await listed(eq="case-7") == {"thread_a"}
        assert await listed(exists=False) == {"thread_c"}
        assert await held() == [("thread_a", ("case-7",), False), ("thread_b", ("case-77", "case-7"), True)]
        assert [thread for thread, *_ in await held("case-77")] == ["thread_b"]
        assert await held("case") == []
        assert (await index.ask(lambda reader: reader.holds("globex", ListHolds()))).data == ()

        # A hold that is placed and one that is released while the thread is deleted.
        await hold(clew, "thread_b", "case-77", release=True)
        await hold(clew, "thread_c", "case-9")
        await caught_up(clew, root)
        await clew.handler.handle(ACME, RestoreThread(thread_id="thread_b"))
        await hold(clew, "thread_a", "case-7", release=True)
        await caught_up(clew, root)
        assert await listed(exists=True) == {"thread_b", "thread_c"}
        assert await held("case-7") == [("thread_b", ("case-7",), False)]

        with pytest.raises(Held):
            await clew.handler.handle(ACME, EraseThread(thread_id="thread_b"))
        assert await drift(clew, root) == []
        await buckets_equal_the_log(clew)
        await checkpointed(clew)
    await index.close()
