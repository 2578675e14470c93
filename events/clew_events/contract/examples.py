"""Examples of every type in the contract: a thread about a delivery, from its first message to its deletion."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from clew_events import content, objects
from clew_events.audit_replies import (
    Blame,
    Difference,
    KeyChange,
    KeySet,
    MessageBlame,
    Origin,
    Point,
    StatusChange,
    Then,
)
from clew_events.checkpoint_messages import (
    CheckpointPage,
    GetCheckpoint,
    GetProof,
    HeadProof,
    KeptProof,
    ListCheckpoints,
    ShardHeads,
    SignedCheckpoint,
)
from clew_events.codec import CONTENTS, RECORD, CommandContent, encode
from clew_events.commands import (
    AddItems,
    AddMessage,
    ClearItems,
    Command,
    CreateThread,
    DeleteItem,
    DeleteMessage,
    DeleteThread,
    EraseItem,
    EraseMessage,
    EraseThread,
    ForkThread,
    PlaceHold,
    PlaceStandingHold,
    PopItem,
    ReleaseHold,
    ReleaseStandingHold,
    RemoveRetention,
    ReplaceItem,
    RestoreThread,
    SetRetention,
    UpdateMessage,
    UpdateThread,
)
from clew_events.commit import FORMAT, Commit, Position, record_hash
from clew_events.erasures import Certificate, Erasure, ErasurePage, RetrievedErasure, SignedCertificate
from clew_events.errors import Fault
from clew_events.events import (
    ErasedItemEvent,
    ErasedThreadEvent,
    ErasureCompleted,
    ErasureRequested,
    Event,
    ExpiryUpdated,
    HoldPlaced,
    HoldReleased,
    ItemAdded,
    ItemDeleted,
    ItemMetadataUpdated,
    ItemReplaced,
    ItemsCleared,
    MetadataUpdated,
    RetentionRemoved,
    RetentionSet,
    StandingHoldPlaced,
    StandingHoldReleased,
    StoredEvent,
    ThreadCreated,
    ThreadDeleted,
    ThreadRestored,
    ToolResourcesUpdated,
)
from clew_events.ids import derive_id, item_id
from clew_events.list_query import Condition, ListDue, ListHolds, ListRetention, ListThreads, MetadataTest, NumberTest
from clew_events.list_reply import (
    Count,
    DuePage,
    DueThread,
    Excerpt,
    Facet,
    FacetValue,
    FilterHold,
    FirstText,
    Freshness,
    HoldPage,
    ListedThread,
    Piece,
    Retention,
    RetentionEffect,
    RetentionList,
    ThreadList,
)
from clew_events.objects import HeldThread
from clew_events.queries import (
    GetBlame,
    GetDifference,
    GetErasure,
    GetFeed,
    GetHistory,
    GetItem,
    GetItemAt,
    GetMessage,
    GetMessageAt,
    GetStateAt,
    GetThread,
    ListErasures,
    ListItems,
    ListItemsAt,
    ListMessages,
    ListMessagesAt,
)
from clew_events.replies import (
    Done,
    Entry,
    Feed,
    FeedEntry,
    Found,
    History,
    Moment,
    Rejection,
    Reply,
)
from clew_events.requests import ExpiresAfterIn, FilesForCode, MetadataPatch, NewMessage, ToolResourcesIn
from clew_events.subjects import shard_of

_TENANT: Final = "default"
_THREAD: Final = derive_id("thread_", _TENANT, "order-4711")
_MESSAGE: Final = item_id(1, _TENANT, "order-4711")
_ERASURE: Final = derive_id("erasure_", _TENANT, "order-4711")
_AT: Final = datetime(2026, 11, 22, 22, 0, 0, 123456, tzinfo=UTC)
_WORDS: Final = "Where is my parcel?"

_CREATE: Final = CreateThread(
    id="order-4711",
    actor="shop",
    messages=(NewMessage(role="user", content=_WORDS),),
    metadata={"order": "4711"},
)
_ADD: Final = AddMessage(
    id="order-4711-answer",
    actor="support",
    thread_id=_THREAD,
    message=NewMessage(role="assistant", content="It left our warehouse this morning."),
)
_TAG: Final = UpdateThread(
    actor="support", thread_id=_THREAD, patch=MetadataPatch(set={"carrier": "bike"}), expected_version=1
)
_FILES: Final = UpdateThread(
    thread_id=_THREAD,
    metadata={"order": "4711"},
    tool_resources=ToolResourcesIn(code_interpreter=FilesForCode(file_ids=("file-invoice",))),
    expires_after=ExpiresAfterIn(anchor="last_active_at", days=90),
)

_TRIALS: Final = '{"metadata":{"key":"plan","eq":"trial"}}'
_CALL: Final = Raw(
    b'{"type":"function_call","id":"fc_lookup","call_id":"call_1","name":"find_parcel","arguments":"{\\"order\\":4711}"}'
)
_RESULT: Final = Raw(b'{"type":"function_call_output","call_id":"call_1","output":"on its way"}')

_RECORDED: Final = content.Message(role="user", content=(content.Text(_WORDS),), metadata={})
_EVENTS: Final[tuple[Event, ...]] = (
    ThreadCreated(metadata={"order": "4711"}, tool_resources=content.ToolResources()),
    MetadataUpdated(set={"carrier": "bike"}, unset=()),
    ToolResourcesUpdated(
        tool_resources=content.ToolResources(code_interpreter=content.CodeInterpreter(("file-invoice",)))
    ),
    ItemAdded(item=_MESSAGE, ordinal=1, message=_RECORDED),
    ItemMetadataUpdated(item=_MESSAGE, set={"mood": "worried"}, unset=("draft",)),
    ItemReplaced(item=_MESSAGE, message=_RECORDED),
    ItemDeleted(item=_MESSAGE),
    ItemsCleared(),
    ExpiryUpdated(expires_after=content.ExpiresAfter("last_active_at", 90)),
    ThreadDeleted(),
    ThreadRestored(),
    HoldPlaced(hold="case-7"),
    HoldReleased(hold="case-7"),
    ErasureRequested(erasure=_ERASURE, items=(_MESSAGE,), code="asked_by_customer"),
    ErasureCompleted(erasure=_ERASURE, certificate="ef" * 32),
    RetentionSet(name="trials", after_days=90, since="changed", then="delete", erase_after_days=30, where=_TRIALS),
    RetentionRemoved(name="trials"),
    StandingHoldPlaced(hold="case-8", where='{"metadata":{"key":"customer","eq":"c-81"}}'),
    StandingHoldReleased(hold="case-8"),
    ErasedThreadEvent(of="MetadataUpdated", seal="ab" * 32),
    ErasedItemEvent(of="ItemAdded", item=_MESSAGE, ordinal=1, seal="cd" * 32),
)


_SALT: Final = "AAAAAAAAAAAAAAAAAAAAAA"


def _body(commit: Commit) -> bytes:
    return encode(commit, [_SALT] * (len(commit.events) + 1)).body


def _hash(commit: Commit) -> str:
    return record_hash(_body(commit))


def _commit(command: Command, n: int, prev: Commit | None, *recorded: Event) -> Commit:
    return Commit(
        v=FORMAT,
        id=command.id or derive_id("", _THREAD, str(n)),
        tenant=_TENANT,
        thread=_THREAD,
        n=n,
        at=_AT.replace(minute=n - 1),
        actor=command.actor or "shop",
        by="nats",
        command=command.named,
        reason=command.reason,
        prev=None if prev is None else _hash(prev),
        events=recorded,
    )


_FIRST: Final = _commit(_CREATE, 1, None, _EVENTS[0], _EVENTS[3])
_SECOND: Final = _commit(_TAG, 2, _FIRST, _EVENTS[1])
_STORED: Final = tuple(event for event in _EVENTS if isinstance(event, StoredEvent))
_LINES: Final = _body(_commit(_CREATE, 1, None, *_STORED)).split(b"\n")
STORED_BODY: Final = _body(_FIRST).decode()
"""A stored commit."""
_SHARD: Final = shard_of(_THREAD, 4)
_PLACES: Final = (Position(_SHARD, 17), Position(_SHARD, 23))
_HISTORY: Final = tuple(
    Entry(id=f"{commit.n}-{place.seq}", position=place, hash=_hash(commit), commit=commit)
    for place, commit in zip(_PLACES, (_FIRST, _SECOND), strict=True)
)

_CURSORS: Final = ("feed_AQQAABEABQ9_IYfGqA5xMXM", "feed_AQQAABcABU8x3WqkNwqF1gY")
_FEED: Final = Feed(
    data=tuple(
        FeedEntry(id=cursor, stored_at=entry.commit.at, position=entry.position, hash=entry.hash, commit=entry.commit)
        for cursor, entry in zip(_CURSORS, _HISTORY, strict=True)
    ),
    first_id=_CURSORS[0],
    last_id=_CURSORS[1],
    has_more=False,
    next=_CURSORS[1],
)

_THREAD_NOW: Final = objects.Thread(
    id=_THREAD,
    created_at=int(_AT.timestamp()),
    metadata={"order": "4711"},
    tool_resources=objects.Resources(),
)
_THREAD_MADE: Final = objects.ThreadReceipt(
    id=_THREAD, created_at=_THREAD_NOW.created_at, version=1, metadata=_THREAD_NOW.metadata
)
_MESSAGE_NOW: Final = objects.Message(
    id=_MESSAGE,
    created_at=int(_AT.timestamp()),
    thread_id=_THREAD,
    role="user",
    content=(objects.TextPart(objects.TextValue(_WORDS)),),
    metadata={},
)
_PAGE: Final = objects.MessagePage(data=(_MESSAGE_NOW,), first_id=_MESSAGE, last_id=_MESSAGE, has_more=False)
_BY: Final = tuple(
    Origin(
        id=entry.id,
        n=entry.commit.n,
        position=entry.position,
        hash=entry.hash,
        at=entry.commit.at,
        actor=entry.commit.actor,
        by=entry.commit.by,
        command=entry.commit.command,
        command_id=entry.commit.id,
        reason=entry.commit.reason,
        trace_id=entry.trace_id,
    )
    for entry in _HISTORY
)
_POINTS: Final = tuple(Point(n=by.n, at=by.at, position=by.position) for by in _BY)
_DIFFERENCE: Final = Difference(
    thread_id=_THREAD,
    since=_POINTS[0],
    until=_POINTS[1],
    status=StatusChange(before="open", after="open"),
    metadata=(KeyChange(key="carrier", before=None, after="bike"),),
    tool_resources=(),
    messages=(),
    commits=(_BY[1],),
)
_BLAME: Final = Blame(
    thread_id=_THREAD,
    at=_POINTS[1],
    created=_BY[0],
    deleted=None,
    metadata=(KeySet(key="order", value="4711", by=_BY[0]), KeySet(key="carrier", value="bike", by=_BY[1])),
    removed=(),
    tool_resources=(),
    messages=(
        MessageBlame(id=_MESSAGE, added=_BY[0], replaced=None, changed=_BY[0], deleted=None, metadata=(), removed=()),
    ),
)
_SIGNED: Final = (
    f'{{"v":1,"log":"{"c1" * 16}","number":1,"at":"2026-11-22T22:05:00Z","prev":null,"shards":[{{"seq":23,"threads":2,'
    f'"commits":23,"misfits":0,"root":"{"5e" * 32}"}}],"reason":null}}\n\n— clew hjL0zmFwFb2vYOBW\n'
)
_CHECKPOINT: Final = SignedCheckpoint(
    number=1,
    created_at=1_795_385_100,
    at=datetime(2026, 11, 22, 22, 5, tzinfo=UTC),
    log="c1" * 16,
    prev=None,
    shards=(ShardHeads(seq=23, threads=2, commits=23, misfits=0, root="5e" * 32),),
    reason=None,
    hash=hashlib.sha256(_SIGNED.encode()).hexdigest(),
    keys=("8632f4ce",),
    note=_SIGNED,
)
_PROOF: Final = KeptProof(
    head=HeadProof(
        checkpoint=_SIGNED,
        tenant=_TENANT,
        thread=_THREAD,
        n=2,
        hash=_hash(_SECOND),
        path=("cd" * 32,),
    )
)
_FRESH: Final = Freshness(position=f"{_SHARD}-17", at=_AT)
_HELD: Final = HeldThread(id=_THREAD, holds=("case-7",), deleted=True)
_STANDING: Final = FilterHold(id="case-8", where=Condition.equal("customer", "c-81"))
_POLICY: Final[dict[str, Any]] = {
    "name": "trials",
    "after_days": 90,
    "since": "changed",
    "then": "delete",
    "erase_after_days": 30,
    "where": Condition.equal("plan", "trial"),
}
_SET: Final = SetRetention(**_POLICY)
_RETENTION: Final = RetentionEffect(
    **_POLICY, threads=Count(812, exact=True), due=Count(0, exact=True), held_by=("case-7",)
)
_ERASED: Final = Erasure(
    id=_ERASURE,
    status="erased",
    thread_id=_THREAD,
    message_id=_MESSAGE,
    code="asked_by_customer",
    actor="dpo",
    by="nats",
    n=3,
    position=Position(_SHARD, 42),
    commits=1,
    requested_at=_AT,
    erased_at=_AT.replace(second=1),
)
_CERTIFICATE: Final = Certificate(
    erasure=_ERASURE,
    tenant=_TENANT,
    thread=_THREAD,
    items=(_MESSAGE,),
    code="asked_by_customer",
    n=3,
    hash="9f" * 32,
    first=1,
    last=1,
    commits=1,
    contents=1,
    seals="ab" * 32,
    requested_at=_AT,
    erased_at=_AT.replace(second=1),
    completed_at=_AT.replace(minute=1),
    done=("the log: 1 commit stored again without what was erased, and its original overwritten",),
    remains=(),
)
_CERTIFIED: Final = f"{msgspec.json.encode(_CERTIFICATE).decode()}\n\n— clew hjL0zmFwFb2vYOBW\n"
_RETRIEVED: Final = RetrievedErasure(
    **msgspec.structs.asdict(
        msgspec.structs.replace(
            _ERASED,
            status="completed",
            completed_at=_CERTIFICATE.completed_at,
            certificate=hashlib.sha256(_CERTIFIED.encode()).hexdigest(),
        )
    ),
    signed=SignedCertificate(says=_CERTIFICATE, keys=("8632f4ce",), note=_CERTIFIED),
)
_LIST: Final = ThreadList(
    data=(
        ListedThread(
            id=_THREAD,
            created_at=int(_AT.timestamp()),
            metadata={"order": "4711"},
            tool_resources=objects.Resources(),
            updated_at=int(_AT.timestamp()),
            version=1,
            message_count=1,
            created_by="shop",
            updated_by="shop",
            excerpt=Excerpt(
                message_id=_MESSAGE,
                role="user",
                pieces=(Piece("Where is my "), Piece("parcel", match=True), Piece("?")),
            ),
            first_text=FirstText(message_id=_MESSAGE, role="user", text="Where is my parcel?"),
        ),
    ),
    first_id=_THREAD,
    last_id=_THREAD,
    has_more=False,
    next=None,
    previous=None,
    fresh=_FRESH,
    count=Count(1, exact=True),
    facets=(Facet(key="order", values=(FacetValue("4711", 1),), more=False, exact=True),),
    actors=(
        Facet(key="created_by", values=(FacetValue("shop", 1),), more=False, exact=True),
        Facet(key="updated_by", values=(FacetValue("bot", 1),), more=False, exact=True),
    ),
)
_CHOSEN: Final = Condition(
    every=(
        Condition(metadata=MetadataTest(key="order", prefix="47")),
        Condition(no=Condition(metadata=MetadataTest(key="carrier", exists=True))),
        Condition(messages=NumberTest(gte=1)),
    )
)
_MOVED_ON: Final = Fault(
    type="conflict",
    code="version_conflict",
    message="the thread is at version 2, not 1",
    param="expected_version",
    retry="reload",
)
_UNKNOWN: Final = Fault(
    type="rejected",
    code="unknown_parameter",
    message="Unknown parameter: 'metdata'.",
    param="metdata",
)

EXAMPLES: Final[Mapping[str, tuple[Struct, ...]]] = {
    "CreateThread": (_CREATE,),
    "ForkThread": (ForkThread(parent=_THREAD, at=2), ForkThread(parent=_THREAD, at="fc_lookup", metadata={})),
    "UpdateThread": (_TAG, _FILES),
    "DeleteThread": (DeleteThread(thread_id=_THREAD),),
    "PlaceHold": (PlaceHold(thread_id=_THREAD, hold="case-7", reason="a lawsuit"),),
    "ReleaseHold": (ReleaseHold(thread_id=_THREAD, hold="case-7"),),
    "PlaceStandingHold": (PlaceStandingHold(hold="case-8", where=_STANDING.where, reason="a lawsuit"),),
    "ReleaseStandingHold": (ReleaseStandingHold(hold="case-8"),),
    "SetRetention": (_SET, SetRetention(name="all", after_days=3650, since="created", then="erase", confirm=True)),
    "RemoveRetention": (RemoveRetention(name="trials", reason="kept by contract"),),
    "RestoreThread": (RestoreThread(thread_id=_THREAD, reason="deleted by mistake"),),
    "AddMessage": (_ADD,),
    "UpdateMessage": (UpdateMessage(thread_id=_THREAD, message_id=_MESSAGE, patch=MetadataPatch(unset=("draft",))),),
    "DeleteMessage": (DeleteMessage(thread_id=_THREAD, message_id=_MESSAGE),),
    "AddItems": (AddItems(thread_id=_THREAD, items=(_CALL, _RESULT)),),
    "ReplaceItem": (ReplaceItem(thread_id=_THREAD, item_id="fc_lookup", item=_CALL),),
    "DeleteItem": (DeleteItem(thread_id=_THREAD, item_id="fc_lookup"),),
    "PopItem": (PopItem(id="pop-1", thread_id=_THREAD),),
    "ClearItems": (ClearItems(thread_id=_THREAD),),
    "EraseItem": (EraseItem(thread_id=_THREAD, item_id="fc_lookup", reason="asked_by_customer"),),
    "ListItems": (ListItems(thread_id=_THREAD, limit=50, order="asc"),),
    "GetItem": (GetItem(thread_id=_THREAD, item_id="fc_lookup"),),
    "ListItemsAt": (ListItemsAt(thread_id=_THREAD, as_of=1, order="asc"),),
    "GetItemAt": (GetItemAt(thread_id=_THREAD, item_id="fc_lookup", as_of=_AT),),
    "EraseThread": (EraseThread(thread_id=_THREAD, reason="asked_by_customer"),),
    "EraseMessage": (EraseMessage(thread_id=_THREAD, message_id=_MESSAGE),),
    "GetThread": (GetThread(thread_id=_THREAD), GetThread(thread_id=_THREAD, at_least=2)),
    "ListThreads": (
        ListThreads(order_by="updated", limit=50),
        ListThreads(where=_CHOSEN, search="parcel", count=True, facets=("order",), at_least=f"{_SHARD}-17"),
        ListThreads(actors=True, first_text=True),
    ),
    "ListMessages": (ListMessages(thread_id=_THREAD, limit=50, order="asc"),),
    "GetMessage": (GetMessage(thread_id=_THREAD, message_id=_MESSAGE),),
    "GetHistory": (
        GetHistory(thread_id=_THREAD),
        GetHistory(),
        GetHistory(thread_id=_THREAD, order="desc", limit=20, types=("MetadataUpdated",), actor="support", since=_AT),
    ),
    "GetStateAt": (GetStateAt(thread_id=_THREAD, n=1), GetStateAt(thread_id=_THREAD, time=_AT)),
    "GetFeed": (GetFeed(), GetFeed(order="desc", limit=20, types=("ItemDeleted",), since=_AT)),
    "ListMessagesAt": (ListMessagesAt(thread_id=_THREAD, as_of=1, order="asc"),),
    "GetMessageAt": (GetMessageAt(thread_id=_THREAD, message_id=_MESSAGE, as_of=_AT),),
    "GetDifference": (GetDifference(thread_id=_THREAD, since=1, until=2), GetDifference(thread_id=_THREAD)),
    "GetBlame": (GetBlame(thread_id=_THREAD), GetBlame(thread_id=_THREAD, as_of=1_795_384_800, limit=50)),
    "DoneReply": (
        Reply(ok=Done(position=_PLACES[0], n=1, thread=_THREAD_MADE)),
        Reply(ok=Done(position=_PLACES[0], n=1, retention=_RETENTION)),
        Reply(ok=Done(position=_PLACES[0], n=4, popped=_RESULT)),
        Reply(error=_MOVED_ON),
    ),
    "FoundReply": (
        Reply(ok=Found(position=_PLACES[0], n=1, thread=_THREAD_NOW)),
        Reply(ok=Found(position=_PLACES[0], n=1, messages=_PAGE)),
        Reply(ok=Found(position=_PLACES[0], n=3, item=_CALL)),
    ),
    "ThreadListReply": (Reply(ok=_LIST),),
    "HistoryReply": (Reply(ok=History(commits=_HISTORY)),),
    "MomentReply": (Reply(ok=Moment(position=_PLACES[0], n=1, at=_AT, thread=_THREAD_NOW, message_count=1)),),
    "FeedReply": (Reply(ok=_FEED),),
    "ThenReply": (
        Reply(ok=Then(position=_PLACES[0], n=1, at=_AT, messages=_PAGE)),
        Reply(ok=Then(position=_PLACES[0], n=1, at=_AT, message=_MESSAGE_NOW)),
    ),
    "DifferenceReply": (Reply(ok=_DIFFERENCE),),
    "BlameReply": (Reply(ok=_BLAME),),
    "ListCheckpoints": (ListCheckpoints(), ListCheckpoints(limit=100, after=12)),
    "GetCheckpoint": (GetCheckpoint(), GetCheckpoint(number=1)),
    "GetProof": (GetProof(thread_id=_THREAD),),
    "CheckpointPageReply": (Reply(ok=CheckpointPage(data=(_CHECKPOINT,), has_more=False)),),
    "SignedCheckpointReply": (Reply(ok=_CHECKPOINT),),
    "KeptProofReply": (Reply(ok=_PROOF),),
    "ListErasures": (ListErasures(), ListErasures(status="requested", limit=100, after=_ERASURE)),
    "ListHolds": (ListHolds(), ListHolds(hold="case-7", limit=100, after=_THREAD), ListHolds(thread_id=_THREAD)),
    "HoldPageReply": (
        Reply(
            ok=HoldPage(
                data=(_HELD,), standing=(_STANDING,), first_id=_THREAD, last_id=_THREAD, has_more=False, fresh=_FRESH
            )
        ),
    ),
    "ListRetention": (ListRetention(),),
    "ListDue": (ListDue(), ListDue(until=1_795_000_000, limit=100, after=f"1.1787224000000000.{_THREAD}")),
    "DuePageReply": (
        Reply(
            ok=DuePage(
                data=(
                    DueThread(
                        id=_THREAD, action="erase", due_at=1_795_000_000, policy="trials", deleted=True, holds=()
                    ),
                ),
                first_id=_THREAD,
                last_id=_THREAD,
                has_more=False,
                next=None,
            )
        ),
    ),
    "RetentionListReply": (Reply(ok=RetentionList(data=(Retention(**_POLICY),))),),
    "GetErasure": (GetErasure(erasure_id=_ERASURE),),
    "ErasurePageReply": (Reply(ok=ErasurePage(data=(_ERASED,), first_id=_ERASURE, last_id=_ERASURE, has_more=False)),),
    "RetrievedErasureReply": (Reply(ok=_RETRIEVED),),
    "Rejection": (
        Rejection(
            tenant=_TENANT,
            command="create_thread",
            inbox_seq=5,
            id="order-4712",
            error=_UNKNOWN,
            body='{"id":"order-4712","metdata":{}}',
        ),
    ),
    "Commit": (_FIRST, _SECOND),
    "CommitRecord": (msgspec.json.decode(_LINES[0], type=RECORD),),
    "CommandContent": (CommandContent(_SALT, "asked by the customer"),),
    **{
        form.__name__: (msgspec.json.decode(line, type=form),)
        for event, line in zip(_STORED, _LINES[2:], strict=False)
        if (form := CONTENTS.get(type(event).__name__)) is not None
    },
    **{type(event).__name__: (event,) for event in _EVENTS},
}
"""Valid examples, by the name of their type."""
