"""Which clock is believed, by what earlier looks at the log saw. Pure.

A look reads the clock of this machine, that of the NATS server, how long the machine has been up, and where the log
ends. Looks between which all clocks advance alike are a run. A clock that jumps, ahead or back, begins another run, and
so does a time that nobody watched, as when all machines were down. Nothing is removed in the first :data:`STEADY` of a
run, so a clock that is wrong for a day removes nothing. What is removed was due at two looks: at the latest one, and at
one at least :data:`APART` before it, as it was then and when the rules were those of now.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

APART: Final = timedelta(hours=1)
"""Time between two looks that must agree."""
STEADY: Final = timedelta(hours=25)
"""Age of a run from which on its clock is believed: longer than the day for which it may be wrong."""
ALIKE: Final = timedelta(minutes=5)
"""How much clocks may differ, and how much one may advance more than another between two looks."""
SPACED: Final = timedelta(minutes=5)
"""Time between two looks that are kept."""
UNWATCHED: Final = timedelta(minutes=30)
"""Time between looks of different machines, or of one that was restarted, after which a jump is not ruled out."""


class Clocks(Struct, frozen=True):
    """What the clocks say in one moment; ``up`` are the seconds that the machine is up, in its life ``boot``."""

    machine: datetime
    log: datetime
    boot: str
    up: float

    @property
    def now(self) -> datetime:
        """The time by the clock that is behind."""
        return min(self.machine, self.log)


class Look(Struct, frozen=True):
    """A look at a time, and the last sequences of the shards then."""

    at: datetime
    ends: tuple[int, ...]

    def has(self, shard: int, seq: int) -> bool:
        """Whether the log had a commit by then."""
        return shard < len(self.ends) and seq <= self.ends[shard]


class Looks(Struct, frozen=True):
    """The clocks at the ``first`` and the ``latest`` look of a run, and the looks that the next may have to agree with.

    Those are the ``recent`` ones, the oldest first.
    """

    first: Clocks
    latest: Clocks
    recent: tuple[Look, ...]

    @property
    def believed_at(self) -> datetime:
        """When the clock of this run is believed."""
        return self.first.now + STEADY

    @property
    def agreed(self) -> Look | None:
        """The look at which what is removed now must have been due as well; ``None`` if nothing may be removed."""
        now = self.latest.now
        if now < self.believed_at:
            return None
        return next((look for look in reversed(self.recent) if now - look.at >= APART), None)


def add_look(before: Looks | None, clocks: Clocks, ends: tuple[int, ...]) -> Looks:
    """Return the looks after another one. ``ends`` are the last sequences of the shards."""
    now = Look(clocks.now, ends)
    if before is None or not _advance_alike(before.latest, clocks):
        return Looks(clocks, clocks, (now,))
    old = [look for look in before.recent if now.at - look.at >= APART]
    recent = (*old[-1:], *before.recent[len(old) :])
    return Looks(before.first, clocks, (*recent, now) if now.at - recent[-1].at >= SPACED else recent)


def _advance_alike(before: Clocks, now: Clocks) -> bool:
    """Whether all clocks agree, and went on alike since they were last read."""
    advances = [now.machine - before.machine, now.log - before.log]
    if now.boot == before.boot:
        advances.append(timedelta(seconds=now.up - before.up))
    elif max(advances) > UNWATCHED:
        return False
    apart = max(advances) - min(advances)
    return min(advances) >= timedelta() and apart <= ALIKE and abs(now.machine - now.log) <= ALIKE
