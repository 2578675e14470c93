"""What the inbox refused: on record, shown, tried again by command; and an inbox that takes no more."""

from __future__ import annotations

import asyncio
import json

import nats.js.errors
import pytest

from clew_events.client import Clew as Client
from clew_events.client import connect, transport
from clew_events.commands import CreateThread, UpdateThread
from clew_events.errors import Unavailable
from clew_services.compose import Clew
from clew_services.compose.roles import serve_inbox
from clew_services.inbox import rejections
from support.cli import clew as command_line
from support.nats_services import served
from support.truth import commits_of
from support.waiting import eventually


async def said(deployment, *arguments: str) -> dict:
    ran = await asyncio.to_thread(command_line, "rejected", *arguments, "--json", env={"CLEW_NATS": deployment.url})
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


async def refused(deployment, *arguments: str) -> tuple[int, str]:
    ran = await asyncio.to_thread(command_line, "rejected", *arguments, env={"CLEW_NATS": deployment.url})
    return ran.returncode, ran.stderr


async def emptied(clew: Clew) -> None:
    async def empty() -> bool:
        return (await clew.nc.jetstream().stream_info("CLEW_INBOX")).state.messages == 0

    await eventually(empty)


async def leave(clew: Clew, command: str, body: bytes, **headers: str) -> None:
    await clew.nc.jetstream().publish(f"clew.inbox.default.{command}", body, headers=headers or None)


async def test_a_refused_command_is_shown_tried_again_under_its_id_and_then_off_the_record(clew, deployment) -> None:
    message_id = {"Nats-Msg-Id": "shop-1"}
    async with served(clew, (serve_inbox,)):
        await leave(clew, "update_thread", b'{"thread_id": "thread_a", "metadata": {"a": "1"}}', **message_id)
        await emptied(clew)
        (found,) = (await said(deployment, "list"))["rejected"]
        assert (found["number"], found["rejection"]["id"]) == (1, "shop-1")
        shown = await said(deployment, "show", "1")
        assert shown == found
        assert shown["rejection"]["error"]["code"] == "thread_not_found"

        # While the reason is there, it is refused again: that is another record, and the only one.
        assert await said(deployment, "retry", "1") == {"retried": [1], "final": []}
        await emptied(clew)
        (again,) = (await said(deployment, "list"))["rejected"]
        assert (again["number"], again["rejection"]["id"]) == (2, "shop-1")

        await leave(clew, "create_thread", b'{"thread_id": "thread_a"}')
        assert await said(deployment, "retry", "--all") == {"retried": [2], "final": []}
        await emptied(clew)
        assert await said(deployment, "list") == {"rejected": []}
        assert [each.id for each in (await commits_of(clew, "thread_a"))[1:]] == ["shop-1"]

        # Whoever left it first may do so again: it is the same command.
        await leave(clew, "update_thread", b'{"thread_id": "thread_a", "metadata": {"a": "1"}, "id": "shop-1"}')
        await emptied(clew)
        assert len(await commits_of(clew, "thread_a")) == 2


async def test_an_item_that_is_tried_again_keeps_its_digits(clew: Clew, deployment) -> None:
    item = b'{"id":"one","type":"x","n":[1.10,1e400,12345678901234567890123]}'
    async with served(clew), connect(deployment.url) as client:
        await leave(clew, "add_items", b'{"thread_id":"thread_a","id":"add","items":[%s]}' % item)
        await emptied(clew)
        await client.create_thread(thread_id="thread_a")
        await rejections.retry(clew.js, *[each async for each in rejections.list_rejected(clew.js)])
        await emptied(clew)
        assert bytes((await client.get_item("thread_a", "one")).item) == item


async def test_what_can_never_be_granted_is_not_tried_again(clew: Clew, deployment) -> None:
    async with served(clew, (serve_inbox,)):
        await leave(clew, "create_thread", b'{"thread_id": "thread_a", "id": "one"}')
        await leave(clew, "create_thread", b'{"thread_id": "thread_a", "id": "one", "metadata": {"a": "1"}}')
        await leave(clew, "create_thread", b'{"thread_id": "thread_a", "id": "two"}')
        await leave(clew, "create_thread", b"not json")
        await leave(clew, "update_thread", b'{"thread_id": "thread_b", "metadata": {}}')
        await emptied(clew)
        found = (await said(deployment, "list"))["rejected"]
        assert sorted(each["rejection"]["error"]["code"] for each in found) == [
            "already_exists",
            "command_id_reused",
            "invalid_json",
            "thread_not_found",
        ]
        by_code = {each["rejection"]["error"]["code"]: each["number"] for each in found}
        for code in ("already_exists", "command_id_reused", "invalid_json"):
            exit_code, why = await refused(deployment, "retry", str(by_code[code]))
            assert (exit_code, "[refusal_final]" in why) == (1, True)
        tried = await said(deployment, "retry", "--all")
        assert tried["retried"] == [by_code["thread_not_found"]]
        assert set(tried["final"]) == set(by_code.values()) - {by_code["thread_not_found"]}
        await emptied(clew)
    assert len((await said(deployment, "list"))["rejected"]) == 4
    assert len((await said(deployment, "list", "--tenant", "other"))["rejected"]) == 0
    assert await refused(deployment, "show", "99") == (
        6,
        "clew: there is no rejected command with the number 99 [refusal_not_found]\n",
    )
    assert (await refused(deployment, "retry"))[0] == 2
    assert (await refused(deployment, "list"))[0] == 0


