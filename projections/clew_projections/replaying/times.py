"""Moments as callers name them, held against the times of commits. Pure: what time it is now comes from outside.

A number up to 999,999,999 is that of a commit. A greater one is a whole second of Unix time, which begins with it, so
what is shown as ``created_at`` in seconds had happened in that second. A time with a fraction is taken exactly.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from clew_events.commit import Commit
from clew_events.errors import Invalid

AsOf = int | datetime

GREATEST_NUMBER: Final = 999_999_999
"""The greatest that is the number of a commit; one more is a second of the year 2001."""
GREATEST_SECOND: Final = 253_402_300_799
"""The last second of the year 9999."""


class Moment(Struct, frozen=True):
    """After commit ``n``, or after everything up to and including ``time``: exactly one of the two is there."""

    n: int | None = None
    time: datetime | None = None

    def includes(self, commit: Commit) -> bool:
        """Whether a commit had been made by then."""
        if self.n is not None:
            return commit.n <= self.n
        return self.time is not None and commit.at <= self.time

    def __str__(self) -> str:
        if self.n is not None:
            return str(self.n)
        return "now" if self.time is None else written(self.time)


def moment(said: AsOf, param: str, *, least: int = 1) -> Moment:
    """The moment that a caller named.

    Raises:
        Invalid: there can be no such moment; ``param`` is named.
    """
    if isinstance(said, int) and said <= GREATEST_NUMBER:
        if said < least:
            raise Invalid(
                f"Invalid '{param}': {said}. Commits are numbered from 1.", code="integer_below_min_value", param=param
            )
        return Moment(n=said)
    return Moment(time=last_instant(said, param))


def first_instant(said: AsOf, param: str) -> datetime:
    """When what a caller named begins: a time itself, or a whole second given as Unix time.

    Raises:
        Invalid: it is no time, or one somewhere on earth; ``param`` is named.
    """
    if isinstance(said, datetime):
        if said.utcoffset() is None:
            raise Invalid(
                f"Invalid '{param}': '{said.isoformat()}'. Expected a time with its offset from UTC, such as 'Z'.",
                param=param,
            )
        try:
            return said.astimezone(UTC)
        except OverflowError:
            raise Invalid(f"Invalid '{param}': '{said.isoformat()}' is beyond any calendar.", param=param) from None
    if not 0 <= said <= GREATEST_SECOND:
        hint = " Are these milliseconds?" if said > GREATEST_SECOND else ""
        raise Invalid(
            f"Invalid '{param}': {said if abs(said) < 10**40 else 'a huge number'} is no Unix time in seconds.{hint}",
            param=param,
        )
    return datetime.fromtimestamp(said, UTC)


def last_instant(said: AsOf, param: str) -> datetime:
    """When what a caller named ends.

    Raises:
        Invalid: as :func:`first_instant`.
    """
    first = first_instant(said, param)
    return first if isinstance(said, datetime) else first + timedelta(microseconds=999_999)


def written(time: datetime) -> str:
    """A time as answers show it."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
