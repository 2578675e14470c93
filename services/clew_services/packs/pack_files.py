"""Exports to a file: written under a temporary name, and renamed when the pack is complete."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from clew_events.errors import Invalid
from clew_projections.atomic_file import replace_durably
from clew_projections.index.index_folder import Lock
from clew_projections.packs.layout import PackHeader, Scope
from clew_projections.packs.pack_writer import Partial, partial
from clew_services.erasure.copy_records import CopyRecord, place_of, record_copy
from clew_services.packs.exporter import Exporter, ExportResult, Progress

Begin = Callable[[PackHeader, Partial | None], Progress]
"""Called with the pack's header, and the part that an interrupted export left; returns the progress callback."""


async def export(
    exporter: Exporter, scope: Scope, file: Path, begin: Begin = lambda *_: lambda _: None
) -> ExportResult:
    """Export to a new file. An interrupted export of the same scope is resumed from its temporary file.

    Raises:
        Invalid: the file exists or cannot be written, or its temporary file is of another export.
        NotFound: the thread never existed.
        Corrupt: the log differs from its last checkpoint.
        Unavailable: JetStream does not answer.
    """
    beside, began = file.with_name(file.name + ".part"), datetime.now(UTC)
    with _alone(file, beside):
        opening = await exporter.make_header(scope)
        begun = await asyncio.to_thread(_begin_file, beside, opening)
        packing = exporter.start_export(*(opening, None) if begun is None else (begun.opening, begun))
        packing.progress = begin(opening if begun is None else begun.opening, begun)
        with beside.open("r+b") as out:
            out.truncate(begun.length if begun is not None else 0)
            out.seek(0, os.SEEK_END)
            async with aclosing(packing.chunks()) as chunks:
                async for chunk in chunks:
                    await asyncio.to_thread(out.write, chunk)
        await asyncio.to_thread(replace_durably, beside, file)
    ends = (begun.opening if begun is not None else opening).ends
    made = CopyRecord(
        kind="pack", place=place_of(file), made_at=began, ends=ends, tenant=scope.tenant, thread=scope.thread
    )
    await record_copy(exporter.js, made)
    if packing.exported is None:
        raise AssertionError("a pack that was written has an end")
    return packing.exported


def _begin_file(beside: Path, opening: PackHeader) -> Partial | None:
    begun = partial(beside)
    if begun is None:
        return None
    if (begun.opening.deployment, begun.opening.scope) != (opening.deployment, opening.scope):
        raise Invalid(
            f"{beside} is the beginning of another export: delete it, or choose another file", code="other_export"
        )
    return begun


@contextmanager
def _alone(file: Path, beside: Path) -> Iterator[None]:
    if file.exists():
        raise Invalid(f"{file} exists already: choose another file, or move it away", code="file_exists")
    lock = Lock(beside)
    try:
        if not lock.take():
            raise Invalid(f"another process is exporting to {file}", code="file_in_use")
        yield
    except OSError as fault:
        raise Invalid(f"{file} cannot be written: {fault}", code="unwritable_file") from fault
    finally:
        if lock.held and not beside.stat().st_size:
            beside.unlink()
        lock.give_back()
