"""Converts retired events to current ones while reading. Nothing stored is ever rewritten.

Each upcaster takes an event with a retired tag, as a JSON object, and returns the events that replace it (one, several
or none). A tag in the table must not be a current tag.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

Json = dict[str, object]
Upcaster = Callable[[Json], list[Json]]

UPCASTERS: Final[Mapping[str, Upcaster]] = MappingProxyType({})


def upcast(event: Json, table: Mapping[str, Upcaster] = UPCASTERS) -> list[Json]:
    """The current events for an event: upcast until no retired tag is left. A current event stays as it is."""
    upcaster = table.get(str(event.get("type")))
    if upcaster is None:
        return [event]
    return [current for step in upcaster(event) for current in upcast(step, table)]
