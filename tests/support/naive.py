"""What is true of a thread, worked out from its stored commits in the plainest way there is, with none of Clew's code.

Everything here takes a history's JSON as it is stored and looks at all of it anew for each question. A history is what
was once stored; :func:`redacted` leaves out what was erased of it since.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

JSON = dict[str, Any]
ERASED = "ErasureRequested"
QUIET = {ERASED, "ErasureCompleted", "HoldPlaced", "HoldReleased", "ThreadDeleted"}
"""What commits are made of that are no use of a thread."""


class Kept(Struct, frozen=True):
    """A stored commit: its JSON with the contents of its events, and where it stands."""

    commit: JSON
    seq: int
    hash: str

    @property
    def n(self) -> int:
        """Its number."""
        return int(self.commit["n"])


def kept(body: bytes, seq: int, digest: str) -> Kept:
    """A stored commit from its bytes: each event of the record with what its content says."""
    record, command, *contents = body.split(b"\n")
    commit = json.loads(record)
    commit["reason"] = json.loads(command)["reason"] if command else None
    for event, content in zip(commit["events"], contents, strict=False):
        event["content"] = sorted(json.loads(content)) if content else []
        event.update(json.loads(content) if content else {})
    return Kept(commit, seq, digest)


def requests(history: Sequence[Kept]) -> list[tuple[int, JSON]]:
    """The erasures that a history requests: each with the number of its commit."""
    return [(each.n, event) for each in history for event in each.commit["events"] if event["type"] == ERASED]


def redacted(history: Sequence[Kept], erasures: Sequence[tuple[int, JSON]]) -> list[Kept]:
    """A history without what erasures take of it, whichever of their requests it has."""
    return [_without(each, [event for n, event in erasures if each.n < n]) for each in history]


def _without(each: Kept, erasures: Sequence[JSON]) -> Kept:
    commit = each.commit
    for erasure in erasures:
        concerned = [_concerns(erasure, event) for event in commit["events"]]
        events = [
            _emptied(event) if taken and event["content"] else event
            for event, taken in zip(commit["events"], concerned, strict=True)
        ]
        commit = {**commit, "events": events}
        if any(concerned) and all(taken for event, taken in zip(events, concerned, strict=True) if event["content"]):
            commit["reason"] = None
    return Kept(commit, each.seq, each.hash)


def _concerns(erasure: JSON, event: JSON) -> bool:
    return erasure["items"] is None or event.get("item") in erasure["items"]


def _emptied(event: JSON) -> JSON:
    return {key: value for key, value in event.items() if key not in event["content"]} | {"erased": True}


def events(each: Kept) -> list[JSON]:
    """The events of a commit as answers show them, without their seals."""
    hidden = {"salt", "seal", "content", "erased"}
    return [
        {
            ("of" if key == "type" and "erased" in event else key): value
            for key, value in event.items()
            if key not in hidden
        }
        for event in each.commit["events"]
    ]


class State(Struct):
    """A thread at some commit. ``messages`` has all there ever were, in order; a deleted one is ``None``."""

    thread: str
    n: int = 0
    seq: int = 0
    status: str = "absent"
    created: str = ""
    active: str = ""
    expires: JSON | None = None
    erased: bool = False
    metadata: dict[str, str] = {}
    tools: JSON = {}
    messages: dict[str, JSON | None] = {}
    count: int = 0
    """How many messages there are, those included whose contents were erased later."""

    @property
    def there(self) -> dict[str, JSON]:
        """The messages that are there."""
        return {key: message for key, message in self.messages.items() if message is not None}

    @property
    def resources(self) -> JSON:
        """The thread's resources as the answer to a change shows them."""
        shown = {"code_interpreter": "file_ids", "file_search": "vector_store_ids"}
        return {
            name: {key: self.tools[name].get(key, [])}
            for name, key in shown.items()
            if self.tools.get(name) is not None
        }

    @property
    def shown(self) -> JSON:
        """The thread as queries answer it."""
        return {
            "id": self.thread,
            "object": "thread",
            "created_at": seconds(self.created),
            "metadata": self.metadata,
            "tool_resources": self.resources or {"code_interpreter": {"file_ids": []}},
            **self.expiry,
        } | ({"erased": True} if self.erased else {})

    @property
    def expiry(self) -> JSON:
        """When it expires, as answers show it."""
        if self.expires is None:
            return {}
        since = self.created if self.expires["anchor"] == "created_at" else self.active
        return {"expires_after": self.expires, "expires_at": seconds(since) + 86_400 * int(self.expires["days"])}


