"""The answer to a query for a list of threads: the fields of OpenAI's lists, in their order, and more after them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from clew_events.content import Anchor, Disposal
from clew_events.list_query import Condition
from clew_events.objects import HeldThread, Thread


class Piece(Struct, frozen=True, omit_defaults=True):
    """A piece of text. ``match`` is true if the search matched it."""

    text: str
    match: bool = False


class Excerpt(Struct, frozen=True, kw_only=True):
    """A match of a search: the message, and the part of its text around the words.

    Of another item, ``message_id`` is its id, and ``role`` its type where it has no role. ``forks`` are threads, up to
    20, that were forked from this one, or from its forks, when it had the message: unless they changed it, they show
    it, and a search does not find it there. It is left out where there are none.
    """

    message_id: str
    role: str
    pieces: tuple[Piece, ...]
    forks: tuple[str, ...] | UnsetType = UNSET


class FirstText(Struct, frozen=True, kw_only=True):
    """How a thread begins: the first of its own messages, or other items, that has text, and the first 200 characters.

    Of another item, ``message_id`` is its id, and ``role`` its type where it has no role. A fork begins with what was
    said in it.
    """

    message_id: str
    role: str
    text: str


class ListedThread(Thread, frozen=True, kw_only=True):
    """A thread in a list, with the values that lists are filtered and ordered by.

    ``updated_at`` is in Unix seconds, ``version`` is the number of the latest commit. ``message_count``
    counts items of all types. Only a search has ``excerpt``, and ``first_text`` is left out unless requested.
    """

    updated_at: int
    version: int
    message_count: int
    created_by: str
    updated_by: str
    excerpt: Excerpt | UnsetType = UNSET
    first_text: FirstText | UnsetType = UNSET


class Count(Struct, frozen=True):
    """The number of matching threads; if not ``exact``, there are at least as many."""

    threads: int
    exact: bool


class FacetValue(Struct, frozen=True):
    """A value of a metadata key, and the number of threads that have it."""

    value: str
    threads: int


class Facet(Struct, frozen=True, kw_only=True):
    """The most frequent values of a metadata key, or of ``created_by`` or ``updated_by``. ``more``: there are others.

    If not ``exact``, the numbers are those of 10,000 of the matching threads.
    """

    key: str
    values: tuple[FacetValue, ...]
    more: bool
    exact: bool


class Freshness(Struct, frozen=True, kw_only=True):
    """How current the index is: its ``position``, in the form of ``at_least``, and the newest commit's time."""

    position: str
    at: datetime | None


class ThreadList(Struct, frozen=True, kw_only=True):
    """A page of threads. ``first_id`` and ``last_id`` are null if it is empty.

    ``next`` is the cursor of the next page (its ``after``), null on the last page; ``previous`` is that of the previous
    page (its ``before``), null on the first page. ``count``, ``facets`` and ``actors`` are null unless requested.
    """

    object: Literal["list"] = "list"
    data: tuple[ListedThread, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool
    next: str | None
    previous: str | None
    fresh: Freshness
    count: Count | None = None
    facets: tuple[Facet, ...] | None = None
    actors: tuple[Facet, ...] | None = None


class FilterHold(Struct, frozen=True, kw_only=True):
    """A standing legal hold, on all threads that match ``where``, now and later. ``id`` is its name."""

    id: str
    object: Literal["hold"] = "hold"
    where: Condition


class HoldPage(Struct, frozen=True, kw_only=True):
    """A page of the threads that have legal holds, by id. While it ``has_more``, ``last_id`` is the next ``after``.

    ``standing`` are the standing holds, by their names, on the first page alone; of one thread those that cover it.
    """

    object: Literal["list"] = "list"
    data: tuple[HeldThread, ...]
    standing: tuple[FilterHold, ...] = ()
    first_id: str | None
    last_id: str | None
    has_more: bool
    fresh: Freshness


class Retention(Struct, frozen=True, kw_only=True):
    """A policy of retention: what becomes of the threads that match ``where``, or with null of all, and when."""

    name: str
    object: Literal["retention"] = "retention"
    after_days: int
    since: Anchor
    where: Condition | None
    then: Disposal
    erase_after_days: int | None


class RetentionEffect(Retention, frozen=True, kw_only=True):
    """A policy as it was set, and what it is about now, by the index; null where no index can be asked.

    ``threads`` is how many threads match, and ``due`` how many of them are old enough. ``held_by`` are legal holds on
    some that match, up to 100: threads that are held are left out until they are released.
    """

    threads: Count | None
    due: Count | None
    held_by: tuple[str, ...] | None


class DueThread(Struct, frozen=True, kw_only=True):
    """A thread that is due to be deleted or erased since ``due_at``, in Unix seconds.

    ``policy`` is the name of the policy by which it is, and null if it is by its own ``expires_after``. ``deleted`` if
    nobody is shown it any more. ``holds`` are the names of the legal holds that keep it.
    """

    id: str
    object: Literal["thread.due"] = "thread.due"
    action: Disposal
    due_at: int
    policy: str | None
    deleted: bool
    holds: tuple[str, ...]


class DuePage(Struct, frozen=True, kw_only=True):
    """A page of threads that are due, by rules. While it ``has_more``, ``next`` is the ``after`` of the next page."""

    object: Literal["list"] = "list"
    data: tuple[DueThread, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool
    next: str | None


class RetentionList(Struct, frozen=True, kw_only=True):
    """All policies of retention of a tenant, by their names."""

    object: Literal["list"] = "list"
    data: tuple[Retention, ...]
