"""What the race is to show, and whether it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from bench.peers.contender import About
from bench.peers.measuring import Figure

OURS: Final = "Clew"


class Goal(Struct, frozen=True, kw_only=True):
    """So many times whoever is compared with, and how it came out; ``ratio`` is nothing if one of them is missing."""

    title: str
    wanted: float
    ratio: float | None = None
    ours: str = ""
    theirs: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it was reached, if it can be said."""
        return self.ratio >= self.wanted if self.ratio is not None else None


def goals(figures: Sequence[Figure], abouts: Sequence[About]) -> list[Goal]:
    """Every goal, judged by figures that count and by nobody's relaxed ones of our own."""
    durable = {each.name for each in abouts if each.durable}
    every = {each.name for each in abouts}
    rivals = {name for name in every if not name.startswith(OURS)}
    ours = {name for name in every - rivals if name in durable}
    found = _Found(figures)
    return [
        found.goal("HTTP create, fsynced, beside the best durable rival", 10, "create", ours, rivals & durable),
        found.goal("HTTP create, fsynced, beside LangGraph in memory", 4, "create", ours, {"LangGraph dev server"}),
        found.goal("HTTP get, strong, beside the best rival", 20, "get", ours, rivals),
        found.goal("durable append, 32 in flight, beside UmaDB", 1, "append-32", ours, {"UmaDB"}),
        found.goal("durable append, 256 in flight, beside UmaDB", 3, "append-256", ours, {"UmaDB"}),
    ]


class _Found:
    def __init__(self, figures: Sequence[Figure]) -> None:
        self._figures = [each for each in figures if each.counts]

    def goal(self, title: str, wanted: float, lane: str, ours: set[str], theirs: set[str]) -> Goal:
        our, their = self._best(lane, ours), self._best(lane, theirs)
        if our is None or their is None:
            return Goal(title=title, wanted=wanted)
        return Goal(
            title=title,
            wanted=wanted,
            ratio=our.per_second / their.per_second,
            ours=f"{our.contender} {our.per_second:,.0f}/s",
            theirs=f"{their.contender} {their.per_second:,.0f}/s",
        )

    def _best(self, lane: str, names: set[str]) -> Figure | None:
        found = [each for each in self._figures if each.lane == lane and each.contender in names]
        return max(found, key=lambda each: each.per_second, default=None)
