"""The race: every contender of a lane in turn, some rounds, so that the machine's mood hits all alike."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from bench.peers.contender import About, Contender, Enter, Place
from bench.peers.measuring import Cost, Figure, Run, figure
from bench.peers.processes import CannotRace, at_rest, cpu_seconds, memory

WARMING: Final = 0.2
"""The share of a run that is run before it, uncounted."""

SESSIONS: Final = 100
"""How many sessions of a framework there are."""

Tell = Callable[[str], None]


class Lane(Struct, frozen=True, kw_only=True):
    """A lane: what is asked, by how many at once, and how many threads there must be before."""

    name: str
    title: str
    kind: str
    workers: int = 32
    stored: int = 0


class Plan(Struct, frozen=True, kw_only=True):
    """How long it takes: ``seconds`` of each run, ``rounds`` of them, and the two sizes at which lists are asked."""

    seconds: float = 3.0
    rounds: int = 3
    few: int = 1_000
    many: int = 5_000

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """In this order, since some make threads, and the more there are, the slower some contenders become."""
        few, many = self.few, self.many
        return (
            Lane(name="get", title=f"HTTP get, {few:,} stored", kind="get", stored=few),
            Lane(name="update", title=f"HTTP update, {few:,} stored", kind="update", stored=few),
            Lane(name="list-few", title=f"HTTP list of the newest 20, {few:,} stored", kind="list", stored=few),
            Lane(name="create", title=f"HTTP create, from {few:,} stored", kind="create", stored=few),
            Lane(
                name="list-many", title=f"HTTP list of the newest 20, {many:,} or more stored", kind="list", stored=many
            ),
            Lane(name="append-32", title="guarded append of a new thread, 32 in flight", kind="append"),
            Lane(name="append-256", title="guarded append of a new thread, 256 in flight", kind="append", workers=256),
            *(
                Lane(name=f"turn-{name}", title=f"{title}: 20 read, 2 stored", kind=f"turn-{name}", stored=SESSIONS)
                for name, title in (("agents", "turn in a session of the Agents SDK"), ("adk", "turn in one of ADK"))
            ),
            Lane(name="replay", title="replay of all that was appended, decoded", kind="replay", workers=1),
        )


class Result(Struct, frozen=True, kw_only=True):
    """What came of it. ``skipped`` says why somebody did not take part; ``idle`` is in shares of a core."""

    abouts: list[About]
    figures: list[Figure]
    skipped: dict[str, str]
    idle: dict[str, float]


async def race(entries: Mapping[str, Enter], place: Place, plan: Plan, tell: Tell) -> Result:
    """Start everybody, run every lane, and stop everybody."""
    contenders: list[Contender] = []
    skipped: dict[str, str] = {}
    async with contextlib.AsyncExitStack() as stack:
        for name, enter in entries.items():
            tell(f"starting {name}")
            try:
                contenders.append(await enter(place, stack))
            except CannotRace as reason:
                skipped[name] = str(reason)
                tell(f"  skipped: {reason}")
        figures: list[Figure] = []
        idle: dict[str, float] = {}
        for lane in plan.lanes:
            for contender in [each for each in contenders if lane.kind in each.operations.lanes]:
                try:
                    await _stock(contender, lane.stored)
                except CannotRace as reason:
                    contenders.remove(contender)
                    skipped[contender.about.name] = str(reason)
                    tell(f"  {contender.about.name} is out: {reason}")
            racing = [each for each in contenders if lane.kind in each.operations.lanes]
            idle = idle or await _idle(contenders)
            if racing:
                tell(lane.title)
                figures += await _lane(lane, racing, plan, tell)
        return Result(abouts=[each.about for each in contenders], figures=figures, skipped=skipped, idle=idle)


async def _stock(contender: Contender, wanted: int) -> None:
    """Bring a contender to at least so many threads."""
    if contender.stored < wanted:
        contender.stored += (await contender.operations.fill(wanted - contender.stored)).count
        await at_rest(contender.roots)


async def _idle(contenders: Sequence[Contender], seconds: float = 3.0) -> dict[str, float]:
    """What each takes of a core while nobody asks anything of anybody: it is taken from whoever runs."""
    before = [cpu_seconds(each.roots) for each in contenders]
    started = time.monotonic()
    await asyncio.sleep(seconds)
    elapsed = time.monotonic() - started
    return {
        each.about.name: round((cpu_seconds(each.roots) - then) / elapsed, 3)
        for each, then in zip(contenders, before, strict=True)
    }


async def _lane(lane: Lane, racing: Sequence[Contender], plan: Plan, tell: Tell) -> list[Figure]:
    runs: dict[str, list[Run]] = {each.about.name: [] for each in racing}
    costs: dict[str, list[Cost]] = {each.about.name: [] for each in racing}
    for number in range(plan.rounds):
        first = number % len(racing)
        for contender in (*racing[first:], *racing[:first]):
            run, cost = await _run(lane, contender, plan.seconds)
            runs[contender.about.name].append(run)
            costs[contender.about.name].append(cost)
    found = [
        figure(each.about.name, lane.name, runs[each.about.name], costs[each.about.name], each.stored)
        for each in racing
    ]
    for each in found:
        tell(f"  {each.contender:32} {each.per_second:10,.0f}/s  p99 {each.p99:8.1f} ms  {each.failure[:80]}")
    return found


async def _run(lane: Lane, contender: Contender, seconds: float) -> tuple[Run, Cost]:
    await at_rest(contender.roots)
    spent = cpu_seconds(contender.roots)
    ran: list[Run] = []
    if lane.kind != "replay":  # which has no end but its own
        ran.append(await _tried(lane, contender, seconds * WARMING))
    ran.append(await _tried(lane, contender, seconds))
    await at_rest(contender.roots)
    operations = sum(each.count for each in ran)
    if lane.kind in {"create", "append"}:
        contender.stored += operations
    cost = Cost(cpu_seconds=cpu_seconds(contender.roots) - spent, operations=operations, memory=memory(contender.roots))
    return ran[-1], cost


async def _tried(lane: Lane, contender: Contender, seconds: float) -> Run:
    try:
        return await contender.operations.run(lane.kind, lane.workers, seconds)
    except (CannotRace, OSError, TimeoutError) as reason:
        return Run(count=0, elapsed=seconds, failed=1, failure=f"{type(reason).__name__}: {reason}")
