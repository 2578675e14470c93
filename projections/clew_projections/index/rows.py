"""A thread as a row of the index, and the view of a row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, get_type_hints

import msgspec
from msgspec import UNSET, Struct, UnsetType

from clew_events.content import ExpiresAfter, Metadata, ToolResources
from clew_events.events import ForkedFrom
from clew_events.list_reply import ListedThread
from clew_projections.api_objects import thread_object
from clew_projections.fold import Status
from clew_projections.views import ThreadView


class _ShownParts(Struct, frozen=True):
    """The fields of a thread that only its listed JSON holds. Tool resources have the same form in both."""

    metadata: Metadata = {}
    tool_resources: ToolResources = ToolResources()
    expires_after: ExpiresAfter | None = None
    forked_from: ForkedFrom | UnsetType = UNSET


class Row(NamedTuple):
    """A row of ``thread``. Its table, and what reads and writes it, follow from these fields.

    A field that another commit does not change stands in :data:`CONSTANT`.
    """

    no: int
    tenant: int
    id: str
    deleted: int
    seq: int
    n: int
    hash: str
    created: int
    recorded: int
    updated: int
    active: int
    expires_at: int | None
    created_by: str
    updated_by: str
    messages: int
    last_ordinal: int
    hold: str
    forked_from: str
    inherited: int
    shown: bytes


CONSTANT: Final = frozenset({"no", "tenant", "id", "created", "recorded", "created_by", "forked_from", "inherited"})
"""The columns that the first commit of a thread sets for good."""
COLUMNS: Final = ", ".join(Row._fields)
OPTIONAL: Final = frozenset({"expires_at"})
"""The columns that are null where a thread has no such thing."""
_TYPES: Final = {int: "INTEGER NOT NULL", int | None: "INTEGER", str: "TEXT NOT NULL", bytes: "BLOB NOT NULL"}
DEFINITION: Final = ", ".join(
    f"{name} {'INTEGER PRIMARY KEY' if name == 'no' else _TYPES[kind]}" for name, kind in get_type_hints(Row).items()
)
"""The columns as ``CREATE TABLE`` takes them."""


_STATUSES: Final[tuple[Status, ...]] = ("open", "deleted", "erased", "absent")
"""The statuses of a thread by the number in the column ``deleted``."""
_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(_ShownParts).decode
_NOTHING: Final = b"{}"


def view_of(row: Row, tenant: str) -> ThreadView:
    """Return the view of a row: complete except for the command ids."""
    kept = _DECODE(row.shown)
    return ThreadView(
        id=row.id,
        tenant=tenant,
        status=_STATUSES[row.deleted],
        metadata=kept.metadata,
        tool_resources=kept.tool_resources,
        expires_after=kept.expires_after,
        forked_from=kept.forked_from,
        messages=row.messages,
        last_ordinal=row.last_ordinal,
        holds=tuple(row.hold.split()),
        n=row.n,
        seq=row.seq,
        hash=row.hash,
        created_at=moment(row.created),
        imported_at=moment(row.recorded) if row.recorded != row.created else UNSET,
        updated_at=moment(row.updated),
        last_active_at=moment(row.active),
    )


def row_of(no: int, tenant: int, view: ThreadView, created_by: str, updated_by: str) -> Row:
    """Return the row of a thread with at least one commit. The row of a deleted thread has no content."""
    if view.created_at is None or view.recorded_at is None or view.updated_at is None or view.hash is None:
        raise AssertionError("a row is written because of a commit")
    deleted = view.status != "open"
    # Most of a thread's times are one and the same.
    created = recorded = micros(view.created_at)
    if view.recorded_at is not view.created_at:
        recorded = micros(view.recorded_at)
    updated = active = created if view.updated_at is view.created_at else micros(view.updated_at)
    if view.last_active_at is not None and view.last_active_at is not view.updated_at:
        active = micros(view.last_active_at)
    return Row(
        no=no,
        tenant=tenant,
        id=view.id,
        deleted=_STATUSES.index(view.status),
        seq=view.seq,
        n=view.n,
        hash=view.hash,
        created=created,
        recorded=recorded,
        updated=updated,
        active=active,
        expires_at=micros(due) if (due := view.expires_at) is not None else None,
        created_by=created_by,
        updated_by=updated_by,
        messages=view.messages,
        last_ordinal=view.last_ordinal,
        hold=holds_text(*view.holds),
        forked_from="" if isinstance(view.forked_from, UnsetType) else view.forked_from.thread,
        inherited=view.inherited,
        shown=_NOTHING if deleted else _shown_parts(view, updated, created_by, updated_by),
    )


def holds_text(*holds: str) -> str:
    """Return the names of holds as a row has them, with a space before and after each."""
    return f" {' '.join(holds)} " if holds else ""


def _shown_parts(view: ThreadView, updated: int, created_by: str, updated_by: str) -> bytes:
    thread = thread_object(view)
    return _ENCODE(
        ListedThread(
            id=thread.id,
            created_at=thread.created_at,
            metadata=thread.metadata,
            tool_resources=thread.tool_resources,
            expires_after=thread.expires_after,
            expires_at=thread.expires_at,
            forked_from=thread.forked_from,
            updated_at=updated // SECOND,
            version=view.n,
            message_count=view.messages,
            created_by=created_by,
            updated_by=updated_by,
        )
    )


_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
SECOND: Final = 1_000_000


def micros(moment: datetime) -> int:
    """Convert a time with an offset to microseconds since 1970."""
    return (moment - _START) // _MICROSECOND


def moment(micros: int) -> datetime:
    """Convert microseconds since 1970 to a time in UTC."""
    return _START + timedelta(microseconds=micros)
