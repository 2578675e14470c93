"""The values of threads, and the number of threads with each, written once per transaction."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_REMEMBERED: Final = 50_000

CREATED_BY: Final = 0
UPDATED_BY: Final = 1


def actor_key(tenant: int, which: int) -> int:
    """The number of the key under which a tenant's threads have their first or latest actor."""
    return -(2 * tenant + which)


def number_of(value: str) -> float | None:
    """A value as the number that it is in JSON; ``None`` if it is none, or greater than any that compares."""
    if _NUMBER.fullmatch(value) is None:
        return None
    number = float(value)
    return number if abs(number) != float("inf") else None


class Pair(NamedTuple):
    """The numbers of a key and of a value under it."""

    key: int
    term: int


class Terms:
    """Numbers for tenants, keys and values, and the counts that change until :meth:`write`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._tenants: dict[str, int] = {}
        self._pairs: dict[tuple[int, str | int, str], Pair] = {}
        self._of_tenants: Counter[int] = Counter()
        self._more: list[Pair] = []
        self._fewer: list[Pair] = []

    def tenant(self, name: str) -> int:
        """The number of a tenant, who gets one here if need be."""
        no = self._tenants.get(name)
        if no is None:
            no = self._number_of("SELECT no FROM tenant WHERE name = ?", "INSERT INTO tenant (name) VALUES (?)", name)
            self._tenants[name] = no
        return no

    def pair(self, tenant: int, key: str | int, value: str) -> Pair:
        """The numbers of a key and a value, which get one here if need be.

        The key is one of a tenant's metadata, or ``CREATED_BY`` or ``UPDATED_BY``.
        """
        pair = self._pairs.get((tenant, key, value))
        if pair is None:
            no = self._key(tenant, key) if isinstance(key, str) else actor_key(tenant, key)
            pair = self._pairs[tenant, key, value] = Pair(no, self._term(no, value))
        return pair

    def count_thread(self, tenant: int, by: int) -> None:
        """A tenant has more threads, or fewer."""
        self._of_tenants[tenant] += by

    def count(self, more: Iterable[Pair], fewer: Iterable[Pair] = ()) -> None:
        """One more thread has each of some values, and one fewer each of others."""
        self._more += more
        self._fewer += fewer

    def write(self) -> None:
        """Write the counts; keys and values that no thread has any more are deleted."""
        of_pairs = Counter(self._more)
        of_pairs.subtract(self._fewer)
        of_keys: Counter[int] = Counter()
        of_terms: Counter[int] = Counter()
        for (key, term), by in of_pairs.items():
            of_keys[key] += by
            of_terms[term] += by
        add = self._connection.executemany
        for table, counts in (("tenant", self._of_tenants), ("key", of_keys), ("term", of_terms)):
            if changed := [(by, no) for no, by in counts.items() if by]:
                add(f"UPDATE {table} SET threads = threads + ? WHERE no = ?", changed)
        if fewer := [(no,) for no, by in of_terms.items() if by <= 0]:
            add("DELETE FROM term WHERE no = ? AND threads = 0", fewer)
            add("DELETE FROM key WHERE no = ? AND threads = 0", [(no,) for no, by in of_keys.items() if by <= 0])
            self._pairs.clear()
        self._of_tenants.clear()
        self._more.clear()
        self._fewer.clear()
        if len(self._tenants) > _REMEMBERED:
            self._tenants.clear()
        if len(self._pairs) > _REMEMBERED:
            self._pairs.clear()

    def forget(self) -> None:
        """Discard pending changes after a rollback."""
        self._tenants.clear()
        self._pairs.clear()
        self._of_tenants.clear()
        self._more.clear()
        self._fewer.clear()

    def _key(self, tenant: int, name: str) -> int:
        find, make = (
            "SELECT no FROM key WHERE tenant = ? AND name = ?",
            "INSERT INTO key (tenant, name) VALUES (?, ?)",
        )
        return self._number_of(find, make, tenant, name)

    def _term(self, key: int, value: str) -> int:
        found = self._connection.execute("SELECT no FROM term WHERE key = ? AND value = ?", (key, value)).fetchone()
        if found is not None:
            return int(found[0])
        make = "INSERT INTO term (key, value, number) VALUES (?, ?, ?)"
        return int(self._connection.execute(make, (key, value, number_of(value))).lastrowid or 0)

    def _number_of(self, find: str, make: str, *values: object) -> int:
        found = self._connection.execute(find, values).fetchone()
        return int(found[0]) if found is not None else int(self._connection.execute(make, values).lastrowid or 0)
