"""Reports made from packs: what they say of a thread, the same each time, and nothing in them does anything."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import Raw
from msgspec.structs import replace

from clew_events.commit import Recorded
from clew_events.errors import Invalid, NotFound
from clew_events.events import (
    ForkedFrom,
    HoldPlaced,
    HoldReleased,
    ItemAdded,
    ItemDeleted,
    MetadataUpdated,
    ThreadCreated,
    ThreadDeleted,
)
from clew_events.subjects import Address
from clew_projections.audit.moments import Moment
from clew_projections.packs.pack import Pack
from clew_services.packs.check_pack import check_pack
from clew_services.report.report_files import Report, policy, write_page, write_report, write_table
from clew_services.report.thread_report import ThreadReport, make_report
from support.commits import CREATED, NOON, THREAD, added, chain, commit
from support.packing import as_stored, written

ADDRESS = Address("default", THREAD)
LATER = NOON + timedelta(days=7)
EVIL = "<script>alert(1)</script>\u202e</style><img src=x onerror=alert(1)>"
FORKED = {"thread": "thread_parent", "n": 1, "seq": 1, "ordinal": 1, "items": 1, "cleared": 0}
CALL = Raw(b'{"id":"item_1","type":"function_call","name":"look_up","arguments":"{\\"price\\":1.10}"}')


def history() -> list[Recorded]:
    return chain(
        (CREATED, added(1, "where is **my** parcel?")),
        (MetadataUpdated(set={"plan": "free"}, unset=()), HoldPlaced(hold="case-7")),
        (ItemAdded(item="item_1", ordinal=2, body=CALL),),
        (MetadataUpdated(set={"plan": "gold"}, unset=()), HoldReleased(hold="case-7")),
        (ItemDeleted(item="item_1", ordinal=2), ThreadDeleted()),
    )


def reported(folder: Path, records: list[Recorded], *moments: Moment) -> ThreadReport:
    pack = Pack(written(folder / "pack", [as_stored(records)]))
    return make_report(pack, check_pack(pack, progress=lambda _: None), ADDRESS, moments, now=LATER)


def page(*threads: ThreadReport, at: datetime = LATER) -> str:
    return write_page(Report(made_at=at, threads=threads)).decode()


def text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html.partition("</style>")[2]).split())


def test_it_says_who_did_what_and_what_that_changed(tmp_path: Path) -> None:
    report = reported(tmp_path, history())
    assert [(each.n, each.actor, each.command) for each in report.commits] == [(n, "test", "Made") for n in range(1, 6)]
    parts = [[(each.part, each.before, each.after) for each in commit.changes] for commit in report.commits]
    assert parts[1] == [("metadata plan", None, "free"), ("hold case-7", None, "in force")]
    assert parts[2] == [("item_1", None, CALL)]
    assert parts[3] == [("metadata plan", "free", "gold"), ("hold case-7", "in force", None)]
    assert parts[4] == [("thread", "open", "deleted"), ("item_1", CALL, None)]
    (hold,) = report.holds
    assert (hold.name, hold.placed.n, hold.released and hold.released.n) == ("case-7", 2, 4)
    assert report.proof.hash == report.commits[-1].hash


def test_states_are_those_of_the_moments_that_were_named(tmp_path: Path) -> None:
    report = reported(tmp_path, history(), Moment(n=3), Moment(time=NOON + timedelta(seconds=2)), Moment(n=5))
    assert [state.n for state in report.states] == [3, 2, 5]
    first, second, last = report.states
    assert ([item.id for item in first.items][1:], len(second.items)) == (["item_1"], 1)
    assert first.thread is not None
    assert (first.thread.metadata, first.holds) == ({"plan": "free"}, ("case-7",))
    assert (last.status, last.thread, last.items) == ("deleted", None, ())
    assert "The thread was deleted then." in text(page(report))


def test_a_moment_that_was_not_and_a_thread_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="has 5 commits"):
        reported(tmp_path, history(), Moment(n=6))
    with pytest.raises(NotFound, match="not there yet"):
        reported(tmp_path, history(), Moment(time=NOON))
    pack = Pack(tmp_path / "pack")
    with pytest.raises(NotFound):
        make_report(pack, check_pack(pack, progress=lambda _: None), Address("default", "thread_none"), now=LATER)


def test_the_verdict_says_what_was_not_checked(tmp_path: Path) -> None:
    verdict = reported(tmp_path, history()).verdict
    assert (verdict.outcome, verdict.findings, verdict.log) == ("no_findings", (), ())
    assert any("no signed checkpoint" in each for each in verdict.unchecked)
    assert "5 commits" in verdict.thread[0]


def test_a_damaged_history_is_reported_with_its_findings_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    records = history()
    forged = commit(3, *records[2].commit.events, prev=records[1].hash, actor="somebody else")
    report = reported(tmp_path, [*records[:2], replace(records[2], commit=forged), *records[3:]])
    assert report.verdict.outcome == "findings"
    assert {finding.code for finding in report.verdict.findings} == {"altered"}
    assert [each.n for each in report.commits] == [1, 2, 3, 4, 5]
    assert "commit 4 and those after it" in report.unreadable[0]
    shown = text(page(report))
    assert "something was found" in shown
    assert "altered" in shown


def test_the_same_history_gives_the_same_report_but_for_the_time_it_was_made(tmp_path: Path) -> None:
    one, two = (reported(tmp_path, history(), Moment(n=2)) for _ in range(2))
    assert one == two
    assert write_table([one]) == write_table([two])
    early, late = page(one), page(two, at=LATER + timedelta(days=1))
    differing = [pair for pair in zip(early.splitlines(), late.splitlines(), strict=True) if pair[0] != pair[1]]
    assert [line.count("Made 20") for line, _ in differing] == [1]


def test_the_page_needs_nothing_and_runs_nothing_whatever_the_thread_says(tmp_path: Path) -> None:
    records = chain(
        (CREATED, added(1, EVIL), MetadataUpdated(set={EVIL[:64]: EVIL}, unset=())),
        (ItemAdded(item="item_1", ordinal=2, body=Raw(json.dumps({"id": "item_1", "type": EVIL[:64]}).encode())),),
    )
    records[0] = replace(records[0], commit=replace(records[0].commit, actor=EVIL, command=EVIL, by=EVIL, reason=EVIL))
    html = page(reported(tmp_path, records))
    assert {"script", "img", "link", "iframe", "object"} & set(re.findall(r"<(\w+)", html)) == set()
    assert not re.search(r"<[^>]*\s(on\w+|src)=|href=.?javascript", html.partition("</style>")[2])
    assert "\u202e" not in html
    assert f'content="{policy().replace(chr(39), "&#39;")}"' in html
    assert "default-src 'none'" in policy()
    assert html.count("<style>") == html.count("</style>") == 1


def test_the_table_has_a_line_for_each_change_and_no_formula(tmp_path: Path) -> None:
    formulas = (
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        " =1",
        "\t=1",
        "\uff1d1",
        "a;=1+1;b",
        'a";+1',
        'a;"=1+1;b',
        "a\n=1+1",
        "a\t @SUM(A1)",
    )
    records = chain((CREATED, MetadataUpdated(set={f"k{n}": each for n, each in enumerate(formulas)}, unset=())))
    records[0] = replace(records[0], commit=replace(records[0].commit, actor="=cmd|' /C calc'!A0", reason="-2"))
    table = write_table([reported(tmp_path, records)]).decode("utf-8-sig")
    lines = list(csv.DictReader(io.StringIO(table)))
    assert len(lines) == len(formulas) + 1
    for line in lines:
        assert not any(cell.lstrip().startswith(tuple("=+-@\uff1d")) for cell in line.values())
    # Where a comma is a decimal point, spreadsheets take semicolons for what is between cells.
    parts = re.split("[;\n\t]", table)
    assert not any(part.lstrip(' "').startswith(tuple("=+-@\uff1d")) for part in parts)
    assert {line["actor"] for line in lines} == {"'=cmd|' /C calc'!A0"}
    assert "'=1+1" in {line["after"] for line in lines}


def test_json_has_every_text_as_it_was_stored(tmp_path: Path) -> None:
    report = reported(tmp_path, history(), Moment(n=3))
    said = json.loads(write_report(Report(made_at=LATER, threads=(report,)), "json"))
    (thread,) = said["threads"]
    assert thread["states"][0]["items"][1]["item"]["arguments"] == '{"price":1.10}'
    assert (said["object"], thread["thread_id"], thread["verdict"]["outcome"]) == ("report", THREAD, "no_findings")


def test_items_are_rendered_or_shown_as_they_were_given(tmp_path: Path) -> None:
    report = reported(tmp_path, history(), Moment(n=3))
    assert "where is <strong>my</strong> parcel?" in page(report)
    raw = write_page(Report(made_at=LATER, threads=(report,)), raw=True).decode()
    assert "where is **my** parcel?" in raw
    assert "<strong>my" not in raw


def test_a_fork_begins_with_what_it_inherits(tmp_path: Path) -> None:
    parent = chain((CREATED, added(1, "before the fork")), (added(2, "after it"),), thread="thread_parent")
    begun = ThreadCreated(forked_from=ForkedFrom(**FORKED, hash=parent[0].hash))
    fork = chain((begun,), (ItemDeleted(item=added(1).item, ordinal=1), added(2, "its own")), first_seq=3)
    report = reported(tmp_path, [*parent, *fork], Moment(n=1), Moment(n=2))
    assert (report.unreadable, report.verdict.findings) == ((), ())
    first, last = (["before the fork" in bytes(item.item).decode() for item in state.items] for state in report.states)
    assert (first, last) == ([True], [False])
    assert report.commits[0].changes[0].after == "thread_parent after commit 1"
    assert [change.part for change in report.commits[1].changes] == [added(1).item, added(2).item]


def test_a_fork_without_its_parent_says_so(tmp_path: Path) -> None:
    begun = ThreadCreated(forked_from=ForkedFrom(**FORKED, hash="0" * 64))
    report = reported(tmp_path, chain((begun,)))
    assert "it was forked from commit 1 of thread thread_parent" in report.unreadable[0]
    assert report.states == ()


def test_several_threads_are_one_page_with_a_list_of_contents(tmp_path: Path) -> None:
    report = reported(tmp_path, history())
    html = page(report, replace(report, thread_id="thread_other"))
    assert 'href="#thread_other"' in html
    assert "Report of 2 threads" in html
    assert NOON.astimezone(UTC).strftime("%Y-%m-%d") in html
