"""The race as a document: all of it in ``peers.md`` and ``peers.json``, and the short form for the README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from bench.peers.goals import Goal
from bench.peers.measuring import Figure
from bench.peers.race import Lane, Plan, Result

BEGIN: Final = "<!-- bench-peers: written by `make bench-peers` -->"
END: Final = "<!-- /bench-peers -->"
SHORT: Final = {
    "create": "create",
    "get": "get",
    "update": "update",
    "list-many": "list of 20",
    "append-32": "append, 32",
    "append-256": "append, 256",
    "replay": "replay",
}
"""The columns of the short table."""
METHOD: Final = (
    (
        "One HTTP load generator for all, on the same machine, with connections that are kept open. Every answer was "
        "checked: the status, and that it holds what was asked for. A figure with a failure does not count."
    ),
    (
        "A create carries the same two metadata keys for everybody. Gets and updates go round all threads that were "
        "there at first."
    ),
    (
        "An append of `Clew` is a command over NATS to the running service, which projects it as well. As a library "
        "Clew appends from one Python process, which is client and service in one, as `eventsourcing` is; UmaDB's "
        "client is a process of its own."
    ),
    (
        "A turn of a framework reads the newest 20 items of a session, and stores a question and then its answer, in "
        "100 sessions in turn. The framework's own store is in the process that asks; Clew's is `clew up` behind its "
        "adapter, and two programs can share it."
    ),
    (
        "CPU is that of all of a contender's processes from the warm-up until they were at rest again, over all "
        "operations; the load generator's is not in it, except where client and library are one. Memory is after the "
        "last round, what processes share counted once."
    ),
)


class Report(Struct, frozen=True, kw_only=True):
    """A race with what has to be known to judge it."""

    at: datetime
    machine: str
    disk: str
    commit: str
    load_before: float
    load_after: float
    plan: Plan
    result: Result
    goals: list[Goal]


def markdown(report: Report, *, picture: bool = True) -> str:
    """All of it; ``picture`` is whether there is one beside it."""
    parts = [
        "# Clew beside others",
        (
            f"{_when(report)} Every figure is the median of {report.plan.rounds} rounds of {report.plan.seconds:g} s "
            "(a replay takes its time), "
            "in which the contenders took turns; whoever was not in turn stood idle beside. `make bench-peers` repeats "
            "it."
        ),
        *(["![Operations a second by lane](peers.svg)"] if picture else []),
        "## Goals",
        _goals(report.goals),
        *(_lane(lane, report) for lane in report.plan.lanes),
        "## Who took part, and how each keeps what it was given",
        _about(report),
        "## How it was measured",
        _method(report),
    ]
    return "\n\n".join(parts) + "\n"


def short(report: Report) -> str:
    """The table of the README: operations a second."""
    found = {(each.contender, each.lane): each for each in report.result.figures}
    columns = [lane for lane in SHORT if any(name == lane for _, name in found)]
    rows = []
    for about in report.result.abouts:
        cells = [_cell(found.get((about.name, lane))) for lane in columns]
        if any(cells):
            rows.append([about.name, "yes" if about.durable else "no", *cells])
    rows += [[name, "", *("skipped" for _ in columns)] for name in report.result.skipped]
    table = _table(["", "fsynced", *(SHORT[lane] for lane in columns)], rows)
    return (
        f"Operations a second, all in one run: {_when(report)} create, get, update and list are over HTTP; an append "
        "makes a new thread under a guard, with 32 and 256 in flight. [All figures, who was set up how, and what was "
        f"not reached](bench/results/peers.md); `make bench-peers` repeats it.\n\n{table}"
    )


def rewritten(document: str, table: str) -> str:
    """A document with what stands between the markers replaced.

    Raises:
        ValueError: it has no such place, or more than one.
    """
    if document.count(BEGIN) != 1 or document.count(END) != 1 or document.index(BEGIN) > document.index(END):
        raise ValueError(f"the document needs one line {BEGIN!r} and after it one line {END!r}")
    before, _, rest = document.partition(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"


def _when(report: Report) -> str:
    return f"{report.at:%Y-%m-%d}, {report.machine}, commit `{report.commit}`."


def _goals(goals: Iterable[Goal]) -> str:
    words = {True: "met", False: "**missed**", None: "cannot be said"}
    rows = [
        [
            each.title,
            f"{each.wanted:g}x",
            f"{each.ratio:.1f}x" if each.ratio is not None else "",
            words[each.met],
            each.ours,
            each.theirs,
        ]
        for each in goals
    ]
    return _table(["goal", "wanted", "found", "", "ours", "theirs"], rows)


def _lane(lane: Lane, report: Report) -> str:
    figures = sorted(
        (each for each in report.result.figures if each.lane == lane.name), key=lambda each: -each.per_second
    )
    rows = [_row(each) for each in figures]
    heads = ["", "a second", "p50 ms", "p99 ms", "CPU ms each", "memory MB", "stored at the end", "rounds, a second"]
    notes = [f"* {each.contender}: {_trouble(each)}" for each in figures if _trouble(each)]
    flight = f", {lane.workers} at once" if lane.title.startswith("HTTP") else ""
    return "\n\n".join([f"## {lane.title[0].upper()}{lane.title[1:]}{flight}", _table(heads, rows), *notes])


def _row(each: Figure) -> list[str]:
    rate = f"{each.per_second:,.0f}" if each.counts else "does not count"
    latency = [f"{each.p50:,.1f}", f"{each.p99:,.1f}"] if each.p50 else ["", ""]
    rounds = ", ".join(f"{one:,.0f}" for one in each.rounds)
    return [each.contender, rate, *latency, f"{each.cpu_ms:,.3f}", f"{each.memory_mb:,.0f}", f"{each.stored:,}", rounds]


def _trouble(each: Figure) -> str:
    failed = f"{each.failed} answers were failures, the first: {each.failure[:200]!r}. " if each.failed else ""
    late = f"{each.unfinished} requests were not answered within 20 s after the end." if each.unfinished else ""
    return f"{failed}{late}".strip()


def _cell(each: Figure | None) -> str:
    if each is None:
        return ""
    return f"{each.per_second:,.0f}" if each.counts else "failed"


def _about(report: Report) -> str:
    idle = report.result.idle
    rows = [
        [each.name, each.version, each.stored, each.set_up, f"{idle.get(each.name, 0):.1%}"]
        for each in report.result.abouts
    ]
    rows += [[name, "", "skipped", why.replace("\n", " "), ""] for name, why in report.result.skipped.items()]
    return _table(["", "version", "durable", "set up", "of a core, idle"], rows, words=4)


def _method(report: Report) -> str:
    disk = (
        f"The disk: {report.disk}. The machine's load was {report.load_before:.1f} before and "
        f"{report.load_after:.1f} at the end."
    )
    return "\n".join(f"* {each}" for each in (*METHOD, disk))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """The first columns, as many as ``words``, are to the left."""
    lines = [heads, [":--" if number < words else "--:" for number in range(len(heads))], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
