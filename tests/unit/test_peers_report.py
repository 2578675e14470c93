"""The race with other systems: what it makes of runs, and what it writes. No rival is run here."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bench.peers.contender import About
from bench.peers.goals import goals
from bench.peers.measuring import Cost, Figure, Run, figure
from bench.peers.processes import cpu_seconds, memory, tree
from bench.peers.race import Plan, Result
from bench.peers.report import BEGIN, END, Report, markdown, rewritten, short

ROOT = Path(__file__).parents[2]
ABOUTS = [
    About(name="Clew", version="1", durable=True, stored="fsync"),
    About(name="Clew, relaxed", version="1", durable=False, stored="later"),
    About(name="LangGraph dev server", version="2", durable=False, stored="in memory"),
    About(name="Aegra on PostgreSQL", version="3", durable=True, stored="fsync | commit"),
    About(name="UmaDB", version="4", durable=True, stored="fsync"),
]


def found(contender: str, lane: str, per_second: float, failed: int = 0) -> Figure:
    run = Run(count=100, elapsed=100 / per_second, latencies=[1000] * 100, failed=failed, failure="HTTP 500" * failed)
    return figure(contender, lane, [run], [Cost(cpu_seconds=0.1, operations=100, memory=50)], 1_234)


FIGURES = [
    found("Clew", "create", 2_000),
    found("Clew, relaxed", "create", 4_000),
    found("LangGraph dev server", "create", 600),
    found("Aegra on PostgreSQL", "create", 150),
    found("Clew", "get", 9_000),
    found("Aegra on PostgreSQL", "get", 300),
    found("LangGraph dev server", "get", 9_999, failed=1),
    found("Clew", "append-32", 6_000),
    found("UmaDB", "append-32", 5_000),
]


def report() -> Report:
    return Report(
        at=datetime(2026, 11, 23, tzinfo=UTC),
        machine="2 cores",
        disk="ext4",
        commit="abc1234",
        load_before=0.1,
        load_after=2.0,
        plan=Plan(),
        result=Result(
            abouts=ABOUTS,
            figures=FIGURES,
            skipped={"Google ADK on SQLite": "cannot be installed: no network"},
            idle={"Clew": 0.012},
        ),
        goals=goals(FIGURES, ABOUTS),
    )


def test_a_figure_is_the_middle_of_its_rounds() -> None:
    runs = [Run(count=count, elapsed=1.0, latencies=[count] * count) for count in (100, 300, 200)]
    costs = [Cost(cpu_seconds=1.0, operations=count, memory=count) for count in (100, 300, 200)]
    middle = figure("Clew", "get", runs, costs, 5)
    assert (middle.per_second, middle.p50, middle.cpu_ms, middle.memory_mb) == (200, 0.2, 5.0, 300)
    assert middle.rounds == [100, 300, 200]


def test_a_goal_is_judged_by_what_is_durable_of_ours_and_the_best_of_theirs() -> None:
    durable, in_memory, get, at_32, at_256 = goals(FIGURES, ABOUTS)
    assert durable.ratio == pytest.approx(2_000 / 150)
    assert durable.met is True
    assert in_memory.ratio == pytest.approx(2_000 / 600)
    assert in_memory.met is False
    assert get.ratio == pytest.approx(30)
    assert at_32.met is True
    assert at_256.met is None


def test_a_figure_with_a_failure_does_not_count_and_says_why() -> None:
    whole = markdown(report())
    assert "| LangGraph dev server | does not count |" in whole
    assert "1 answers were failures, the first: 'HTTP 500'" in whole
    assert "failed" in next(line for line in short(report()).splitlines() if line.startswith("| LangGraph"))
    assert goals(FIGURES, ABOUTS)[2].theirs.startswith("Aegra")


def test_who_could_not_take_part_stands_in_every_table_of_contenders() -> None:
    assert "cannot be installed: no network" in markdown(report())
    assert "| Google ADK on SQLite |" in short(report())
    assert "skipped" in short(report())


def test_a_goal_that_was_missed_is_printed_as_missed() -> None:
    line = next(line for line in markdown(report()).splitlines() if "beside LangGraph in memory" in line)
    assert "**missed**" in line
    assert "3.3x" in line


def test_every_table_has_as_many_cells_in_each_row_as_heads() -> None:
    rows = [line for line in markdown(report()).splitlines() if line.startswith("|")]
    table: list[int] = []
    for row in rows:
        cells = row.replace("\\|", "").count("|")
        if "--" in row:
            table = [cells]
        assert not table or cells == table[0] or rows[rows.index(row) + 1].startswith("| :--")


def test_only_what_stands_between_the_markers_is_written_anew() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = rewritten(document, "| new |")
    assert once == f"before\n{BEGIN}\n| new |\n{END}\nafter\n"
    assert rewritten(once, "| new |") == once


@pytest.mark.parametrize("document", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_document_without_one_place_for_the_table_is_left_alone(document: str) -> None:
    with pytest.raises(ValueError, match="bench-peers"):
        rewritten(document, "| new |")


def test_the_readme_has_a_place_for_the_table_and_room_for_it() -> None:
    written = rewritten((ROOT / "README.md").read_text(encoding="utf-8"), short(report()))
    assert "| Clew, relaxed | no |" in written
    assert len(written.splitlines()) < 150


def test_what_a_process_costs_is_read_with_its_children() -> None:
    assert os.getpid() in tree([os.getppid()])
    assert cpu_seconds([os.getpid()]) > 0
    assert memory([os.getpid()]) > 1
