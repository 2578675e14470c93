"""Moments in a thread's history, given as a commit number or a time. Pure: the caller passes the current time.

A number up to 999,999,999 is the number of a commit. A greater number is a whole second of Unix time, so a change with
that ``created_at`` in seconds is included. A time with a fraction is exact.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from clew_events.commit import Commit, Recorded
from clew_events.error_texts import malformed_value, name_history, no_thread
from clew_events.errors import Invalid, NotFound
from clew_events.queries import AsOf

GREATEST_NUMBER: Final = 999_999_999
"""The greatest number of a commit; the next number is a second of the year 2001."""
GREATEST_SECOND: Final = 253_402_300_799
"""The last second of the year 9999."""


class Moment(Struct, frozen=True):
    """The moment after commit ``n``, or after all commits up to and including ``time``; after all, if neither is given.

    ``begins`` is the beginning of ``time`` where that is a whole second: it is not in the future once it has begun.
    """

    n: int | None = None
    time: datetime | None = None
    begins: datetime | None = None

    def includes(self, commit: Commit) -> bool:
        """Whether a commit is at or before the moment."""
        if self.n is not None:
            return commit.n <= self.n
        return self.time is None or commit.at <= self.time

    def ends_with(self, commit: Commit) -> bool:
        """Whether a commit is certainly the last at or before the moment."""
        return self.n is not None and commit.n >= self.n

    def is_behind(self, other: Moment) -> bool:
        """Whether it is certainly later than another, judging by the two alone."""
        if self.n is not None and other.n is not None:
            return self.n > other.n
        return self.time is not None and other.time is not None and self.time > other.time

    def __str__(self) -> str:
        if self.n is not None:
            return str(self.n)
        return "now" if self.time is None else format_time(self.begins or self.time)


NOW: Final = Moment()
"""After everything there is."""


def moment(value: AsOf, param: str, *, least: int = 1) -> Moment:
    """Return the moment for a caller's value.

    Raises:
        Invalid: there is no such moment; the error names ``param``.
    """
    if isinstance(value, int) and value <= GREATEST_NUMBER:
        if value < least:
            raise Invalid(
                f"Invalid '{param}': {value}. Commits are numbered from 1.", code="integer_below_min_value", param=param
            )
        return Moment(n=value)
    return Moment(time=last_instant(value, param), begins=first_instant(value, param))


def first_instant(value: AsOf, param: str) -> datetime:
    """Return the beginning of a caller's value: the time itself, or that of a whole second of Unix time.

    Raises:
        Invalid: it is not a time, or has no offset from UTC; the error names ``param``.
    """
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise malformed_value(param, value.isoformat(), "a time with its offset from UTC, such as 'Z'")
        try:
            return value.astimezone(UTC)
        except OverflowError:
            raise Invalid(f"Invalid '{param}': '{value.isoformat()}' is beyond any calendar.", param=param) from None
    if not 0 <= value <= GREATEST_SECOND:
        hint = " Are these milliseconds?" if value > GREATEST_SECOND else ""
        raise Invalid(
            f"Invalid '{param}': {value if abs(value) < 10**40 else 'a huge number'} is no Unix time in seconds.{hint}",
            param=param,
        )
    return datetime.fromtimestamp(value, UTC)


def last_instant(value: AsOf, param: str) -> datetime:
    """Return the end of a caller's value: the time itself, or that of a whole second of Unix time.

    Raises:
        Invalid: see :func:`first_instant`.
    """
    first = first_instant(value, param)
    return first if isinstance(value, datetime) else first + timedelta(microseconds=999_999)


def check_reached(
    reached: Moment, param: str, thread: str, *, first: Recorded | None, last: Recorded | None, now: datetime
) -> None:
    """Check that a thread existed at a moment, and that the moment is not in the future.

    ``first`` is the thread's first commit, ``last`` the last at or before the moment; ``None`` if there is none. A
    moment after ``now`` is accepted if the thread has reached it: then the clock of its writer is ahead.

    Raises:
        NotFound: the thread does not exist, or did not exist yet.
        Invalid: the moment is in the future, or the commit does not exist; the error names ``param``.
    """
    if first is None:
        raise no_thread(thread)
    made = last.commit.n if last is not None else 0
    if reached.n is not None and reached.n > made:
        raise Invalid(
            f"Invalid '{param}': {reached.n}. {name_history(thread, capital=True)} has {made} commits.",
            code="moment_in_future",
            param=param,
        )
    begins = reached.begins or reached.time
    if begins is not None and begins > now and (last is None or begins > last.commit.at):
        raise Invalid(f"Invalid '{param}': {reached} is in the future.", code="moment_in_future", param=param)
    if last is None and reached.n != 0:
        raise NotFound(
            f"{name_history(thread, capital=True)} was not there yet at '{param}' {reached}: it was created at "
            f"{format_time(first.commit.at)}.",
            code="moment_not_found",
            param=param,
        )


def format_time(time: datetime) -> str:
    """Return a time in the format of responses."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
