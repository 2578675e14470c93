"""The question behind a list of threads: which threads, in which order, from where on, and what else about them.

Everything said in one :class:`Condition` must hold, so ``{}`` holds for every thread, and a condition nests in
``and``, ``or`` and ``not``. A test is an object too, and everything said in it must hold of the same thing::

    {"and": [{"metadata": {"key": "plan", "eq": "gold"}}, {"not": {"messages": {"gt": 3}}}]}
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta, field

from clew_events.commit import Position
from clew_events.requests import Key, Request, Value

MAX_DEPTH: Final = 8
"""How deep conditions nest in one another."""
MAX_CONDITIONS: Final = 64
"""How many conditions a question consists of."""
MAX_CHOICES: Final = 100
MAX_FACETS: Final = 8
MAX_SEARCH: Final = 4096
MAX_WORDS: Final = 64
"""How many different words a search looks for."""
POSITIONS_PATTERN: Final = r"^[0-9]{1,2}-[0-9]{1,15}(,[0-9]{1,2}-[0-9]{1,15}){0,63}$(?!\n)"

OrderBy = Literal["created", "updated", "match"]
Direction = Literal["asc", "desc"]
Seconds = Annotated[int, Meta(ge=0, le=253_402_300_799)]
Moment = datetime | Seconds
Whole = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Name = Annotated[str, Meta(max_length=128)]
Positions = Annotated[str, Meta(pattern=POSITIONS_PATTERN)]
Several = Annotated[tuple[Value, ...], Meta(min_length=1, max_length=MAX_CHOICES)]


class MetadataTest(Request, frozen=True, kw_only=True):
    """A test of a metadata value: of the one under ``key``, or without ``key`` of any.

    ``eq``, ``in``, ``prefix``, ``gt``, ``gte``, ``lt`` and ``lte`` (all that are given) must hold of one value that is
    there. ``ne`` and ``exists: false`` say that there is no such value, so they also hold where the key is missing. A
    bound that is a string compares as text, by code points; a bound that is a number compares only values that are
    numbers as JSON writes them, as numbers.
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
    """Bounds of a time: a time with its offset in ISO 8601, or Unix seconds. Times are exact to the microsecond."""

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
    """Who it was: exactly this one, or one of these."""

    eq: Name | None = None
    one_of: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=MAX_CHOICES)] | None = field(
        default=None, name="in"
    )


class Condition(Request, frozen=True, kw_only=True):
    """What holds for a thread; everything that is said must. At most 64 conditions, nested at most 8 deep.

    ``created`` and ``updated`` are the times of the first and the latest commit, ``created_by`` and ``updated_by``
    their actors, ``messages`` is how many messages there are.
    """

    every: tuple[Condition, ...] | None = field(default=None, name="and")
    some: Annotated[tuple[Condition, ...], Meta(min_length=1)] | None = field(default=None, name="or")
    no: Condition | None = field(default=None, name="not")
    metadata: MetadataTest | None = None
    created: TimeTest | None = None
    updated: TimeTest | None = None
    messages: NumberTest | None = None
    created_by: ActorTest | None = None
    updated_by: ActorTest | None = None

    @classmethod
    def equal(cls, key: str, value: str) -> Condition:
        """That a metadata key has a value."""
        return cls(metadata=MetadataTest(key=key, eq=value))


class ListThreads(Request, frozen=True, kw_only=True):
    """The tenant's threads, a page at a time, from the index; deleted threads are in no list.

    ``where`` chooses by what threads are. ``search`` chooses those with a message that has all of its words, whatever
    signs are between them; it is ordered by ``match``: the newest such message of each thread. Without a search the
    order is that of ``created`` (the default) or ``updated``. ``after`` and ``before`` are cursors of answers to the
    same question (by ``created`` a thread's id will do) between which the page must lie, as seen in the order asked
    for. ``count`` adds how many threads there are in all, ``facets`` how they are spread over the values of metadata
    keys. ``at_least`` waits until the index has come to a position ``<shard>-<sequence>``, or several with commas.
    """

    where: Condition | None = None
    search: Annotated[str, Meta(max_length=MAX_SEARCH)] | None = None
    order_by: OrderBy | None = None
    order: Direction = "desc"
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: Annotated[str, Meta(max_length=512)] | None = None
    before: Annotated[str, Meta(max_length=512)] | None = None
    count: bool = False
    facets: Annotated[tuple[Key, ...], Meta(max_length=MAX_FACETS)] = ()
    at_least: Positions | None = None

    @property
    def ordered_by(self) -> OrderBy:
        """The order that is asked for, or goes without saying."""
        return self.order_by or ("created" if self.search is None else "match")


def positions_text(*positions: Position) -> str:
    """Positions as ``at_least`` and ``Clew-Position`` write them: ``<shard>-<sequence>``, several with commas."""
    return ",".join(f"{position.shard}-{position.seq}" for position in positions)


def positions_of(text: str) -> dict[int, int]:
    """The sequence of each shard that is named in such a text; the highest where one is named twice."""
    reached: dict[int, int] = {}
    for pair in text.split(","):
        shard, _, seq = pair.partition("-")
        reached[int(shard)] = max(int(seq), reached.get(int(shard), 0))
    return reached
