"""The whole log of a tenant as one feed, over all shards: page by page forwards or backwards, and on to the live end.

Commits come in the order in which the log took them: by ``stored_at``, then shard, then sequence. A cursor says how far
in every shard a reader has come, so it can be resumed for ever and costs the server nothing.
"""

from __future__ import annotations

from clew_projections.feed.cursor import Cursor
from clew_projections.feed.entry import FeedCommit
from clew_projections.feed.merge import Feed, FeedPage

__all__ = ["Cursor", "Feed", "FeedCommit", "FeedPage"]
