"""The filter over the commits of a history. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct

from clew_events.commit import Commit
from clew_events.events import type_of

ANY_END: Final = "*"
"""At the end of a name: matches every name with this prefix."""


class Choice(Struct, frozen=True, kw_only=True):
    """A filter: a commit has an event of one of ``types``, is by ``actor`` and ``by``, between two times.

    A field that is left out matches every commit.
    """

    types: frozenset[str] = frozenset()
    actor: str | None = None
    by: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def matches(self, commit: Commit) -> bool:
        """Whether a commit matches."""
        return (
            (not self.types or any(type_of(event) in self.types for event in commit.events))
            and (self.actor is None or _matches_name(commit.actor, self.actor))
            and (self.by is None or _matches_name(commit.by, self.by))
            and not self.is_before(commit)
            and not self.is_after(commit)
        )

    def is_before(self, commit: Commit) -> bool:
        """Whether a commit, and with it every earlier one of its thread, is too early."""
        return self.since is not None and commit.at < self.since

    def is_after(self, commit: Commit) -> bool:
        """Whether a commit, and with it every later one of its thread, is too late."""
        return self.until is not None and commit.at > self.until


def _matches_name(name: str, wanted: str) -> bool:
    if wanted.endswith(ANY_END):
        return name.startswith(wanted[: -len(ANY_END)])
    return name == wanted
