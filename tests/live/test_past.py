"""Threads and messages as they were, what changed, and who changed it: over HTTP, NATS and from Python."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from clew_events import client, ids
from clew_events.client.sync import connect as connect_blocking
from clew_events.errors import Corrupt, Invalid, NotFound, TooLarge
from clew_events.events import MetadataUpdated
from clew_events.operations import BY_NAME
from clew_events.queries import GetBlame, GetDifference, GetMessageAt, GetStateAt, ListMessagesAt
from clew_events.requests import FilesForCode, MetadataPatch, NewMessage, ToolResourcesIn
from clew_events.subjects import Address
from clew_projections.audit.blame import blame
from clew_projections.audit.diff import difference
from clew_projections.audit.moments import NOW, moment
from clew_services.compose import Clew
from clew_services.compose.roles import serve_queries
from clew_services.http.auth import parse_query, required_scopes
from clew_services.queries import past
from support.asgi import IN, Answered, call
from support.commits import CREATED, NOON, body_of, commit, store
from support.nats_services import served
from support.writers import Writer, message_id

THREAD = "thread_order"
SECOND = int(NOON.timestamp())
Get = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def messages(clew: Clew) -> list[str]:
    """The ids of two messages of a thread with ten commits, the last of which deletes it."""
    writer = Writer(clew.handler, "acme")
    await writer.create(THREAD, metadata={"plan": "free", "trial": "yes"}, actor="shop", id="first")  # 1
    one = message_id(await writer.add(THREAD, "one", actor="shop"))  # 2
    two = message_id(await writer.add(THREAD, "two", actor="shop"))  # 3
    await writer.update(THREAD, patch=MetadataPatch(set={"plan": "paid"}, unset=("trial",)), actor="sales")  # 4
    await writer.change(THREAD, one, patch=MetadataPatch(set={"mood": "sad"}), actor="bot")  # 5
    await writer.remove(THREAD, two, actor="bot")  # 6
    await writer.update(
        THREAD, tool_resources=ToolResourcesIn(code_interpreter=FilesForCode(file_ids=("file-1",)))
    )  # 7
    await writer.change(THREAD, one, patch=MetadataPatch(unset=("mood",)), actor="shop")  # 8
    await writer.add(THREAD, "three", actor="shop")  # 9
    await writer.delete(THREAD, actor="gdpr")  # 10
    return [one, two]


@pytest.fixture
async def at(clew: Clew, messages: list[str]) -> dict[int, datetime]:
    """When each commit of the thread was made."""
    return {found.commit.n: found.commit.at async for found in clew.histories.after(Address("acme", THREAD), 0)}


async def got(clew: Clew, path: str, headers: dict[str, str] = IN) -> Answered:
    return await call(clew, "GET", f"/v1/threads/{THREAD}{path}", headers=headers)


@pytest.fixture
async def get(clew: Clew, messages: list[str]) -> Get:
    """GET a path of the thread."""

    async def ask(path: str, status: int = 200) -> dict[str, Any]:
        answered = await got(clew, path)
        assert answered.status == status, answered.body
        return dict(json.loads(answered.body))

    return ask


async def test_a_thread_is_shown_as_of_any_commit_with_its_headers_of_then(clew: Clew, get: Get, at) -> None:
    before, after = await get("?as_of=3"), await get("?as_of=4")
    assert (before["metadata"], after["metadata"]) == ({"plan": "free", "trial": "yes"}, {"plan": "paid"})
    answered = await got(clew, "?as_of=4")
    then = {name: answered.headers[name] for name in ("clew-commit", "clew-time")}
    assert then == {"clew-commit": "4", "clew-time": at[4].isoformat().replace("+00:00", "Z")}
    shard, seq = map(int, answered.headers["clew-position"].split("-"))
    assert (await clew.histories.at(Address("acme", THREAD), seq)).position.shard == shard
    # Clients for Azure put this into the query string of every request.
    assert (await get("?as_of=9&api-version=1"))["tool_resources"] == {"code_interpreter": {"file_ids": ["file-1"]}}


async def test_a_moment_may_be_a_time_or_unix_seconds(clew: Clew, get: Get, at) -> None:
    exactly = at[4].isoformat().replace("+00:00", "Z")
    assert (await get(f"?as_of={exactly}"))["metadata"] == {"plan": "paid"}
    just_before = (at[4] - timedelta(microseconds=1)).astimezone(UTC).isoformat()  # the plus sign not encoded
    assert (await get(f"?as_of={just_before}"))["metadata"] != {"plan": "paid"}
    created = (await get("?as_of=1"))["created_at"]
    # What is shown as having been made in a second is there as of that second, even while it lasts.
    assert b"was not there" not in (await got(clew, f"?as_of={created}")).body
    assert (await got(clew, f"?as_of={created}")).status in {200, 404}  # 404: deleted within the same second
    assert "was not there yet" in (await get(f"?as_of={created - 1}", 404))["error"]["message"]


async def test_a_number_is_a_commit_up_to_the_border_and_a_second_from_there_on(clew: Clew, get: Get) -> None:
    assert "10 commits" in (await get("?as_of=999999999", 400))["error"]["message"]
    # One more is 2001-09-09T01:46:40Z.
    assert "2001-09-09T01:46:40" in (await get("?as_of=1000000000", 404))["error"]["message"]
    # Unix seconds are a whole second, with all that happened in it.
    await store(clew.nc, Address("acme", "thread_noon"), body_of(commit(1, CREATED, thread="thread_noon", tenant="acme",
        at=NOON + timedelta(milliseconds=999))))  # fmt: skip
    assert (await call(clew, "GET", f"/v1/threads/thread_noon?as_of={SECOND}")).status == 200
    assert (await call(clew, "GET", f"/v1/threads/thread_noon?as_of={SECOND - 1}")).status == 404
    assert (await call(clew, "GET", "/v1/threads/thread_noon?as_of=2026-11-22T12:00:00Z")).status == 404


REFUSED = [
    ("0", 400, "numbered from 1"),
    ("-1", 400, "numbered from 1"),
    ("11", 400, "has 10 commits"),
    ("32503680000", 400, "3000-01-01T00:00:00Z is in the future"),
    ("3000-01-01T00:00:00Z", 400, "in the future"),
    ("1795384800000", 400, "milliseconds"),
    ("9" * 60, 400, "commit's number, a time"),
    ("yesterday", 400, "commit's number, a time"),
    ("", 400, "commit's number, a time"),
    ("2026-11-22T22:00:00", 400, "offset from UTC"),
    ("2026-11-22", 400, "commit's number, a time"),
    ("0001-01-01T00:00:00%2B10:00", 400, "calendar"),
    ("3&as_of=4", 400, "more than once"),
    ("2000-01-01T00:00:00Z", 404, "was not there yet"),
    ("10", 404, "had been deleted"),
]


async def test_a_moment_that_cannot_be_is_refused_at_every_door(get: Get, messages: list[str]) -> None:
    for said, status, saying in REFUSED:
        for path in ("", "/messages", f"/messages/{messages[0]}", *(["/blame"] if said != "10" else [])):
            error = (await get(f"{path}?as_of={said}", status))["error"]
            assert "as_of" in error["message"]
            assert saying in error["message"]
            assert error["param"] == ("as_of" if status == 400 else None)


async def test_messages_are_listed_as_they_were_and_pages_stay_within_that_moment(get: Get, messages) -> None:
    one, two = messages

    async def texts(query: str) -> list[str]:
        page = await get(f"/messages?{query}")
        return [message["content"][0]["text"]["value"] for message in page["data"]]

    assert await texts("as_of=1") == []
    assert await texts("as_of=3") == ["two", "one"]
    assert await texts("as_of=5&order=asc") == ["one", "two"]
    assert await texts("as_of=6") == ["one"]
    assert await texts("as_of=9") == ["three", "one"]
    first = await get("/messages?as_of=5&limit=1")
    assert (first["has_more"], first["last_id"]) == (True, two)
    rest = await get(f"/messages?as_of=5&limit=1&after={first['last_id']}")
    assert ([m["id"] for m in rest["data"]], rest["has_more"]) == ([one], False)
    assert rest["data"][0]["metadata"] == {"mood": "sad"}
    assert await texts(f"as_of=6&after={two}") == ["one"]  # deleted by then, and still a place in the list
    assert (await get("/messages?as_of=5&run_id=run_1"))["data"] == []
    await get(f"/messages?as_of=2&after={two}", 404)
    await get("/messages?as_of=2&after=nothing", 404)


async def test_a_message_is_shown_as_it_was(clew: Clew, get: Get, messages) -> None:
    one, two = messages
    assert (await get(f"/messages/{one}?as_of=2"))["metadata"] == {}
    assert (await get(f"/messages/{one}?as_of=7"))["metadata"] == {"mood": "sad"}
    assert (await get(f"/messages/{two}?as_of=5"))["content"][0]["text"]["value"] == "two"
    assert (await got(clew, f"/messages/{two}?as_of=5")).headers["clew-commit"] == "5"
    for gone in ("2", "6"):  # not there yet, and not any more
        await get(f"/messages/{two}?as_of={gone}", 404)
    await get(f"/messages/{ids.item_id(1, 'another')}?as_of=5", 404)


async def test_messages_of_a_long_thread_are_read_where_they_stand(clew: Clew, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(clew.handler, "acme")
    await writer.create(THREAD, messages=tuple(NewMessage(role="user", content=str(n)) for n in range(1, 31)))
    for n in range(31, 61):
        await writer.add(THREAD, str(n))
    listed = await clew.reader.past.messages("acme", ListMessagesAt(thread_id=THREAD, as_of=31, limit=100))
    monkeypatch.setattr(past, "LATEST_KEPT", 2)
    again = await clew.reader.past.messages("acme", ListMessagesAt(thread_id=THREAD, as_of=31, limit=100))
    assert again == listed
    assert listed.messages is not None
    assert [m.content[0].text.value for m in listed.messages.data] == [str(n) for n in range(60, 0, -1)]  # type: ignore[union-attr]


# What changed, and who did it.


async def test_a_difference_tells_keys_resources_and_messages_and_the_commits_between(get: Get, messages, at) -> None:
    one, two = messages
    found = await get("/diff?from=3&to=7")
    assert (found["from"]["n"], found["to"]["n"], found["thread_id"]) == (3, 7, THREAD)
    assert found["status"] == {"before": "open", "after": "open"}
    assert found["metadata"] == [
        {"key": "plan", "before": "free", "after": "paid"},
        {"key": "trial", "before": "yes", "after": None},
    ]
    assert found["tool_resources"] == [{"resource": "code_interpreter.file_ids", "before": [], "after": ["file-1"]}]
    changed, deleted = found["messages"]
    assert (changed["id"], changed["change"], changed["metadata"]) == (
        one, "changed", [{"key": "mood", "before": None, "after": "sad"}],
    )  # fmt: skip
    assert (deleted["id"], deleted["change"], deleted["after"]) == (two, "deleted", None)
    assert deleted["before"]["content"][0]["text"]["value"] == "two"
    assert [(each["n"], each["actor"]) for each in found["commits"]][:3] == [(4, "sales"), (5, "bot"), (6, "bot")]
    same = await get(f"/diff?from={at[3].isoformat()}&to={at[7].isoformat().replace('+00:00', 'Z')}")
    assert same == found


async def test_a_difference_without_ends_is_the_whole_life_of_a_thread(get: Get, messages) -> None:
    found = await get("/diff")
    assert (found["from"], found["to"]["n"]) == ({"n": 0, "at": None, "position": None}, 10)
    assert found["status"] == {"before": "absent", "after": "deleted"}
    assert [each["change"] for each in found["messages"]] == ["added", "added_and_deleted", "added"]
    assert len(found["commits"]) == 10
    long_ago = await get("/diff?from=2000-01-01T00:00:00Z")
    assert long_ago == found
    nothing = await get("/diff?from=5&to=5")
    assert (nothing["metadata"], nothing["messages"], nothing["commits"]) == ([], [], [])


INCOMPARABLE = [
    ("from=5&to=4", "from", "behind 'to'"),
    ("from=11", "from", "10 commits"),
    ("to=11", "to", "10 commits"),
    ("from=3000-01-01T00:00:00Z", "from", "future"),
    ("to=3000-01-01T00:00:00Z", "to", "future"),
    ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from", "behind 'to'"),
    ("from=10&to=2026-01-01T00:00:00Z", "from", "behind 'to'"),
    ("from=x", "from", "'x'"),
    ("since=1", "since", "Unknown parameter"),
]


async def test_a_difference_of_what_cannot_be_compared_is_refused(get: Get) -> None:
    for query, param, saying in INCOMPARABLE:
        error = (await get(f"/diff?{query}", 400))["error"]
        assert (query, error["param"]) == (query, param)
        assert saying in error["message"]


async def test_a_difference_of_too_much_is_refused(clew: Clew, messages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "LONGEST", 4)
    await clew.reader.past.difference("acme", GetDifference(thread_id=THREAD, since=2, until=6))
    with pytest.raises(TooLarge, match="more than 4 commits"):
        await clew.reader.past.difference("acme", GetDifference(thread_id=THREAD, since=2, until=7))


async def test_blame_says_who_set_what_is_there_and_who_removed_what_is_not(get: Get, messages) -> None:
    one, two = messages
    found = await get("/blame")
    (plan,) = found["metadata"]
    assert (plan["key"], plan["value"], plan["by"]["n"], plan["by"]["actor"]) == ("plan", "paid", 4, "sales")
    (trial,) = found["removed"]
    assert (trial["key"], trial["value"], trial["by"]["actor"], trial["set_by"]["command_id"]) == (
        "trial", "yes", "sales", "first",
    )  # fmt: skip
    (files,) = found["tool_resources"]
    assert (files["resource"], files["value"], files["by"]["n"]) == ("code_interpreter.file_ids", ["file-1"], 7)
    first, second, third = found["messages"]
    assert (first["id"], first["added"]["n"], first["changed"]["n"], first["deleted"]) == (one, 2, 8, None)
    (mood,) = first["removed"]
    assert (mood["key"], mood["value"], mood["set_by"]["actor"], mood["by"]["actor"]) == ("mood", "sad", "bot", "shop")
    assert (second["id"], second["deleted"]["actor"]) == (two, "bot")
    assert (third["added"]["n"], found["deleted"]["actor"], found["created"]["actor"]) == (9, "gdpr", "shop")
    earlier = await get("/blame?as_of=3")
    assert [(key["key"], key["by"]["n"]) for key in earlier["metadata"]] == [("plan", 1), ("trial", 1)]
    assert (earlier["removed"], earlier["deleted"], len(earlier["messages"])) == ([], None, 2)


async def test_of_a_long_past_the_newest_parts_are_told_and_how_many_are_left_out(get: Get, messages) -> None:
    whole, newest = await get("/diff?from=1&to=8"), await get("/diff?from=1&to=8&limit=1")
    assert (whole["changes_left_out"], whole["commits_left_out"], len(whole["messages"])) == (0, 0, 2)
    assert newest == {
        **whole, "messages": whole["messages"][1:], "commits": whole["commits"][-1:],
        "changes_left_out": 1, "commits_left_out": 6,
    }  # fmt: skip
    assert await get("/diff?from=1&to=8&limit=7") == whole
    blamed, last = await get("/blame"), await get("/blame?limit=1")
    assert (blamed["left_out"], last) == (0, {**blamed, "messages": blamed["messages"][2:], "left_out": 2})


async def test_who_replays_the_commits_alone_gets_the_same_byte_for_byte(clew: Clew, get: Get) -> None:
    here = Address("acme", THREAD)
    commits = await clew.histories.tail(here, 0)
    asked = GetDifference(thread_id=THREAD, since=2, until=8)
    ours = difference(here, commits, moment(2, "from"), moment(8, "to"))
    assert msgspec.json.encode(ours) == msgspec.json.encode(await clew.reader.answer("acme", asked))
    theirs = await clew.reader.answer("acme", GetBlame(thread_id=THREAD))
    assert msgspec.json.encode(blame(here, commits, NOW)) == msgspec.json.encode(theirs)


# Whose it is, and what cannot be read.


async def test_other_tenants_and_strangers_learn_nothing(clew: Clew, messages) -> None:
    for path in ("/diff", "/blame", "/events", "?as_of=3", "/messages?as_of=3", f"/messages/{messages[0]}?as_of=3"):
        answered = await got(clew, path, {**IN, "Authorization": "Bearer a-key-for-globex"})
        assert answered.status == 404
        assert THREAD in answered.error["message"] or messages[0] in answered.error["message"]


def test_the_past_takes_the_scope_audit_however_it_is_written() -> None:
    for query in (b"as_of=3", b"limit=3&as_of=", b"as%5Fof=3", b"as_o%66=3", b"x=1&as_of"):
        assert required_scopes(BY_NAME["get_thread"], parse_query(query)) == ("audit",)
    for query in (b"", b"limit=3", b"after=as_of", b"as_off=1"):
        assert required_scopes(BY_NAME["get_thread"], parse_query(query)) == ("read",)
    assert required_scopes(BY_NAME["update_thread"], parse_query(b"as_of=3")) == ("write",)


async def test_a_commit_of_a_later_version_is_named_at_every_door(clew: Clew) -> None:
    writer = Writer(clew.handler, "acme")
    await writer.create(THREAD, metadata={"a": "1"})
    await writer.add(THREAD, "one")
    (last,) = [found async for found in clew.histories.after(Address("acme", THREAD), 0) if found.commit.n == 2]
    made = commit(3, MetadataUpdated(set={}, unset=()), prev=last.hash, thread=THREAD, tenant="acme")
    made = replace(made, at=last.commit.at)
    body = body_of(made).replace(b"MetadataUpdated", b"ThreadTeleported")
    seq = await store(clew.nc, Address("acme", THREAD), body)
    asked = (
        GetDifference(thread_id=THREAD),
        GetBlame(thread_id=THREAD),
        GetStateAt(thread_id=THREAD, as_of=3),
        ListMessagesAt(thread_id=THREAD, as_of=3),
        GetMessageAt(thread_id=THREAD, message_id=ids.item_id(1, "x"), as_of=3),
    )
    for query in asked:
        with pytest.raises(Corrupt, match=rf"sequence {seq} of shard .*ThreadTeleported"):
            await clew.reader.answer("acme", query)
    # What was before it is still there to see.
    assert (await clew.reader.past.thread("acme", THREAD, 2)).message_count == 1


async def test_a_writer_with_a_fast_clock_does_not_hide_its_commits(clew: Clew) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)
    await store(clew.nc, Address("acme", THREAD), body_of(commit(1, CREATED, thread=THREAD, tenant="acme", at=ahead)))
    assert (await clew.reader.past.thread("acme", THREAD, ahead)).n == 1
    with pytest.raises(Invalid, match="future"):
        await clew.reader.past.thread("acme", THREAD, ahead + timedelta(seconds=1))
    with pytest.raises(NotFound, match="not there yet"):
        await clew.reader.past.thread("acme", THREAD, ahead - timedelta(minutes=30, hours=1))


# Over NATS.


@pytest.fixture
async def ours(clew: Clew) -> AsyncIterator[client.Clew]:
    async with served(clew, (serve_queries,)), client.connect(clew_url(clew), tenant="acme") as connected:
        yield connected


def clew_url(clew: Clew) -> str:
    assert clew.nc.connected_url is not None
    return clew.nc.connected_url.geturl()


async def test_clients_ask_about_the_past_over_nats(clew: Clew, ours: client.Clew, messages, at) -> None:
    one, _ = messages
    assert (await ours.state_at(THREAD, as_of=3)).thread.metadata == {"plan": "free", "trial": "yes"}
    assert (await ours.state_at(THREAD, as_of=at[4])).n == 4
    assert (await ours.state_at(THREAD, as_of=10)).thread is None
    assert (await ours.message_at(THREAD, one, 5)).message.metadata == {"mood": "sad"}
    assert [m.id for m in (await ours.messages_at(THREAD, 3, order="asc")).messages.data] == messages
    assert (await ours.diff(THREAD, 3, 4)).metadata[1].after is None
    assert (await ours.blame(THREAD)).removed[0].by.actor == "sales"
    history = [entry.commit.n async for entry in ours.iter_history(THREAD, order="desc", actor="shop")]
    assert history == [9, 8, 3, 2, 1]
    for wrong in (0, 11, datetime(3000, 1, 1, tzinfo=UTC)):
        with pytest.raises(Invalid) as refused:
            await ours.state_at(THREAD, as_of=wrong)
        assert refused.value.param == "as_of"
    with pytest.raises(Invalid) as both:
        await ours.state_at(THREAD, as_of=1, n=1)
    assert both.value.param == "as_of"
    for body in (b'{"thread_id":"thread_order","as_of":"soon"}', b'{"thread_id":"thread_order","as_of":true}'):
        reply = json.loads((await clew.nc.request("clew.query.acme.blame", body, timeout=60)).data)
        assert reply["error"]["param"] == "as_of"


async def test_the_blocking_client_asks_the_same(clew: Clew, messages) -> None:
    def ask() -> None:
        with connect_blocking(clew_url(clew), tenant="acme") as blocking:
            assert blocking.state_at(THREAD, as_of=3).n == 3
            assert blocking.message_at(THREAD, messages[0], 5).message.metadata == {"mood": "sad"}
            assert blocking.messages_at(THREAD, 3, limit=1).messages.has_more
            assert blocking.diff(THREAD, until=3).until.n == 3
            assert blocking.blame(THREAD, 3).at.n == 3
            assert [each.commit.n for each in blocking.iter_history(THREAD, types=("ThreadDeleted",))] == [10]
            assert blocking.history(THREAD, order="desc", limit=1).cursor is not None

    async with served(clew, (serve_queries,)):
        await asyncio.to_thread(ask)
