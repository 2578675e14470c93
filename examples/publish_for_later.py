"""Leave commands in the inbox: stored now, carried out when a handler is there, whoever is running meanwhile."""

import asyncio
import os

from clew_events.client import connect
from clew_events.commands import AddMessage, CreateThread
from clew_events.requests import NewMessage


async def main() -> None:
    servers = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    async with connect(servers, actor="night-run", timeout=60) as clew:
        reminder = NewMessage(role="assistant", content="Your parcel is on its way.")
        for order in ("1042", "1043"):
            # Ids that follow from your own data make the whole run repeatable: what was done is not done again.
            thread = f"thread_order-{order}"
            await clew.enqueue(CreateThread(id=f"open-{order}", thread_id=thread, metadata={"order": order}))
            await clew.enqueue(AddMessage(id=f"remind-{order}", thread_id=thread, message=reminder))

        # Nobody has to wait. Whoever wants to can: a thread's versions count its commits.
        for order in ("1042", "1043"):
            found = await clew.wait_for(f"thread_order-{order}", 2)
            print(f"order {found.thread.metadata['order']}: version {found.n}")


asyncio.run(main())
