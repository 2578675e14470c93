"""Commits as answers about the past name them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from clew_events.commit import Recorded
from clew_events.content import ToolResources
from clew_events.past import Origin, Point

Lists = Mapping[str, tuple[str, ...]]


def cursor_of(recorded: Recorded) -> str:
    """The id of a commit within its thread's history: its number, and the sequence where it is found at once."""
    return f"{recorded.commit.n}-{recorded.position.seq}"


def origin(recorded: Recorded) -> Origin:
    """A commit as the cause of something."""
    commit = recorded.commit
    return Origin(
        id=cursor_of(recorded),
        n=commit.n,
        position=recorded.position,
        hash=recorded.hash,
        at=commit.at,
        actor=commit.actor,
        command=commit.command,
        command_id=commit.id,
        trace_id=recorded.trace_id,
    )


def point(recorded: Recorded | None) -> Point:
    """The point after a commit; ``None`` is before the first."""
    if recorded is None:
        return Point(n=0, at=None, position=None)
    return Point(n=recorded.commit.n, at=recorded.commit.at, position=recorded.position)


def lists(resources: ToolResources) -> Lists:
    """What tools may use, list by list, those with nothing in them left out."""
    code, search = resources.code_interpreter, resources.file_search
    every = {
        "code_interpreter.file_ids": code.file_ids if code is not None else (),
        "file_search.vector_store_ids": search.vector_store_ids if search is not None else (),
    }
    return {name: ids for name, ids in every.items() if ids}
