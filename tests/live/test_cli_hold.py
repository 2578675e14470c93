"""``clew hold`` and ``clew retention``, against a whole running service."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.cli import Cli
from support.up import Up, running_up

NOWHERE = "thread_" + "z" * 24


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up") / "data") as running:
        yield running


@pytest.fixture
def cli(up: Up) -> Cli:
    return Cli(up, actor="counsel")


def holds(found: dict) -> dict[str, tuple[list[str], bool]]:
    return {each["id"]: (each["holds"], each["deleted"]) for each in found["holds"]}


def test_a_hold_is_placed_by_ids_and_filters_listed_and_released(cli: Cli) -> None:
    theirs = [cli.create("-m", "customer=c-81") for _ in range(3)]
    other = cli.create("-m", "customer=c-82")
    cli.indexed(cli.json("thread", "delete", other))
    placed = cli.json("hold", "place", "case-7", *theirs, "--reason", "a lawsuit")
    assert holds(placed) == {thread: (["case-7"], False) for thread in theirs}
    assert holds(cli.json("hold", "place", "case-7", other, theirs[0]))[other] == (["case-7"], True)
    assert cli.done("hold", "place", "case-8", theirs[0][:20]).split()[-2:] == ["case-7", "case-8"]
    assert "the legal hold 'case-7'" in cli.refused(1, "erase", *theirs, "--yes")
    last = cli.json("history", theirs[1])["commits"][-1]["commit"]
    assert (last["command"], last["actor"], last["reason"]) == ("PlaceHold", "counsel", "a lawsuit")
    for thread in (*theirs, other):  # they are in two shards, and either may be behind
        cli.indexed(cli.json("history", thread)["commits"][-1])

    assert holds(cli.json("hold", "list", "case-8")) == {theirs[0]: (["case-7", "case-8"], False)}
    assert set(holds(cli.json("hold", "list"))) == {*theirs, other}
    assert len(cli.json("hold", "list", "--limit", "2")["holds"]) == 2
    table = cli.done("hold", "list", "case-7")
    assert [line.split()[-1] for line in table.splitlines() if other in line] == ["yes"]
    listed = cli.json("thread", "list", "--where", json.dumps({"hold": {"eq": "case-7"}}))["data"]
    assert {each["id"] for each in listed} == set(theirs)

    assert holds(cli.json("hold", "release", "case-8", "-m", "customer=c-81")) == {theirs[0]: (["case-7"], False)}
    assert cli.done("hold", "release", "case-8", "-m", "customer=c-82") == "no thread matches\n"
    assert set(holds(cli.json("hold", "release", "case-7", "--all"))) == {*theirs, other}
    cli.indexed(cli.json("history", other)["commits"][-1])
    for thread in theirs:
        cli.indexed(cli.json("history", thread)["commits"][-1])
    assert cli.json("hold", "list") == {"holds": [], "standing": []}
    assert cli.json("erase", *theirs, "--yes", "--no-wait")["refused"] == []


def test_what_cannot_be_held_is_refused_and_stops_no_other(cli: Cli) -> None:
    thread = cli.create()
    result = cli("hold", "place", "case-7", NOWHERE, thread, "--json")
    assert result.exit_code == 6
    assert list(holds(json.loads(result.stdout))) == [thread]
    assert [each["code"] for each in json.loads(result.stdout)["refused"]] == ["thread_not_found"]
    assert "has no legal hold 'case-9'. [hold_not_found]" in cli.refused(6, "hold", "release", "case-9", thread)
    for arguments, words in (
        (("place", "case-7"), "either THREADs or a filter"),
        (("place", "case-7", thread, "--where", "{}"), "either THREADs or a filter"),
        (("place", "by mail", thread), "a name is a code"),
        (("place", "case-7", "x"), "a thread id is 'thread' or 'conv_'"),
        (("release", "case-7", thread, "-m", "a=b"), "either THREADs or a filter"),
        (("release", "case-7", thread, "--all"), "--all takes neither THREADs nor a filter"),
        (("list", "by mail"), "a name is a code"),
    ):
        assert words in cli.refused(2, "hold", *arguments)
    assert cli.refused(1, "hold", "place", "case-7", "--where", "{").startswith("clew: ")


def test_a_standing_hold_covers_what_comes_to_match_until_it_is_released(cli: Cli) -> None:
    where = {"metadata": {"key": "customer", "eq": "c-83"}}
    standing = {"id": "case-10", "object": "hold", "where": where}
    for _ in range(2):
        assert cli.json("hold", "place", "case-10", "-m", "customer=c-83")["standing"] == [standing]
    assert "[already_exists]" in cli.refused(1, "hold", "place", "case-10", "-m", "customer=c-84")
    later, other = cli.create("-m", "customer=c-83"), cli.create()
    cli.done("hold", "place", "case-11", later)
    assert cli.json("hold", "list", "case-10") == {"holds": [], "standing": [standing]}
    assert cli.json("hold", "list", later)["standing"] == [standing]
    assert holds(cli.json("hold", "list", later)) == {later: (["case-11"], False)}
    assert cli.json("hold", "list", other) == {"holds": [], "standing": []}
    assert cli.done("hold", "list", later[:20]).split()[:2] == ["standing", "hold"]
    cli.refused(6, "hold", "list", NOWHERE)
    cli.done("hold", "release", "case-11", later)
    assert "the standing legal hold 'case-10'" in cli.refused(1, "erase", later, "--yes")
    assert cli.done("hold", "release", "case-10") == "released the standing hold case-10\n"
    assert "no standing legal hold 'case-10'" in cli.refused(6, "hold", "release", "case-10")
    assert cli.json("hold", "list", later) == {"holds": [], "standing": []}
    cli.done("hold", "place", "case-10", "--where", "{}")
    cli.done("hold", "release", "case-10", "--all")
    assert "hold_not_found" in cli.refused(6, "hold", "release", "case-10", "--all")
    assert cli.json("erase", later, "--yes", "--no-wait")["refused"] == []


def test_a_policy_is_set_by_a_filter_listed_removed_and_its_history_shown(cli: Cli) -> None:
    held = cli.create("-m", "plan=trial")
    cli.create("-m", "plan=gold")
    cli.done("hold", "place", "case-9", held)
    cli.indexed(cli.json("history", held)["commits"][-1])
    rule = ("--after", "90d", "--since", "changed", "--then")
    later = cli("retention", "set", "trials", *rule, "delete,erase-after", "30d", "-m", "plan=trial", "--json")
    policy = json.loads(later.stdout)
    assert (policy["after_days"], policy["then"], policy["erase_after_days"]) == (90, "delete", 30)
    assert policy["where"] == {"metadata": {"key": "plan", "eq": "trial"}}
    said = cli.done(
        "retention", "set", "trials", *rule, "delete,erase-after 7d", "--where", json.dumps(policy["where"])
    )
    assert said.startswith("trials is for 1 threads, of which 0 are old enough now")
    assert "left out until they are released: threads under case-9" in said
    assert cli.json("retention", "list")["policies"][0]["erase_after_days"] == 7
    table = cli.done("retention", "list")
    assert "trials  90d    changed  delete,erase-after 7d" in table
    cli.done("retention", "remove", "trials", "--reason", "a contract", "--command-id", "remove-1")
    assert cli.json("retention", "remove", "trials", "--command-id", "remove-1", "--reason", "a contract")["deleted"]
    assert cli.json("retention", "list") == {"policies": []}
    history = cli.done("history")
    assert "retention set trials: after 90d since changed delete, erase 30d later" in history
    assert "retention removed trials" in history


def test_a_policy_for_all_threads_takes_a_yes_and_a_wrong_one_is_refused(cli: Cli) -> None:
    cli.create()
    rule = ("retention", "set", "all", "--after", "3650d", "--since", "created", "--then")
    refused = cli.refused(1, *rule, "erase")
    assert "is for all" in refused
    assert refused.endswith("Confirm it with --yes. [removes_all]\n")
    assert cli.json(*rule, "erase", "--yes")["due"] == {"threads": 0, "exact": True}
    assert "[retention_not_found]" in cli.refused(6, "retention", "remove", "nobody")
    for wrong in (
        ("retention", "set", "all", "--after", "0d", "--since", "created", "--then", "erase"),
        ("retention", "set", "all", "--after", "36501", "--since", "created", "--then", "erase"),
        ("retention", "set", "by mail", "--after", "9d", "--since", "created", "--then", "erase"),
        (*rule, "burn"),
        (*rule, "erase,erase-after 7d"),
        (*rule, "delete,erase-after 0d"),
    ):
        cli.refused(2, *wrong)
    for filter_ in ("{", '{"plan": "gold"}', '{"metadata": {"key": "plan"}}'):
        assert cli.refused(1, *rule, "delete", "--where", filter_).startswith("clew: ")
    cli.done("retention", "remove", "all")
