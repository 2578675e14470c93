"""The events: what can happen to a thread, and to a tenant. Each is declared here, and nowhere else.

An event belongs to a family, :class:`ThreadEvent` (of which :class:`TenantEvent` is a part) or :class:`ItemEvent`,
names its ``effect``, and is a member of :data:`StoredEvent`. A field is part of the record, which is kept for ever and
hashed, or is marked :data:`Content`, so that it can be erased: whatever a person wrote is content. Fields of the record
stand first. The codec, the schemas, the filters by type and the items that an event concerns follow from the
declaration. Code that treats an event in a way of its own matches on it and ends in ``assert_never``, so the type
checker names every such place for a new event.

The names and fields are the stored format of every history. A field may be added, with a default. Nothing is renamed,
removed, moved between record and content, or given another meaning: a changed event is a new one under a new tag, and
the old tag moves to :mod:`clew_events.upcast`. The tests compare stored bytes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal, TypeVar, cast, final, get_args

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from clew_events import ids
from clew_events.content import Anchor, Disposal, ExpiresAfter, Instant, Message, Metadata, Provenance, ToolResources

Effect = Literal["creates", "changes", "deletes"]
"""What an event does to the thread or the item that it is about."""

_T = TypeVar("_T")
ERASABLE: Final = Meta(extra_json_schema={"x-erasable": True})
Content = Annotated[_T, ERASABLE]
"""Marks a field that is stored in an event's content, and can be erased without a change to any hash."""

EventType = Literal[
    "ThreadCreated",
    "MetadataUpdated",
    "ToolResourcesUpdated",
    "ExpiryUpdated",
    "ItemAdded",
    "ItemReplaced",
    "ItemMetadataUpdated",
    "ItemDeleted",
    "ItemsCleared",
    "ThreadDeleted",
    "ThreadRestored",
    "HoldPlaced",
    "HoldReleased",
    "ErasureRequested",
    "ErasureCompleted",
    "RetentionSet",
    "RetentionRemoved",
    "StandingHoldPlaced",
    "StandingHoldReleased",
]
"""The tags of all stored events: the ``type`` that each is stored with, and by which queries choose."""


class ForkedFrom(Struct, frozen=True, gc=False):
    """The commit of another thread that a thread was forked at, and what the fork inherits from there.

    The commit is named by its thread, its number, and the hash of its record; ``seq`` is the sequence where it stood in
    its shard, a hint. Items are inherited up to ``ordinal``: ``items`` of them exist, and none up to ``cleared``.
    """

    thread: str
    n: int
    hash: str
    seq: int
    ordinal: int
    items: int
    cleared: int


class ThreadEvent(Struct, frozen=True, gc=False):
    """An event about a thread as a whole, not about one item.

    One that ``clears`` deletes all items at once; one that ``restores`` has a deleted thread there again. One that is
    not ``active`` is no use that somebody makes of the thread, and puts off no expiry.
    """

    clears: ClassVar[bool] = False
    restores: ClassVar[bool] = False
    active: ClassVar[bool] = True

    @property
    def request(self) -> ErasureRequested | None:
        """The request for an erasure that this event is; ``None`` if it is none."""
        return None

    @property
    def completion(self) -> ErasureCompleted | None:
        """The completion of an erasure that this event is; ``None`` if it is none."""
        return None

    @property
    def parent(self) -> ForkedFrom | None:
        """The commit of another thread that this event says the thread was forked at; ``None`` if it says none."""
        return None

    @property
    def original_time(self) -> datetime | None:
        """When the thread was created where it was before it was imported; ``None`` if this does not tell."""
        return None


class TenantEvent(ThreadEvent, frozen=True):
    """An event of a tenant's own history, which is stored as a thread's is and is about no thread."""


class ItemEvent(Struct, frozen=True, gc=False):
    """An event about one item of a thread, such as a message, which ``item`` names.

    ``ordinal`` is the item's number in its thread. Behind the first event about an item it is left out where the id
    carries it, as an id does that Clew made; see :func:`ordinal_of`. An item's content is a ``message``, as the Threads
    API has them, or its JSON as it was given, ``body``.
    """

    @property
    def original_time(self) -> datetime | None:
        """When the item came to be where it was before it was imported; ``None`` if this does not tell."""
        return None

    @property
    def replaces(self) -> bool:
        """Whether the event gives the item another content."""
        return False


@final
class ThreadCreated(ThreadEvent, frozen=True, tag_field="type", tag="ThreadCreated"):
    """The thread came to be. Always the first event of the first commit. ``forked_from`` only where it is a fork.

    A fork shows the items that it inherits, and goes on counting after them. Its metadata and tool resources are its
    own.

    ``imported`` says where it was before, if it was imported.
    """

    effect: ClassVar[Effect] = "creates"

    forked_from: ForkedFrom | UnsetType = UNSET
    metadata: Content[Metadata] = {}
    tool_resources: Content[ToolResources] = ToolResources()
    imported: Content[Provenance | UnsetType] = UNSET

    @property
    def original_time(self) -> datetime | None:
        """When the thread was created where it was before."""
        return None if isinstance(self.imported, UnsetType) else self.imported.created_at

    @property
    def parent(self) -> ForkedFrom | None:
        """The commit of another thread that the thread was forked at; ``None`` if it is no fork."""
        return None if isinstance(self.forked_from, UnsetType) else self.forked_from


