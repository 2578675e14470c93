"""The HTTP API called as an ASGI server calls it, over parts that remember what was asked of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cached_property
from typing import NoReturn

import msgspec
from msgspec import Raw
from starlette.types import Receive, Send

from clew_events.commands import (
    AddItems,
    AddMessage,
    Command,
    CreateThread,
    DeleteItem,
    DeleteMessage,
    DeleteThread,
    ForkThread,
    PlaceHold,
    PlaceStandingHold,
    ReleaseHold,
    ReleaseStandingHold,
    RemoveRetention,
    RestoreThread,
    SetRetention,
    UpdateMessage,
    UpdateThread,
)
from clew_events.commit import Position
from clew_events.errors import Unavailable
from clew_events.list_query import ListDue, ListHolds, ListRetention, ListThreads
from clew_events.list_reply import DuePage, FilterHold, Freshness, HoldPage, ListedThread, RetentionList
from clew_events.nats_client import LastingClient
from clew_events.objects import Gone, HeldThread, ItemPage, Message, MessagePage, Resources, TextPart, TextValue, Thread
from clew_events.queries import GetFeed, GetItem, GetMessage, GetThread, ListItems, ListMessages
from clew_events.replies import Feed, Found
from clew_projections.index import WrittenList
from clew_projections.nats.stream_messages import Ack, ApiError
from clew_projections.projector.parked_threads import ParkedThread
from clew_services.api_keys import Keys
from clew_services.compose import Clew
from clew_services.compose.roles import compose_api
from clew_services.http.app import create_app
from clew_services.http.health import Liveness, Readiness
from clew_services.observer import NOBODY
from clew_services.settings import Settings
from clew_services.threads.result import Outcome
from clew_services.threads.tenant_rules import retention_effect
from clew_services.tracing import UNTRACED

ID = "thread_" + "a" * 24
MESSAGE_ID = "msg_" + "b" * 24
ERASURE_ID = "erasure_" + "c" * 24
CONVERSATION_ID = "conv_" + "0a" * 24
ITEM_ID = "fc_" + "d" * 24
NAMED = {
    "thread_id": ID,
    "conversation_id": CONVERSATION_ID,
    "item_id": ITEM_ID,
    "message_id": MESSAGE_ID,
    "erasure_id": ERASURE_ID,
    "hold": "case-7",
    "number": "1",
    "name": "all",
    "key_id": "1f" * 8,
    "rejection": "1",
}
"""What stands in the variable parts of paths."""
KEY = "a-key-for-acme-inc"
IN = {"Authorization": f"Bearer {KEY}", "OpenAI-Beta": "assistants=v2"}
KEYS = Keys.parse(f"{KEY}:acme,a-key-for-globex:globex")
HERE = Position(0, 1)

THREAD = Thread(id=ID, created_at=1_795_384_800, metadata={}, tool_resources=Resources())
MESSAGE = Message(
    id=MESSAGE_ID,
    created_at=1_795_384_800,
    thread_id=ID,
    role="user",
    content=(TextPart(TextValue("hi")),),
    metadata={},
)


LISTED = ListedThread(
    id=ID,
    created_at=1_795_384_800,
    metadata={},
    tool_resources=Resources(),
    updated_at=1_795_384_800,
    version=3,
    message_count=1,
    created_by="shop",
    updated_by="shop",
)
LIST = WrittenList(
    data=(Raw(msgspec.json.encode(LISTED)),),
    first_id=ID,
    last_id=ID,
    has_more=False,
    next=None,
    previous=None,
    fresh=Freshness(position="0-1", at=None),
)


ITEM = Raw(b'{"id":"%b","type":"function_call","call_id":"c","name":"f","arguments":"{}"}' % ITEM_ID.encode())


class Answered:
    """What came back."""

    def __init__(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = {name.decode(): value.decode() for name, value in headers}
        self.body = body

    @property
    def error(self) -> dict[str, object]:
        envelope = json.loads(self.body)
        assert set(envelope) == {"error"}
        assert set(envelope["error"]) == {"message", "type", "param", "code"}
        return envelope["error"]


class Parts:
    """Parts that remember what was asked of them, and answer as they are told to."""

    def __init__(self) -> None:
        self.handler = self.reader = self.js = self.deployment = self.checkpoints = self
        self.tail = self.exporter = self.erasures = self.status = self
        self.nc = LastingClient()
        self.shards = 2
        self.observer = NOBODY
        self.tracing = UNTRACED
        self.asked: list[tuple[str, object]] = []
        self.signed: tuple[str, str | None] | None = None
        self.fails: Exception | None = None
        self.found = THREAD
        self.calls: list[str] = []
        self.broken: set[str] = set()
        self.refuses: dict[str, ApiError] = {}
        self.full_shards: tuple[int, ...] = ()
        self.liveness = Liveness(self.nc.ended)
        self.disconnects = 0

    async def handle(  # noqa: C901 - one case a command
        self, tenant: str, command: Command, *, actor: str = "", by: str = "", trace: str | None = None, **_: object
    ) -> Outcome:
        self.signed = (actor, trace)
        self._asked(tenant, command)
        match command:
            case CreateThread() | ForkThread() | UpdateThread() | RestoreThread():
                return Outcome(position=HERE, n=3, thread=self.found)
            case AddMessage() | UpdateMessage():
                return Outcome(position=HERE, n=3, message=MESSAGE)
            case AddItems():
                return Outcome(position=HERE, n=3, items=(ITEM,), item_ids=(ITEM_ID,))
            case DeleteItem():
                gone = Gone(id=ITEM_ID, object="thread.item.deleted")
                return Outcome(position=HERE, n=3, thread=self.found, deleted=gone)
            case PlaceHold() | ReleaseHold():
                return Outcome(position=HERE, n=3, held=HeldThread(id=ID, holds=(), deleted=False))
            case PlaceStandingHold():
                standing = FilterHold(id=command.hold, where=command.where)
                return Outcome(position=HERE, n=3, standing=standing)
            case ReleaseStandingHold():
                return Outcome(position=HERE, n=3, deleted=Gone(id=command.hold, object="hold.deleted"))
            case SetRetention():
                return Outcome(position=HERE, n=3, retention=retention_effect(command))
            case RemoveRetention():
                return Outcome(position=HERE, n=3, deleted=Gone(id=command.name, object="retention.deleted"))
            case DeleteThread():
                return Outcome(position=HERE, n=3, deleted=Gone(id=ID, object="thread.deleted"))
            case DeleteMessage():
                return Outcome(position=HERE, n=3, deleted=Gone(id=MESSAGE_ID, object="thread.message.deleted"))

    async def thread(self, tenant: str, query: GetThread) -> Found:
        self._asked(tenant, query)
        return Found(position=HERE, n=3, thread=self.found)

    async def threads(self, tenant: str, query: ListThreads) -> WrittenList:
        self._asked(tenant, query)
        return LIST

    async def forks(self, tenant: str, thread_id: str, query: ListThreads) -> WrittenList:
        assert thread_id
        return await self.threads(tenant, query)

    async def holds(self, tenant: str, query: ListHolds) -> HoldPage:
        self._asked(tenant, query)
        return HoldPage(data=(), first_id=None, last_id=None, has_more=False, fresh=LIST.fresh)

    async def retention(self, tenant: str) -> RetentionList:
        self._asked(tenant, ListRetention())
        return RetentionList(data=())

    async def due(self, tenant: str, query: ListDue) -> DuePage:
        self._asked(tenant, query)
        return DuePage(data=(), first_id=None, last_id=None, has_more=False, next=None)

    async def message(self, tenant: str, query: GetMessage) -> Found:
        self._asked(tenant, query)
        return Found(position=HERE, n=3, message=MESSAGE)

    async def messages(self, tenant: str, query: ListMessages) -> Found:
        self._asked(tenant, query)
        page = MessagePage(data=(MESSAGE,), first_id=MESSAGE_ID, last_id=MESSAGE_ID, has_more=False)
        return Found(position=HERE, n=3, messages=page)

    async def item(self, tenant: str, query: GetItem) -> Found:
        self._asked(tenant, query)
        return Found(position=HERE, n=3, item=ITEM)

    async def items(self, tenant: str, query: ListItems) -> Found:
        self._asked(tenant, query)
        page = ItemPage(data=(ITEM,), first_id=ITEM_ID, last_id=ITEM_ID, has_more=False)
        return Found(position=HERE, n=3, items=page)

    async def feed(self, tenant: str, query: GetFeed) -> Feed:
        self._asked(tenant, query)
        return Feed(data=(), first_id=None, last_id=None, has_more=False, next="feed_x")

    async def api(self, call: str, request: object = None) -> dict[str, object]:
        self.calls.append(call)
        if call in self.broken:
            raise Unavailable("no answer came", code="timeout")
        return {}

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str], timeout: float) -> Ack:
        assert int(headers["Nats-Expected-Last-Subject-Sequence"]) > 2**61, "a guard that might hold"
        shard = ".".join(subject.split(".")[:3])
        self.calls.append(shard)
        if shard in self.broken:
            raise Unavailable("no answer came", code="timeout")
        return Ack(error=self.refuses.get(shard, ApiError(400, 10071, "wrong last sequence: 0")))

    @cached_property
    def readiness(self) -> Readiness:
        return Readiness(self, self.shards, self, lambda: self.full_shards, stuck_after=60)

    def consumer(self) -> str:
        return "clew_threads_v1"

    async def list_parked(self) -> list[ParkedThread]:
        return []

    async def lasts_at_leader(self, stream: str, subjects: Sequence[str], after: int = 0) -> NoReturn:
        raise Unavailable(f"{stream} does not answer")

    async def newest_at_leader(self, stream: str, subject: str, after: int) -> None:
        """Nobody has verified the log yet."""

    async def close(self) -> None:
        """There is no live end to be closed."""

    def _asked(self, tenant: str, what: object) -> None:
        self.asked.append((tenant, what))
        if self.fails is not None:
            raise self.fails


async def call(
    clew: Parts | Clew,
    method: str,
    path: str,
    body: bytes | Sequence[bytes] = b"",
    headers: Mapping[str, str] = IN,
    *,
    max_body: int = 2048,
    keys: Keys | None = None,
) -> Answered:
    """Ask the API as an ASGI server does."""
    path, _, query = path.partition("?")
    chunks = [body] if isinstance(body, bytes) else list(body)
    scope = {
        "type": "http",
        "method": method,
        "path": "not to be looked at",
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    sent: list[dict[str, object]] = []

    async def coming() -> AsyncIterator[dict[str, object]]:
        for place, chunk in enumerate(chunks, start=1):
            yield {"type": "http.request", "body": chunk, "more_body": place < len(chunks)}
        yield {"type": "http.disconnect"}

    arriving = coming()

    async def receive() -> dict[str, object]:
        return await anext(arriving)

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    parts = compose_api(clew, 0) if isinstance(clew, Clew) else clew
    await create_app(parts, KEYS if keys is None else keys, Settings(max_body=max_body))(scope, receive, send)
    start, end = sent
    answered = Answered(start["status"], start["headers"], end["body"])
    length = None if answered.status == 304 else str(len(answered.body))
    assert answered.headers.get("content-length") == length
    return answered


async def downloaded(clew: Clew, path: str) -> tuple[int, dict[str, str], bytes]:
    """What the API answers, which may come in any number of pieces."""
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        if not sent:
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "raw_path": path.encode(), "query_string": b""}
    headers = [(name.lower().encode(), value.encode()) for name, value in IN.items()]
    await create_app(compose_api(clew, 0), KEYS, Settings())({**scope, "headers": headers}, receive, send)
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return int(str(sent[0]["status"])), answered, b"".join(message.get("body", b"") for message in sent[1:])


def arriving(
    *messages: dict[str, object], headers: Mapping[str, str] = {**IN, "Transfer-Encoding": "chunked"}
) -> tuple[dict[str, object], list[dict[str, object]], Receive, Send]:
    """A request to create a thread whose messages arrive as given and then no more."""
    named = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "raw_path": b"/v1/threads", "query_string": b"", "headers": named}
    waiting, sent = list(messages), []

    async def receive() -> dict[str, object]:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    return scope, sent, receive, send
