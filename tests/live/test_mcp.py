"""``clew mcp`` with the Model Context Protocol's own client, in front of a real API."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

mcp = pytest.importorskip("mcp", reason="the extra 'mcp' is not installed")

from mcp import Client, StdioServerParameters  # noqa: E402 - an extra

from clew_services.compose import Clew  # noqa: E402
from clew_services.mcp.route_tools import VERIFY, tools  # noqa: E402
from clew_services.mcp.tool_server import ToolServer, protocol_server  # noqa: E402
from support.api import ACME, GLOBEX, served  # noqa: E402
from support.feeding import Fed, fed_by_hand  # noqa: E402

CONVERSATION = {"items": [{"role": "user", "content": "Where is my parcel?"}], "metadata": {"plan": "free"}}


@pytest.fixture
async def fed(clew: Clew, tmp_path: Path) -> AsyncIterator[Fed]:
    with fed_by_hand(clew, tmp_path) as fed:
        yield fed


@pytest.fixture
async def url(clew: Clew, fed: Fed) -> AsyncIterator[str]:
    async with served(clew) as address:
        yield f"{address}/v1"


@asynccontextmanager
async def client(url: str, key: str = ACME, *, write: bool = True) -> AsyncIterator[Client]:
    async with ToolServer(url, key, write=write, actor="detective") as calls, Client(protocol_server(calls)) as made:
        yield made


async def answer(made: Client, tool: str, **arguments: object) -> dict[str, Any]:
    result = await made.call_tool(tool, arguments)
    assert not result.is_error, result.content
    (content,) = result.content
    assert json.loads(content.text) == result.structured_content
    return result.structured_content


async def refusal(made: Client, tool: str, **arguments: object) -> str:
    result = await made.call_tool(tool, arguments)
    assert result.is_error
    (content,) = result.content
    return str(content.text)


async def test_a_model_finds_reads_and_verifies_what_was_said_and_who_changed_it(url: str, fed: Fed) -> None:
    async with client(url) as made:
        created = await answer(made, "create_conversation", body=CONVERSATION)
        conversation = created["id"]
        await answer(made, "update_conversation", conversation_id=conversation, body={"metadata": {"plan": "gold"}})
        await fed.feed()
        listed = await answer(made, "list_conversations", search="parcel")
        items = await answer(made, "list_conversation_items", conversation_id=conversation, order="asc")
        history = await answer(made, "list_events", thread_id=conversation)
        changes = await answer(made, "diff_thread", thread_id=conversation, **{"from": 1})
        blame = await answer(made, "blame_thread", thread_id=conversation)
        before = await answer(made, "get_conversation", conversation_id=conversation, as_of="1")
        verdict = await answer(made, VERIFY, thread_id=conversation)
    assert [each["id"] for each in listed["data"]] == [conversation]
    assert items["data"][0]["content"][0]["text"] == "Where is my parcel?"
    assert [each["actor"] for each in history["data"]] == ["detective", "detective"]
    assert changes["metadata"] == [{"key": "plan", "before": "free", "after": "gold"}]
    assert [each["by"]["n"] for each in blame["metadata"] if each["key"] == "plan"] == [2]
    assert before["metadata"] == {"plan": "free"}
    assert (verdict["intact"], verdict["commits"], verdict["trusted"], verdict["findings"]) == (True, 2, False, [])


async def test_without_write_there_is_no_tool_that_changes_anything(url: str) -> None:
    async with client(url, write=False) as made:
        offered = (await made.list_tools()).tools
        assert {each.name for each in offered} == set(tools(write=False))
        assert all(each.annotations is not None and each.annotations.read_only_hint for each in offered)
        assert "There is no tool 'create_thread'" in await refusal(made, "create_thread", body={})
    assert not [each for each in tools(write=True) if "erase" in each or "hold" in each or "retention" in each]


async def test_a_call_with_a_key_of_its_own_happens_once(url: str) -> None:
    async with client(url) as made:
        first, second = [
            await answer(made, "create_conversation", body=CONVERSATION, idempotency_key="once") for _ in range(2)
        ]
        other = await answer(made, "create_conversation", body=CONVERSATION)
    assert first == second
    assert other["id"] != first["id"]


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("get_thread", {}, "'thread_id' is a required property"),
        ("get_thread", {"thread_id": "thread_x/../y"}, "Invalid arguments at 'thread_id'"),
        ("get_thread", {"thread_id": "thread_nobody"}, "No thread found with id 'thread_nobody'."),
        ("list_threads", {"limit": "many"}, "Invalid arguments at 'limit'"),
        ("list_threads", {"colour": "red"}, "('colour' was unexpected): there are 'limit'"),
        ("get_thread", {"thread_id": "x" * 100_000}, f"at 'thread_id': '{'x' * 199}… does not match"),
        ("list_threads", {"query": "{"}, "query"),
        ("create_conversation_items", {"conversation_id": "conv_1", "body": {"items": 3}}, "at 'body.items'"),
        (VERIFY, {"thread_id": "thread_nobody"}, "No thread found"),
    ],
)
async def test_a_call_that_cannot_be_is_answered_with_what_is_wrong(
    url: str, tool: str, arguments: dict[str, object], said: str
) -> None:
    async with client(url) as made:
        assert said in await refusal(made, tool, **arguments)


async def test_a_key_reaches_as_far_as_it_does_over_http_and_no_further(url: str) -> None:
    async with client(url) as made, client(url, GLOBEX) as other, client(url, "sk-nobody") as nobody:
        conversation = (await answer(made, "create_conversation", body=CONVERSATION))["id"]
        assert f"'{conversation}' not found" in await refusal(other, "get_conversation", conversation_id=conversation)
        assert (await answer(other, "list_conversations"))["data"] == []
        assert "API key" in await refusal(nobody, "list_conversations")


async def test_where_nobody_answers_it_is_said_and_what_to_look_at() -> None:
    async with client("http://127.0.0.1:9") as made:
        assert "Clew does not answer at http://127.0.0.1:9" in await refusal(made, "list_threads")


async def test_as_a_program_it_speaks_on_its_standard_streams_and_needs_a_key(url: str) -> None:
    program = [sys.executable, "-m", "clew_services.cli", "mcp", "--url", url]
    environment = {**os.environ, "CLEW_API_KEY": ACME}
    parameters = StdioServerParameters(command=program[0], args=program[1:], env=environment)
    async with Client(parameters) as made:
        assert {each.name for each in (await made.list_tools()).tools} == set(tools(write=False))
        assert (await answer(made, "list_threads"))["object"] == "list"
    without = {name: value for name, value in os.environ.items() if name != "CLEW_API_KEY"}
    process = await asyncio.create_subprocess_exec(*program, env=without, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 1
    assert said.startswith(b"clew: there is no API key: set CLEW_API_KEY")
