"""The values of threads, and the number of threads with each, written once per transaction."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from typing import Final

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


class Terms:
    """Numbers for tenants, keys and values, and the counts that change until :meth:`write`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._tenants: dict[str, int] = {}
        self._keys: dict[tuple[int, str], int] = {}
        self._terms: dict[tuple[int, str], int] = {}
        self._of_tenants: Counter[int] = Counter()
        self._of_terms: dict[tuple[int, int], int] = {}
        """By key and term."""

    def tenant(self, name: str) -> int:
        """The number of a tenant, who gets one here if need be."""
        no = self._tenants.get(name)
        if no is None:
            no = self._number_of("SELECT no FROM tenant WHERE name = ?", "INSERT INTO tenant (name) VALUES (?)", name)
            self._tenants[name] = no
        return no

    def key(self, tenant: int, name: str) -> int:
        """The number of a tenant's metadata key, which gets one here if need be."""
        no = self._keys.get((tenant, name))
        if no is None:
            find, make = (
                "SELECT no FROM key WHERE tenant = ? AND name = ?",
                "INSERT INTO key (tenant, name) VALUES (?, ?)",
            )
            no = self._keys[tenant, name] = self._number_of(find, make, tenant, name)
        return no

    def term(self, key: int, value: str) -> int:
        """The number of a value under a key, which gets one here if need be."""
        no = self._terms.get((key, value))
        if no is None:
            found = self._connection.execute("SELECT no FROM term WHERE key = ? AND value = ?", (key, value)).fetchone()
            if found is None:
                make = "INSERT INTO term (key, value, number) VALUES (?, ?, ?)"
                no = int(self._connection.execute(make, (key, value, number_of(value))).lastrowid or 0)
            else:
                no = int(found[0])
            self._terms[key, value] = no
        return no

    def count_thread(self, tenant: int, by: int) -> None:
        """A tenant has more threads, or fewer."""
        self._of_tenants[tenant] += by

    def count(self, key: int, term: int, by: int) -> None:
        """More threads have a value, or fewer."""
        self._of_terms[key, term] = self._of_terms.get((key, term), 0) + by

    def write(self) -> None:
        """Write the counts; keys and values that no thread has any more are deleted."""
        of_keys: Counter[int] = Counter()
        of_terms: Counter[int] = Counter()
        for (key, term), by in self._of_terms.items():
            of_keys[key] += by
            of_terms[term] += by
        add = self._connection.executemany
        for table, counts in (("tenant", self._of_tenants), ("key", of_keys), ("term", of_terms)):
            if changed := [(by, no) for no, by in counts.items() if by]:
                add(f"UPDATE {table} SET threads = threads + ? WHERE no = ?", changed)
        if fewer := [(no,) for no, by in of_terms.items() if by <= 0]:
            add("DELETE FROM term WHERE no = ? AND threads = 0", fewer)
            add("DELETE FROM key WHERE no = ? AND threads = 0", [(no,) for no, by in of_keys.items() if by <= 0])
            self._terms.clear()
            self._keys.clear()
        self._of_tenants.clear()
        self._of_terms.clear()
        for numbers in (self._tenants, self._keys, self._terms):
            if len(numbers) > _REMEMBERED:
                numbers.clear()

    def forget(self) -> None:
        """Discard pending changes after a rollback."""
        for numbers in (self._tenants, self._keys, self._terms):
            numbers.clear()
        self._of_tenants.clear()
        self._of_terms.clear()

    def _number_of(self, find: str, make: str, *values: object) -> int:
        found = self._connection.execute(find, values).fetchone()
        return int(found[0]) if found is not None else int(self._connection.execute(make, values).lastrowid or 0)
