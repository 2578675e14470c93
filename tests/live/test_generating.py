"""The made-up log that others measure and try things on is a log as Clew would have written it."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.generating import Plan, generate, generated
from bench.generating.planning import lengths

from clew_events.subjects import address_of, event_stream
from clew_services.compose import Clew, connect
from support.auditing import Audit
from support.truth import log_of, raw

SMALL = Plan(commits=3_000, threads=250, seed=7)


async def test_a_generated_log_has_what_was_planned_and_every_chain_in_it_is_whole(tmp_path: Path) -> None:
    async with generated(tmp_path / "data", SMALL, shards=2) as (server, made), connect(server.url, name="t") as clew:
        threads = await log_of(clew)  # holds numbers, chains and times
        assert sum(len(commits) for commits in threads.values()) == made.commits == SMALL.commits
        assert len(threads) == made.threads == SMALL.threads
        for length, some in made.of_length.items():
            assert [len(threads[address]) for address in some] == [length] * len(some)
        assert {1, 100} <= made.of_length.keys()
        assert {address.tenant for address in threads} == {"acme", "globex"}
        seen = {
            type(event).__name__ for commits in threads.values() for each in commits for event in each.commit.events
        }
        assert len(seen) == 7
        folded = [each async for each in Audit(clew.js, 2).verify()]
        assert [each.finding for _, each in folded if each.finding] == []


async def test_the_same_plan_gives_the_same_bytes_at_the_same_places_and_another_seed_gives_others(
    tmp_path: Path, clew: Clew
) -> None:
    await generate(clew.js, 2, SMALL)
    here = [(seq, message.subject, message.data) for seq, message in await raw(clew, event_stream(0))]
    async with generated(tmp_path / "again", SMALL, shards=2) as (server, _), connect(server.url, name="t") as other:
        there = [(seq, message.subject, message.data) for seq, message in await raw(other, event_stream(0))]
        assert here == there
        await generate(other.js, 2, Plan(commits=300, threads=30, seed=8))  # beside the first
        more = await raw(other, event_stream(0))
        assert not {address_of(message.subject) for _, message in more[len(there) :]} & {
            address_of(subject) for _, subject, _ in there
        }
        with pytest.raises(RuntimeError, match="refused"):
            await generate(other.js, 2, SMALL)


@pytest.mark.parametrize(
    ("commits", "threads"),
    [(1_000_000, 100_000), (100_000, 10_000), (200_000, 220), (5_000, 5_000), (10, 10), (11, 10), (1, 1), (5, 1)],
)
def test_lengths_add_up_to_the_commits_whatever_is_planned(commits: int, threads: int) -> None:
    found = lengths(Plan(commits=commits, threads=threads))
    assert sum(found) == commits
    assert len(found) == threads
    assert min(found) >= 1


@pytest.mark.parametrize(("commits", "threads"), [(9, 10), (0, 1)])
def test_too_few_commits_for_so_many_threads_are_refused(commits: int, threads: int) -> None:
    with pytest.raises(ValueError, match="cannot be spread"):
        lengths(Plan(commits=commits, threads=threads))
