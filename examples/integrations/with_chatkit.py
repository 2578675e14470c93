"""A self-hosted ChatKit server whose threads are in Clew: pip install 'clew[chatkit]'."""

import asyncio
import json
import os
from datetime import UTC, datetime

from chatkit.server import ChatKitServer
from chatkit.types import AssistantMessageContent, AssistantMessageItem, ThreadItemDoneEvent

from clew_adapters.chatkit import ClewStore
from clew_events.client import connect


class Clerk(ChatKitServer[dict]):
    """Answers without a model. A web server would hand the requests of its one route to ``process``."""

    async def respond(self, thread, input_user_message, context):
        page = await self.store.load_thread_items(thread.id, None, 20, "desc", context)
        text = f"I see {len(page.data)} items."
        yield ThreadItemDoneEvent(
            item=AssistantMessageItem(
                id=self.store.generate_item_id("message", thread, context),
                thread_id=thread.id,
                created_at=datetime.now(UTC),
                content=[AssistantMessageContent(text=text)],
            )
        )


def said(text: str) -> dict:
    return {"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}}


async def main() -> None:
    async with connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"), actor="clerk") as clew:
        server = Clerk(ClewStore(clew, user=lambda context: context["user"]))  # instead of a store of your own
        ada = {"user": "ada"}
        request = {"type": "threads.create", "params": {"input": said("Where is my parcel?")}}
        events = [json.loads(event[6:]) async for event in await server.process(json.dumps(request), ada)]
        thread = next(event["thread"] for event in events if event["type"] == "thread.created")

        request = {"type": "threads.add_user_message", "params": {"thread_id": thread["id"], "input": said("And now?")}}
        async for _ in await server.process(json.dumps(request), ada):
            pass
        for item in (await server.store.load_thread_items(thread["id"], None, 20, "asc", ada)).data:
            print(f"{item.type}: {item.content[0].text}")
        print(len((await server.store.load_threads(20, None, "desc", {"user": "bob"})).data), "threads of bob")


asyncio.run(main())
