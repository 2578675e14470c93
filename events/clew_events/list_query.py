"""The query for a list of threads: filter, order, page, count and facets.

All fields of a :class:`Condition` must hold, so ``{}`` matches every thread. Conditions nest in ``and``, ``or`` and
``not``. A test is an object, too, and all its fields must hold for the same value::

    {"and": [{"metadata": {"key": "plan", "eq": "gold"}}, {"not": {"messages": {"gt": 3}}}]}
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Final, Literal

from msgspec import Meta, field

from clew_events.commit import Position
from clew_events.ids import Code, ThreadId, is_conversation_id
from clew_events.requests import Key, Request, Value

MAX_DEPTH: Final = 8
"""How deep conditions may nest."""
MAX_CONDITIONS: Final = 64
"""How many conditions a query may have."""
MAX_CHOICES: Final = 100
MAX_FACETS: Final = 8
MAX_SEARCH: Final = 4096
MAX_WORDS: Final = 64
"""How many different words a search may have."""
POSITIONS_PATTERN: Final = r"^[0-9]{1,2}-[0-9]{1,15}(,[0-9]{1,2}-[0-9]{1,15}){0,63}$(?!\n)"

OrderBy = Literal["created", "updated", "match"]
Direction = Literal["asc", "desc"]
Kind = Literal["thread", "conversation"]
PREFIXES: Final[Mapping[Kind, str]] = MappingProxyType({"thread": "thread", "conversation": "conv_"})
"""What the ids of each kind begin with."""
Seconds = Annotated[int, Meta(ge=0, le=253_402_300_799)]
Moment = datetime | Seconds
Whole = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Name = Annotated[str, Meta(max_length=128)]
Positions = Annotated[str, Meta(pattern=POSITIONS_PATTERN, description="'<shard>-<sequence>', or several with commas")]
Several = Annotated[tuple[Value, ...], Meta(min_length=1, max_length=MAX_CHOICES)]


class MetadataTest(Request, frozen=True, kw_only=True):
    """A test of the metadata value under ``key``, or without ``key`` of any metadata value.

    Of ``eq``, ``in``, ``prefix``, ``gt``, ``gte``, ``lt`` and ``lte``, all that are given must hold for one existing
    value. ``ne`` and ``exists: false`` require that no such value exists, so they also hold if the key is missing. A
    string as a bound compares as text, by code points. A number as a bound compares as a number, and only with values
    that are JSON numbers.
    """

    key: Key | None = None
    eq: Value | None = None
    ne: Value | None = None
    one_of: Several | None = field(default=None, name="in")
    prefix: Value | None = None
    exists: bool | None = None
    gt: float | Value | None = None
    gte: float | Value | None = None
    lt: float | Value | None = None
    lte: float | Value | None = None


class TimeTest(Request, frozen=True, kw_only=True):
    """Bounds of a time: in ISO 8601 with its offset, exact to the microsecond, or in Unix seconds."""

    gt: Moment | None = None
    gte: Moment | None = None
    lt: Moment | None = None
    lte: Moment | None = None


class NumberTest(Request, frozen=True, kw_only=True):
    """Bounds of a count."""

    eq: Whole | None = None
    gt: Whole | None = None
    gte: Whole | None = None
    lt: Whole | None = None
    lte: Whole | None = None


class ActorTest(Request, frozen=True, kw_only=True):
    """A test of an actor: equal to one name, or to one of several."""

    eq: Name | None = None
    one_of: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=MAX_CHOICES)] | None = field(
        default=None, name="in"
    )


class IdTest(Request, frozen=True, kw_only=True):
    """A test of a thread's id: it begins with ``prefix``."""

    prefix: Annotated[str, Meta(min_length=1, max_length=128)]


class HoldTest(Request, frozen=True, kw_only=True):
    """A test of a thread's legal holds: it has the one named ``eq``; ``exists``: it has any, or with false none."""

    eq: Code | None = None
    exists: bool | None = None


class ForkTest(Request, frozen=True, kw_only=True):
    """A test of what a thread was forked from: the thread ``eq``; ``exists``: any, or with false none."""

    eq: ThreadId | None = None
    exists: bool | None = None


Test = MetadataTest | TimeTest | NumberTest | ActorTest | IdTest | HoldTest | ForkTest


