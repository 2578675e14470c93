"""An example of every request and response of the HTTP API, for its OpenAPI description."""

from __future__ import annotations

from typing import Final

import msgspec

_THREAD_ID: Final = "thread_4hYrC0mTq7bXk2LwZp9sVnEa"
_MESSAGE_ID: Final = "msg_000001Qd8sKz5uVbNwPr3yTe"
_AT: Final = 1_795_384_800

ASKED: Final = {"role": "user", "content": "Where is my parcel?"}
THREAD: Final = {
    "id": _THREAD_ID,
    "object": "thread",
    "created_at": _AT,
    "metadata": {"customer": "c-81"},
    "tool_resources": {},
}
MESSAGE: Final = {
    "id": _MESSAGE_ID,
    "object": "thread.message",
    "created_at": _AT,
    "assistant_id": None,
    "thread_id": _THREAD_ID,
    "run_id": None,
    "role": "user",
    "content": [{"type": "text", "text": {"value": "Where is my parcel?", "annotations": []}}],
    "attachments": [],
    "metadata": {},
    "status": "completed",
    "completed_at": None,
    "incomplete_at": None,
    "incomplete_details": None,
}
THREADS: Final = {
    "object": "list",
    "data": [
        {
            **THREAD,
            "updated_at": _AT,
            "version": 1,
            "message_count": 1,
            "created_by": "shop",
            "updated_by": "shop",
        }
    ],
    "first_id": _THREAD_ID,
    "last_id": _THREAD_ID,
    "has_more": False,
    "next": None,
    "previous": None,
    "fresh": {"position": "0-17,1-4", "at": "2026-11-22T22:00:00Z"},
    "count": None,
    "facets": None,
    "actors": None,
}
PAGE: Final = {
    "object": "list",
    "data": [MESSAGE],
    "first_id": _MESSAGE_ID,
    "last_id": _MESSAGE_ID,
    "has_more": False,
}
NO_RUNS: Final[dict[str, object]] = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
_CONVERSATION_ID: Final = "conv_68fb96fe5d1c8197a3c0a1f2be10d49e0d3f5a7c9b1e2f40"
ITEM: Final = {
    "id": _MESSAGE_ID,
    "type": "message",
    "status": "completed",
    "role": "user",
    "content": [{"type": "input_text", "text": "Where is my parcel?"}],
}
UNRENDERED: Final = {"items": [{"type": "message", "role": "user", "content": "Where is **my** parcel?"}]}
RENDERED: Final = {
    "object": "list",
    "data": [[{"tag": "p", "children": ["Where is ", {"tag": "strong", "children": ["my"]}, " parcel?"]}, "\n"]],
}
SESSION: Final = {
    "object": "session",
    "tenant": "acme",
    "key": "0123456789abcdef",
    "actor": "key:support/0123456789abcdef",
    "scopes": ["read", "audit"],
    "expires_at": "2026-11-29T20:00:00Z",
}
CLOSED_SESSION: Final = {"object": "session.closed", "closed": True}
NEW_ITEMS: Final = {
    "items": [ASKED, {"type": "function_call", "call_id": "call_1", "name": "track", "arguments": "{}"}]
}
ITEMS: Final = {
    "object": "list",
    "data": [
        ITEM,
        {
            "id": "fc_000002Qd8sKz5uVbNwPr3yTe",
            "status": "completed",
            "type": "function_call",
            "call_id": "call_1",
            "name": "track",
            "arguments": "{}",
        },
    ],
    "first_id": _MESSAGE_ID,
    "has_more": False,
    "last_id": "fc_000002Qd8sKz5uVbNwPr3yTe",
}
CONVERSATION: Final = {
    "id": _CONVERSATION_ID,
    "object": "conversation",
    "created_at": _AT,
    "metadata": {"customer": "c-81"},
}
NEW_CONVERSATION: Final = {"items": [ASKED], "metadata": {"customer": "c-81"}}
CONVERSATION_GONE: Final = {"id": _CONVERSATION_ID, "object": "conversation.deleted", "deleted": True}
_COMMIT: Final = {
    "id": "2-4711",
    "object": "thread.commit",
    "thread_id": _THREAD_ID,
    "n": 2,
    "created_at": _AT,
    "at": "2026-11-22T22:00:00.123456Z",
    "actor": "key:support/0f3a5c7e9b1d2f40",
    "by": "http:0f3a5c7e9b1d2f40",
    "reason": None,
    "reason_erased": False,
    "command": "UpdateThread",
    "command_id": "order-4711-closed",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "position": {"shard": 3, "seq": 4711},
    "hash": "9f" * 32,
    "prev": "3c" * 32,
    "events": [{"type": "MetadataUpdated", "set": {"state": "closed"}, "unset": ["urgent"]}],
}
COMMITS: Final = {
    "object": "list",
    "data": [_COMMIT],
    "missing": [],
    "first_id": "2-4711",
    "last_id": "2-4711",
    "has_more": False,
    "next": None,
    "previous": None,
}
OWN_COMMITS: Final = {
    **COMMITS,
    "data": [
        {
            **_COMMIT,
            "thread_id": "tenant",
            "command": "RemoveRetention",
            "command_id": "trials-end",
            "events": [{"type": "RetentionRemoved", "name": "trials"}],
        }
    ],
}
CONVERSATIONS: Final = {
    **THREADS,
    "data": [
        {**CONVERSATION, "updated_at": _AT, "version": 1, "item_count": 1, "created_by": "shop", "updated_by": "shop"}
    ],
    "first_id": _CONVERSATION_ID,
    "last_id": _CONVERSATION_ID,
}
METADATA: Final = {"metadata": {"customer": "c-82"}}
PATCH: Final = {"metadata": {"set": {"state": "open"}, "unset": ["customer"]}}
CREATED: Final = {"metadata": {"customer": "c-81"}, "messages": [ASKED]}
FORKED: Final = {"at": 1, "metadata": {"attempt": "2"}}
THREAD_GONE: Final = {"id": _THREAD_ID, "object": "thread.deleted", "deleted": True}
MESSAGE_GONE: Final = {"id": _MESSAGE_ID, "object": "thread.message.deleted", "deleted": True}
ERASE: Final = {"reason": "asked_by_customer"}
ERASURE: Final = {
    "id": "erasure_0000000000000000000clew",
    "object": "erasure",
    "status": "requested",
    "thread_id": _THREAD_ID,
    "message_id": None,
    "code": "asked_by_customer",
    "actor": "key:dpo/1",
    "by": "http:0123456789abcdef",
    "n": 4,
    "position": {"shard": 1, "seq": 4711},
    "commits": 0,
    "requested_at": "2026-11-28T10:00:00.123456Z",
    "erased_at": None,
    "completed_at": None,
    "fault": None,
    "certificate": None,
}
ERASURES: Final = {
    "object": "list",
    "data": [ERASURE],
    "first_id": ERASURE["id"],
    "last_id": ERASURE["id"],
    "has_more": False,
}
HOLD: Final = {"hold": "case-7"}
HELD: Final = {"id": _THREAD_ID, "object": "thread.holds", "holds": ["case-7"], "deleted": False}
RELEASED: Final = {**HELD, "holds": []}
STANDING: Final = {"hold": "case-8", "where": {"metadata": {"key": "customer", "eq": "c-81"}}}
STANDING_HOLD: Final = {"id": "case-8", "object": "hold", "where": STANDING["where"]}
STANDING_GONE: Final = {"id": "case-8", "object": "hold.deleted", "deleted": True}
HOLDS: Final = {
    "object": "list",
    "data": [HELD],
    "standing": [STANDING_HOLD],
    "first_id": _THREAD_ID,
    "last_id": _THREAD_ID,
    "has_more": False,
    "fresh": {"position": "0-4700,1-4711", "at": "2026-11-28T10:00:00.123456Z"},
}
SET_RETENTION: Final = {
    "name": "trials",
    "after_days": 90,
    "since": "changed",
    "then": "delete",
    "erase_after_days": 30,
    "where": {"metadata": {"key": "plan", "eq": "trial"}},
}
_RETENTION: Final = {"name": "trials", "object": "retention", **SET_RETENTION}
RETENTION: Final = {"object": "list", "data": [_RETENTION]}
RETENTION_SET: Final = {
    **_RETENTION,
    "threads": {"threads": 812, "exact": True},
    "due": {"threads": 0, "exact": True},
    "held_by": ["case-7"],
}
_DUE: Final = {
    "id": _THREAD_ID,
    "object": "thread.due",
    "action": "delete",
    "due_at": 1_795_000_000,
    "policy": "trials",
    "deleted": False,
    "holds": [],
}
DUE: Final = {
    "object": "list",
    "data": [_DUE],
    "first_id": _THREAD_ID,
    "last_id": _THREAD_ID,
    "has_more": True,
    "next": f"1.1787224000000000.{_THREAD_ID}",
}
RETENTION_GONE: Final = {"id": "trials", "object": "retention.deleted", "deleted": True}
_CURSOR: Final = "feed_AQQAABEABQ9_IYfGqA5xMXM"
FEED: Final = {
    "object": "list",
    "data": [{**_COMMIT, "id": _CURSOR, "stored_at": "2026-11-22T22:00:00.124000Z"}],
    "first_id": _CURSOR,
    "last_id": _CURSOR,
    "has_more": False,
    "next": _CURSOR,
}
STREAMED: Final = (
    f"retry: 1000\n\nid: {_CURSOR}\nevent: commit\ndata: {msgspec.json.encode(FEED['data'][0]).decode()}\n\n"  # type: ignore[index]
)

