"""Old event shapes brought up to date while reading. Nothing stored is ever rewritten.

Each entry takes the plain JSON object of an event under a retired tag and gives the objects that say the same today
(one, several, or none). A tag in this table must not be among the current ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

Json = dict[str, object]
Upcaster = Callable[[Json], list[Json]]

UPCASTERS: Final[Mapping[str, Upcaster]] = MappingProxyType({})


def upcast(event: Json, table: Mapping[str, Upcaster] = UPCASTERS) -> list[Json]:
    """Today's spelling of an event. Steps are repeated until no retired tag is left; others pass unchanged."""
    upcaster = table.get(str(event.get("type")))
    if upcaster is None:
        return [event]
    return [current for step in upcaster(event) for current in upcast(step, table)]
