"""The answer to a question for a list of threads: what OpenAI's lists have, in their order, and more beside it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from clew_events.content import Role
from clew_events.objects import Thread


class Piece(Struct, frozen=True, omit_defaults=True):
    """A stretch of text; ``match`` says that it is what was searched for."""

    text: str
    match: bool = False


class Excerpt(Struct, frozen=True, kw_only=True):
    """Where a search found something: the message, and a short piece of its text around the words."""

    message_id: str
    role: Role
    pieces: tuple[Piece, ...]


class ListedThread(Thread, frozen=True, kw_only=True):
    """A thread in a list: the thread, and beside it what lists are chosen and ordered by.

    ``updated_at`` is in Unix seconds, ``version`` the number of the latest commit, ``excerpt`` is there after a search.
    """

    updated_at: int
    version: int
    message_count: int
    created_by: str
    updated_by: str
    excerpt: Excerpt | UnsetType = UNSET


class Count(Struct, frozen=True):
    """How many threads there are; if not ``exact``, there are at least as many."""

    threads: int
    exact: bool


class FacetValue(Struct, frozen=True):
    """A value of a metadata key, and how many threads have it."""

    value: str
    threads: int


class Facet(Struct, frozen=True, kw_only=True):
    """The most frequent values of a metadata key; ``more`` says that there are others.

    If not ``exact``, they were counted among 10,000 of the threads found, and the numbers are those.
    """

    key: str
    values: tuple[FacetValue, ...]
    more: bool
    exact: bool


class Freshness(Struct, frozen=True, kw_only=True):
    """How far the index is: the sequence applied by shard, as ``at_least`` takes it; the newest commit's time."""

    position: str
    at: datetime | None


class ThreadList(Struct, frozen=True, kw_only=True):
    """A page of threads; ``first_id`` and ``last_id`` are null when it is empty.

    ``next`` is the cursor to go on from (as ``after``) while there is more. ``count`` and ``facets`` are there if they
    were asked for.
    """

    object: Literal["list"] = "list"
    data: tuple[ListedThread, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool
    next: str | None
    fresh: Freshness
    count: Count | None = None
    facets: tuple[Facet, ...] | None = None