_KEY: Final = {
    "id": "1f" * 8,
    "object": "api_key",
    "name": "billing",
    "scopes": ["read", "audit"],
    "configured": False,
    "created_at": _AT,
    "last_used_at": None,
    "revoked_at": None,
}
NEW_KEY: Final = {"name": "billing", "scopes": ["read", "audit"]}
ISSUED_KEY: Final = {**_KEY, "key": f"clew_{'Ab3' * 13}x"}
REVOKED_KEY: Final = {**_KEY, "last_used_at": _AT + 60, "revoked_at": _AT + 90}
API_KEYS: Final = {"object": "list", "data": [_KEY]}
REJECTIONS: Final = {
    "object": "list",
    "data": [
        {
            "number": 7,
            "object": "rejected_command",
            "at": "2026-11-22T22:00:00.120000Z",
            "command": "update_thread",
            "command_id": "shop-1",
            "error": {
                "type": "rejected",
                "code": "thread_not_found",
                "message": f"No thread found with id '{_THREAD_ID}'.",
                "param": None,
                "retry": "no",
            },
            "final": None,
            "body": f'{{"thread_id":"{_THREAD_ID}","metadata":{{"plan":"gold"}},"id":"shop-1"}}',
            "shortened": False,
        }
    ],
    "has_more": False,
    "next": None,
}
RETRIED: Final = {"number": 7, "object": "rejected_command.retried", "retried": True}
STATUS: Final = {
    "object": "deployment.status",
    "version": "0.1.0",
    "nats_server": "2.14.3",
    "replicas": 1,
    "threads": 2,
    "commits": 4,
    "behind": 0,
    "inbox": 0,
    "rejected": 1,
    "parked": 0,
    "shards": [
        {"stream": "CLEW_EVT_00", "threads": 2, "commits": 4, "bytes": 1822, "behind": 0, "lag": 0.0},
    ],
    "derived": {
        "proof": {"drift": 0, "since": "2026-11-22T21:59:00Z"},
        "integrity": {"verdict": None, "since": "2026-11-22T21:58:00Z"},
        "index": {"ready": True, "behind": 0},
        "checkpoint": {"number": 1, "at": "2026-11-22T22:00:00Z", "waiting": 0.0},
        "clock": None,
        "trouble": [],
    },
}

