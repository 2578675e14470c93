"""The folder in which the processes of one ``clew up`` keep what they count, so that one of them can show it all.

A process's files bear its name, not its number: when it is started again it counts on where it was, and there are never
more files than processes. What only holds while a process lives goes when it dies.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

FOLDER: Final = "metrics"
VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus-client is told to count in files."""
PROCESS: Final = "CLEW_PROCESS"
"""The name of a process, unique among those that share the folder. Without one, its number is its name."""


def emptied(data: Path) -> dict[str, str]:
    """A new folder below ``data``, and the environment that has processes use it."""
    folder = data / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return {VARIABLE: str(folder)}


def buried(environment: Mapping[str, str]) -> None:
    """Take out what a process that has died said of itself; what it counted stays."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - not before its variable is set

    if VARIABLE in environment:
        mark_process_dead(environment[PROCESS], environment[VARIABLE])  # type: ignore[no-untyped-call]


def named() -> None:
    """Have this process's files bear its name, if it has one. To be called before anything is counted."""
    name = os.environ.get(PROCESS)
    if VARIABLE in os.environ and name:
        from prometheus_client import values  # noqa: PLC0415 - not before it is known that files are wanted

        values.ValueClass = values.MultiProcessValue(process_identifier=lambda: name)  # type: ignore[no-untyped-call]
