"""An agent of Google's ADK whose sessions are in Clew: pip install 'clew[adk]'."""

import asyncio
import os
from collections.abc import AsyncGenerator

from google.adk.agents import BaseAgent, InvocationContext
from google.adk.events import Event, EventActions
from google.adk.runners import Runner
from google.genai.types import Content, Part

from clew_adapters.adk import ClewSessionService
from clew_events.client import connect


class Clerk(BaseAgent):
    """Stands where an LlmAgent would, so that this runs without a model."""

    async def _run_async_impl(self, context: InvocationContext) -> AsyncGenerator[Event, None]:
        asked = context.session.state.get("asked", 0) + 1
        yield Event(
            author=self.name,
            invocation_id=context.invocation_id,
            content=Content(role="model", parts=[Part(text=f"You asked {asked} times.")]),
            actions=EventActions(state_delta={"asked": asked, "user:language": "en"}),
        )


async def main() -> None:
    async with connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"), actor="clerk") as clew:
        sessions = ClewSessionService(clew)  # instead of InMemorySessionService()
        runner = Runner(app_name="shop", agent=Clerk(name="clerk"), session_service=sessions)
        session = await sessions.create_session(app_name="shop", user_id="ada")
        for text in ("Where is my parcel?", "And now?"):
            message = Content(role="user", parts=[Part(text=text)])
            async for event in runner.run_async(user_id="ada", session_id=session.id, new_message=message):
                print(event.author, event.content.parts[0].text)

        kept = await sessions.get_session(app_name="shop", user_id="ada", session_id=session.id)
        print(len(kept.events), "events,", kept.state)


asyncio.run(main())
