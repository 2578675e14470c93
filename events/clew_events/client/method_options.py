"""Options that many methods take: those of any command, and those of a list of threads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import msgspec

from clew_events.commit import Position
from clew_events.errors import Invalid
from clew_events.list_query import Condition, Direction, Kind, ListThreads, OrderBy, positions_text


class CommandOptions(TypedDict, total=False):
    """The options of a command, as :class:`~clew_events.client.Clew` says at its commands. All are optional."""

    expected_version: int | None
    command_id: str | None
    reason: str | None


class ListOptions(TypedDict, total=False):
    """The fields of :class:`~clew_events.list_query.ListThreads`, which documents them. All are optional."""

    kind: Kind | None
    where: Condition | Mapping[str, object] | None
    search: str | None
    order_by: OrderBy | None
    order: Direction
    limit: int
    after: str | None
    before: str | None
    count: bool
    facets: tuple[str, ...]
    actors: bool
    first_text: bool
    at_least: Position | str | None


def check_options(options: Mapping[str, object], kind: type[CommandOptions | ListOptions]) -> None:
    """Check that options are of a kind.

    Raises:
        TypeError: there is no option of that name.
    """
    if unknown := sorted(options.keys() - kind.__annotations__.keys()):
        raise TypeError(f"unknown option {', '.join(unknown)}: there are {', '.join(kind.__annotations__)}")


def as_condition(where: Condition | Mapping[str, object] | None) -> Condition | None:
    """The condition that is given as such or as plain JSON.

    Raises:
        Invalid: it is none.
    """
    try:
        return where if isinstance(where, Condition) else msgspec.convert(where, Condition | None)
    except msgspec.ValidationError as fault:
        raise Invalid(f"Invalid 'where': {fault}.", param="where") from fault


def build_query(options: ListOptions) -> ListThreads:
    """The query with these options.

    Raises:
        Invalid: ``where`` is not a valid condition.
        TypeError: an option has an unknown name.
    """
    check_options(options, ListOptions)
    at_least = options.get("at_least")
    return ListThreads(
        kind=options.get("kind"),
        where=as_condition(options.get("where")),
        search=options.get("search"),
        order_by=options.get("order_by"),
        order=options.get("order", "desc"),
        limit=options.get("limit", 20),
        after=options.get("after"),
        before=options.get("before"),
        count=options.get("count", False),
        facets=tuple(options.get("facets", ())),
        actors=options.get("actors", False),
        first_text=options.get("first_text", False),
        at_least=positions_text(at_least) if isinstance(at_least, Position) else at_least,
    )
