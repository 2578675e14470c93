"""LangChain, as it is published, keeps the messages of its chats in Clew."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from clew_adapters.conversation import conversation_id
from clew_events.client import sync
from clew_events.commands import AddItems, CreateThread
from clew_events.errors import NotFound, TooLarge, Unavailable
from support.lost_answers import LossyClew

RunProgram = Callable[[str], Awaitable[list[str]]]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:.*(InMemory|Base)ChatMessageHistory.*deprecated"),
    pytest.mark.filterwarnings("ignore:.*RunnableWithMessageHistory.*deprecated"),
]


@pytest.fixture(scope="module", autouse=True)
def framework() -> None:
    """Import it where these tests run: every process collects them, and importing it takes seconds of a core."""
    pytest.importorskip("langchain_core", reason="clew[langchain] is not installed")

    from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
    from langchain_core.runnables import RunnableLambda
    from langchain_core.runnables.history import RunnableWithMessageHistory

    from clew_adapters.langchain import ClewChatMessageHistory

    globals().update(locals())


@pytest_asyncio.fixture(loop_scope="module")
async def clew(url: str) -> AsyncIterator[sync.Clew]:
    """The client without async, which is opened and closed as a program without it would."""
    opening = sync.connect(url, actor="assistant")
    yield await asyncio.to_thread(opening.__enter__)
    await asyncio.to_thread(opening.__exit__, None, None, None)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return request.node.name


@pytest.fixture
def history(clew: sync.Clew, name: str) -> ClewChatMessageHistory:
    return ClewChatMessageHistory(clew, name)


def said(messages: list[BaseMessage]) -> list[object]:
    return [message.content for message in messages]


async def test_messages_come_back_value_for_value_and_in_order(history: ClewChatMessageHistory):
    calls: Any = [{"name": "track", "args": {"parcel": 10**30, "deep": [None, {"x": 0.1}]}, "id": "call_1"}]
    messages = [
        SystemMessage("Be kind.", name="house"),
        HumanMessage([{"type": "text", "text": "ü\x00"}, {"type": "hologram", "of": {"unknown": [1.5]}}], id="h 1"),
        AIMessage("", tool_calls=calls, response_metadata={"model": "m"}, id="run-1"),
        ToolMessage("on its way", tool_call_id="call_1", artifact={"raw": [1, 2]}, status="error"),
        AIMessage("It is on its way.", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
    ]
    await history.aadd_messages(messages)
    assert await history.aget_messages() == messages
    await history.aadd_messages([])
    await asyncio.to_thread(history.add_user_message, "Thanks")
    assert await asyncio.to_thread(lambda: history.messages) == [*messages, HumanMessage("Thanks")]


async def test_what_is_cleared_is_gone_and_can_be_added_again(history: ClewChatMessageHistory):
    assert await history.aget_messages() == []
    await history.aclear()
    messages = [HumanMessage("one", id="1"), AIMessage("two", id="2")]
    for _ in range(2):
        await history.aadd_messages(messages)
        assert await history.aget_messages() == messages
        await history.aclear()
        assert await history.aget_messages() == []


async def test_sessions_of_any_name_are_apart(clew: sync.Clew, name: str):
    names = [f"{name}{end}" for end in ("", " ", ".*>", "ü/..", "\x00", "x" * 400)]
    for each in names:
        await ClewChatMessageHistory(clew, each).aadd_messages([HumanMessage(each)])
    assert [said(await ClewChatMessageHistory(clew, each).aget_messages()) for each in names] == [[n] for n in names]
    assert await ClewChatMessageHistory(clew, name, id_key=b"secret").aget_messages() == []


async def test_first_messages_by_many_at_once_are_all_there(clew: sync.Clew, name: str):
    histories = [ClewChatMessageHistory(clew, name) for _ in range(8)]
    pairs = [[HumanMessage(f"{n}"), AIMessage(f"{n}!")] for n in range(8)]
    await asyncio.gather(*(each.aadd_messages(pair) for each, pair in zip(histories, pairs, strict=True)))
    found = said(await histories[0].aget_messages())
    assert sorted(zip(found[::2], found[1::2], strict=True)) == [(f"{n}", f"{n}!") for n in range(8)]


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("lost", [AddItems, CreateThread])
@pytest.mark.parametrize("given", ["with ids", "without"])
async def test_messages_that_are_added_again_after_an_unknown_outcome_are_there_once(
    clew: sync.Clew, name: str, arrives: bool, lost: Any, given: str
):
    lossy = LossyClew(clew._clew)
    blocking = sync.Clew(lossy, clew._background)
    history = ClewChatMessageHistory(blocking, name)
    ids = ["h", "a"] if given == "with ids" else [None, None]
    messages = [HumanMessage("asked", id=ids[0]), AIMessage("answered", id=ids[1])]
    lossy.after[AddItems] = 1  # The first finds no conversation, and so one is made.
    lossy.lost[lost] = arrives
    with pytest.raises(Unavailable):
        await history.aadd_messages(messages)
    if given == "with ids":  # Even another process adds them once.
        history = ClewChatMessageHistory(clew, name)
    await history.aadd_messages(messages)
    assert await history.aget_messages() == messages
    await history.aadd_messages([HumanMessage("asked")])
    assert said(await history.aget_messages()) == ["asked", "answered", "asked"]


async def test_an_id_that_is_used_for_several_messages_hides_none(history: ClewChatMessageHistory):
    await history.aadd_messages([HumanMessage("one", id="same"), AIMessage("two", id="same")])
    await history.aadd_messages([AIMessage("three", id="same")])
    await history.aadd_messages([AIMessage("four", id="same")])
    found = await history.aget_messages()
    assert [(each.content, each.id) for each in found] == [(n, "same") for n in ("one", "two", "three", "four")]


async def test_what_cannot_be_kept_is_refused_and_nothing_of_the_batch_is_there(history: ClewChatMessageHistory):
    with pytest.raises(TypeError, match="not JSON serializable"):
        await history.aadd_messages([HumanMessage("fine"), ToolMessage("", tool_call_id="1", artifact=object())])
    with pytest.raises(TooLarge):
        await history.aadd_messages([HumanMessage("fine"), HumanMessage("x" * 9_000_000)])
    assert await history.aget_messages() == []


async def test_a_conversation_that_was_deleted_is_not_begun_anew(clew: sync.Clew, name: str):
    history = ClewChatMessageHistory(clew, name)
    await history.aadd_messages([HumanMessage("one")])
    await asyncio.to_thread(clew.delete_thread, conversation_id("langchain", name))
    assert await history.aget_messages() == []
    with pytest.raises(NotFound):
        await history.aadd_messages([HumanMessage("two")])


async def test_a_chain_remembers_what_was_said(clew: sync.Clew, name: str):
    chain = RunnableWithMessageHistory(
        RunnableLambda(lambda messages: AIMessage(f"{len(messages)} so far")),
        lambda session_id: ClewChatMessageHistory(clew, session_id),
    )
    config: Any = {"configurable": {"session_id": name}}
    answers = [await chain.ainvoke([HumanMessage(text)], config) for text in ("a", "b")]
    assert said(answers) == ["1 so far", "3 so far"]
    items = await asyncio.to_thread(lambda: list(clew.iter_items(conversation_id("langchain", name))))
    assert [json.loads(bytes(item))["kind"] for item in items] == ["human", "ai", "human", "ai"]


async def test_the_program_of_the_guide_runs(run_program: RunProgram):
    assert await run_program("with_langchain") == [
        "You said 1 things.",
        "You said 2 things.",
        "human: Where is my parcel?",
        "ai: You said 1 things.",
        "human: And now?",
        "ai: You said 2 things.",
    ]