def state(thread: str, history: Sequence[Kept]) -> State:
    """A thread after some commits."""
    now = State(thread=thread, metadata={}, messages={})
    for each in history:
        now.n, now.seq = each.n, each.seq
        if not QUIET & {event["type"] for event in each.commit["events"]}:
            now.active = each.commit["at"]
        for event in each.commit["events"]:
            _happen(now, event, each.commit["at"])
    return now


def _happen(now: State, event: JSON, at: str) -> None:  # noqa: C901, PLR0912 - one case an event
    match event["type"]:
        case "ThreadCreated":
            now.status, now.created, now.erased = "open", at, "erased" in event
            now.metadata, now.tools = dict(event.get("metadata", {})), event.get("tool_resources", {})
        case "MetadataUpdated" | "ToolResourcesUpdated" if "erased" in event:
            now.erased = True
        case "ItemMetadataUpdated" if "erased" in event:
            pass
        case "MetadataUpdated":
            now.metadata = changed(now.metadata, event)
        case "ToolResourcesUpdated":
            now.tools = event["tool_resources"]
        case "ItemAdded":
            now.count += 1
            unknown: JSON = {"role": "user", "content": [], "metadata": {}}
            message = _message(now.thread, event["item"], event.get("message", unknown), at)
            now.messages[event["item"]] = message | ({"erased": True} if "erased" in event else {})
        case "ItemMetadataUpdated":
            message = now.messages[event["item"]]
            assert message is not None
            now.messages[event["item"]] = {**message, "metadata": changed(message["metadata"], event)}
        case "ItemDeleted":
            now.count -= 1
            now.messages[event["item"]] = None
        case "ThreadDeleted":
            now.status = "deleted"
        case "ThreadRestored":
            now.status = "open"
        case "ErasureRequested" if event["items"] is None:
            now.status, now.metadata, now.tools, now.count = "erased", {}, {}, 0
            now.messages = dict.fromkeys(now.messages)
        case "ErasureRequested":
            now.messages |= dict.fromkeys(event["items"])
        case "ExpiryUpdated":
            now.expires = event["expires_after"]
        case "ErasureCompleted" | "HoldPlaced" | "HoldReleased":
            pass
        case other:
            raise AssertionError(other)


def items(history: Sequence[Kept]) -> list[JSON]:
    """The items that are there, in their order: what each was last said to be, and its id."""
    now: list[JSON] = []
    for event in (event for each in history for event in each.commit["events"]):
        at = next((at for at in reversed(range(len(now))) if now[at]["id"] == event.get("item")), len(now))
        match event["type"]:
            case "ItemAdded":
                now.append(_item(event))
            case "ItemReplaced":
                now[at] = _item(event)
            case "ItemMetadataUpdated":
                now[at] = {**now[at], "metadata": changed(now[at].get("metadata", {}), event)}
            case "ItemDeleted":
                del now[at]
            case "ItemsCleared":
                now.clear()
            case _:
                pass
    return now


def _item(event: JSON) -> JSON:
    said = event["body"] if "body" in event else {"type": "message", **event["message"]}
    return {**said, "id": event["item"]}


def changed(metadata: dict[str, str], event: JSON) -> dict[str, str]:
    """Metadata after a recorded difference."""
    return {key: value for key, value in {**metadata, **event["set"]}.items() if key not in event["unset"]}