class Condition(Request, frozen=True, kw_only=True):
    """A filter of threads; all fields that are given must hold. At most 64 conditions, nested at most 8 deep.

    ``recorded`` and ``updated`` are the times of the first and the latest commit, ``created_by`` and ``updated_by`` are
    their actors. ``created`` is ``recorded`` or, of a thread that was imported, when its original was created.
    ``messages`` is the number of items of all types, and ``hold`` a legal hold. ``expires_at`` is when the thread
    expires: no bound holds for one that does not. ``forked_from`` is the thread that a fork was forked from.
    """

    every: tuple[Condition, ...] | None = field(default=None, name="and")
    some: Annotated[tuple[Condition, ...], Meta(min_length=1)] | None = field(default=None, name="or")
    no: Condition | None = field(default=None, name="not")
    metadata: MetadataTest | None = None
    created: TimeTest | None = None
    recorded: TimeTest | None = None
    updated: TimeTest | None = None
    messages: NumberTest | None = None
    created_by: ActorTest | None = None
    updated_by: ActorTest | None = None
    id: IdTest | None = None
    hold: HoldTest | None = None
    expires_at: TimeTest | None = None
    forked_from: ForkTest | None = None

    @property
    def tests(self) -> dict[str, Test]:
        """The tests that are given, by the names of their fields."""
        given = ((name, getattr(self, name)) for name in self.__struct_fields__ if name not in _CONDITIONS)
        return {name: test for name, test in given if test is not None}

    @classmethod
    def equal(cls, key: str, value: str) -> Condition:
        """The condition that a metadata key has this value."""
        return cls(metadata=MetadataTest(key=key, eq=value))


_CONDITIONS: Final = frozenset({"every", "some", "no"})
"""The fields of a condition that hold conditions. Any other is a test: of metadata, or of a column of the index."""


class ListThreads(Request, frozen=True, kw_only=True):
    """A page of the tenant's threads, from the index, without deleted threads.

    ``where`` filters threads, and ``kind`` chooses conversations, whose ids begin with ``conv_``, or all others.
    ``search`` selects threads with a message, or another item, that contains all of its words, and orders by ``match``:
    the newest such message of each thread. Without a search, the order is by ``created`` (the default) or ``updated``.
    ``after`` and ``before`` are cursors from answers to the same query, between which the page lies; with ``before``
    alone it is the page right before that cursor. When ordered by ``created``, a thread's id also works. ``count`` adds
    the number of all matching threads, ``facets`` the most frequent values of metadata keys, and ``actors`` the most
    frequent actors of first and latest commits. ``first_text`` adds to each thread how it begins. ``at_least`` waits
    until the index has reached a position ``<shard>-<sequence>``, or several with commas.
    """

    kind: Kind | None = None
    where: Condition | None = None
    search: Annotated[str, Meta(max_length=MAX_SEARCH)] | None = None
    order_by: OrderBy | None = None
    order: Direction = "desc"
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: Annotated[str, Meta(max_length=512)] | None = None
    before: Annotated[str, Meta(max_length=512)] | None = None
    count: bool = False
    facets: Annotated[tuple[Key, ...], Meta(max_length=MAX_FACETS)] = ()
    actors: bool = False
    first_text: bool = False
    at_least: Positions | None = None

    @property
    def ordered_by(self) -> OrderBy:
        """The order that is given, or the default order."""
        return self.order_by or ("created" if self.search is None else "match")


class ListHolds(Request, frozen=True, kw_only=True):
    """A page of the threads of the tenant that have legal holds, deleted ones too, from the index and by their ids.

    The first page also has the standing holds. ``hold`` chooses the holds of that name. ``thread_id`` asks for those of
    one thread, and the standing ones that cover it, as of its latest commit and not from the index. ``after`` is the id
    after which the page begins. ``at_least`` is as in :class:`ListThreads`.
    """

    hold: Code | None = None
    thread_id: ThreadId | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: ThreadId | None = None
    at_least: Positions | None = None


class ListRetention(Request, frozen=True, kw_only=True):
    """All policies of retention of the tenant."""


class ListDue(Request, frozen=True, kw_only=True):
    """A page of the threads that are due to be deleted or erased, by policies of retention or by ``expires_after``.

    ``until`` asks for those that are due by another time than now. ``after`` is the ``next`` of the page before. A page
    may have fewer than ``limit`` threads, or none, while it ``has_more``.
    """

    until: Moment | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: Annotated[str, Meta(max_length=200)] | None = None


def kind_of(thread: str) -> Kind:
    """Which kind of thread has this id."""
    return "conversation" if is_conversation_id(thread) else "thread"


def positions_text(*positions: Position) -> str:
    """Positions as ``at_least`` and ``Clew-Position`` write them: ``<shard>-<sequence>``, several with commas."""
    return ",".join(f"{position.shard}-{position.seq}" for position in positions)


def positions_of(text: str) -> dict[int, int]:
    """The sequence of each shard in a text of :func:`positions_text`; the highest if a shard occurs twice."""
    reached: dict[int, int] = {}
    for pair in text.split(","):
        shard, _, seq = pair.partition("-")
        reached[int(shard)] = max(int(seq), reached.get(int(shard), 0))
    return reached
