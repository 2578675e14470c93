"""Change threads from another service, with Clew's own client: pip install clew."""

import asyncio
import os

from clew_events.client import connect
from clew_events.errors import Conflict, Rejected, Unavailable
from clew_events.objects import TextPart


async def main() -> None:
    async with connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"), actor="shop") as clew:
        made = await clew.create_thread(messages=["Where is my parcel?"], metadata={"order": "1042"})
        thread = made.thread.id

        await clew.add_message(thread, "It was due yesterday.")
        await clew.patch_metadata(thread, set={"priority": "high"})

        try:
            await clew.update_thread(thread, metadata={"order": "1043"}, expected_version=made.n)
        except Conflict:
            print("somebody was faster: look again, then decide again")
        except Rejected as error:
            print(f"refused, and would be again: {error.code} at {error.param}: {error.message}")
        except Unavailable as error:
            print(f"no answer in time; it may have happened: {error.outcome_unknown}")

        async for message in clew.iter_messages(thread):
            texts = [part.text.value for part in message.content if isinstance(part, TextPart)]
            print(f"{message.role}: {' '.join(texts)}")
        async for entry in clew.iter_history(thread):
            print(f"{entry.commit.n}. {entry.commit.command} by {entry.commit.actor}")


asyncio.run(main())
