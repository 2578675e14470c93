"""Microsoft's Agent Framework, as it is published, keeps the messages of its sessions in Clew."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from clew_adapters.conversation import conversation_id
from clew_events.client import Clew
from clew_events.commands import AddItems
from clew_events.errors import TooLarge, Unavailable
from support.lost_answers import LossyClew

RunProgram = Callable[[str], Awaitable[list[str]]]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", autouse=True)
def framework() -> None:
    """Import it where these tests run: every process collects them, and importing it takes seconds of a core."""
    pytest.importorskip("agent_framework", reason="clew[agent-framework] is not installed")

    from agent_framework import (
        Agent,
        BaseChatClient,
        ChatResponse,
        Content,
        InMemoryHistoryProvider,
        Message,
    )

    from clew_adapters.agent_framework import ClewHistoryProvider

    class Script(BaseChatClient[Any]):
        """Answers with how many messages it was asked with."""

        def _inner_get_response(
            self, *, messages: Sequence[Message], stream: bool, options: Any, **kwargs: Any
        ) -> Awaitable[ChatResponse]:
            async def answer() -> ChatResponse:
                return ChatResponse(messages=[Message("assistant", [f"asked with {len(messages)}"])])

            return answer()

    globals().update(locals())


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return request.node.name


def plain(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return [message.to_dict() for message in messages]


def texts(messages: Sequence[Message]) -> list[str]:
    return [message.text for message in messages]


async def test_messages_come_back_value_for_value_and_in_order(clew: Clew, name: str):
    provider = ClewHistoryProvider(clew)
    deep = {"n": 10**30, "none": None, "list": [None, {"x": 0.1}]}
    messages = [
        Message("user", ["ü\x00", Content.from_data(bytes(range(256)), "image/png")], author_name="ada"),
        Message("assistant", [Content.from_function_call("c 1", "track", arguments=deep)], message_id="m 1"),
        Message("tool", [Content.from_function_result("c 1", result="at sea")]),
        Message("assistant", [{"type": "hologram", "additional_properties": deep}], additional_properties=deep),
    ]
    await provider.save_messages(name, messages)
    await provider.save_messages(name, [])
    assert plain(await provider.get_messages(name)) == plain(messages)
    for other in (f"{name} ", f"{name}.*>", None):
        assert await provider.get_messages(other) == []
    assert await ClewHistoryProvider(clew, id_key=b"secret").get_messages(name) == []


async def test_first_messages_by_many_at_once_are_all_there(clew: Clew, name: str):
    pairs = [[Message("user", [f"{n}"]), Message("assistant", [f"{n}!"])] for n in range(8)]
    await asyncio.gather(*(ClewHistoryProvider(clew).save_messages(name, pair) for pair in pairs))
    found = texts(await ClewHistoryProvider(clew).get_messages(name))
    assert sorted(zip(found[::2], found[1::2], strict=True)) == [(f"{n}", f"{n}!") for n in range(8)]


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("message_id", ["m", None])
async def test_messages_that_are_saved_again_after_an_unknown_outcome_are_there_once(
    clew: Clew, name: str, arrives: bool, message_id: str | None
):
    lossy = LossyClew(clew)
    provider = ClewHistoryProvider(lossy)
    await provider.save_messages(name, [Message("user", ["before"])])
    messages = [Message("user", ["asked"]), Message("assistant", ["answered"], message_id=message_id)]
    lossy.lost[AddItems] = arrives
    with pytest.raises(Unavailable):
        await provider.save_messages(name, messages)
    if message_id is not None:  # Even another process saves them once.
        provider = ClewHistoryProvider(clew)
    await provider.save_messages(name, messages)
    await provider.save_messages(name, [Message("user", ["asked"])])
    assert texts(await provider.get_messages(name)) == ["before", "asked", "answered", "asked"]


async def test_what_is_too_large_is_refused_whole(clew: Clew, name: str):
    provider = ClewHistoryProvider(clew)
    with pytest.raises(TooLarge):
        await provider.save_messages(name, [Message("user", ["fine"]), Message("user", ["x" * 9_000_000])])
    assert await provider.get_messages(name) == []


async def test_an_agent_goes_on_from_what_is_in_clew(clew: Clew, name: str):
    for asked in (1, 3):
        agent = Agent(client=Script(), context_providers=[ClewHistoryProvider(clew)])
        answer = await agent.run("And?", session=agent.create_session(session_id=name))
        assert answer.text == f"asked with {asked}"
    assert texts(await ClewHistoryProvider(clew).get_messages(name)) == [
        "And?", "asked with 1", "And?", "asked with 3"
    ]  # fmt: skip


async def test_as_an_audit_it_stores_beside_another_memory_and_loads_nothing(clew: Clew, name: str):
    audit = ClewHistoryProvider(clew, "audit", load_messages=False)
    agent = Agent(client=Script(), context_providers=[InMemoryHistoryProvider(), audit])
    session = agent.create_session(session_id=name)
    assert [(await agent.run("And?", session=session)).text for _ in range(2)] == ["asked with 1", "asked with 3"]
    thread = conversation_id("agent_framework", name)
    kept = [json.loads(bytes(item)) async for item in clew.iter_items(thread)]
    assert [each["message"]["role"] for each in kept] == ["user", "assistant"] * 2
    assert [each.commit.command async for each in clew.iter_history(thread)] == ["CreateThread", "AddItems", "AddItems"]


async def test_what_is_run_without_a_session_is_kept_by_itself(clew: Clew):
    agent = Agent(client=Script(), context_providers=[ClewHistoryProvider(clew)])
    assert [(await agent.run("alone")).text for _ in range(2)] == ["asked with 1"] * 2


async def test_the_program_of_the_guide_runs(run_program: RunProgram):
    assert await run_program("with_agent_framework") == [
        "I was given 1 messages.",
        "I was given 3 messages.",
        "user: Is it audited?",
        "assistant: I was given 1 messages.",
    ]
