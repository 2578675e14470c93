"""Rules of list queries that a schema cannot express. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec

from clew_events import error_texts
from clew_events.errors import Invalid
from clew_events.list_query import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    ActorTest,
    Condition,
    ListThreads,
    MetadataTest,
    NumberTest,
    TimeTest,
)

_Test = MetadataTest | TimeTest | NumberTest | ActorTest


def check_list(query: ListThreads) -> None:
    """Check the number and depth of conditions, that every test tests something, and that times have an offset.

    Raises:
        Invalid: a rule is broken.
    """
    if query.where is None:
        return
    for count, part in enumerate(_parts(query.where), start=1):
        if part.depth > MAX_DEPTH:
            raise Invalid(
                f"Invalid '{part.path}': nested too deeply. Conditions may be at most {MAX_DEPTH} deep.",
                param=part.path,
            )
        if count > MAX_CONDITIONS:
            raise Invalid(
                f"Invalid 'where': too many conditions. There may be at most {MAX_CONDITIONS} in all.", param="where"
            )
        for name in ("metadata", "created", "updated", "messages", "created_by", "updated_by"):
            test: _Test | None = getattr(part.condition, name)
            if test is not None:
                _check_test(f"{part.path}.{name}", test)


class _Part(NamedTuple):
    path: str
    depth: int
    condition: Condition


def _parts(where: Condition) -> Iterator[_Part]:
    waiting = [_Part("where", 1, where)]
    while waiting:
        path, depth, condition = part = waiting.pop()
        yield part
        for name, inner in (("and", condition.every), ("or", condition.some)):
            waiting += [_Part(f"{path}.{name}[{at}]", depth + 1, condition) for at, condition in enumerate(inner or ())]
        if condition.no is not None:
            waiting.append(_Part(f"{path}.not", depth + 1, condition.no))


def _check_test(path: str, test: _Test) -> None:
    tests = {name: value for name, value in msgspec.structs.asdict(test).items() if name != "key" and value is not None}
    if not tests:
        known = [field.encode_name for field in msgspec.structs.fields(test) if field.name != "key"]
        raise Invalid(
            f"Invalid '{path}': it tests nothing. Say one of {error_texts.quote_list(known, 'or')}.", param=path
        )
    for name, value in tests.items():
        if isinstance(value, datetime) and value.utcoffset() is None:
            raise error_texts.malformed_value(
                f"{path}.{name}", value.isoformat(), "a time with its offset from UTC, such as 'Z'"
            )
