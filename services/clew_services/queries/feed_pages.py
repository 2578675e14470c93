"""The feed as callers see it: entries with their cursors, and pages of them."""

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
        Invalid: a cursor of another feed, or a filter that means nothing.
        Unavailable: the log does not answer.
    """
    found = await feeds.page(tenant, query)
    data = [entry(each, encode_cursor(cursor, tenant)) for each, cursor in found.items]
    return _page(data, encode_cursor(found.next, tenant), more=found.more)


def entry(found: FeedCommit, cursor: str) -> FeedEntry:
    """A commit as the feed gives it, under the cursor after it."""
    return FeedEntry(
        id=cursor,
        stored_at=found.time,
        position=found.position,
        hash=found.hash,
        trace_id=found.trace_id,
        commit=found.commit,
        fault=to_fault(found.fault) if isinstance(found.fault, Corrupt) else None,
        body=found.body if found.fault is not None else None,
    )


def _page(data: Sequence[FeedEntry], following: str, *, more: bool) -> Feed:
    return Feed(
        data=tuple(data),
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=more,
        next=following,
    )
