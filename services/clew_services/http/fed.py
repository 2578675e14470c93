"""Commits of the feed as HTTP shows them: as those of a history, with when the log took them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct, structs

from clew_events.commit import Position
from clew_events.errors import Fault
from clew_events.replies import Entry, Feed, FeedEntry
from clew_services.http.commits import CommitObject, commit_object


class FedCommit(CommitObject, frozen=True, kw_only=True):
    """One commit. ``id`` is the cursor after it in the feed, ``stored_at`` when the log took it, which is its order."""

    stored_at: datetime


class FedUnreadable(Struct, frozen=True, kw_only=True):
    """What stands in the log and cannot be read, in base64, and why it cannot."""

    id: str
    object: Literal["thread.commit.unreadable"] = "thread.commit.unreadable"
    position: Position
    hash: str
    stored_at: datetime
    fault: Fault
    body: bytes


class FeedPage(Struct, frozen=True, kw_only=True):
    """A page of the feed. ``next`` is what to give as ``after`` for the page after it, now or when there is more.

    Where little is asked for, a page may be empty and still have more after it. Should something stand in the log that
    cannot be read, there is a ``thread.commit.unreadable`` in its place, with its bytes.
    """

    object: Literal["list"] = "list"
    data: tuple[FedCommit, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool
    next: str


def fed_object(entry: FeedEntry) -> FedCommit | FedUnreadable:
    """One commit of the feed."""
    if entry.commit is None:
        fault = entry.fault or Fault(type="corrupt", code="corrupt", message="it cannot be read")
        return FedUnreadable(
            id=entry.id,
            position=entry.position,
            hash=entry.hash,
            stored_at=entry.stored_at,
            fault=fault,
            body=entry.body or b"",
        )
    shown = commit_object(
        Entry(id=entry.id, position=entry.position, hash=entry.hash, trace_id=entry.trace_id, commit=entry.commit)
    )
    return FedCommit(stored_at=entry.stored_at, **structs.asdict(shown))


def feed_page(feed: Feed) -> FeedPage:
    """A page of the feed."""
    return FeedPage(
        data=tuple(map(fed_object, feed.data)),  # type: ignore[arg-type]  # see FeedPage
        first_id=feed.first_id,
        last_id=feed.last_id,
        has_more=feed.has_more,
        next=feed.next,
    )
