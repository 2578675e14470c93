"""The threads that a command is about: each by its id, or all that match a filter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import click

from clew_events import ids
from clew_events.client import Clew
from clew_events.commit import Position
from clew_events.errors import ClewError, NotFound
from clew_events.list_query import PREFIXES, Condition, positions_text
from clew_services.cli import options
from clew_services.cli.terminal import echo

_ARGUMENT: Final = click.Argument(["thread"])

Refused = tuple[str, ClewError]
"""A thread for which the command was refused, and why."""


def check_choice(threads: Sequence[str], *, filtered: bool) -> None:
    """Check that threads are named by their ids, or by a filter.

    Raises:
        UsageError: they are named in both ways or in none, or an id cannot be one.
    """
    if bool(threads) == filtered:
        raise click.UsageError("either THREADs or a filter: --where FILTER, --metadata KEY=VALUE")
    for thread in threads:
        options.check_thread_id(click.get_current_context(), _ARGUMENT, thread)


def resolve_ids(threads: Iterable[str], tenant: str, nats: str) -> list[str]:
    """The ids of threads of which ids, or beginnings of ids, are given; each once."""
    return list(dict.fromkeys(_resolve(thread, tenant, nats) for thread in threads))


def _resolve(thread: str, tenant: str, nats: str) -> str:
    """The id that begins so, or what was given if no other id does."""
    if len(thread) >= len(ids.thread_id(conversation=thread.startswith(PREFIXES["conversation"]))):
        return thread  # as long as an id that Clew makes
    from clew_services.cli.thread_prefix import complete_id  # noqa: PLC0415 - seldom needed

    try:
        return complete_id(NotFound(""), thread, tenant=tenant, nats=nats)
    except NotFound:
        return thread


async def find_threads(clew: Clew, where: Condition, after: Iterable[Position | None] = ()) -> list[str]:
    """The threads that match, in an index that has the commits at some positions."""
    ends: dict[int, int] = {}
    for position in (each for each in after if each is not None):
        ends[position.shard] = max(position.seq, ends.get(position.shard, 0))
    at_least = positions_text(*(Position(*end) for end in ends.items())) or None
    return [thread.id async for thread in clew.iter_threads(where=where, at_least=at_least)]


def rejection_objects(refused: Iterable[Refused]) -> list[dict[str, str | None]]:
    """What was refused, as a command prints it as JSON."""
    return [{"thread_id": thread, "code": fault.code, "message": fault.message} for thread, fault in refused]


def raise_rejections(refused: Sequence[Refused]) -> None:
    """Print what was refused, each on a line, and end with the last as the command's error."""
    for _, fault in refused[:-1]:
        echo(f"clew: {fault.message} [{fault.code}]", err=True)
    if refused:
        raise refused[-1][1]
