"""``clew up`` in a process of its own, for the duration of a block."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from clew_services.host import nats_url
from clew_services.host.tether import tether_command

STOP: Final = 30.0
"""Seconds it may take to stop before it is killed."""


class DidNotStart(RuntimeError):
    """Clew could not be started; the message is what it said."""


class ClewServer(msgspec.Struct, frozen=True):
    """Where a running Clew is, and the key to it.

    ``base_url`` is what the ``openai`` SDK takes, with ``/v1``. The key is for the tenant ``default``, or the first of
    the ``api_keys`` that were given. ``nats_url`` has the password with which everything is allowed. ``data`` is its
    folder.
    """

    base_url: str
    nats_url: str
    api_key: str
    data: Path


class _Ready(msgspec.Struct):
    http: str
    nats: str
    data: str
    api_key: str | None = None


@contextlib.contextmanager
def running_clew(*, start: float = 60.0, **settings: str | int) -> Iterator[ClewServer]:
    """All of Clew with an empty store, ready; stopped and removed at the end of the block.

    ``settings`` are those of ``clew up``, such as ``max_messages=10``. Unless told otherwise it does not wait for the
    disk before it acknowledges (``sync="2m"``), as a test's data need not outlive a power cut. Variables ``CLEW_*`` of
    this process have no say. On Linux it does not outlive the thread that started it.

    Raises:
        DidNotStart: it was not ready within ``start`` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="clew-test-") as folder:
        data, errors = Path(folder, "data"), Path(folder, "errors")
        chosen = {"http": "127.0.0.1:0", "nats": "embedded:0", "shards": 1, "sync": "2m", "data": data, **settings}
        command = [sys.executable, "-m", "clew_services.cli", "up", "--json"]
        with errors.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603 - our own program
                tether_command(command), env=_environment(chosen), stdout=subprocess.PIPE, stderr=stream, text=True
            )
        try:
            ready = _ready(process, errors, start)
            key = ready.api_key or str(settings["api_keys"]).partition(":")[0]
            yield ClewServer(ready.http, nats_url.find(Path(ready.data), str(chosen["nats"])), key, data)
        finally:
            _stop(process)


def _environment(settings: Mapping[str, object]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLEW_")}
    return kept | {f"CLEW_{name.upper()}": str(value) for name, value in settings.items()}


def _ready(process: subprocess.Popen[str], errors: Path, within: float) -> _Ready:
    assert process.stdout is not None
    late = threading.Timer(within, process.kill)
    late.start()
    try:
        line = process.stdout.readline()
    finally:
        late.cancel()
    if not line:
        process.wait()
        said = errors.read_text(errors="replace").strip()
        raise DidNotStart(f"clew up did not get ready: {said or f'it was still not after {within:g} s'}")
    return msgspec.json.decode(line, type=_Ready)


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
