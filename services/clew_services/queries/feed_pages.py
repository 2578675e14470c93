"""Pages of the feed: entries with their cursors."""

from __future__ import annotations

from collections.abc import Sequence

from clew_events.errors import Corrupt, to_fault
from clew_events.queries import GetFeed
from clew_events.replies import Feed, FeedEntry
from clew_projections import feed
from clew_projections.feed import FeedCommit
from clew_projections.feed.cursor import encode_cursor


async def page(feeds: feed.Feed, tenant: str, query: GetFeed) -> Feed:
    """A page of a tenant's feed.

    Raises:
        Invalid: the cursor is of another feed, or the filter is invalid.
        Unavailable: the log does not answer.
    """
    feed_page = await feeds.page(tenant, query)
    data = [entry(commit, encode_cursor(cursor, tenant)) for commit, cursor in feed_page.items]
    return _page(data, encode_cursor(feed_page.next, tenant), more=feed_page.more)


def entry(commit: FeedCommit, cursor: str) -> FeedEntry:
    """A commit as an entry of the feed; ``cursor`` is the position after it."""
    return FeedEntry(
        id=cursor,
        stored_at=commit.time,
        position=commit.position,
        hash=commit.hash,
        trace_id=commit.trace_id,
        commit=commit.commit,
        fault=to_fault(commit.fault) if isinstance(commit.fault, Corrupt) else None,
        body=commit.body if commit.fault is not None else None,
    )


def _page(data: Sequence[FeedEntry], following: str, *, more: bool) -> Feed:
    return Feed(
        data=tuple(data),
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=more,
        next=following,
    )
