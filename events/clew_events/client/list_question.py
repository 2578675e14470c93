"""A question for a list of threads as a program puts it: conditions as types or as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import msgspec

from clew_events.commit import Position
from clew_events.errors import Invalid
from clew_events.list_query import Condition, Direction, ListThreads, OrderBy, positions_text


class ListOptions(TypedDict, total=False):
    """What may be said of a list of threads; :class:`~clew_events.list_query.ListThreads` says what it means."""

    where: Condition | Mapping[str, object] | None
    search: str | None
    order_by: OrderBy | None
    order: Direction
    limit: int
    after: str | None
    before: str | None
    count: bool
    facets: tuple[str, ...]
    at_least: Position | str | None


def question(asked: ListOptions) -> ListThreads:
    """The query that says so.

    Raises:
        Invalid: the conditions are not such as there are.
    """
    where, at_least = asked.get("where"), asked.get("at_least")
    if where is not None and not isinstance(where, Condition):
        try:
            where = msgspec.convert(where, Condition)
        except msgspec.ValidationError as fault:
            raise Invalid(f"Invalid 'where': {fault}.", param="where") from fault
    return ListThreads(
        where=where,
        search=asked.get("search"),
        order_by=asked.get("order_by"),
        order=asked.get("order", "desc"),
        limit=asked.get("limit", 20),
        after=asked.get("after"),
        before=asked.get("before"),
        count=asked.get("count", False),
        facets=tuple(asked.get("facets", ())),
        at_least=positions_text(at_least) if isinstance(at_least, Position) else at_least,
    )
