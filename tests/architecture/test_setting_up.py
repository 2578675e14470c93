"""Setting up from nothing: the Makefile's promises and the lock file's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
RUN_LOCK = (ROOT / "requirements-run.lock").read_text(encoding="utf-8")
LOCKS = ("requirements.lock", "requirements-run.lock")
PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)", re.MULTILINE)
PINNED, PINNED_TO_RUN = dict(PIN.findall(LOCK)), dict(PIN.findall(RUN_LOCK))
TARGETS = ("install", "run", "test", "lowest", "test-lowest", "bench", "bench-peers", "schema", "lock")


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # As if no make had started this test, which would hand its own settings down.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name in ("Makefile", *LOCKS, "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def python(folder: Path, body: str) -> str:
    program = folder / "fake-python"
    program.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    program.chmod(0o755)
    return f"PYTHON={program}"


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_first_sets_up_what_it_needs(clone: Path, target: str) -> None:
    planned = make(clone, "--dry-run", target)
    assert planned.returncode == 0, planned.stderr
    lock = "requirements-run.lock" if target == "run" else "requirements.lock"
    assert re.findall(r"--require-hashes --requirement (\S+)", planned.stdout) == [".venv/uv.lock", lock, lock]
    assert "--no-deps --no-build-isolation --editable ." in planned.stdout


@pytest.mark.parametrize("newer", [*LOCKS, "pyproject.toml"])
def test_what_is_set_up_stays_so_until_a_dependency_changes(clone: Path, newer: str) -> None:
    installed, runnable = (clone / ".venv" / name for name in (".installed", ".runnable"))
    installed.parent.mkdir()
    for name in (*LOCKS, "pyproject.toml"):
        os.utime(clone / name, (1, 1))
    for stamp in (installed, runnable):
        stamp.touch()
        os.utime(stamp, (2, 2))
    target = "run" if newer == "requirements-run.lock" else "install"
    assert "pip" not in make(clone, "--dry-run", target).stdout
    os.utime(clone / newer, (3, 3))
    assert "pip" in make(clone, "--dry-run", target).stdout


def test_uv_is_told_the_index_and_the_certificate_that_are_set_for_pip(clone: Path) -> None:
    programs = clone / ".venv" / "bin"
    programs.mkdir(parents=True)
    (clone / "settings").write_text(
        ":env:.index-url='https://one'\n"
        "global.cert='/ca.pem'\n"
        "global.extra-index-url='\\nhttps://two\\nhttps://three'\n"
        "global.index-url='https://no'\n",
        encoding="utf-8",
    )
    for name, body in ("python", "case $* in *list) cat settings;; esac"), ("uv", "env >told"):
        python(clone, body)
        (clone / "fake-python").rename(programs / name)
    theirs = ("UV_", "PIP_", "SSL_CERT_FILE")
    with pytest.MonkeyPatch.context() as patch:
        for name in [each for each in os.environ if each.startswith(theirs)]:
            patch.delenv(name)
        done = make(clone, "install", python(clone, "exit 0"))
    assert done.returncode == 0, done.stderr
    told = (clone / "told").read_text(encoding="utf-8").splitlines()
    assert {each for each in told if each.startswith(theirs)} == {
        "UV_DEFAULT_INDEX=https://one",
        "UV_INDEX=https://two https://three",
        "UV_INDEX_STRATEGY=unsafe-best-match",
        "SSL_CERT_FILE=/ca.pem",
    }


def test_a_python_too_old_is_named_together_with_what_to_do(clone: Path) -> None:
    refused = make(clone, "test", python(clone, "exit 1"))
    assert refused.returncode != 0
    assert "needs Python 3.11 or newer" in refused.stderr
    assert "make test PYTHON=" in refused.stderr
    assert not (clone / ".venv").exists()


def test_a_python_that_is_not_there_is_said_to_be_missing_in_the_same_words(clone: Path) -> None:
    refused = make(clone, "run", "PYTHON=no-such-python")
    assert refused.returncode != 0
    assert "needs Python 3.11 or newer" in refused.stderr


def test_a_python_without_venv_is_named_together_with_what_to_do(clone: Path) -> None:
    refused = make(clone, "install", python(clone, 'case "$*" in *ensurepip*) exit 1;; esac'))
    assert refused.returncode != 0
    assert "cannot make virtual environments" in refused.stderr
    assert not (clone / ".venv").exists()


def test_a_failed_installation_is_not_taken_for_a_finished_one(clone: Path) -> None:
    # This "python" passes as new enough and makes an environment in which nothing works.
    fake = 'case "$*" in *--clear*) mkdir -p .venv/bin; printf "#!/bin/sh\\nexit 1\\n" > .venv/bin/python; '
    failed = make(clone, "install", python(clone, fake + "chmod +x .venv/bin/python;; esac"))
    assert failed.returncode != 0
    assert (clone / ".venv" / "bin" / "python").exists()
    assert not (clone / ".venv" / ".installed").exists()


def test_help_names_every_target(clone: Path) -> None:
    told = make(clone).stdout
    for target in (*TARGETS, "clean"):
        assert f"make {target}" in told


TO_RUN = (
    *PROJECT["build-system"]["requires"],
    *PROJECT["project"]["dependencies"],
    *PROJECT["project"]["optional-dependencies"]["server"],
    *PROJECT["project"]["optional-dependencies"]["otel"],
)
OTHER_EXTRAS = [
    line
    for extra, lines in PROJECT["project"]["optional-dependencies"].items()
    if extra not in {"server", "otel"}
    for line in lines
    if not line.startswith("clew[")
]
TO_TEST = [*OTHER_EXTRAS, *(line for line in PROJECT["dependency-groups"]["dev"] if isinstance(line, str))]


def asked_for() -> list[Requirement]:
    return [Requirement(line) for line in (*TO_RUN, *TO_TEST)]


@pytest.mark.parametrize("requirement", asked_for(), ids=str)
def test_the_lock_pins_everything_that_is_asked_for_at_a_version_that_will_do(requirement: Requirement) -> None:
    pinned = PINNED.get(canonicalize_name(requirement.name))
    assert pinned is not None, "run 'make lock'"
    assert requirement.specifier.contains(pinned), "run 'make lock'"


def test_running_takes_a_part_of_the_lock_that_tests_are_run_with() -> None:
    assert PINNED_TO_RUN.items() <= PINNED.items(), "run 'make lock'"
    assert {canonicalize_name(Requirement(line).name) for line in TO_RUN} <= PINNED_TO_RUN.keys(), "run 'make lock'"
    to_run, to_test = ({canonicalize_name(Requirement(line).name) for line in lines} for lines in (TO_RUN, TO_TEST))
    assert not (to_test - to_run) & PINNED_TO_RUN.keys()


@pytest.mark.parametrize(("lock", "pinned"), [(LOCK, PINNED), (RUN_LOCK, PINNED_TO_RUN)], ids=LOCKS)
def test_everything_in_a_lock_is_pinned_by_version_and_hash(lock: str, pinned: dict[str, str]) -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"^\s*#.*\n", "", lock, flags=re.MULTILINE).strip())
    assert len(entries) == len(pinned) > 40
    for entry in entries:
        first, *hashes = entry.replace("\\", "").split("\n")
        assert re.fullmatch(r"[a-z0-9.-]+==[^\s;]+( ; .*)?", first.strip()), first
        assert hashes, first
        assert all(re.fullmatch(r"\s*--hash=sha256:[0-9a-f]{64}\s*", line) for line in hashes), first


def test_continuous_integration_runs_what_the_readme_says() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = script.read_text(encoding="utf-8").splitlines()
    assert "make test" in lines
    assert lines[-1].startswith("exec make soak SECONDS=")
