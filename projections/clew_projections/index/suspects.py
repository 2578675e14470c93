"""Threads that may be due to be removed, as far as their rows say: by their times, and by a filter of open threads."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Final, NamedTuple

from clew_events.list_query import Condition
from clew_projections.index.conditions import TRUE, Conditions, Sql
from clew_projections.index.rows import micros


class DueQuestion(NamedTuple):
    """A question for threads that are due by a time.

    By ``policy`` they are the ones recorded, last used or (``original``) created by then, ``deleted`` ones or open ones
    that match ``where``; without one, those that expire by then.
    """

    number: int
    until: datetime
    policy: str | None = None
    since: str = "created"
    deleted: bool = False
    where: Condition | None = None


class DuePlace(NamedTuple):
    """A place among the answers to questions in a row: the number of the question, a time that orders them, and an id.

    Without an id it is before all answers to that question.
    """

    question: int
    time: int = 0
    id: str = ""


class Suspect(NamedTuple):
    """A thread that may be due: its id, the sequence at which the index has it, and the time that orders it."""

    id: str
    seq: int
    time: int


_END: Final = (1 << 63) - 1
_EXPIRING: Final = "thread_expiring WHERE t.deleted = 0 AND t.expires_at IS NOT NULL"
_OPEN: Final = "thread_created WHERE t.deleted = 0"
_DELETED: Final = "thread_deleted WHERE t.deleted = 1"


def find_suspects(
    connection: sqlite3.Connection, tenant: str, question: DueQuestion, after: DuePlace, limit: int
) -> list[Suspect]:
    """Read at most ``limit`` answers to a question after a place, the oldest first."""
    owner = connection.execute("SELECT no FROM tenant WHERE name = ?", (tenant,)).fetchone()
    if owner is None:
        return []
    until, where = micros(question.until), TRUE
    column = "t.created" if question.policy is not None else "t.expires_at"
    threads = _EXPIRING if question.policy is None else _DELETED if question.deleted else _OPEN
    used = until if question.policy is not None and question.since == "changed" else _END
    # No thread is recorded before it was created, so the order by that serves for both.
    recorded = until if question.policy is not None and question.since != "original" else _END
    if question.where is not None and not question.deleted:  # the row of a deleted thread has no metadata
        # SQLite finds no plan by a partial index if a part of what is required is constantly false.
        matching = Conditions(connection, owner[0]).sql(question.where)
        where = Sql(f"iif({matching.text}, 1, 0)", matching.values)
    found = connection.execute(
        f"SELECT t.id, t.seq, {column} FROM thread t INDEXED BY {threads} AND t.tenant = ? AND {column} <= ? "
        f"AND ({column}, t.id) > (?, ?) AND t.recorded <= ? AND t.active <= ? AND {where.text} "
        f"ORDER BY {column}, t.id LIMIT ?",
        (owner[0], until, after.time if after.id else -_END, after.id, recorded, used, *where.values, limit),
    )
    return [*map(Suspect._make, found)]


def find_expiring_tenants(connection: sqlite3.Connection, until: datetime) -> list[str]:
    """Read the tenants that have threads which expire by a time."""
    expiring = f"SELECT 1 FROM thread t INDEXED BY {_EXPIRING} AND t.tenant = o.no AND t.expires_at <= ?"
    found = connection.execute(f"SELECT o.name FROM tenant o WHERE EXISTS ({expiring}) ORDER BY 1", (micros(until),))
    return [name for (name,) in found]
