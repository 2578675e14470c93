"""The same with nothing but nats-py: a command is a JSON object, sent to a subject."""

import asyncio
import json
import os
import random
import time
import uuid

import nats
import nats.errors

PATIENCE = 10


async def carry_out(nc: nats.NATS, command: str, body: dict) -> dict:
    """Send a command until it is answered. The id makes that safe: it is the same command every time."""
    payload = json.dumps({"id": str(uuid.uuid4()), "actor": "shop", **body}).encode()
    until, pause = time.monotonic() + PATIENCE, 0.05
    while True:
        try:
            reply = json.loads((await nc.request(f"clew.cmd.default.{command}", payload, timeout=2)).data)
        except (nats.errors.TimeoutError, nats.errors.NoRespondersError) as silence:
            reply = {"error": {"retry": "later", "code": "no_reply", "message": str(silence)}}
        if "ok" in reply:
            return reply["ok"]
        error = reply["error"]
        if error["retry"] != "later" or time.monotonic() > until:
            raise RuntimeError(f"{error['code']}: {error['message']}")
        await asyncio.sleep(pause * random.uniform(0.5, 1))
        pause = min(2 * pause, 2)


async def main() -> None:
    nc = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    hello = {"role": "user", "content": "Where is my parcel?"}
    made = await carry_out(nc, "create_thread", {"messages": [hello], "metadata": {"order": "1042"}})
    thread = made["thread"]["id"]
    await carry_out(nc, "update_thread", {"thread_id": thread, "patch": {"set": {"priority": "high"}}})

    found = await nc.request("clew.query.default.get_thread", json.dumps({"thread_id": thread}).encode(), timeout=5)
    print(json.loads(found.data)["ok"]["thread"]["metadata"])
    await nc.drain()


asyncio.run(main())
