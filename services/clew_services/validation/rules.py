"""Rules of the contract that a schema cannot express. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from clew_events import error_texts, ids
from clew_events.commands import (
    Command,
    CreateThread,
    PlaceStandingHold,
    SetRetention,
    UpdateMessage,
    UpdateThread,
)
from clew_events.errors import Invalid
from clew_events.list_query import MAX_CONDITIONS, MAX_DEPTH, Condition, Test
from clew_events.queries import GetStateAt
from clew_events.requests import NewStaticStrategy, NewToolResources

GREATEST_VERSION: Final = 2**53 - 1
"""The greatest integer that every JSON parser reads exactly."""


def check_resources(resources: NewToolResources | None) -> None:
    """Check that file search names a vector store or asks for a new one, not both, and chunks overlap at most by half.

    Raises:
        Invalid: a rule is broken.
    """
    search = resources.file_search if resources is not None else None
    if search is None:
        return
    path = "tool_resources.file_search"
    if search.vector_store_ids and search.vector_stores:
        raise Invalid(
            f"Invalid '{path}': expected one of 'vector_store_ids' and 'vector_stores', but got both.",
            param=path,
        )
    for index, store in enumerate(search.vector_stores):
        if isinstance(store.chunking_strategy, NewStaticStrategy):
            chunking = store.chunking_strategy.static
            if chunking.chunk_overlap_tokens > (most := chunking.max_chunk_size_tokens // 2):
                raise error_texts.above_maximum(
                    f"{path}.vector_stores[{index}].chunking_strategy.static.chunk_overlap_tokens",
                    most,
                    chunking.chunk_overlap_tokens,
                )


def check_whole_or_patch(metadata: object, patch: object) -> None:
    """Check that metadata is replaced or patched, not both.

    Raises:
        Invalid: both are given.
    """
    if metadata is not UNSET and not isinstance(patch, UnsetType):
        raise Invalid("Invalid 'patch': it cannot be given together with 'metadata'.", param="patch")


def check_retention(command: SetRetention) -> None:
    """Check the filter of a policy, and that it erases deleted threads later only where it deletes them.

    Raises:
        Invalid: a rule is broken.
    """
    if command.erase_after_days is not None and command.then != "delete":
        raise Invalid(
            "Invalid 'erase_after_days': it goes with 'then' 'delete' alone, as what is erased is gone.",
            param="erase_after_days",
        )
    if command.where is not None:
        check_conditions(command.where)


def check_command(command: Command) -> None:
    """Check the rules of a command that its type cannot express.

    Raises:
        Invalid: a rule is broken; ``param`` names the field.
    """
    if command.expected_version is not None and command.expected_version > GREATEST_VERSION:
        raise error_texts.above_maximum("expected_version", GREATEST_VERSION, command.expected_version)
    match command:
        case CreateThread():
            check_resources(command.tool_resources)
            own = command.thread_id
            if command.kind == "conversation" and own is not None and not ids.is_conversation_id(own):
                raise error_texts.wrong_prefix("thread_id", own, "conv_")
        case UpdateThread() | UpdateMessage():
            check_whole_or_patch(command.metadata, command.patch)
        case SetRetention():
            check_retention(command)
        case PlaceStandingHold():
            check_conditions(command.where)
        case _:
            pass  # The types say nearly everything: most commands have no rule here.


def check_moment(query: GetStateAt) -> None:
    """Check that a moment is exactly one of a commit number, a time with its offset, and ``as_of``.

    Raises:
        Invalid: none or several are given, or a time has no offset.
    """
    if query.as_of is not None and not (query.n is None and query.time is None):
        raise Invalid("Invalid 'as_of': it cannot be given together with 'n' or 'time'.", param="as_of")
    if query.n is None and query.time is None and query.as_of is None:
        raise error_texts.missing_field("n")
    if query.n is not None and query.time is not None:
        raise Invalid("Invalid 'time': it cannot be given together with 'n'.", param="time")
    if query.time is not None and query.time.utcoffset() is None:
        raise error_texts.malformed_value(
            "time", query.time.isoformat(), "a time with its offset from UTC, such as 'Z'"
        )


def check_conditions(where: Condition) -> None:
    """Check the number and depth of conditions, that every test tests something, and that times have an offset.

    Raises:
        Invalid: a rule is broken.
    """
    for count, part in enumerate(_parts(where), start=1):
        if part.depth > MAX_DEPTH:
            raise Invalid(
                f"Invalid '{part.path}': nested too deeply. Conditions may be at most {MAX_DEPTH} deep.",
                param=part.path,
            )
        if count > MAX_CONDITIONS:
            raise Invalid(
                f"Invalid 'where': too many conditions. There may be at most {MAX_CONDITIONS} in all.", param="where"
            )
        for name, test in part.condition.tests.items():
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
        inner = [
            _Part(f"{path}.{name}[{at}]", depth + 1, one)
            for name, several in (("and", condition.every), ("or", condition.some))
            for at, one in enumerate(several or ())
        ]
        if condition.no is not None:
            inner.append(_Part(f"{path}.not", depth + 1, condition.no))
        waiting += reversed(inner)  # so that the first one sent is looked at first


def _check_test(path: str, test: Test) -> None:
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
