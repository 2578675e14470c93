"""What the README and the guides show is run as it stands, with only addresses, key and thread put in."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.cli import Cli, clew
from support.up import ROOT, Up, environment, running_up

DOCS = (
    "README.md",
    "docs/feed.md",
    "docs/fork.md",
    "docs/keys.md",
    "docs/openai.md",
    "docs/operating.md",
    "docs/operating/alerts.md",
    "docs/operating/monitoring.md",
    "docs/operating/thread-index.md",
    "docs/listing.md",
    "docs/query.md",
    "docs/replay.md",
)
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (f"{doc}:{text.count(chr(10), 0, found.start()) + 1}", found[2])
        for doc in DOCS
        for text in [(ROOT / doc).read_text()]
        for found in BLOCK.finditer(text)
        if found[1] == language
    ]


SHOWN = [
    (f"{where} {line}", tuple(shlex.split(line, comments=True)[1:]))
    for where, block in blocks("bash")
    for line in block.splitlines()
    if line.startswith("clew ")
]
COMMANDS = {words: where for where, words in reversed(SHOWN)}
"""Every command that is shown, once, and the first place of it."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("docs") / "clew-data") as running:
        Cli(running).done("tenants", "add", "acme")
        yield running


@pytest.fixture(scope="module")
def thread(up: Up) -> str:
    cli = Cli(up)
    cli.done("thread", "create", "--id", "thread_docs", "--metadata", "user=ada")
    cli.done("thread", "update", "thread_docs", "--set", "topic=weather")
    cli.done("item", "add", "thread_docs", stdin='{"type":"function_call","id":"fc_1"}')
    return "thread_docs"


@pytest.fixture(scope="module")
def key_id(up: Up) -> str:
    return str(Cli(up).json("keys", "create", "--name", "docs", "--scope", "read")["id"])


def test_the_documents_show_programs_and_commands() -> None:
    assert len(blocks("python")) >= 6
    assert len(COMMANDS) >= 10


PROGRAMS = """
import os, runpy, sys
import clew_events.client, nats, openai.types.beta

for program in map(str.strip, sys.stdin):
    if not (pid := os.fork()):
        for name, number in (("output", 1), ("errors", 2)):
            os.dup2(os.open(f"{program}.{name}", os.O_CREAT | os.O_WRONLY), number)
        sys.argv = [program]
        runpy.run_path(program, run_name="__main__")
        sys.stdout.flush()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
"""Runs programs, each in a process of its own. Importing the SDK takes longer than all that any of them does."""


@pytest.fixture(scope="module")
def run(up: Up) -> Iterator[Callable[[Path], tuple[int, str, str]]]:
    """Run a program; its exit code, output and errors."""
    # The SDK says on every call that OpenAI has switched this API off.
    warnings = ["-W", "error", "-W", "ignore::DeprecationWarning"]
    words, pipe = [sys.executable, *warnings, "-c", PROGRAMS], subprocess.PIPE
    with subprocess.Popen(
        words, cwd=up.data.parent, env=environment(), stdin=pipe, stdout=pipe, text=True, bufsize=1
    ) as programs:
        stdin, stdout = programs.stdin, programs.stdout
        assert stdin is not None
        assert stdout is not None

        def run(program: Path) -> tuple[int, str, str]:
            stdin.write(f"{program}\n")
            code = int(stdout.readline())
            return code, Path(f"{program}.output").read_text(), Path(f"{program}.errors").read_text()

        yield run
        stdin.close()


@pytest.mark.parametrize("code", [code for _, code in blocks("python")], ids=[where for where, _ in blocks("python")])
def test_a_program_in_the_documents_runs_as_it_stands(
    up: Up, tmp_path: Path, run: Callable[[Path], tuple[int, str, str]], code: str
) -> None:
    program = tmp_path / "shown.py"
    program.write_text(
        code.replace("http://127.0.0.1:8787/v1", up.base_url)
        .replace("nats://127.0.0.1:4222", up.open_url)
        .replace("clew_...", up.api_key)
    )
    ended, output, errors = run(program)
    assert ended == 0, errors
    assert output.strip()


@pytest.mark.parametrize("words", COMMANDS, ids=COMMANDS.values())
def test_a_command_in_the_documents_runs_as_it_stands(up: Up, thread: str, key_id: str, words: tuple[str, ...]) -> None:
    meant = {"thread_…": thread, "THREAD": thread, "KEY_ID": key_id}
    with contextlib.chdir(up.data.parent):
        ran = clew(*(meant.get(word, word) for word in words))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()


def test_curl_needs_the_address_and_the_key_alone_as_the_readme_shows(up: Up) -> None:
    (shown,) = re.findall(r"^curl .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    line = shown.replace("http://127.0.0.1:8787/v1", up.base_url)
    ran = subprocess.run(["sh", "-c", line], cwd=up.data.parent, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(ran.stdout)["metadata"] == {"user": "ada"}


def test_a_shell_is_enough_to_check_a_commit_as_the_guide_shows(up: Up, thread: str, tmp_path: Path) -> None:
    (shown,) = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs/replay.md").read_text(), re.MULTILINE | re.DOTALL)
    env = environment(CLEW_NATS=up.nats_url)
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    program = shown.replace("thread_…", thread)
    ran = subprocess.run(["sh", "-e"], input=program, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    of_record, of_content, sealed = (line.split()[0] for line in ran.stdout.splitlines())
    assert sealed == f'"seal":"{of_content}"'
    entries = Cli(up).json("history", thread)["commits"]
    assert of_record == entries[1]["hash"]
