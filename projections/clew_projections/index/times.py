"""Times as the index keeps them: whole microseconds since 1970, by integer arithmetic, so that nothing is rounded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
SECOND: Final = 1_000_000


def micros(moment: datetime) -> int:
    """A time with its offset as a number."""
    return (moment - _START) // _MICROSECOND


def moment(micros: int) -> datetime:
    """The time in UTC that a number stands for."""
    return _START + timedelta(microseconds=micros)
