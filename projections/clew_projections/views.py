"""Views: a thread and its items at a commit. The stored one is documented JSON that any NATS client may read.

A view is the fold of a thread's commits up to number ``n``. It carries the sequence and the hash of its last commit, so
a reader can request exactly the later commits from the log and check that they continue the same chain.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import replace

from clew_events import ids, items
from clew_events.codec import UNREADABLE
from clew_events.content import Message, Metadata
from clew_events.errors import Corrupt
from clew_events.events import ForkedFrom
from clew_events.subjects import Address
from clew_projections.fold import ThreadState
from clew_projections.places import Places, first_of_page

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class SpentId(Struct, frozen=True, array_like=True, gc=False):
    """The id of a command that was carried out, and the sequence of its commit."""

    id: str
    seq: int


class ThreadView(ThreadState, frozen=True, kw_only=True, gc=False):
    """A thread at a commit. It does not grow with the thread.

    ``created_at`` and ``updated_at`` are the times of the first and latest commit, and ``last_active_at`` is that of
    the latest by which somebody made use of the thread: not one that deletes it, is about a hold, or erases. Of a
    thread that was imported ``created_at`` is earlier, its original's, and ``imported_at`` is that of the first commit.
    ``commands`` are the ids behind the last 100 commits, oldest first: the last entry is for commit ``n``, the one
    before for ``n - 1``. A deleted thread keeps its view, with ``status`` ``deleted``, and since when it is
    (``deleted_at``).
    """

    id: str
    tenant: str
    n: int = 0
    seq: int = 0
    hash: str | None = None
    created_at: datetime | None = None
    imported_at: datetime | UnsetType = UNSET
    updated_at: datetime | None = None
    last_active_at: datetime | None = None
    deleted_at: datetime | None = None
    commands: tuple[SpentId, ...] = ()

    @property
    def recorded_at(self) -> datetime | None:
        """The time of the first commit."""
        return self.created_at if isinstance(self.imported_at, UnsetType) else self.imported_at

    @property
    def expires_at(self) -> datetime | None:
        """When the thread is due to be removed by its ``expires_after``; ``None`` if never, or if it is not open.

        A legal hold changes nothing about this time: it forbids the removal.
        """
        if self.expires_after is None or self.status != "open":
            return None
        anchor = self.recorded_at if self.expires_after.anchor == "created_at" else self.last_active_at
        try:
            return (anchor or self.updated_at or _NEVER) + timedelta(days=self.expires_after.days)
        except OverflowError:
            return _NEVER

    def find_spent(self, command_id: str) -> tuple[int, SpentId] | None:
        """Return the number of the commit made under a command id and its entry; ``None`` if the view has none."""
        newest_first = [spent.id for spent in reversed(self.commands)]
        if command_id not in newest_first:
            return None
        back = newest_first.index(command_id)
        return self.n - back, self.commands[-1 - back]


class StoredView(ThreadView, frozen=True, kw_only=True, gc=False):
    """The value under ``<tenant>.<thread>`` in the bucket of threads: the view, and where the thread's items are.

    Items stand in pages of 256 ordinals. ``recent`` has those of the page that is not full yet. Full pages are stored
    under ``<tenant>.<thread>.<number>``, counted from 0; ``pages`` has for each the sequence of the last commit that
    changed it. A stored page may be newer, and never older. ``own`` are the numbers of the full pages with items whose
    id does not carry their ordinal.

    Of a fork, pages begin with the first ordinal of its own. ``overlay`` has the commits by which it changed or deleted
    what it inherits.
    """

    recent: Places = Places()
    pages: tuple[int, ...] = ()
    own: tuple[int, ...] | UnsetType = UNSET
    overlay: Places | UnsetType = UNSET

    def without_places(self) -> ThreadView:
        """Return the view alone."""
        return ThreadView(**{field: getattr(self, field) for field in _FIELDS})


_FIELDS: Final = ThreadView.__struct_fields__


class ItemView(Struct, frozen=True, kw_only=True, dict=True):
    """An item, folded from the commits about it. It is stored nowhere.

    Its content is a ``message`` of the Threads API, or its JSON as it was given, ``body``; of a deleted item neither.
    ``n`` is the number of the thread's commit that last changed it. ``erasure`` is the id of the erasure that took its
    contents. ``erased`` tells that contents are missing in the commits that were folded: what they said is not known.
    """

    id: str
    thread: str
    ordinal: int
    n: int
    created_at: datetime
    message: Message | None = None
    body: Raw | None = None
    deleted: bool = False
    erasure: str | None = None
    erased: bool = False

    @property
    def gone(self) -> bool:
        """Whether it is in no answer about the present. Who erases an item deletes it, maybe later than read here."""
        return self.deleted or self.erased

    @property
    def metadata(self) -> Metadata:
        """Its metadata; empty where it has none."""
        if self.message is not None:
            return self.message.metadata
        return items.metadata_of(self.body) if self.body is not None else {}

    @property
    def shown(self) -> Message | None:
        """The message that the Threads API shows; ``None`` if it cannot show the item."""
        if self.body is None or not ids.is_message_id(self.id):
            return self.message
        return items.message_in(self.body)


def change_metadata(view: ItemView, metadata: Metadata) -> ItemView:
    """Return an item with other metadata."""
    if view.message is not None:
        return replace(view, message=replace(view.message, metadata=metadata))
    return replace(view, body=items.with_field(view.body, "metadata", metadata)) if view.body is not None else view


class Parent(Struct, frozen=True):
    """The commit that a fork was made at: its thread, its number, the hash of its record, and where it stood then."""

    address: Address
    n: int
    hash: str
    seq: int


def parent_of(view: ThreadView) -> Parent | None:
    """Return the commit that a thread was forked at; ``None`` if it is no fork."""
    forked = view.forked_from
    return None if isinstance(forked, UnsetType) else parent_in(view.tenant, forked)


def parent_in(tenant: str, forked: ForkedFrom) -> Parent:
    """Return the commit that a thread of a tenant was forked at."""
    return Parent(Address(tenant, forked.thread), forked.n, forked.hash, forked.seq)


def absent(tenant: str, thread: str) -> ThreadView:
    """Return the view of a thread before its first commit."""
    return ThreadView(id=thread, tenant=tenant)


def absent_stored(tenant: str, thread: str) -> StoredView:
    """Return what would be stored of a thread before its first commit."""
    return StoredView(id=thread, tenant=tenant)


def weight_of(view: StoredView) -> int:
    """Return the weight of a view in a cache: how many command ids and places it lists, and some 50 for the rest.

    A unit is about 100 bytes of memory.
    """
    recent = view.recent
    weight = 50 + len(view.commands) + len(recent.added) + len(view.pages) + len(recent.own)
    if recent.changed:
        weight += sum(map(len, recent.changed.values()))
    if view.overlay:
        weight += len(view.overlay.deleted) + sum(map(len, view.overlay.changed.values()))
    return weight + len(view.own) if view.own else weight


_ENCODER: Final = msgspec.json.Encoder()
_THREAD: Final = msgspec.json.Decoder(ThreadView)
_STORED: Final = msgspec.json.Decoder(StoredView)


def encode(value: ThreadState | Places) -> bytes:
    """Return the bytes that the bucket of threads stores."""
    return _ENCODER.encode(value)


def decode_thread(body: bytes) -> ThreadView:
    """Decode a thread's view from its bytes in the bucket, without its places.

    Raises:
        Corrupt: the bytes are not a view of a thread. A rebuild makes the bucket again from the log.
    """
    try:
        return _THREAD.decode(body)
    except UNREADABLE as fault:
        raise _unreadable(fault) from fault


def decode_stored(body: bytes) -> StoredView:
    """Decode a thread's view with its places. Raises as :func:`decode_thread`."""
    try:
        view = _STORED.decode(body)
    except UNREADABLE as fault:
        raise _unreadable(fault) from fault
    recent = view.recent
    if (
        recent.first != first_of_page(len(view.pages), view.inherited)
        or recent.first + len(recent.added) - 1 != view.last_ordinal
    ):
        raise Corrupt("not a view of a thread: its places are not those of its items", code="unreadable_view")
    return view


def _unreadable(fault: Exception) -> Corrupt:
    return Corrupt(f"not a view of a thread: {fault}", code="unreadable_view")
