"""An agent of OpenAI's Agents SDK whose session is in Clew, over NATS: pip install 'clew[agents]'."""

import asyncio
import os

from agents import Agent, Model, ModelResponse, RunConfig, Runner, Usage
from openai.types.responses import ResponseOutputMessage, ResponseOutputText

from clew_adapters.agents import ClewSession
from clew_events.client import connect


class Counter(Model):
    """Stands where a model would, so that this runs without one."""

    async def get_response(self, system_instructions, input, *args, **options) -> ModelResponse:
        text = ResponseOutputText(type="output_text", text=f"I was given {len(input)} items.", annotations=[])
        said = ResponseOutputMessage(id="msg_1", type="message", role="assistant", status="completed", content=[text])
        return ModelResponse(output=[said], usage=Usage(), response_id=None)

    def stream_response(self, *args, **options):
        raise NotImplementedError


async def main() -> None:
    async with connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"), actor="clerk") as clew:
        session = ClewSession(clew, "order 1042")  # instead of SQLiteSession("order 1042")
        for text in ("Where is my parcel?", "And now?"):
            ran = await Runner.run(
                Agent(name="clerk", model=Counter()), text, session=session, run_config=RunConfig(tracing_disabled=True)
            )
            print(ran.final_output)
        print(len(await session.get_items()), "items")


asyncio.run(main())
