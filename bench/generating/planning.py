"""What is to be made: how many commits, over which threads, whose, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from msgspec import Struct, field

from clew_events import ids
from clew_events.subjects import Address

LONG, MIDDLING, SHORT = 10_000, 100, 1
TENANTS: Final = {"acme": 0.9, "globex": 0.099, "initech": 0.001}
"""Tenants and their shares of the threads: a large one, one of a tenth, and one that has next to nothing."""


class Plan(Struct, frozen=True, kw_only=True):
    """A log, before it is made.

    For each 100,000 commits there is a thread of 10,000, and for each 1,000 one of 100; a fifth of the others have one
    commit, and the rest share what is left. The threads of 10,000 are the first tenant's. With as many
    threads as commits, each has one.
    """

    commits: int = 1_000_000
    threads: int = 100_000
    seed: int = 1
    tenants: dict[str, float] = field(default_factory=lambda: dict(TENANTS))
    begin: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    span: timedelta = timedelta(days=200)


class Planned(Struct, frozen=True):
    """One thread: whose it is, and when each of its commits is made, in seconds after the beginning."""

    address: Address
    times: tuple[float, ...]


def lengths(plan: Plan) -> list[int]:
    """How many commits each thread has, the long ones first; they add up to what is planned.

    Raises:
        ValueError: there are too few commits for so many threads, or too many for so few.
    """
    if plan.commits == plan.threads:
        return [SHORT] * plan.threads
    long = [LONG] * (plan.commits // 100_000) + [MIDDLING] * (plan.commits // 1_000)
    if len(long) >= plan.threads:
        long = []
    others, left = plan.threads - len(long), plan.commits - sum(long)
    short = others // 5 if left > others else others
    rest = others - short
    left -= short
    if left < rest or (left and not rest):
        raise ValueError(f"{plan.commits} commits cannot be spread over {plan.threads} threads")
    mean, extra = divmod(left, rest) if rest else (0, 0)
    # Pairs of one above and one below the mean have the sum that is wanted, whatever the mean is.
    chance = Random(plan.seed)
    found = []
    for _ in range(rest // 2):
        aside = chance.randrange(mean)
        found += [mean + aside, mean - aside]
    found += [mean] * (rest % 2)
    if found:
        found[0] += extra
    chance.shuffle(found)
    return [*long, *found, *[SHORT] * short]


def planned(plan: Plan) -> list[Planned]:
    """Every thread. Each begins somewhere in the span and goes on at its own pace; the long ones last all of it."""
    chance = Random(f"{plan.seed} times")
    names, shares = list(plan.tenants), list(plan.tenants.values())
    span = plan.span.total_seconds()
    found = []
    for number, length in enumerate(lengths(plan)):
        tenant = names[0] if length >= LONG else chance.choices(names, shares)[0]
        thread = ids.derive_id("thread_", "generated", str(plan.seed), str(number))
        first = 0.0 if length >= LONG else chance.random() * span
        last = span if length >= LONG else min(span, first + length * 3600 * chance.random())
        times = sorted(first + (last - first) * chance.random() for _ in range(length))
        found.append(Planned(Address(tenant, thread), tuple(times)))
    return found
