"""Standing legal holds, from every door: nothing of a thread is erased while it matches, now or later."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from msgspec import Raw

from clew_events import client
from clew_events.client.sync import connect as connect_blocking
from clew_events.commands import EraseItem, EraseMessage, EraseThread, PlaceStandingHold, ReleaseStandingHold
from clew_events.errors import AlreadyExists, Held, NotFound
from clew_events.list_query import ActorTest, Condition, ListHolds
from clew_events.list_reply import FilterHold, HoldPage
from clew_services.compose import Clew
from support.asgi import IN, Answered, call
from support.indexes import caught_up, fed
from support.nats_services import served
from support.writers import Writer, handler, message_id

ACME = "acme"
WHERE = {"metadata": {"key": "customer", "eq": "c-81"}}
THEIRS = Condition.equal("customer", "c-81")
GLOBEX = {**IN, "Authorization": "Bearer a-key-for-globex"}


async def post(clew: Clew, body: object, headers: dict[str, str] = IN) -> Answered:
    return await call(clew, "POST", "/v1/holds", json.dumps(body).encode(), headers)


async def erase(clew: Clew, thread: str, **message: str) -> str:
    """Ask to erase a thread or a message; the hold that forbids it, or nothing."""
    command = EraseMessage(thread_id=thread, **message) if message else EraseThread(thread_id=thread)
    try:
        await clew.handler.handle(ACME, command)
    except Held as fault:
        return fault.message.split("'")[3]
    return ""


async def test_over_http_a_standing_hold_covers_what_matches_now_and_later_until_it_is_released(clew: Clew) -> None:
    writer = Writer(clew.handler, ACME)
    await writer.create("thread_a", metadata={"customer": "c-81"})
    message = message_id(await writer.add("thread_a"))
    for _ in range(2):
        placed = await post(clew, {"hold": "case-8", "where": WHERE})
        assert (placed.status, placed.headers["etag"]) == (200, '"1"')
        assert json.loads(placed.body) == {"id": "case-8", "object": "hold", "where": WHERE}
    refused = await call(clew, "POST", "/v1/threads/thread_a/erase", b"{}")
    assert (refused.status, refused.error["code"]) == (409, "held")
    assert "is under the standing legal hold 'case-8'" in str(refused.error["message"])
    assert await erase(clew, "thread_a", message_id=message) == "case-8"
    await writer.delete("thread_a")
    assert await erase(clew, "thread_a") == "case-8"
    await writer.create("thread_later", metadata={"customer": "c-81"})
    assert await erase(clew, "thread_later") == "case-8"
    # What does not match any more is not covered any more.
    await writer.set("thread_later", "customer", "c-82")
    assert await erase(clew, "thread_later") == ""
    assert (await post(clew, {"hold": "case-8", "where": {}})).status == 409
    assert (await call(clew, "DELETE", "/v1/holds/case-8", headers=GLOBEX)).status == 404
    released = await call(clew, "DELETE", "/v1/holds/case-8")
    assert json.loads(released.body) == {"id": "case-8", "object": "hold.deleted", "deleted": True}
    assert (await call(clew, "DELETE", "/v1/holds/case-8")).status == 404
    assert await erase(clew, "thread_a") == ""
    for body, param in (
        ({"hold": "by mail", "where": {}}, "hold"),
        ({"hold": "case-9"}, "where"),
        ({"hold": "case-9", "where": {"customer": "c-81"}}, "where.customer"),
        ({"hold": "case-9", "where": {"not": {"messages": {}}}}, "where.not.messages"),
    ):
        wrong = await post(clew, body)
        assert (wrong.status, wrong.error["param"]) == (400, param)


async def test_a_hold_that_was_acknowledged_first_always_blocks_and_an_earlier_erasure_goes_on(clew: Clew) -> None:
    await Writer(clew.handler, ACME).create("thread_a", metadata={"customer": "c-81"})
    called = Raw(b'{"type":"function_call","id":"call_1"}')
    await Writer(clew.handler, ACME).create("thread_b", metadata={"customer": "c-81"}, items=(called,))
    others = [handler(clew) for _ in range(2)]
    first = EraseThread(thread_id="thread_a", id="erase-1")
    erased = await others[0].handle(ACME, first)
    assert erased.erasure is not None
    for name in ("case-1", "case-2", "case-3"):
        await others[0].handle(ACME, PlaceStandingHold(hold=name, where=THEIRS))
        for command in (EraseThread(thread_id="thread_b"), EraseItem(thread_id="thread_b", item_id="call_1")):
            with pytest.raises(Held):  # by another process, which has cached the thread and what was ordered before
                await others[1].handle(ACME, command)
        await others[0].handle(ACME, ReleaseStandingHold(hold=name))
    await others[0].handle(ACME, PlaceStandingHold(hold="case-4", where=THEIRS))
    again = await others[1].handle(ACME, first)
    assert again.erasure is not None
    assert again.erasure.id == erased.erasure.id


async def test_a_filter_may_ask_who_created_a_thread_or_changed_it_last(clew: Clew) -> None:
    writer = Writer(clew.handler, ACME)
    await writer.create("thread_a", actor="ada")
    await writer.create("thread_b", actor="bob")
    await writer.set("thread_b", "plan", "gold", actor="carol")
    for name, where in (
        ("by-ada", Condition(created_by=ActorTest(eq="ada"))),
        ("by-carol", Condition(updated_by=ActorTest(one_of=("carol", "dave")))),
    ):
        await clew.handler.handle(ACME, PlaceStandingHold(hold=name, where=where))
    assert await erase(clew, "thread_a") == "by-ada"
    assert await erase(clew, "thread_b") == "by-carol"
    await writer.set("thread_b", "plan", "none", actor="bob")
    assert await erase(clew, "thread_b") == ""


async def test_lists_show_standing_holds_and_of_a_thread_those_that_cover_it(clew: Clew, tmp_path: Path) -> None:
    writer = Writer(clew.handler, ACME)
    await writer.create("thread_a", metadata={"customer": "c-81"})
    await writer.create("thread_b")
    standing = [FilterHold(id="case-8", where=THEIRS), FilterHold(id="case-9", where=Condition())]
    for hold in standing:
        await clew.handler.handle(ACME, PlaceStandingHold(hold=hold.id, where=hold.where))

    async def listed(**asked: object) -> HoldPage:
        page = await clew.reader.answer(ACME, ListHolds(**asked))  # type: ignore[arg-type]
        assert isinstance(page, HoldPage)
        return page

    async with fed(clew, tmp_path / "index"):
        await caught_up(clew, tmp_path / "index")
        clew.open_index(tmp_path / "index")
        assert [*(await listed()).standing] == standing
        assert [*(await listed(hold="case-9")).standing] == standing[1:]
        assert (await listed(after="thread_a")).standing == ()
    assert [*(await listed(thread_id="thread_a")).standing] == standing
    assert [*(await listed(thread_id="thread_a", hold="case-8")).standing] == standing[:1]
    assert [*(await listed(thread_id="thread_b")).standing] == standing[1:]
    with pytest.raises(NotFound):
        await listed(thread_id="thread_nobody")
    shown = await call(clew, "GET", "/v1/holds?thread_id=thread_b")
    assert [each["id"] for each in json.loads(shown.body)["standing"]] == ["case-9"]


async def test_the_clients_place_and_release_standing_holds(clew: Clew, deployment) -> None:
    await Writer(clew.handler, ACME).create("thread_a", metadata={"customer": "c-81"})

    def blocking() -> tuple[str, ...]:
        with connect_blocking(deployment.url, tenant=ACME) as asked:
            asked.place_standing_hold("case-9", THEIRS)
            page = asked.list_holds(thread_id="thread_a")
            asked.release_standing_hold("case-9")
            return tuple(each.id for each in page.standing)

    async with served(clew), client.connect(deployment.url, tenant=ACME, actor="counsel") as asked:
        done = await asked.place_standing_hold("case-8", WHERE, reason="a lawsuit", command_id="hold-1")
        assert (done.n, done.standing) == (1, FilterHold(id="case-8", where=THEIRS))
        assert await asked.place_standing_hold("case-8", WHERE, reason="a lawsuit", command_id="hold-1") == done
        with pytest.raises(AlreadyExists) as exists:
            await asked.place_standing_hold("case-8", {})
        assert exists.value.code == "already_exists"
        with pytest.raises(Held):
            await asked.erase_thread("thread_a")
        assert await asyncio.to_thread(blocking) == ("case-8", "case-9")
        assert (await asked.release_standing_hold("case-8")).deleted.object == "hold.deleted"
        with pytest.raises(NotFound) as missing:
            await asked.release_standing_hold("case-8")
        assert missing.value.code == "hold_not_found"
        history = await asked.history()
        assert [each.commit.command for each in history.commits] == [
            *("PlaceStandingHold", "PlaceStandingHold", "ReleaseStandingHold", "ReleaseStandingHold"),
        ]
        assert (history.commits[0].commit.actor, history.commits[0].commit.reason) == ("counsel", "a lawsuit")
        await asked.erase_thread("thread_a")
