"""OpenAI's Agents SDK, as it is published, keeps its sessions in Clew; a script answers in place of a model.

Every process of a run collects this file, and importing the SDK takes two seconds of a core. So who runs it does that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from support.agents_sdk import calls, says, script
from support.api import ACME, served
from support.rows import Service

if TYPE_CHECKING:
    from agents import OpenAIConversationsSession

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(service: Service) -> AsyncIterator[AsyncOpenAI]:
    async with (
        served(service.clew) as address,
        AsyncOpenAI(api_key=ACME, base_url=f"{address}/v1", max_retries=0) as made,
    ):
        yield made


@pytest.fixture
def session(client: AsyncOpenAI) -> OpenAIConversationsSession:
    from agents import OpenAIConversationsSession

    return OpenAIConversationsSession(openai_client=client)


def users(*numbers: int) -> list[Any]:
    """Messages as the API shows them: the SDK takes back only what is there exactly as it was added."""
    said = [{"type": "input_text", "text": str(number)} for number in numbers]
    return [{"type": "message", "role": "user", "status": "completed", "content": [each]} for each in said]


async def texts(session: OpenAIConversationsSession, limit: int | None = None) -> list[str]:
    found: list[Any] = await session.get_items(limit)
    return [item["content"][0]["text"] for item in found]


async def test_tools_handoffs_and_streams_go_on_from_what_the_session_has(session: OpenAIConversationsSession):
    from agents import Agent, RunConfig, Runner, function_tool
    from openai.types.responses import ResponseReasoningItem

    @function_tool
    def track(parcel: int) -> str:
        """Say where a parcel is."""
        return f"Parcel {parcel} is on its way."

    quiet = RunConfig(tracing_disabled=True)
    thought = ResponseReasoningItem(id="rs_1", type="reasoning", summary=[])
    clerk = script([says("It is on its way.")], [says("Tomorrow.")])
    shop = script([thought, calls("track", "call_1", '{"parcel": 81}')], [calls("transfer_to_clerk", "call_2")])
    second = Agent(name="clerk", model=clerk)
    first = Agent(name="shop", model=shop, tools=[track], handoffs=[second])

    ran = await Runner.run(first, "Where is my parcel?", session=session, run_config=quiet)
    assert (ran.final_output, ran.last_agent.name) == ("It is on its way.", "clerk")
    kinds = ["message", "reasoning", "function_call", "function_call_output", "function_call", "function_call_output"]
    stored: list[Any] = await session.get_items()
    assert [item["type"] for item in stored] == [*kinds, "message"]
    assert stored[3]["output"] == "Parcel 81 is on its way."

    streamed = Runner.run_streamed(second, "When?", session=session, run_config=quiet)
    async for _ in streamed.stream_events():
        pass
    assert streamed.final_output == "Tomorrow."
    asked = clerk.asked[-1]
    assert [item.get("type", "message") for item in asked] == [*kinds, "message", "message"]
    assert (await texts(session, 2)) == ["When?", "Tomorrow."]


async def test_a_long_session_comes_back_in_order_and_any_tail_of_it(session: OpenAIConversationsSession):
    await session.add_items(users(*range(250)))
    assert await texts(session) == [str(number) for number in range(250)]
    assert await texts(session, 101) == [str(number) for number in range(149, 250)]
    popped: Any = await session.pop_item()
    assert popped["content"][0]["text"] == "249"
    from agents.run_internal.session_persistence import rewind_session_items

    await rewind_session_items(session, users(246, 247, 248))
    assert await texts(session, 2) == ["244", "245"]


async def test_a_batch_that_fails_or_is_cancelled_leaves_whole_batches(
    client: AsyncOpenAI, session: OpenAIConversationsSession
):
    await session.add_items(users(*range(3)))
    bad: Any = {"type": "message", "content": "nobody said so"}
    with pytest.raises(openai.BadRequestError) as refused:
        await session.add_items([*users(*range(3, 33)), bad])
    assert refused.value.param == "items[10]"
    assert await texts(session) == [str(number) for number in range(23)]

    other = type(session)(conversation_id=session.session_id, openai_client=client)
    adding = asyncio.create_task(session.add_items(users(*range(23, 1000))))
    while await texts(other, 1) == ["22"]:
        assert not adding.done()
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    kept = await texts(session)
    assert kept == [str(number) for number in range(len(kept))]
    assert len(kept) % 20 == 3


async def test_a_session_is_cleared_and_an_empty_one_has_nothing_to_pop(session: OpenAIConversationsSession):
    assert await session.pop_item() is None
    await session.add_items(users(1))
    first = session.session_id
    await session.clear_session()
    assert await session.get_items() == []
    assert session.session_id != first


async def test_a_compaction_is_kept_whole(session: OpenAIConversationsSession):
    compaction: Any = {"type": "compaction", "encrypted_content": "sealed"}
    await session.add_items([compaction, *users(1)])
    first: Any = (await session.get_items())[0]
    assert {name: first[name] for name in compaction} == compaction


async def test_first_writes_at_once_share_one_conversation(session: OpenAIConversationsSession):
    await asyncio.gather(*(session.add_items(users(number)) for number in range(5)))
    assert sorted(await texts(session)) == list("01234")
