"""The values of a process, kept in memory, and written to files at intervals for the process that serves them.

prometheus-client maps its files into memory. The kernel kills a process that writes to a mapped page when the disk is
full, so these files are written with ``pwrite``: if that fails, values are late or lost, and the process continues. The
format is that of prometheus-client, which its ``MultiProcessCollector`` reads.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Final

from prometheus_client.mmap_dict import MmapedDict, mmap_key

from clew_projections.atomic_file import write_atomically

_HEAD: Final = 8
"""Bytes of the header; the first four hold the number of bytes in use."""
_NUMBERS: Final = struct.Struct("dd")
_LOG: Final = logging.getLogger("clew.metrics")


class _Cell:
    """One value, with its encoded name in the file, and the time at which it was set."""

    __slots__ = ("name", "timestamp", "value")

    def __init__(self, key: str, value: float = 0.0, timestamp: float = 0.0) -> None:
        encoded = key.encode()
        self.name = struct.pack("i", len(encoded)) + encoded + b" " * (8 - (len(encoded) + 4) % 8)
        self.value = value
        self.timestamp = timestamp


class _File:
    """The values of one file. Entries are only added, so readers find each at the same offset."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cells: dict[str, _Cell] = {}
        self._written = b""
        with contextlib.suppress(FileNotFoundError):
            for key, value, timestamp, _ in MmapedDict.read_all_values_from_file(path):  # type: ignore[no-untyped-call]
                self._cells[key] = _Cell(key, value, timestamp)

    def cell(self, key: str) -> _Cell:
        """The cell of a key; 0 if it is new."""
        return self._cells.get(key) or self._cells.setdefault(key, _Cell(key))

    def write(self) -> None:
        """Write changed values.

        Raises:
            OSError: the disk is full. Readers may find some old values.
        """
        cells = tuple(self._cells.values())
        entries = b"".join(cell.name + _NUMBERS.pack(cell.value, cell.timestamp) for cell in cells)
        if entries == self._written:
            return
        head = struct.pack("ii", _HEAD + len(entries), 0)
        if self._path.exists():
            file = os.open(self._path, os.O_WRONLY)
            try:
                # The header last, when its entries are written.
                _write(file, entries, _HEAD)
                _write(file, head, 0)
            finally:
                os.close(file)
        else:
            write_atomically(self._path, head + entries, durable=False)
        self._written = entries


class Files:
    """The files of this process in the shared folder, one for each way of aggregation."""

    def __init__(self, folder: Path, process: str) -> None:
        """``process`` is its name, unique in the folder. Counters of an earlier process of that name continue."""
        self._folder = folder
        self._process = process
        self._files: dict[str, _File] = {}
        self._failing = False
        self._lock = Lock()

    def cell(self, kind: str, key: str) -> _Cell:
        """The cell of a key in the file of a kind."""
        with self._lock:
            file = self._files.get(kind)
            if file is None:
                file = self._files[kind] = _File(self._folder / f"{kind}_{self._process}.db")
            return file.cell(key)

    def write(self) -> None:
        """Write changed values. A failure is logged once, and the next call tries again."""
        try:
            with self._lock:
                for file in self._files.values():
                    file.write()
        except OSError as fault:
            if not self._failing:
                _LOG.warning("metrics are not written to %s for now: %s", self._folder, fault)
            self._failing = True
        else:
            self._failing = False


def value_class(files: Files) -> type:
    """The class of prometheus-client's values: each is kept in a cell of ``files``.

    A value changes in one thread, that of the event loop, and so without a lock. Any thread may read it.
    """

    class Value:
        _multiprocess = True

        def __init__(  # noqa: PLR0917 - as prometheus-client calls it
            self,
            typ: str,
            metric_name: str,
            name: str,
            labelnames: Sequence[str],
            labelvalues: Sequence[str],
            help_text: str,
            multiprocess_mode: str = "",
            **_: object,
        ) -> None:
            kind = f"{typ}_{multiprocess_mode}" if typ == "gauge" else typ
            key = mmap_key(metric_name, name, list(labelnames), list(labelvalues), help_text)
            self._cell = files.cell(kind, key)

        def inc(self, amount: float) -> None:
            self._cell.value += amount

        def set(self, value: float, timestamp: float | None = None) -> None:
            self._cell.value = value
            self._cell.timestamp = timestamp or 0.0

        def get(self) -> float:
            return self._cell.value

        def set_exemplar(self, _: object) -> None:
            """Exemplars are not kept."""

        def get_exemplar(self) -> None:
            """There is none."""

    return Value


def _write(file: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written
