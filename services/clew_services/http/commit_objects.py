"""Commits as HTTP returns them: flat objects, and lists of them."""

from __future__ import annotations

from msgspec import structs

from clew_events.errors import Fault
from clew_events.http_objects import CommitObject, CommitPage, FeedCommit, FeedPage, UnreadableFeedCommit
from clew_events.replies import Entry, Feed, FeedEntry, History


def commit_object(entry: Entry) -> CommitObject:
    """One commit of a history."""
    commit = entry.commit
    return CommitObject(
        id=entry.id,
        thread_id=commit.thread,
        n=commit.n,
        created_at=int(commit.at.timestamp()),
        at=commit.at,
        actor=commit.actor,
        by=commit.by,
        reason=commit.reason,
        reason_erased=commit.reason_erased,
        command=commit.command,
        command_id=commit.id,
        trace_id=entry.trace_id,
        position=entry.position,
        hash=entry.hash,
        prev=commit.prev,
        events=commit.events,
        stored=entry.stored,
    )


def commit_page(history: History, *, backward: bool) -> CommitPage:
    """A page of a history, which was asked for by its end if ``backward``."""
    data = tuple(map(commit_object, history.commits))
    return CommitPage(
        data=data,
        missing=history.missing,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=(history.previous if backward else history.cursor) is not None,
        next=history.cursor,
        previous=history.previous,
    )


def feed_commit_object(entry: FeedEntry) -> FeedCommit | UnreadableFeedCommit:
    """One commit of the feed."""
    if entry.commit is None:
        fault = entry.fault or Fault(type="corrupt", code="corrupt", message="it cannot be read")
        return UnreadableFeedCommit(
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
    return FeedCommit(stored_at=entry.stored_at, **structs.asdict(shown))


def feed_page(feed: Feed) -> FeedPage:
    """A page of the feed."""
    return FeedPage(
        data=tuple(map(feed_commit_object, feed.data)),  # type: ignore[arg-type]  # see FeedPage
        first_id=feed.first_id,
        last_id=feed.last_id,
        has_more=feed.has_more,
        next=feed.next,
    )
