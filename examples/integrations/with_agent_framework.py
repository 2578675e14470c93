"""An agent of Microsoft's Agent Framework whose messages are in Clew: pip install 'clew[agent-framework]'."""

import asyncio
import os

from agent_framework import Agent, BaseChatClient, ChatResponse, InMemoryHistoryProvider, Message

from clew_adapters.agent_framework import ClewHistoryProvider
from clew_events.client import connect


class Counter(BaseChatClient):
    """Stands where the client of a model would, so that this runs without one."""

    async def _inner_get_response(self, *, messages, stream, options, **kwargs) -> ChatResponse:
        return ChatResponse(messages=[Message("assistant", [f"I was given {len(messages)} messages."])])


async def main() -> None:
    async with connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"), actor="clerk") as clew:
        memory = ClewHistoryProvider(clew)  # instead of InMemoryHistoryProvider()
        for text in ("Where is my parcel?", "And now?"):
            agent = Agent(client=Counter(), context_providers=[memory])
            print((await agent.run(text, session=agent.create_session(session_id="order 1042"))).text)

        # Beside another memory, as an audit that stores and loads nothing.
        audit = ClewHistoryProvider(clew, "audit", load_messages=False)
        agent = Agent(client=Counter(), context_providers=[InMemoryHistoryProvider(), audit])
        await agent.run("Is it audited?", session=agent.create_session(session_id="order 1043"))
        for message in await memory.get_messages("order 1043"):
            print(f"{message.role}: {message.text}")


asyncio.run(main())
