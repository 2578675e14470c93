"""The whole service as a user starts it: ``clew up`` in a process of its own, on free ports and a folder of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from support.ports import free_port
from support.waiting import PATIENCE, wait_until

ROOT = Path(__file__).resolve().parents[2]
SOURCES = os.pathsep.join(str(ROOT / folder) for folder in ("events", "projections", "services"))
CLEW = [sys.executable, "-W", "error", "-m", "clew_services.cli"]


def environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of Clew's, and with its sources where they can be imported."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLEW_")}
    return {**kept, "PYTHONPATH": SOURCES, **more}


def clew(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """A command of the command line, run to its end."""
    return subprocess.run(
        [*CLEW, *arguments],
        env=environment(**(env or {})),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Up:
    """A running ``clew up``, and where everything is.

    At ``open_url`` its NATS server lets everybody in, and at ``nats_url``, with the password, one may do everything.
    """

    def __init__(self, process: subprocess.Popen[str], data: Path, errors: Path) -> None:
        self.process = process
        self.data = data
        self._errors = errors
        assert process.stdout is not None
        words = process.stdout.readline().split()
        assert words[:2] == ["clew", "ready"], self.errors
        self.base_url, self.open_url = words[2:4]
        kept = data / "nats-url"
        self.nats_url = kept.read_text().strip() if kept.exists() else self.open_url
        key = data / "api-key"
        self.api_key = key.read_text().strip().partition(":")[0] if key.exists() else ""

    def told(self) -> str:
        """The next line of its standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    @property
    def errors(self) -> str:
        """What it said on standard error so far."""
        return self._errors.read_text()

    def children(self) -> dict[str, int]:
        """The process ids of its parts: ``nats-server``, ``fork-server`` and ``serve ROLE...``."""
        found = {}
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
                if line[-1] == "fork-server":
                    found["fork-server"] = int(pid)
                elif "serve" in line:
                    found[" ".join(line[line.index("serve") :])] = int(pid)
                elif line and Path(line[0]).name == "nats-server":  # who has just died has no line any more
                    found["nats-server"] = int(pid)
        return found

    def pid_of(self, role: str) -> int:
        """The process that has a role, such as ``projector``, whichever else it has."""
        (pid,) = (pid for part, pid in self.children().items() if role in part.split())
        return pid

    def await_again(self, part: str, killed: int) -> None:
        """Wait until a part that was killed is started again."""
        wait_until(lambda: self.children().get(part, killed) != killed, why=lambda: self.errors)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait for its end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def running_up(data: Path, *options: str, env: Mapping[str, str] | None = None) -> Iterator[Up]:
    """``clew up`` on free ports, ready. What it said on standard error is shown if the test fails."""
    errors = data.with_name(data.name + ".stderr")
    with errors.open("a") as stream, _started(data, options, env or {}, stream) as process:
        try:
            yield Up(process, data, errors)
        except BaseException:
            sys.stderr.write(errors.read_text())
            raise
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(PATIENCE)
                finally:
                    process.kill()


def _started(data: Path, options: tuple[str, ...], env: Mapping[str, str], errors: IO[str]) -> subprocess.Popen[str]:
    anywhere = {
        "CLEW_DATA": str(data),
        "CLEW_HTTP": "127.0.0.1:0",
        "CLEW_NATS": f"embedded:{free_port()}",
        "CLEW_SHARDS": "2",
    }
    return subprocess.Popen(
        [*CLEW, "up", *options],
        env=environment(**(anywhere | dict(env))),
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )


def has_ended(pid: int) -> bool:
    """Whether a process has ended. One that nobody has waited for counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def processes_of(folder: Path) -> list[int]:
    """Processes that were started for a data folder: it is in their words or in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(bytes(folder) in (process / file).read_bytes() for file in ("cmdline", "environ")):
                found.append(int(process.name))
    return found


def await_end(*pids: int) -> None:
    """Wait until processes have ended."""
    wait_until(lambda: all(map(has_ended, pids)))
