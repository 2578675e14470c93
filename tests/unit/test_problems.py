"""What can be wrong: a closed set, said in the guide as the command says it, and what of it means which exit code."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from clew_projections.indexer.freshness import IndexFreshness
from clew_services.checkpoints.ledger import CheckpointCoverage
from clew_services.process.deployment_check import judge_derived
from clew_services.process.machine_check import examine_machine
from clew_services.process.problems import ADVICE, Code, Problem, diagnose
from clew_services.settings import Settings
from clew_services.status.derived_state import Buckets, DerivedState, Integrity, Proof
from support.certificates import Authority, private
from support.up import ROOT

NOW = datetime.now(UTC)
HOUR = 3600.0


def test_the_guide_has_each_code_with_its_severity_its_meaning_and_what_to_do() -> None:
    guide = (ROOT / "docs/operating/doctor.md").read_text().replace("`", "'")
    rows = re.findall(r"^\| '(\w+)' \| (\w+) \| (.*) \| (.*) \|$", guide, re.MULTILINE)
    assert rows == [(code, *advice) for code, advice in ADVICE.items()]
    assert tuple(ADVICE) == get_args(Code)


@pytest.mark.parametrize(
    ("codes", "unknown", "code"),
    [
        ((), (), 0),
        (("backup_old", "proof_old"), (), 1),
        (("backup_old",), ("the inbox",), 4),
        (("backup_old", "no_projector"), (), 4),
        (("no_projector", "log_changed"), ("the inbox",), 5),
    ],
)
def test_the_exit_code_is_that_of_the_worst(codes: tuple[Code, ...], unknown: tuple[str, ...], code: int) -> None:
    diagnosis = diagnose([Problem(each, "found") for each in codes], list(unknown))
    assert diagnosis.exit_code == code
    assert {problem.code for problem in diagnosis.problems} == set(codes)


def test_the_worst_comes_first_and_nothing_twice() -> None:
    problems = [Problem("backup_old", "old"), Problem("log_changed", "so"), Problem("backup_old", "old")]
    assert [each.code for each in diagnose(problems, ["a", "a"]).problems] == ["log_changed", "backup_old"]
    assert diagnose(problems, ["a", "a"]).unknown == ("a",)


WELL = DerivedState(
    buckets=Buckets(live=1, fold=1),
    proof=Proof(drift=0, since=NOW, age=1.0),
    integrity=Integrity(verdict=None, findings=(), since=NOW, age=1.0),
    index=IndexFreshness(generation=1, ready=True, behind=0, seconds=0.0, aside=0, bytes=1, drift=0),
    checkpoint=CheckpointCoverage(number=1, at=NOW, age=1.0, waiting=0.0),
)
INDEX = WELL.index
CHECKPOINT = WELL.checkpoint
OLD = 8 * 24 * HOUR


@pytest.mark.parametrize(
    ("worse", "codes"),
    [
        ({}, []),
        ({"index": None}, []),
        ({"clock": -70.0}, ["clock_differs"]),
        ({"proof": None}, ["proof_old"]),
        ({"proof": Proof(drift=0, since=NOW, age=OLD)}, ["proof_old"]),
        ({"proof": Proof(drift=2, since=NOW, age=1.0)}, ["views_differ"]),
        ({"integrity": None}, ["verification_old"]),
        ({"integrity": Integrity(verdict=None, findings=())}, ["verification_old"]),
        (
            {"integrity": Integrity(verdict="damaged", findings=(), since=NOW, age=1.0)},
            ["log_changed"],
        ),
        ({"checkpoint": None}, ["checkpoint_late"]),
        ({"checkpoint": CheckpointCoverage(number=1, at=NOW, age=0.0, waiting=2 * HOUR)}, ["checkpoint_late"]),
        (
            {"checkpoint": CheckpointCoverage(number=1, at=NOW, age=0.0, waiting=0.0, ahead=90.0)},
            ["checkpoint_in_future"],
        ),
        (
            {"index": IndexFreshness(generation=1, ready=True, behind=9, seconds=61.0, aside=0, bytes=1, drift=3)},
            ["index_late", "index_differs"],
        ),
    ],
)
def test_what_follows_from_the_log_is_judged_as_the_alerts_judge_it(
    worse: dict[str, object], codes: list[Code]
) -> None:
    assert [problem.code for problem in judge_derived(msgspec.structs.replace(WELL, **worse))] == codes


def test_a_machines_files_are_looked_at(tmp_path: Path) -> None:
    data, authority = tmp_path / "data", Authority(tmp_path / "authority")
    data.mkdir(mode=0o700)
    settings = Settings(data=str(data))

    def codes(now: datetime = NOW, **files: Path) -> list[tuple[Code, str]]:
        chosen = Settings(
            data=str(data), nats="nats://127.0.0.1:4222", **{name: str(file) for name, file in files.items()}
        )
        found = [problem for problem in examine_machine(chosen, now) if problem.code != "disk_nearly_full"]
        return [(problem.code, problem.what) for problem in found]

    assert codes() == []
    for name in ("nats-url", "signing-key"):
        private(data / name, "secret").chmod(0o644)
    data.chmod(0o755)
    assert [code for code, _ in codes()] == ["open_file"] * 3
    assert any(f"chmod 0600 {settings.signing_key_file}" in what for _, what in codes())
    for name in ("nats-url", "signing-key"):
        (data / name).chmod(0o600)
    data.chmod(0o700)

    cert, key = authority.issue("one", "clew.example")
    assert codes(http_cert=cert, http_key=key, nats_ca=authority.file) == []
    old, old_key = authority.issue("old", "clew.example", expired=True)
    assert [code for code, _ in codes(http_cert=old, http_key=old_key)] == ["certificate_not_valid"]
    assert [code for code, _ in codes(NOW - timedelta(days=1500), http_cert=old, http_key=old_key)] == [
        "certificate_not_valid"
    ]
    assert [code for code, _ in codes(NOW - timedelta(days=1.2), http_cert=old, http_key=old_key)] == [
        "certificate_expires"
    ]
    assert codes(NOW - timedelta(days=1.5), http_cert=old, http_key=old_key) == []  # of a day, half is left
    assert codes(http_cert=cert, http_key=old_key) == [("unusable_file", f"{old_key} is not the key of {cert}")]
    assert [code for code, _ in codes(nats_ca=key)] == ["unusable_file"]
    assert [code for code, _ in codes(nats_ca=tmp_path / "nothing")] == ["unusable_file"]
