"""The one table of what can be done: each command, query and HTTP route once.

Everything that has to know the operations follows from this table: the HTTP routes and their OpenAPI description, the
NATS endpoints and the AsyncAPI and JSON Schema documents, the scopes of API keys, and the tests that walk all doors.

To add an HTTP route, add one :class:`HttpRoute` here, and a method of the same name to a class in
``clew_services.http.routes``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, Literal

from msgspec import Struct

from clew_events import http_forms, ids, subjects
from clew_events.admin_objects import (
    ApiKey,
    ApiKeyList,
    DeploymentStatus,
    KeyScope,
    NewApiKey,
    RejectedCommandPage,
    RetriedCommand,
)
from clew_events.audit_replies import Blame, Difference, Then
from clew_events.checkpoint_messages import (
    CheckpointPage,
    GetCheckpoint,
    GetProof,
    KeptProof,
    ListCheckpoints,
    SignedCheckpoint,
)
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
from clew_events.contract import http_examples
from clew_events.erasures import Erasure, ErasurePage, RetrievedErasure
from clew_events.http_objects import (
    ClosedSession,
    CommitPage,
    Conversation,
    ConversationItem,
    ConversationItems,
    ConversationList,
    DeletedConversation,
    FeedPage,
    RenderedItems,
    Session,
)
from clew_events.list_query import ListDue, ListHolds, ListRetention, ListThreads
from clew_events.list_reply import DuePage, FilterHold, HoldPage, RetentionEffect, RetentionList, ThreadList
from clew_events.objects import Gone, HeldThread, Message, MessagePage, RunPage, Thread
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
    Query,
)
from clew_events.replies import Done, Feed, Found, History, Moment, Reply
from clew_events.requests import NewMessage

Scope = KeyScope
Method = Literal["GET", "POST", "PATCH", "DELETE"]
Tag = Literal[
    "Threads",
    "Messages",
    "Conversations",
    "History",
    "Feed",
    "Checkpoints",
    "Erasures",
    "Holds",
    "Retention",
    "Sessions",
    "Administration",
]
Header = Literal["idempotency", "ifMatch", "ifNoneMatch", "lastEventId"]

SCOPES: Final[Mapping[Scope, str]] = MappingProxyType({
    "read": "Read threads and messages as they are.",
    "write": "Create, change and delete threads and messages, and restore deleted threads.",
    "audit": "Read how threads came to be what they are, deleted ones included.",
    "erase": "Erase threads and messages for good, and read the erasures of the tenant.",
    "hold": "Place and release legal holds, and read which threads have any.",
    "retention": "Set and remove policies of retention, which delete and erase old threads, and read them.",
    "admin": "Administer the tenant: its API keys and its rejected commands; and all that the other scopes allow.",
})  # fmt: skip
"""What each scope of an API key allows."""
TAGS: Final[Mapping[Tag, str]] = MappingProxyType({
    "Threads": "Create, list, retrieve, change, delete and restore threads.",
    "Messages": "Create, list, retrieve, change and delete the messages of a thread.",
    "Conversations": "Threads as OpenAI's Conversations API has them: create, list, retrieve, change, delete; items.",
    "History": "The commits of one thread, deleted or not, or of the tenant itself, and what they changed.",
    "Feed": "All commits of a tenant in one order.",
    "Checkpoints": "Signed checkpoints of the log, and proofs by them.",
    "Erasures": "Erase what people wrote, for good, and see how far that is.",
    "Holds": "Legal holds, under which nothing of a thread can be erased.",
    "Retention": "Policies by which old threads are deleted or erased.",
    "Sessions": "What a browser shows in place of an API key.",
    "Administration": "API keys and rejected commands of a tenant, and the status of the deployment.",
})  # fmt: skip
"""The groups of HTTP routes."""

THREADS: Final = "/v1/threads"
THREAD: Final = "/v1/threads/{thread_id}"
MESSAGES: Final = "/v1/threads/{thread_id}/messages"
MESSAGE: Final = "/v1/threads/{thread_id}/messages/{message_id}"
CONVERSATIONS: Final = "/v1/conversations"
CONVERSATION: Final = "/v1/conversations/{conversation_id}"
ITEMS: Final = "/v1/conversations/{conversation_id}/items"
ITEM: Final = "/v1/conversations/{conversation_id}/items/{item_id}"
HOLDS: Final = "/v1/holds"
OWN: Final = "/v1/history"
RETENTION: Final = "/v1/retention"
SESSION: Final = "/v1/session"
KEYS: Final = "/v1/keys"
REJECTIONS: Final = "/v1/rejections"
PATH_PARAMETERS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType({
    "thread_id": (ids.THREAD_ID_PATTERN, "The thread's id."),
    "message_id": (ids.MESSAGE_ID_PATTERN, "The message's id."),
    "conversation_id": (ids.CONVERSATION_ID_PATTERN, "The conversation's id."),
    "item_id": (ids.ITEM_ID_PATTERN, "The item's id."),
    "erasure_id": (ids.ERASURE_ID_PATTERN, "The erasure's id."),
    "hold": (ids.CODE_PATTERN, "The name of the hold."),
    "name": (ids.CODE_PATTERN, "The name of the policy."),
    "key_id": (ids.KEY_ID_PATTERN, "The key's id."),
    "rejection": ("^[1-9][0-9]{0,15}$", "The number of the rejected command."),
    "number": ("^(latest|[1-9][0-9]{0,8})$", "The checkpoint's number, or `latest`."),
})  # fmt: skip
"""The variable parts of paths: their pattern and description."""
QUERY_PARAMETERS: Final[Mapping[str, str]] = MappingProxyType({
    "limit": "How many of them to answer at most.",
    "order": "`asc` for the oldest first, `desc` for the newest first.",
    "order_by": "What the order is by; without it by `created`, and with a search by `match`.",
    "after": "The place in the order after which the page begins: an id, or what an earlier answer calls `next`.",
    "before": (
        "The place in the order before which the page ends: an id, a number, or what an earlier answer calls "
        "`previous`. Without `after` it is the page right before that place."
    ),
    "search": "Words that an item of the thread has, all of them.",
    "count": "`true` to have them counted.",
    "at_least": "The position that the answer contains at least: `Clew-Position` of an earlier answer.",
    "query": "The whole question as JSON, as `list_threads` takes it.",
    "run_id": "Finds nothing: there are no runs.",
    "as_of": "Answer as of a moment: a commit's number, a time with its offset, or Unix seconds.",
    "from": "The moment after which the difference begins: a commit's number, a time or Unix seconds; 0 is the start.",
    "to": "The moment up to which the difference goes: a commit's number, a time or Unix seconds; now, if left out.",
    "type": "Only commits with an event of this type; several types are separated by commas.",
    "actor": "Only commits of this actor; with a `*` at its end, of all actors that begin so.",
    "by": "Only commits of this caller, such as `http:KEY_ID` or `nats:ACCOUNT/USER`; with a final `*`, of all such.",
    "format": "A page (`html`), a table of its commits (`csv`), or all of it as `json`.",
    "stored": "`true` to have each commit's stored body too.",
    "thread_id": "Only what is about this thread.",
    "status": "Only erasures that are so far.",
    "hold": "Only threads that have the hold of this name.",
    "since": "Only what is from this time or later: a time with its offset, or Unix seconds.",
    "until": "Only what is from this time or earlier: a time with its offset, or Unix seconds.",
    "include[]": "Parts of items to show too, which are left out otherwise; several times for several.",
    "stream": "`true` for server-sent events instead of a page.",
})  # fmt: skip
"""The parameters of query strings. One name means one thing on every route."""
AUDIT_PACK: Final = "application/zstd"
"""The media type of an audit pack."""
REPORT: Final[Mapping[str, str]] = MappingProxyType(
    {"html": "text/html", "csv": "text/csv", "json": "application/json"}
)
"""The media types of a report, by its format."""
_CHANGE: Final[tuple[Header, ...]] = ("idempotency", "ifMatch")
_READ: Final[tuple[Header, ...]] = ("ifMatch", "ifNoneMatch")


class HttpRoute(Struct, frozen=True, kw_only=True):
    """One method of one path.

    ``name`` is that of the method that answers it, in ``clew_services.http.routes``. ``body`` and ``form`` are the
    types of the request's body and query string, ``answer`` is the type of the answer; ``asked`` and ``answered`` are
    examples of body and answer, and without ``answered`` the operation's reply on NATS has one. An answer with
    ``media_types`` is a file of one of them instead. ``streamed`` is an example of the server-sent events that the
    route sends on request. ``also`` names the operation that answers instead where the query string has ``as_of``. The
    path of a route that is ``threads_only`` names no conversation, except with ``as_of``. ``errors`` are statuses
    beyond those of all such routes, and ``status`` is that of the answer.
    """

    name: str
    method: Method
    path: str
    tag: Tag
    summary: str
    description: str = ""
    body: type[Struct] | None = None
    body_required: bool = True
    asked: object = None
    form: type[Struct] | None = None
    answer: type[Struct] | None = None
    answered: object = None
    media_types: tuple[str, ...] = ()
    streamed: str | None = None
    also: str | None = None
    threads_only: bool = False
    headers: tuple[Header, ...] = ()
    errors: tuple[int, ...] = ()
    status: int = 200

    @property
    def versioned(self) -> bool:
        """Whether it takes the header ``OpenAI-Beta``, as all routes of the Threads API do."""
        return self.path.startswith(THREADS)


class Operation(Struct, frozen=True, kw_only=True):
    """One thing that can be done.

    ``name`` stands in NATS subjects and is that of the client's method. ``scope`` is what an API key needs for it, or
    ``alternative`` in its place; with ``anyone`` any key will do. A command that ``reads`` shows what others wrote, so
    its caller must be permitted to read too. An operation with neither ``command`` nor ``query`` is offered by HTTP
    alone.
    """

    name: str
    scope: Scope
    alternative: Scope | None = None
    anyone: bool = False
    reads: bool = False
    command: type[Command] | None = None
    query: type[Query] | None = None
    reply: type[Struct] | None = None
    routes: tuple[HttpRoute, ...] = ()

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The scopes of which an API key needs one."""
        if self.anyone:
            return tuple(SCOPES)
        return (self.scope,) if self.alternative is None else (self.scope, self.alternative)

    @property
    def request(self) -> type[Struct] | None:
        """The type of the command or query."""
        return self.command or self.query

    def subject(self, tenant: str) -> str:
        """The NATS subject on which the operation is requested.

        Raises:
            LookupError: HTTP alone offers it.
        """
        if self.command is not None:
            return subjects.command_subject(tenant, self.name)
        if self.query is not None:
            return subjects.query_subject(tenant, self.name)
        raise LookupError(f"the operation {self.name!r} is not offered on NATS")


OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        name="create_thread", scope="write", command=CreateThread, reply=Reply[Done],
        routes=(HttpRoute(
            name="create_thread", method="POST", path=THREADS, tag="Threads",
            summary="Create a thread, with messages already in it or without",
            description="The body may be left out. At most 100 messages are created with the thread, in one commit.",
            body=http_forms.CreateThreadBody, body_required=False, asked=http_examples.CREATED,
            answer=Thread, answered=http_examples.THREAD, headers=("idempotency",),
        ), HttpRoute(
            name="create_conversation", method="POST", path=CONVERSATIONS, tag="Conversations",
            summary="Create a conversation, with items already in it or without",
            description="The body may be left out.",
            body=http_forms.CreateConversationBody, body_required=False, asked=http_examples.NEW_CONVERSATION,
            answer=Conversation, answered=http_examples.CONVERSATION, headers=("idempotency",),
        )),
    ),
    Operation(
        name="update_thread", scope="write", command=UpdateThread, reply=Reply[Done],
        routes=(HttpRoute(
            name="modify_thread", method="POST", path=THREAD, tag="Threads", threads_only=True,
            summary="Change a thread; `metadata` replaces all of it",
            description="What the body leaves out stays as it is. `null` and `{}` clear the metadata.",
            body=http_forms.ModifyThreadBody, asked=http_examples.METADATA,
            answer=Thread, answered=http_examples.THREAD, headers=_CHANGE,
        ), HttpRoute(
            name="patch_thread", method="PATCH", path=THREAD, tag="Threads", threads_only=True,
            summary="Set and unset single metadata keys of a thread",
            description="All other keys stay as they are, so writers of different keys do not conflict.",
            body=http_forms.PatchBody, asked=http_examples.PATCH,
            answer=Thread, answered=http_examples.THREAD, headers=_CHANGE,
        ), HttpRoute(
            name="update_conversation", method="POST", path=CONVERSATION, tag="Conversations",
            summary="Change a conversation: `metadata` replaces all of it",
            description="`null` and `{}` clear the metadata.",
            body=http_forms.UpdateConversationBody, asked=http_examples.METADATA,
            answer=Conversation, answered=http_examples.CONVERSATION, headers=_CHANGE,
        )),
    ),
    Operation(
        name="delete_thread", scope="write", command=DeleteThread, reply=Reply[Done],
        routes=(HttpRoute(
            name="delete_thread", method="DELETE", path=THREAD, tag="Threads", threads_only=True,
            summary="Delete a thread; its history stays",
            description="It can be restored until it is erased. The thread's id is never used again.",
            answer=Gone, answered=http_examples.THREAD_GONE, headers=_CHANGE,
        ), HttpRoute(
            name="delete_conversation", method="DELETE", path=CONVERSATION, tag="Conversations",
            summary="Delete a conversation; its history stays",
            description="It can be restored, as a thread is, until it is erased.",
            answer=DeletedConversation, answered=http_examples.CONVERSATION_GONE, headers=_CHANGE,
        )),
    ),
    Operation(
        name="fork_thread", scope="write", command=ForkThread, reply=Reply[Done],
        routes=(HttpRoute(
            name="fork_thread", method="POST", path=f"{THREAD}/fork", tag="Threads",
            summary="Create a thread that begins as the past of another, without copying it",
            description=(
                "The fork has the items of its parent as of `at`, a version or an item, by default all there are, and "
                "goes its own way. It keeps showing them whatever becomes of the parent, but what is erased there. A "
                "version shows the past, and takes the scope `audit` too."
            ),
            body=http_forms.ForkBody, body_required=False, asked=http_examples.FORKED,
            answer=Thread, answered=http_examples.THREAD, headers=("idempotency",),
        ),),
    ),
    Operation(
        name="restore_thread", scope="write", command=RestoreThread, reply=Reply[Done],
        routes=(HttpRoute(
            name="restore_thread", method="POST", path=f"{THREAD}/restore", tag="Threads",
            summary="Restore a deleted thread, as it was",
            description=(
                "Its metadata and its messages are there again. A thread that is not deleted stays as it is; one that "
                "was erased cannot be restored."
            ),
            body=http_forms.RestoreBody, body_required=False, asked={},
            answer=Thread, answered=http_examples.THREAD, headers=_CHANGE,
        ),),
    ),
    Operation(
        name="add_message", scope="write", command=AddMessage, reply=Reply[Done],
        routes=(HttpRoute(
            name="create_message", method="POST", path=MESSAGES, tag="Messages", threads_only=True,
            summary="Put a message at the end of a thread",
            body=NewMessage, asked=http_examples.ASKED,
            answer=Message, answered=http_examples.MESSAGE, headers=_CHANGE,
        ),),
    ),
    Operation(
        name="update_message", scope="write", command=UpdateMessage, reply=Reply[Done],
        routes=(HttpRoute(
            name="modify_message", method="POST", path=MESSAGE, tag="Messages", threads_only=True,
            summary="Change a message; `metadata` replaces all of it",
            description="What the body leaves out stays as it is. `null` and `{}` clear the metadata.",
            body=http_forms.ModifyMessageBody, asked=http_examples.METADATA,
            answer=Message, answered=http_examples.MESSAGE, headers=_CHANGE,
        ), HttpRoute(
            name="patch_message", method="PATCH", path=MESSAGE, tag="Messages", threads_only=True,
            summary="Set and unset single metadata keys of a message",
            description="All other keys stay as they are, so writers of different keys do not conflict.",
            body=http_forms.PatchBody, asked=http_examples.PATCH,
            answer=Message, answered=http_examples.MESSAGE, headers=_CHANGE,
        )),
    ),
    Operation(
        name="delete_message", scope="write", command=DeleteMessage, reply=Reply[Done],
        routes=(HttpRoute(
            name="delete_message", method="DELETE", path=MESSAGE, tag="Messages", threads_only=True,
            summary="Delete a message",
            answer=Gone, answered=http_examples.MESSAGE_GONE, headers=_CHANGE,
        ),),
    ),
    Operation(
        name="add_items", scope="write", command=AddItems, reply=Reply[Done],
        routes=(HttpRoute(
            name="create_conversation_items", method="POST", path=ITEMS, tag="Conversations",
            summary="Add items to a conversation, in one commit: all of them or none",
            description="The answer has the items that were added, in their order.",
            body=http_forms.CreateItemsBody, asked=http_examples.NEW_ITEMS, form=http_forms.ShownParts,
            answer=ConversationItems, answered=http_examples.ITEMS, headers=_CHANGE,
        ),),
    ),
    Operation(name="replace_item", scope="write", command=ReplaceItem, reply=Reply[Done]),
    Operation(
        name="delete_item", scope="write", command=DeleteItem, reply=Reply[Done],
        routes=(HttpRoute(
            name="delete_conversation_item", method="DELETE", path=ITEM, tag="Conversations",
            summary="Delete an item; the answer is the conversation",
            form=http_forms.ShownParts,
            answer=Conversation, answered=http_examples.CONVERSATION, headers=_CHANGE,
        ),),
    ),
    Operation(name="pop_item", scope="write", reads=True, command=PopItem, reply=Reply[Done]),
    Operation(name="clear_items", scope="write", command=ClearItems, reply=Reply[Done]),
    Operation(
        name="erase_item", scope="erase", command=EraseItem, reply=Reply[Done],
        routes=(HttpRoute(
            name="erase_conversation_item", method="POST", path=f"{ITEM}/erase", tag="Erasures",
            summary="Erase an item of a conversation, with all that it ever was",
            description="The conversation lives on. A deleted item can be erased too.",
            body=http_forms.EraseBody, body_required=False, asked=http_examples.ERASE,
            answer=Erasure, answered=http_examples.ERASURE, headers=_CHANGE, status=202,
        ),),
    ),
    Operation(
        name="erase_thread", scope="erase", command=EraseThread, reply=Reply[Done],
        routes=(HttpRoute(
            name="erase_thread", method="POST", path=f"{THREAD}/erase", tag="Erasures",
            summary="Erase a thread for good",
            description=(
                "What people wrote in it is refused at once and then goes from every disk; the answer is the erasure, "
                "which says how far that is. A deleted thread can be erased too. What forks show takes `forks`."
            ),
            body=http_forms.EraseBody, body_required=False, asked=http_examples.ERASE,
            answer=Erasure, answered=http_examples.ERASURE, headers=_CHANGE, status=202,
        ),),
    ),
    Operation(
        name="erase_message", scope="erase", command=EraseMessage, reply=Reply[Done],
        routes=(HttpRoute(
            name="erase_message", method="POST", path=f"{MESSAGE}/erase", tag="Erasures",
            summary="Erase a message, with all that it ever was",
            description="The thread lives on. A deleted message can be erased too.",
            body=http_forms.EraseBody, body_required=False, asked=http_examples.ERASE,
            answer=Erasure, answered=http_examples.ERASURE, headers=_CHANGE, status=202,
        ),),
    ),
    Operation(
        name="list_erasures", scope="erase", alternative="audit", query=ListErasures, reply=Reply[ErasurePage],
        routes=(HttpRoute(
            name="list_erasures", method="GET", path="/v1/erasures", tag="Erasures",
            summary="List the erasures of the tenant, the newest first",
            form=ListErasures, answer=ErasurePage, answered=http_examples.ERASURES, errors=(404,),
        ),),
    ),
    Operation(
        name="get_erasure", scope="erase", alternative="audit", query=GetErasure, reply=Reply[RetrievedErasure],
        routes=(HttpRoute(
            name="get_erasure", method="GET", path="/v1/erasures/{erasure_id}", tag="Erasures",
            summary="Retrieve an erasure, once it is completed with its signed certificate",
            answer=RetrievedErasure,
        ),),
    ),
    Operation(
        name="place_hold", scope="hold", command=PlaceHold, reply=Reply[Done],
        routes=(HttpRoute(
            name="place_hold", method="POST", path=f"{THREAD}/holds", tag="Holds",
            summary="Place a legal hold on a thread",
            description=(
                "Nothing of the thread can be erased until all its holds are released. A deleted thread can be held "
                "too. A hold that the thread has already stays as it is."
            ),
            body=http_forms.PlaceHoldBody, asked=http_examples.HOLD,
            answer=HeldThread, answered=http_examples.HELD, headers=_CHANGE,
        ),),
    ),
    Operation(
        name="release_hold", scope="hold", command=ReleaseHold, reply=Reply[Done],
        routes=(HttpRoute(
            name="release_hold", method="DELETE", path=f"{THREAD}/holds/{{hold}}", tag="Holds",
            summary="Release a legal hold on a thread; other holds stay",
            answer=HeldThread, answered=http_examples.RELEASED, headers=_CHANGE,
        ),),
    ),
    Operation(
        name="place_standing_hold", scope="hold", command=PlaceStandingHold, reply=Reply[Done],
        routes=(HttpRoute(
            name="place_standing_hold", method="POST", path=HOLDS, tag="Holds",
            summary="Place a standing legal hold on all threads that match, now and later",
            description=(
                "Nothing of a thread can be erased while it matches, deleted or not, until the hold is released. One "
                "that is there already stays as it is."
            ),
            body=http_forms.StandingHoldBody, asked=http_examples.STANDING, answer=FilterHold,
            answered=http_examples.STANDING_HOLD, headers=_CHANGE,
        ),),
    ),
    Operation(
        name="release_standing_hold", scope="hold", command=ReleaseStandingHold, reply=Reply[Done],
        routes=(HttpRoute(
            name="release_standing_hold", method="DELETE", path=f"{HOLDS}/{{hold}}", tag="Holds",
            summary="Release a standing legal hold; holds of its name on single threads stay",
            answer=Gone, answered=http_examples.STANDING_GONE, headers=_CHANGE,
        ),),
    ),
    Operation(
        name="list_holds", scope="hold", alternative="audit", query=ListHolds, reply=Reply[HoldPage],
        routes=(HttpRoute(
            name="list_holds", method="GET", path=HOLDS, tag="Holds",
            summary="List the standing legal holds, and the threads that have holds, deleted ones too",
            form=ListHolds, answer=HoldPage, answered=http_examples.HOLDS, errors=(404,),
        ),),
    ),
    Operation(
        name="set_retention", scope="retention", command=SetRetention, reply=Reply[Done],
        routes=(HttpRoute(
            name="set_retention", method="POST", path=RETENTION, tag="Retention",
            summary="Set a policy of retention, in place of one of its name",
            description=(
                "It deletes or erases the threads that match `where` once they are old enough. A policy for all there "
                "are is refused with their number unless `confirm` is true. The answer names legal holds on some that "
                "match: what is held is left out until it is released."
            ),
            body=http_forms.SetRetentionBody, asked=http_examples.SET_RETENTION,
            answer=RetentionEffect, answered=http_examples.RETENTION_SET, headers=_CHANGE,
        ),),
    ),
    Operation(
        name="remove_retention", scope="retention", command=RemoveRetention, reply=Reply[Done],
        routes=(HttpRoute(
            name="remove_retention", method="DELETE", path=f"{RETENTION}/{{name}}", tag="Retention",
            summary="Remove a policy of retention; what it has deleted or erased stays so",
            answer=Gone, answered=http_examples.RETENTION_GONE, headers=_CHANGE,
        ),),
    ),
    Operation(
        name="list_retention", scope="retention", alternative="audit", query=ListRetention,
        reply=Reply[RetentionList],
        routes=(HttpRoute(
            name="list_retention", method="GET", path=RETENTION, tag="Retention",
            summary="List the policies of retention of the tenant",
            answer=RetentionList, answered=http_examples.RETENTION,
        ),),
    ),
    Operation(
        name="list_due", scope="retention", alternative="audit", query=ListDue, reply=Reply[DuePage],
        routes=(HttpRoute(
            name="list_due", method="GET", path="/v1/due", tag="Retention",
            summary="List the threads that are due to be deleted or erased, and the legal holds that keep them",
            form=ListDue, answer=DuePage, answered=http_examples.DUE,
        ),),
    ),
    Operation(
        name="get_thread", scope="read", query=GetThread, reply=Reply[Found],
        routes=(HttpRoute(
            name="get_thread", method="GET", path=THREAD, tag="Threads", threads_only=True,
            summary="Retrieve a thread as of its latest acknowledged commit",
            form=http_forms.AsOfMoment, answer=Thread, answered=http_examples.THREAD,
            also="state_at", headers=_READ,
        ), HttpRoute(
            name="get_conversation", method="GET", path=CONVERSATION, tag="Conversations",
            summary="Retrieve a conversation as of its latest acknowledged commit",
            form=http_forms.AsOfMoment, answer=Conversation, answered=http_examples.CONVERSATION, also="state_at",
            headers=_READ,
        )),
    ),
    Operation(
        name="list_threads", scope="read", query=ListThreads, reply=Reply[ThreadList],
        routes=(HttpRoute(
            name="list_threads", method="GET", path=THREADS, tag="Threads",
            summary="List threads by metadata, text and time",
            description="Threads created last come first unless the query string says otherwise.",
            form=http_forms.PageOfThreads, answer=ThreadList, answered=http_examples.THREADS,
        ), HttpRoute(
            name="list_forks", method="GET", path=f"{THREAD}/forks", tag="Threads",
            summary="List the threads that were forked from one",
            description="Filtered, ordered and paged as a list of threads. The thread itself may have been deleted.",
            form=http_forms.PageOfThreads, answer=ThreadList, answered=http_examples.THREADS, errors=(404,),
        ), HttpRoute(
            name="list_conversations", method="GET", path=CONVERSATIONS, tag="Conversations",
            summary="List conversations by metadata, text and time",
            description="Conversations created last come first unless the query string says otherwise.",
            form=http_forms.PageOfThreads, answer=ConversationList, answered=http_examples.CONVERSATIONS,
        )),
    ),
    Operation(
        name="list_messages", scope="read", query=ListMessages, reply=Reply[Found],
        routes=(HttpRoute(
            name="list_messages", method="GET", path=MESSAGES, tag="Messages", threads_only=True,
            summary="List a thread's messages, a page at a time",
            description="The newest messages come first unless the query string says otherwise.",
            form=http_forms.PageOfMessages, answer=MessagePage, answered=http_examples.PAGE, also="messages_at",
            headers=_READ,
        ),),
    ),
    Operation(
        name="get_message", scope="read", query=GetMessage, reply=Reply[Found],
        routes=(HttpRoute(
            name="get_message", method="GET", path=MESSAGE, tag="Messages", threads_only=True,
            summary="Retrieve a message",
            form=http_forms.AsOfMoment, answer=Message, answered=http_examples.MESSAGE, also="message_at",
            headers=_READ,
        ),),
    ),
    Operation(
        name="list_items", scope="read", query=ListItems, reply=Reply[Found],
        routes=(HttpRoute(
            name="list_conversation_items", method="GET", path=ITEMS, tag="Conversations",
            summary="List a conversation's items, a page at a time",
            description="The newest items come first unless the query string says otherwise.",
            form=http_forms.PageOfItems, answer=ConversationItems, answered=http_examples.ITEMS, also="items_at",
            headers=_READ,
        ),),
    ),
    Operation(
        name="get_item", scope="read", query=GetItem, reply=Reply[Found],
        routes=(HttpRoute(
            name="get_conversation_item", method="GET", path=ITEM, tag="Conversations",
            summary="Retrieve an item",
            form=http_forms.OneItem, answer=ConversationItem, answered=http_examples.ITEM, also="item_at",
            headers=_READ,
        ),),
    ),
    Operation(
        name="render_items", scope="read", alternative="audit",
        routes=(HttpRoute(
            name="render_items", method="POST", path="/v1/rendered_items", tag="Messages",
            summary="Render items as HTML in which nothing can run",
            description=(
                "Reads and changes nothing. Texts are read as Markdown, code is coloured, tool calls and JSON are "
                "folded, images are named. The answer is trees of elements, so that nobody has to parse HTML."
            ),
            body=http_forms.RenderBody, asked=http_examples.UNRENDERED,
            answer=RenderedItems, answered=http_examples.RENDERED,
        ),),
    ),
    Operation(name="items_at", scope="audit", query=ListItemsAt, reply=Reply[Then]),
    Operation(name="item_at", scope="audit", query=GetItemAt, reply=Reply[Then]),
    Operation(
        name="list_runs", scope="read",
        routes=(HttpRoute(
            name="list_runs", method="GET", path=f"{THREAD}/runs", tag="Threads", threads_only=True,
            summary="List a thread's runs, of which there are none",
            description="Clew runs no assistants. Clients ask for runs to find out whether one is active.",
            form=http_forms.PageOfRuns, answer=RunPage, answered=http_examples.NO_RUNS,
        ),),
    ),
    Operation(
        name="history", scope="audit", query=GetHistory, reply=Reply[History],
        routes=(HttpRoute(
            name="list_events", method="GET", path=f"{THREAD}/events", tag="History",
            summary="List the commits of a thread",
            description="The oldest commits come first unless the query string says otherwise.",
            form=http_forms.PageOfHistory, answer=CommitPage, answered=http_examples.COMMITS,
        ), HttpRoute(
            name="list_own_events", method="GET", path=OWN, tag="History",
            summary="List the commits of the tenant's own history: policies of retention and standing holds",
            description="The oldest commits come first unless the query string says otherwise.",
            form=http_forms.PageOfHistory, answer=CommitPage, answered=http_examples.OWN_COMMITS,
        )),
    ),
    Operation(name="state_at", scope="audit", query=GetStateAt, reply=Reply[Moment]),
    Operation(
        name="feed", scope="audit", query=GetFeed, reply=Reply[Feed],
        routes=(HttpRoute(
            name="feed", method="GET", path="/v1/events", tag="Feed",
            summary="All commits of all threads in the order in which the log took them",
            description=(
                "Answers a page, or with `stream=true` or `Accept: text/event-stream` commits as they are recorded, as "
                "server-sent events."
            ),
            form=http_forms.PageOfFeed, answer=FeedPage, answered=http_examples.FEED, streamed=http_examples.STREAMED,
            headers=("lastEventId",),
        ),),
    ),
    Operation(name="messages_at", scope="audit", query=ListMessagesAt, reply=Reply[Then]),
    Operation(name="message_at", scope="audit", query=GetMessageAt, reply=Reply[Then]),
    Operation(
        name="diff", scope="audit", query=GetDifference, reply=Reply[Difference],
        routes=(HttpRoute(
            name="diff_thread", method="GET", path=f"{THREAD}/diff", tag="History",
            summary="Say what changed between two moments, and by which commits",
            form=http_forms.Between, answer=Difference, errors=(413,),
        ),),
    ),
    Operation(
        name="blame", scope="audit", query=GetBlame, reply=Reply[Blame],
        routes=(HttpRoute(
            name="blame_thread", method="GET", path=f"{THREAD}/blame", tag="History",
            summary="Say who last set each part of a thread, and who removed what is gone",
            form=http_forms.BlameForm, answer=Blame,
        ),),
    ),
    Operation(
        name="list_checkpoints", scope="audit", query=ListCheckpoints, reply=Reply[CheckpointPage],
        routes=(HttpRoute(
            name="list_checkpoints", method="GET", path="/v1/checkpoints", tag="Checkpoints",
            summary="List the signed checkpoints of the log, the newest first",
            form=ListCheckpoints, answer=CheckpointPage, answered=http_examples.CHECKPOINTS,
        ),),
    ),
    Operation(
        name="get_checkpoint", scope="audit", query=GetCheckpoint, reply=Reply[SignedCheckpoint],
        routes=(HttpRoute(
            name="get_checkpoint", method="GET", path="/v1/checkpoints/{number}", tag="Checkpoints",
            summary="Retrieve a signed checkpoint by its number, or the `latest`",
            answer=SignedCheckpoint, answered=http_examples.CHECKPOINT,
        ),),
    ),
    Operation(
        name="proof", scope="audit", query=GetProof, reply=Reply[KeptProof],
        routes=(HttpRoute(
            name="prove_thread", method="GET", path=f"{THREAD}/proof", tag="Checkpoints",
            summary="Prove what a thread's head was under the last signed checkpoint",
            answer=KeptProof, answered=http_examples.PROOF,
        ), HttpRoute(
            name="prove_own", method="GET", path=f"{OWN}/proof", tag="Checkpoints",
            summary="Prove what the head of the tenant's own history was under the last signed checkpoint",
            answer=KeptProof, answered=http_examples.PROOF, errors=(404,),
        )),
    ),
    Operation(
        name="export", scope="audit",
        routes=(HttpRoute(
            name="export_thread", method="GET", path=f"{THREAD}/export", tag="History",
            summary="Download a thread's audit pack, to be read and checked without a server",
            media_types=(AUDIT_PACK,),
        ), HttpRoute(
            name="export_own", method="GET", path=f"{OWN}/export", tag="History",
            summary="Download the audit pack of the tenant's own history",
            media_types=(AUDIT_PACK,), errors=(404,),
        )),
    ),
    Operation(
        name="report", scope="audit",
        routes=(HttpRoute(
            name="report_thread", method="GET", path=f"{THREAD}/report", tag="History",
            summary="Download a report of a thread: a page to read and to print, a table, or JSON",
            description=(
                "It says who did what and when, what the thread was at each moment of `as_of`, what was checked and "
                "what was not, and the proof to check it with. The table (CSV) has its commits alone."
            ),
            form=http_forms.ReportForm, media_types=tuple(REPORT.values()), errors=(413,),
        ),),
    ),
    Operation(
        name="session", scope="read", anyone=True,
        routes=(HttpRoute(
            name="open_session", method="POST", path=SESSION, tag="Sessions",
            summary="Open a session for a browser, which then needs no key",
            description=(
                "The answer sets a cookie that no script can read and no other site can use. It is good until the "
                "browser is closed, for 12 hours at most, and only as long as the key is. Requests by it that are "
                "neither GET nor HEAD have the header `Clew-Session: 1`."
            ),
            body=http_forms.OpenSessionBody, body_required=False, asked={},
            answer=Session, answered=http_examples.SESSION,
        ), HttpRoute(
            name="get_session", method="GET", path=SESSION, tag="Sessions",
            summary="Say whose key or session the request is made with, and what it may do",
            answer=Session, answered=http_examples.SESSION,
        ), HttpRoute(
            name="close_session", method="DELETE", path=SESSION, tag="Sessions",
            summary="End the session that the request is made with",
            answer=ClosedSession, answered=http_examples.CLOSED_SESSION,
        )),
    ),
    Operation(
        name="list_keys", scope="admin",
        routes=(HttpRoute(
            name="list_keys", method="GET", path=KEYS, tag="Administration",
            summary="List the API keys of the tenant, revoked ones too, without the keys themselves",
            answer=ApiKeyList, answered=http_examples.API_KEYS,
        ),),
    ),
    Operation(
        name="create_key", scope="admin",
        routes=(HttpRoute(
            name="create_key", method="POST", path=KEYS, tag="Administration",
            summary="Issue an API key for the tenant, and show it this once",
            description="Repeated, it issues another key: after an answer that did not arrive, list them and revoke.",
            body=http_forms.NewKeyBody, asked=http_examples.NEW_KEY,
            answer=NewApiKey, answered=http_examples.ISSUED_KEY,
        ),),
    ),
    Operation(
        name="revoke_key", scope="admin",
        routes=(HttpRoute(
            name="revoke_key", method="DELETE", path=f"{KEYS}/{{key_id}}", tag="Administration",
            summary="Revoke an API key of the tenant at once and for ever; one that is revoked stays so",
            answer=ApiKey, answered=http_examples.REVOKED_KEY,
        ),),
    ),
    Operation(
        name="list_rejections", scope="admin",
        routes=(HttpRoute(
            name="list_rejections", method="GET", path=REJECTIONS, tag="Administration",
            summary="List the tenant's inbox commands that were rejected, the oldest first",
            form=http_forms.PageOfRejections, answer=RejectedCommandPage, answered=http_examples.REJECTIONS,
        ),),
    ),
    Operation(
        name="retry_rejection", scope="admin",
        routes=(HttpRoute(
            name="retry_rejection", method="POST", path=f"{REJECTIONS}/{{rejection}}/retry", tag="Administration",
            summary="Put a rejected command back into the inbox with its id, and take it off the record",
            description="It is decided again; if it is rejected again, it gets a new number.",
            body=http_forms.RetryBody, body_required=False, asked={},
            answer=RetriedCommand, answered=http_examples.RETRIED,
        ),),
    ),
    Operation(
        name="status", scope="admin", alternative="audit",
        routes=(HttpRoute(
            name="get_status", method="GET", path="/v1/status", tag="Administration",
            summary="Say how the deployment is: its size, its lag, and what was checked of the log and its views",
            description="It counts what all tenants have, and names nothing of any.",
            answer=DeploymentStatus, answered=http_examples.STATUS,
        ),),
    ),
)  # fmt: skip
"""Every operation, by the order in which the documents list them."""

BY_NAME: Final[Mapping[str, Operation]] = MappingProxyType({operation.name: operation for operation in OPERATIONS})
COMMANDS: Final[Mapping[str, type[Command]]] = MappingProxyType(
    {operation.name: operation.command for operation in OPERATIONS if operation.command is not None}
)
"""The commands by their names on the wire."""
QUERIES: Final[Mapping[str, type[Query]]] = MappingProxyType(
    {operation.name: operation.query for operation in OPERATIONS if operation.query is not None}
)
"""The queries by their names on the wire."""
WIRE_NAMES: Final[Mapping[str, str]] = MappingProxyType({command.named: name for name, command in COMMANDS.items()})
"""The commands' names on the wire by their names in the record."""
REPLIES: Final[tuple[type[Struct], ...]] = tuple(
    dict.fromkeys(operation.reply for operation in OPERATIONS if operation.reply is not None)
)
"""The types of the replies on NATS."""


def http_routes() -> Iterator[tuple[Operation, HttpRoute]]:
    """Every HTTP route, with the operation it belongs to."""
    for operation in OPERATIONS:
        for route in operation.routes:
            yield operation, route
