"""Options for a list of threads, with conditions as types or as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import msgspec

from clew_events.commit import Position
from clew_events.errors import Invalid
from clew_events.list_query import Condition, Direction, ListThreads, OrderBy, positions_text


class ListOptions(TypedDict, total=False):
    """The fields of :class:`~clew_events.list_query.ListThreads`, which documents them. All are optional."""

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


def build_query(options: ListOptions) -> ListThreads:
    """The query with these options.

    Raises:
        Invalid: ``where`` is not a valid condition.
    """
    where, at_least = options.get("where"), options.get("at_least")
    if where is not None and not isinstance(where, Condition):
        try:
            where = msgspec.convert(where, Condition)
        except msgspec.ValidationError as fault:
            raise Invalid(f"Invalid 'where': {fault}.", param="where") from fault
    return ListThreads(
        where=where,
        search=options.get("search"),
        order_by=options.get("order_by"),
        order=options.get("order", "desc"),
        limit=options.get("limit", 20),
        after=options.get("after"),
        before=options.get("before"),
        count=options.get("count", False),
        facets=tuple(options.get("facets", ())),
        at_least=positions_text(at_least) if isinstance(at_least, Position) else at_least,
    )
