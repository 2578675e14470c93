"""OpenAI's Agents SDK, keeps its sessions in Clew over NATS. A script answers in place of a model."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from clew_events.client import Clew
from clew_events.commands import AddItems, PopItem
from clew_events.errors import TooLarge, Unavailable
from support.agents_sdk import calls, says, script
from support.lost_answers import LossyClew

RunProgram = Callable[[str], Awaitable[list[str]]]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", autouse=True)
def framework() -> None:
    """Import it where these tests run: every process collects them, and importing it takes seconds of a core."""
    pytest.importorskip("agents", reason="clew[agents] is not installed")

    from agents import Agent, RunConfig, Runner, function_tool
    from agents.memory import Session, SessionSettings
    from agents.run_internal.session_persistence import rewind_session_items

    from clew_adapters.agents import ClewSession

    @function_tool
    def missing() -> str:
        """Say that it is missing."""
        return "missing"

    globals().update(locals())


@pytest.fixture
def session(clew: Clew, request: pytest.FixtureRequest) -> ClewSession:
    return ClewSession(clew, request.node.name)


def users(*numbers: int) -> list[Any]:
    return [{"role": "user", "content": str(number)} for number in numbers]


async def texts(session: ClewSession, limit: int | None = None) -> list[str]:
    found: list[Any] = await session.get_items(limit)
    return [item["content"] for item in found]


async def test_it_is_what_the_sdk_calls_a_session(session: ClewSession):
    assert isinstance(session, Session)


async def test_items_come_back_value_for_value_and_under_their_own_ids(session: ClewSession):
    items: list[Any] = [
        {"role": "user", "content": [{"type": "input_text", "text": "ü\x00"}, {"type": "hologram", "of": [10**30]}]},
        {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "x" * 100},
        {"id": "__fake_id__", "type": "message", "role": "assistant", "content": [], "status": "completed"},
        {"id": "__fake_id__", "type": "message", "role": "assistant", "content": [], "status": "completed"},
        {"type": "invented_call", "call_id": "c 1", "arguments": '{"a": 1}', "n": [0.1, None, -0.0]},
    ]
    await session.add_items(items)
    await session.add_items([])
    assert await session.get_items() == items
    assert await session.pop_item() == items.pop()
    assert await session.get_items() == items


@pytest.mark.parametrize("limit", [0, 1, 101, 250, 999])
async def test_of_a_long_session_any_tail_comes_in_order(clew: Clew, limit: int):
    session = ClewSession(clew, "long", session_settings=SessionSettings(limit=limit))
    if not await session.get_items(1):
        await session.add_items(users(*range(250)))
    wanted = [str(number) for number in range(250)][max(250 - limit, 0) :]
    assert await texts(session) == (wanted if limit else [])
    assert await texts(ClewSession(clew, "long"), limit) == (wanted if limit else [])
    assert await texts(ClewSession(clew, "long")) == [str(number) for number in range(250)]


async def test_an_empty_or_a_cleared_session_has_nothing_to_pop_and_can_be_used(session: ClewSession):
    for _ in range(2):
        await session.clear_session()
        assert await session.pop_item() is None
        assert await session.get_items() == []
        await session.add_items(users(1, 2))
        assert await texts(session) == ["1", "2"]


async def test_batches_of_many_at_once_are_whole(clew: Clew, session: ClewSession):
    others = [ClewSession(clew, session.session_id) for _ in range(8)]
    await asyncio.gather(*(each.add_items(users(n, n, n)) for n, each in enumerate(others)))
    found = await texts(session)
    assert sorted(found[::3]) == [str(n) for n in range(8)]
    assert found[::3] == found[1::3] == found[2::3]


@pytest.mark.parametrize("arrives", [True, False])
async def test_what_is_done_again_after_an_unknown_outcome_is_done_once(
    clew: Clew, session: ClewSession, arrives: bool
):
    lossy = LossyClew(clew)
    unsure = ClewSession(lossy, session.session_id)
    await session.add_items(users(1, 2, 3))
    lossy.lost |= {AddItems: arrives, PopItem: arrives}
    with pytest.raises(Unavailable):
        await unsure.pop_item()
    assert await unsure.pop_item() == users(3)[0]
    with pytest.raises(Unavailable):
        await unsure.add_items(users(4, 5))
    await unsure.add_items(users(4, 5))
    assert await texts(session) == ["1", "2", "4", "5"]
    await unsure.add_items(users(4, 5))
    await unsure.pop_item()
    await unsure.pop_item()
    assert await texts(session) == ["1", "2", "4", "5"]


async def test_what_is_added_again_after_it_was_cancelled_is_there_once(session: ClewSession):
    await session.add_items(users(0))
    for number in range(1, 9):
        adding = asyncio.create_task(session.add_items(users(number, number)))
        for _ in range(number):
            await asyncio.sleep(0)
        adding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await adding
        await session.add_items(users(number, number))
    assert await texts(session) == ["0", *(str(number) for number in range(1, 9) for _ in "ab")]


async def test_what_is_too_large_is_refused_whole(session: ClewSession):
    with pytest.raises(TooLarge):
        await session.add_items([*users(1), {"role": "user", "content": "x" * 9_000_000}])
    assert await session.get_items() == []


async def test_a_session_named_by_a_conversation_is_that_conversation(clew: Clew):
    thread = (await clew.create_thread(kind="conversation", items=users(1))).thread.id
    session = ClewSession(clew, thread)
    await session.add_items(users(2))
    assert await session.get_items() == users(1, 2)
    assert (await clew.get_thread(thread)).n == 2


async def test_tools_and_runs_go_on_from_what_the_session_has_and_it_rewinds(session: ClewSession):
    quiet = RunConfig(tracing_disabled=True)
    model = script([calls("missing", "call_1")], [says("Here.")], [says("Again.")])
    agent = Agent(name="clerk", model=model, tools=[missing])
    assert (await Runner.run(agent, "Where?", session=session, run_config=quiet)).final_output == "Here."
    stored: list[Any] = await session.get_items()
    kinds = ["message", "function_call", "function_call_output", "message"]
    assert [item.get("type", "message") for item in stored] == kinds
    streamed = Runner.run_streamed(agent, "And?", session=session, run_config=quiet)
    async for _ in streamed.stream_events():
        pass
    assert [item.get("type", "message") for item in model.asked[-1]] == [*kinds, "message"]
    await rewind_session_items(session, (await session.get_items())[-2:])
    assert await session.get_items() == stored


async def test_the_program_of_the_guide_runs(run_program: RunProgram):
    assert await run_program("with_agents") == [
        "I was given 1 items.",
        "I was given 3 items.",
        "4 items",
    ]
