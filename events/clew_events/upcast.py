"""Converts retired events to current ones while reading. Nothing stored is ever rewritten.

Each upcaster takes the record of an event with a retired tag, as a JSON object, and returns the records of the events
that replace it (one, several or none); and it takes the content, and returns as many contents. A record is converted
from the record alone, so that an erased event is converted too. A tag in the table must not be a current tag.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Struct

Json = dict[str, object]


def _no_contents(_: Json) -> list[Json | None]:
    raise ValueError("a content of an event that has none")


class Upcaster(Struct, frozen=True):
    """How a retired event is converted: its record, and its content if it had one.

    ``contents`` returns one content, or None, for each record that ``records`` returns, without salts.
    """

    records: Callable[[Json], list[Json]]
    contents: Callable[[Json], list[Json | None]] = _no_contents


UPCASTERS: Final[Mapping[str, Upcaster]] = MappingProxyType({})


class Current(Struct, frozen=True):
    """A record and its content, both current. A ``seal`` without content: the content was erased."""

    record: Json
    seal: str | None
    content: Json | None


def upcast(event: Current, table: Mapping[str, Upcaster] = UPCASTERS) -> list[Current]:
    """The current events for an event: converted until no retired tag is left. A current event stays as it is."""
    upcaster = table.get(str(event.record.get("type")))
    if upcaster is None:
        return [event]
    records = upcaster.records(event.record)
    contents = [None] * len(records) if event.content is None else upcaster.contents(event.content)
    return [
        current
        for record, content in zip(records, contents, strict=True)
        for current in upcast(Current(record, event.seal, content), table)
    ]