@final
class MetadataUpdated(ThreadEvent, frozen=True, tag_field="type", tag="MetadataUpdated"):
    """The difference: keys that took a new value, and keys that went. A key left alone is not named."""

    effect: ClassVar[Effect] = "changes"

    set: Content[Metadata]
    unset: Content[tuple[str, ...]]


@final
class ToolResourcesUpdated(ThreadEvent, frozen=True, tag_field="type", tag="ToolResourcesUpdated"):
    """What the tools may use from now on, whole."""

    effect: ClassVar[Effect] = "changes"

    tool_resources: Content[ToolResources]


@final
class ExpiryUpdated(ThreadEvent, frozen=True, tag_field="type", tag="ExpiryUpdated"):
    """When the thread expires from now on; with null it does not."""

    effect: ClassVar[Effect] = "changes"

    expires_after: ExpiresAfter | None


@final
class ItemAdded(ItemEvent, frozen=True, tag_field="type", tag="ItemAdded"):
    """An item was put at the end of the thread, under the next ordinal.

    ``created_at`` is when it came to be, where that was before, as of an item that was imported.
    """

    effect: ClassVar[Effect] = "creates"

    item: str
    ordinal: int
    message: Content[Message | UnsetType] = UNSET
    body: Content[Raw | UnsetType] = UNSET
    created_at: Content[Instant | UnsetType] = UNSET

    @property
    def original_time(self) -> datetime | None:
        """When the item came to be where it was before."""
        return None if isinstance(self.created_at, UnsetType) else self.created_at


@final
class ItemReplaced(ItemEvent, frozen=True, tag_field="type", tag="ItemReplaced"):
    """An item has another content from now on, metadata included; it keeps its id and its ordinal."""

    effect: ClassVar[Effect] = "changes"

    item: str
    ordinal: int | UnsetType = UNSET
    message: Content[Message | UnsetType] = UNSET
    body: Content[Raw | UnsetType] = UNSET

    @property
    def replaces(self) -> bool:
        """It does."""
        return True


@final
class ItemMetadataUpdated(ItemEvent, frozen=True, tag_field="type", tag="ItemMetadataUpdated"):
    """The difference in one item's metadata."""

    effect: ClassVar[Effect] = "changes"

    item: str
    ordinal: int | UnsetType = UNSET
    set: Content[Metadata] = {}
    unset: Content[tuple[str, ...]] = ()


@final
class ItemDeleted(ItemEvent, frozen=True, tag_field="type", tag="ItemDeleted"):
    """An item was deleted from the thread. Its ordinal is never used again."""

    effect: ClassVar[Effect] = "deletes"

    item: str
    ordinal: int | UnsetType = UNSET


@final
class ItemsCleared(ThreadEvent, frozen=True, tag_field="type", tag="ItemsCleared"):
    """All items of the thread were deleted. The thread stays, and no ordinal is used again."""

    effect: ClassVar[Effect] = "changes"
    clears: ClassVar[bool] = True


@final
class ThreadDeleted(ThreadEvent, frozen=True, tag_field="type", tag="ThreadDeleted"):
    """The thread is gone for its users. The history remains, and the thread can be restored until it is erased."""

    effect: ClassVar[Effect] = "deletes"
    active: ClassVar[bool] = False


@final
class ThreadRestored(ThreadEvent, frozen=True, tag_field="type", tag="ThreadRestored"):
    """A deleted thread is there again, as it was."""

    effect: ClassVar[Effect] = "changes"
    restores: ClassVar[bool] = True


@final
class HoldPlaced(ThreadEvent, frozen=True, tag_field="type", tag="HoldPlaced"):
    """A legal hold of this name forbids that the thread is erased or expires."""

    effect: ClassVar[Effect] = "changes"
    active: ClassVar[bool] = False

    hold: str


@final
class HoldReleased(ThreadEvent, frozen=True, tag_field="type", tag="HoldReleased"):
    """The legal hold of this name is over."""

    effect: ClassVar[Effect] = "changes"
    active: ClassVar[bool] = False

    hold: str


@final
class ErasureRequested(ThreadEvent, frozen=True, tag_field="type", tag="ErasureRequested"):
    """The contents of earlier commits are to be erased, and are refused from now on.

    ``items`` are the items that it is about; with null it is the whole thread, which has ended for good. ``ordinals``
    are those of all that had their ids, where an id does not carry it or was used more than once. ``code`` is why, as a
    code.
    """

    effect: ClassVar[Effect] = "deletes"
    active: ClassVar[bool] = False

    erasure: str
    items: tuple[str, ...] | None
    code: str | None
    ordinals: tuple[int, ...] | UnsetType = UNSET

    @property
    def request(self) -> ErasureRequested:
        """The event itself."""
        return self

    @property
    def item_ordinals(self) -> tuple[int, ...]:
        """The ordinals of the items that it is about."""
        if isinstance(self.ordinals, UnsetType):
            return tuple(map(ids.ordinal_of, self.items or ()))
        return self.ordinals