def seconds(at: str) -> int:
    """A stored time in whole Unix seconds."""
    return int(datetime.fromisoformat(at).timestamp())


def _message(thread: str, item: str, added: JSON, at: str) -> JSON:
    texts = [
        {"type": "text", "text": {"value": part["text"], "annotations": []}} if part["type"] == "text" else part
        for part in added["content"]
    ]
    return {
        "id": item,
        "object": "thread.message",
        "created_at": seconds(at),
        "thread_id": thread,
        "role": added["role"],
        "content": texts,
        "assistant_id": None,
        "run_id": None,
        "attachments": added.get("attachments", []),
        "metadata": added["metadata"],
        "status": "completed",
        "completed_at": None,
        "incomplete_at": None,
        "incomplete_details": None,
    }


def page(now: State, *, limit: int, order: str, after: str | None, before: str | None) -> JSON:
    """A page of messages. Both cursors have to be messages that the thread had at some time."""
    places = list(now.messages)
    if order == "desc":
        places.reverse()
    low = places.index(after) + 1 if after is not None else 0
    high = places.index(before) if before is not None else len(places)
    there = [message for key in places[low:high] if (message := now.messages[key]) is not None]
    back = before is not None and after is None
    data = there[max(0, len(there) - limit) :] if back else there[:limit]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(there) > limit,
    }


def is_erased(history: Sequence[Kept]) -> bool:
    """Whether any event has lost what it said."""
    return any("erased" in event for each in history for event in each.commit["events"])


def blame(history: Sequence[Kept]) -> JSON:
    """By whom everything is: the numbers of commits."""
    said: JSON = {"metadata": {}, "removed": {}, "messages": {}, "expires": None, "erased": is_erased(history)}
    before = State("")
    for upto in range(1, len(history) + 1):
        now = state("", history[:upto])
        n = now.n
        for event in history[upto - 1].commit["events"]:
            match event["type"]:
                case "MetadataUpdated" | "ThreadCreated" if "erased" in event:
                    pass
                case "ThreadCreated":
                    said["metadata"] = dict.fromkeys(event["metadata"], n)
                case "MetadataUpdated":
                    said["metadata"] |= dict.fromkeys(event["set"], n)
                    said["metadata"] = {key: by for key, by in said["metadata"].items() if key in now.metadata}
                case "ExpiryUpdated":
                    said["expires"] = (event["expires_after"], n)
                case "ItemAdded":
                    said["messages"][event["item"]] = [n, n, None]
                case "ItemMetadataUpdated":
                    said["messages"][event["item"]][1] = n
                case "ItemDeleted":
                    said["messages"][event["item"]][1:] = [n, n]
                case _:
                    pass
        said["removed"] |= {key: n for key in before.metadata if key not in now.metadata}
        said["removed"] = {key: by for key, by in said["removed"].items() if key not in now.metadata}
        before = now
    return said


def difference(thread: str, history: Sequence[Kept], since: int) -> JSON:
    """What the commits after ``since`` came to."""
    old, new = state(thread, history[:since]), state(thread, history)
    keys = {*old.metadata, *new.metadata}
    changes = [event for each in history[since:] for event in each.commit["events"]]
    touched = {event["item"] for event in changes if "item" in event}
    touched |= {item for event in changes if event["type"] == ERASED for item in event["items"] or ()}
    messages = {key: (old.messages.get(key), new.messages.get(key)) for key in touched}
    return {
        "erased": is_erased(history),
        "status": (old.status, new.status),
        "commits": [(each.n, each.commit["reason"]) for each in history[since:]],
        "expires": None if old.expires == new.expires else (old.expires, new.expires),
        "metadata": {
            key: (old.metadata.get(key), new.metadata.get(key))
            for key in keys
            if old.metadata.get(key) != new.metadata.get(key)
        },
        "messages": {
            key: pair
            for key, pair in messages.items()
            if pair[0] != pair[1] or pair == (None, None) or "erased" in (pair[1] or {})
        },
    }
