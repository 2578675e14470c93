"""The feed: all commits of a tenant over all shards in one order, forwards, backwards, and on to the live end.

The order is by ``stored_at``, then shard, then sequence. A cursor is the reader's position in every shard, so it can be
resumed at any time and costs the server nothing.
"""

from __future__ import annotations

from clew_projections.feed.cursor import Cursor
from clew_projections.feed.entry import FeedCommit
from clew_projections.feed.merge import Feed, FeedPage

__all__ = ["Cursor", "Feed", "FeedCommit", "FeedPage"]
