"""The folder in which the processes of one ``clew up`` keep what they count, so that one of them can show it all.

A process's files bear its name, not its number: when it is started again it counts on where it was, and there are never
more files than processes. What only holds while a process lives goes when it dies.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from clew_services.metrics.files import Files

FOLDER: Final = "metrics"
VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus-client is told to count in files."""
PROCESS: Final = "CLEW_PROCESS"
"""The name of a process, unique among those that share the folder. Without one, its number is its name."""


def reset_folder(data: Path) -> dict[str, str]:
    """A new folder below ``data``, and the environment that has processes use it."""
    folder = data / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return {VARIABLE: str(folder)}


def remove_process_files(environment: Mapping[str, str]) -> None:
    """Take out what a process that has died said of itself; what it counted stays."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - not before its variable is set

    if VARIABLE in environment:
        mark_process_dead(environment[PROCESS], environment[VARIABLE])  # type: ignore[no-untyped-call]


def name_process_files() -> Files | None:
    """Have prometheus-client keep what this process counts in files of its own, under its name, if there is a folder.

    To be called before anything is counted. Nothing is written unless somebody calls :meth:`.files.Files.write`.
    """
    shared = os.environ.get(VARIABLE)
    if shared is None:
        return None
    from prometheus_client import values  # noqa: PLC0415 - not before it is known that files are wanted

    from clew_services.metrics.files import Files, value_class  # noqa: PLC0415 - likewise

    files = Files(Path(shared), os.environ.get(PROCESS) or str(os.getpid()))
    values.ValueClass = value_class(files)
    return files
