"""The folder in which the processes of one ``clew up`` keep their metrics, so that one of them can serve them all.

Files are named for the process, not for its pid: a restarted process continues its counters, and there are never more
files than processes. Gauges of a process are removed when it dies.
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
"""The variable that has prometheus-client count in files."""
PROCESS: Final = "CLEW_PROCESS"
"""The name of a process, unique in the folder; its pid by default."""


def reset_folder(data: Path) -> dict[str, str]:
    """Create an empty folder below ``data``, and return the environment for processes that use it."""
    folder = data / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return {VARIABLE: str(folder)}


def remove_process_files(environment: Mapping[str, str]) -> None:
    """Remove the gauges of a process that has died; its counters stay."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - only after its variable is set

    if VARIABLE in environment:
        mark_process_dead(environment[PROCESS], environment[VARIABLE])  # type: ignore[no-untyped-call]


def name_process_files() -> Files | None:
    """Have prometheus-client keep this process's values in files under its name, if there is a folder.

    Call it before anything is counted. Values are written by :meth:`.files.Files.write` alone.
    """
    shared = os.environ.get(VARIABLE)
    if shared is None:
        return None
    from prometheus_client import values  # noqa: PLC0415 - only where files are used

    from clew_services.metrics.files import Files, value_class  # noqa: PLC0415 - only where files are used

    files = Files(Path(shared), os.environ.get(PROCESS) or str(os.getpid()))
    values.ValueClass = value_class(files)
    return files
