"""Read a log that may be newer than this program: plain JSON, and a decision about each type that is not known."""

import asyncio
import json
import os
from collections import Counter

import nats

threads: Counter[str] = Counter()
HANDLERS = {
    "ThreadCreated": lambda: threads.update(open=1),
    "ThreadDeleted": lambda: threads.update(open=-1, deleted=1),
}
# Types that are known to be of no concern. Of all others nobody knows whether they are.
IGNORED = {"ItemAdded", "ItemMetadataUpdated", "ItemDeleted", "ToolResourcesUpdated"}


def apply(entry: dict) -> None:
    if "fault" in entry:  # the service itself could not read it: it is older than the log, or the log is damaged
        raise RuntimeError(entry["fault"]["message"])
    commit = entry["commit"]
    for event in commit["events"]:
        kind = event["of"] if event["type"].startswith("Erased") else event["type"]
        if kind in HANDLERS:
            HANDLERS[kind]()
        elif kind not in IGNORED:
            raise RuntimeError(f"commit {commit['n']} of {commit['thread']} has a {kind}: update this program")


async def main() -> None:
    nc = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    query, more = {"limit": 500}, True
    try:
        while more:
            reply = json.loads(
                (await nc.request("clew.query.default.feed", json.dumps(query).encode(), timeout=5)).data
            )
            page = reply["ok"]
            for entry in page["data"]:
                apply(entry)  # raises before the cursor moves on: after an update it continues right here
                query["after"] = entry["id"]
            more = page["has_more"]
    except RuntimeError as error:
        print(f"stopped: {error}")
    print(dict(threads))
    await nc.close()


asyncio.run(main())
