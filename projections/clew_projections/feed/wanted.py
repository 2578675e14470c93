"""Which commits of a feed are wanted. Pure."""

from __future__ import annotations

from clew_events.errors import Invalid
from clew_events.queries import GetFeed
from clew_events.subjects import EVENTS
from clew_projections.feed.fed import Fed, micros_of
from clew_projections.replaying.choosing import Choice
from clew_projections.replaying.times import first_instant, last_instant


class Wanted:
    """What of a tenant's commits a reader asked for; ``since`` and ``until`` are microseconds since 1970.

    One that cannot be read is always wanted: nobody can say that it is not meant.

    Raises:
        Invalid: a time that cannot be one, or an end before the beginning.
    """

    __slots__ = ("_choice", "_descending", "since", "thread", "until")

    def __init__(self, query: GetFeed) -> None:
        self.thread = query.thread_id
        self.since = micros_of(first_instant(query.since, "since")) if query.since is not None else None
        self.until = micros_of(last_instant(query.until, "until")) if query.until is not None else None
        if self.since is not None and self.until is not None and self.until < self.since:
            raise Invalid("Invalid 'until': it is before 'since'.", param="until")
        self._choice = Choice(types=frozenset(query.types), actor=query.actor)
        self._descending = query.order == "desc"

    def subject(self, shard: int, tenant: str) -> str:
        """The subjects of a shard to look at."""
        return f"{EVENTS}.{shard:02d}.{tenant}.{self.thread or '*'}"

    def over(self, fed: Fed) -> bool:
        """Whether what follows this, in the order asked for, is beyond the time asked for, as this is."""
        if self._descending:
            return self.since is not None and fed.stored_at < self.since
        return self.until is not None and fed.stored_at > self.until

    def holds(self, fed: Fed) -> bool:
        """Whether a commit is wanted."""
        if self.since is not None and fed.stored_at < self.since:
            return False
        if self.until is not None and fed.stored_at > self.until:
            return False
        return fed.commit is None or self._choice.takes(fed.commit)

    def listens(self, fed: Fed) -> bool:
        """Whether a commit that was heard of, whatever its thread, is wanted."""
        if self.thread is not None and fed.thread != self.thread:
            return False
        return self.holds(fed)