_SHARD: Final = {"seq": 4, "threads": 2, "commits": 4, "misfits": 0, "root": "5e" * 32}
_NOTE: Final = (
    f'{{"v":1,"log":"{"c1" * 16}","number":1,"at":"2026-11-22T22:00:00Z","prev":null,"shards":[{{"seq":4,"threads":2,'
    f'"commits":4,"misfits":0,"root":"{"5e" * 32}"}}],"reason":null}}\n\n— clew hjL0zmFwFb2vYOBW\n'
)
CHECKPOINT: Final = {
    "number": 1,
    "object": "checkpoint",
    "created_at": _AT,
    "at": "2026-11-22T22:00:00Z",
    "log": "c1" * 16,
    "prev": None,
    "shards": [_SHARD],
    "reason": None,
    "hash": "1e" * 32,
    "keys": ["8632f4ce"],
    "note": _NOTE,
}
CHECKPOINTS: Final = {"object": "list", "data": [CHECKPOINT], "has_more": False}
PROOF: Final = {
    "clew": "proof",
    "v": 1,
    "head": {
        "checkpoint": _NOTE,
        "tenant": "default",
        "thread": _THREAD_ID,
        "n": 3,
        "hash": "ab" * 32,
        "path": ["cd" * 32],
    },
    "earlier": None,
    "commits": [],
}
