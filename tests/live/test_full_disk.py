"""A disk that is really full: what is refused says so, nothing dies, and all goes on once there is room."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clew_services.metrics.folder import PROCESS, VARIABLE, emptied
from support.small_disk import SmallDisk, mounted
from support.up import SOURCES

COUNTING = """
import sys
from clew_services.metrics.folder import named
kept = named()
from clew_services.metrics.instruments import Instruments
seen = Instruments()
for line in sys.stdin:
    for shard in range(int(line)):
        seen.shard(shard)(1, 0.1)
    kept.write()
    print("counted", flush=True)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 64 MB."""
    with mounted(tmp_path / "disk", 64) as small:
        yield small


def counted(folder: Path) -> float:
    """The commits that all processes counted."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    (found,) = (each for each in registry.collect() if each.name == "clew_projected_commits")
    return sum(each.value for each in found.samples)


def test_a_process_counts_on_where_its_metrics_find_no_room(disk: SmallDisk) -> None:
    environment = emptied(disk.path)
    folder = Path(environment[VARIABLE])
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", COUNTING],
        env={**os.environ, **environment, PROCESS: "api", "PYTHONPATH": SOURCES},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdin is not None
        assert process.stdout is not None

        def count(shards: int) -> None:
            print(shards, file=process.stdin, flush=True)
            assert process.stdout.readline() == "counted\n", process.wait()

        count(2)
        disk.fill()
        for _ in range(2):
            count(100)
        assert counted(folder) >= 2
        disk.relieve()
        count(1)
        assert counted(folder) == 203
        process.stdin.close()