async def test_a_retry_that_was_cut_short_is_done_once(clew: Clew, deployment, monkeypatch) -> None:
    async with served(clew, (serve_inbox,)):
        await leave(clew, "update_thread", b'{"thread_id": "thread_a", "metadata": {"a": "1"}, "id": "one"}')
        await emptied(clew)
        await leave(clew, "create_thread", b'{"thread_id": "thread_a"}')
        await emptied(clew)
        (found,) = [each async for each in rejections.list_rejected(clew.js)]
        call = clew.js.api

        async def cut(name: str, request: object = None) -> dict[str, object]:
            if name.startswith("STREAM.MSG.DELETE"):
                raise Unavailable("gone")
            return await call(name, request)

        with monkeypatch.context() as patched:
            patched.setattr(clew.js, "api", cut)
            with pytest.raises(Unavailable):
                await rejections.retry(clew.js, found)
        await emptied(clew)
        await rejections.retry(clew.js, found)
        await emptied(clew)
        assert [each async for each in rejections.list_rejected(clew.js)] == []
    assert len(await commits_of(clew, "thread_a")) == 2


async def test_no_message_of_a_tenants_makes_a_retry_vanish(clew: Clew) -> None:
    async with served(clew, (serve_inbox,)):
        await leave(clew, "update_thread", b'{"thread_id": "thread_a", "metadata": {"a": "1"}, "id": "one"}')
        await emptied(clew)
        await leave(clew, "create_thread", b'{"thread_id": "thread_a"}')
        await emptied(clew)
        (found,) = [each async for each in rejections.list_rejected(clew.js)]
        mark = f"retry-{found.rejection.inbox_seq}-{found.number}-{int(found.at.timestamp() * 1000)}"
        await leave(clew, "create_thread", b'{"thread_id": "thread_b"}', **{"Nats-Msg-Id": mark})
        await rejections.retry(clew.js, found)
        await emptied(clew)
    assert [each.id for each in (await commits_of(clew, "thread_a"))[1:]] == ["one"]


async def bound(clew: Clew, **limits: int) -> None:
    config = (await clew.js.api("STREAM.INFO.CLEW_INBOX"))["config"]
    assert isinstance(config, dict)
    await clew.js.api("STREAM.UPDATE.CLEW_INBOX", {**config, **limits})


@pytest.mark.parametrize("limits", [{"max_msgs": 2}, {"max_bytes": 300}], ids=["messages", "bytes"])
async def test_a_full_inbox_says_so_and_takes_more_when_some_of_it_is_done(
    clew: Clew, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]
) -> None:
    await bound(clew, **limits)
    monkeypatch.setattr(transport, "delays", lambda: iter([3600.0]))  # no time for another try
    client = Client(clew.nc, timeout=60)
    await client.enqueue(CreateThread(id="one", thread_id="thread_a"))
    await client.enqueue(UpdateThread(id="two", thread_id="thread_a", metadata={"a": "1"}))
    late = UpdateThread(id="three", thread_id="thread_a", metadata={"a": "2"})
    with pytest.raises(Unavailable) as caught:
        await client.enqueue(late)
    assert (caught.value.code, caught.value.outcome_unknown) == ("inbox_full", False)
    with pytest.raises(nats.js.errors.APIError) as plain:
        await leave(clew, "update_thread", b'{"thread_id": "thread_a", "metadata": {"a": "2"}}' + b" " * 300)
    assert (plain.value.code, plain.value.err_code) == (503, 10077)
    assert plain.value.description in {"maximum messages exceeded", "maximum bytes exceeded"}
    async with served(clew, (serve_inbox,)):
        await emptied(clew)
        await client.enqueue(late)
        await emptied(clew)
    assert [each.id for each in await commits_of(clew, "thread_a")] == ["one", "two", "three"]
