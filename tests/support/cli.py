"""The command line: in this process with its settings in the environment, and as a command in a shell."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from click.testing import CliRunner, Result

from clew_services.cli import main
from support.up import ROOT, Up, environment
from support.waiting import PATIENCE

_QUOTED = re.compile(r"""'[^']*'|"[^"$`\\]*"|#.*| > \S+$""")
_SHELL = re.compile(r"[|&;<>$`*?(){}\\]")
"""What a shell would make something else of, where it is not quoted."""


def clew(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A command of the command line, run to its end in this process; where a loop runs, in a thread of its own."""
    result = CliRunner().invoke(main, arguments, env=env)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)


class Cli:
    """``clew`` in this process, against a running Clew."""

    def __init__(self, up: Up, *, actor: str = "tester", **settings: str) -> None:
        self.env = {"CLEW_NATS": up.nats_url, "CLEW_ACTOR": actor, **settings}

    def __call__(self, *arguments: str, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(main, arguments, env=self.env, input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        return result

    def done(self, *arguments: str, stdin: str | None = None) -> str:
        """What a command that succeeds prints."""
        result = self(*arguments, stdin=stdin)
        assert result.exit_code == 0, result.output
        assert "\x1b" not in result.stdout
        return result.stdout

    def lines(self, *arguments: str) -> list[str]:
        return self.done(*arguments).splitlines()

    def json(self, *arguments: str, stdin: str | None = None) -> dict:
        return json.loads(self.done(*arguments, "--json", stdin=stdin))

    def refused(self, code: int, *arguments: str, stdin: str | None = None) -> str:
        """What a command says that is refused, and prints nothing else."""
        result = self(*arguments, stdin=stdin)
        assert (result.exit_code, result.stdout) == (code, ""), result.output
        return result.stderr

    def indexed(self, done: dict) -> dict:
        """What a command printed, once lists show what it did."""
        self.done("thread", "list", "--at-least", "{shard}-{seq}".format_map(done["position"]))
        return done

    def create(self, *arguments: str) -> str:
        """A new thread that lists show; its id."""
        return str(self.indexed(self.json("thread", "create", *arguments))["thread"]["id"])


def commands_in(guide: str) -> list[str]:
    """The lines of a guide's blocks for a shell, such as ``docs/proof.md``."""
    text = (ROOT / guide).read_text()
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def programs_in(guide: str) -> list[str]:
    """The programs in Python that a guide shows."""
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / guide).read_text(), re.MULTILINE | re.DOTALL)


class Shell:
    """A shell whose ``clew`` is for one running Clew, and which keeps its files in a folder.

    A line that is a command of Clew's alone, with or without a file for what it prints, is run in this process: a
    process of its own, which it has with ``apart``, costs twenty times as much. ``words`` take the place of others.
    """

    def __init__(self, up: Up, folder: Path, **words: str) -> None:
        self.folder = folder
        self._settings = {"CLEW_DATA": str(up.data)}
        self.words = words

    def __call__(self, line: str, *, apart: bool = False, **env: str) -> subprocess.CompletedProcess[str]:
        for word, meant in self.words.items():
            line = line.replace(word, meant)
        name, *words = shlex.split(line, comments=True)
        *arguments, mark, file = words if len(words) > 1 and words[-2] == ">" else [*words, "", ""]
        settings = {**self._settings, **env}
        if apart or name != "clew" or _SHELL.search(_QUOTED.sub("", line)):
            return self._in_shell(line, settings)
        with contextlib.chdir(self.folder):
            ran = clew(*arguments, env=settings)
        if mark:
            (self.folder / file).write_text(ran.stdout)
            ran.stdout = ""
        return ran

    def done(self, line: str, *, apart: bool = False, **env: str) -> str:
        """What a command that succeeds prints. It prints something, or writes it to a file."""
        ran = self(line, apart=apart, **env)
        assert ran.returncode == 0, f"{line}: {ran.stdout}{ran.stderr}"
        assert ran.stdout.strip() or ">" in line, line
        return ran.stdout

    def _in_shell(self, line: str, settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        shim = self.folder / "bin" / "clew"
        if not shim.exists():
            shim.parent.mkdir()
            shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W error -m clew_services.cli "$@"\n')
            shim.chmod(0o755)
        return subprocess.run(
            ["sh", "-c", line], cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE, check=False,
            env=environment(**settings, PATH=f"{shim.parent}{os.pathsep}{os.environ['PATH']}"),
        )  # fmt: skip
