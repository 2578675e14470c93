"""What is said about the past: which commit did it, and how things were then."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from clew_events.commit import Position
from clew_events.objects import Message, MessagePage, Thread


class Origin(Struct, frozen=True, kw_only=True):
    """The commit by which something came to be: who asked for it, when, and by which command.

    ``id`` is its cursor in the history. ``trace_id`` is that of the trace in which the command came, if in any.
    """

    id: str
    n: int
    position: Position
    hash: str
    at: datetime
    actor: str
    command: str
    command_id: str
    trace_id: str | None


class Point(Struct, frozen=True, kw_only=True):
    """A point in a thread's history: after commit ``n``, made at ``at``. Before the first, ``n`` is 0."""

    n: int
    at: datetime | None
    position: Position | None


class Then(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How things were after commit ``n``, the last that had been made by then, at ``at``."""

    position: Position
    n: int
    at: datetime
    thread: Thread | None = None
    message: Message | None = None
    messages: MessagePage | None = None