@final
class ErasureCompleted(ThreadEvent, frozen=True, tag_field="type", tag="ErasureCompleted"):
    """The contents are gone from every disk. ``certificate`` is the SHA-256 of the signed certificate, in hex."""

    effect: ClassVar[Effect] = "changes"
    active: ClassVar[bool] = False

    erasure: str
    certificate: str

    @property
    def completion(self) -> ErasureCompleted:
        """The event itself."""
        return self


@final
class RetentionSet(TenantEvent, frozen=True, tag_field="type", tag="RetentionSet"):
    """From now on the policy of this name says what becomes of threads that are ``after_days`` old.

    ``since`` is from when the days count. ``erase_after_days`` is in how many days more a deleted thread is erased,
    where ``then`` is ``delete``; null: never. ``where`` is which threads it is for, a condition of lists in JSON; null:
    all.
    """

    effect: ClassVar[Effect] = "changes"

    name: str
    after_days: int
    since: Anchor
    then: Disposal
    erase_after_days: int | None
    where: Content[str | None]


@final
class RetentionRemoved(TenantEvent, frozen=True, tag_field="type", tag="RetentionRemoved"):
    """The policy of this name is over. What it has deleted or erased stays so."""

    effect: ClassVar[Effect] = "changes"

    name: str


@final
class StandingHoldPlaced(TenantEvent, frozen=True, tag_field="type", tag="StandingHoldPlaced"):
    """A legal hold of this name is on all threads that match ``where``, a condition of lists in JSON, now and later."""

    effect: ClassVar[Effect] = "changes"

    hold: str
    where: Content[str]


@final
class StandingHoldReleased(TenantEvent, frozen=True, tag_field="type", tag="StandingHoldReleased"):
    """The standing legal hold of this name is over."""

    effect: ClassVar[Effect] = "changes"

    hold: str


StoredEvent = (
    ThreadCreated
    | MetadataUpdated
    | ToolResourcesUpdated
    | ExpiryUpdated
    | ItemAdded
    | ItemReplaced
    | ItemMetadataUpdated
    | ItemDeleted
    | ItemsCleared
    | ThreadDeleted
    | ThreadRestored
    | HoldPlaced
    | HoldReleased
    | ErasureRequested
    | ErasureCompleted
    | RetentionSet
    | RetentionRemoved
    | StandingHoldPlaced
    | StandingHoldReleased
)
"""What a commit is stored with, in the order of :data:`EventType`."""


@final
class ErasedThreadEvent(ThreadEvent, frozen=True, kw_only=True, tag_field="type", tag="ErasedThreadEvent"):
    """What is left of an event about a thread after its content was erased: ``of`` is what type of event it was."""

    of: EventType
    seal: str
    forked_from: ForkedFrom | UnsetType = UNSET

    @property
    def parent(self) -> ForkedFrom | None:
        """The commit of another thread that the thread was forked at; ``None`` if it is no fork."""
        return None if isinstance(self.forked_from, UnsetType) else self.forked_from

    @property
    def effect(self) -> Effect:
        """What the event does to the thread."""
        return _EFFECTS[self.of]


@final
class ErasedItemEvent(ItemEvent, frozen=True, kw_only=True, tag_field="type", tag="ErasedItemEvent"):
    """What is left of an event about an item after its content was erased; ``ordinal`` as in the event that it was."""

    of: EventType
    item: str
    ordinal: int | None = None
    seal: str

    @property
    def effect(self) -> Effect:
        """What the event does to the item."""
        return _EFFECTS[self.of]

    @property
    def replaces(self) -> bool:
        """Whether the event gave the item another content."""
        return self.of == ItemReplaced.__name__


Event = StoredEvent | ErasedThreadEvent | ErasedItemEvent
"""What a commit is read with: where a content was erased, what its record still says."""
AboutItem = ItemAdded | ItemReplaced | ItemMetadataUpdated | ItemDeleted | ErasedItemEvent
"""The events about one item, as they are read."""

_EFFECTS: Final[dict[str, Effect]] = {event.__name__: event.effect for event in get_args(StoredEvent)}


def ordinal_of(event: AboutItem) -> int:
    """Return the ordinal of the item that an event is about."""
    return event.ordinal if isinstance(event.ordinal, int) else ids.ordinal_of(event.item)


def type_of(event: Event) -> EventType:
    """Return the type that an event was stored with, erased or not."""
    of: EventType | None = getattr(event, "of", None)
    return of or cast("EventType", event.__struct_config__.tag)


def is_erased(event: Event) -> bool:
    """Whether only the record of an event is left."""
    return type_of(event) != event.__struct_config__.tag
