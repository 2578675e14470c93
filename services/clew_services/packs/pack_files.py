"""Export to files: under a temporary name first, so that the final name is only ever that of a complete pack."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

from clew_events.errors import Invalid
from clew_projections.index.index_folder import Lock
from clew_projections.packs.layout import PackHeader, Scope
from clew_projections.packs.resume import Partial, partial
from clew_services.packs.exporter import Exporter, ExportResult, Progress

Begin = Callable[[PackHeader, Partial | None], Progress]
"""Called with the header and the partial export that is resumed, if any; returns the progress callback."""


async def export(
    exporter: Exporter, scope: Scope, file: Path, begin: Begin = lambda *_: lambda _: None
) -> ExportResult:
    """Export to a new file. Resumes an export of the same scope that was killed.

    Raises:
        Invalid: the file exists, cannot be written, or has a partial export of another scope.
        NotFound: the thread never existed.
        Corrupt: the log differs from its last checkpoint.
        Unavailable: JetStream does not answer.
    """
    part = file.with_name(file.name + ".part")
    with _alone(file, part):
        opening = await exporter.make_header(scope)
        begun = await asyncio.to_thread(_begin_file, part, opening)
        packing = exporter.start_export(*(opening, None) if begun is None else (begun.opening, begun))
        packing.progress = begin(opening if begun is None else begun.opening, begun)
        with part.open("r+b") as out:
            out.truncate(begun.length if begun is not None else 0)
            out.seek(0, os.SEEK_END)
            async with aclosing(packing.chunks()) as chunks:
                async for chunk in chunks:
                    await asyncio.to_thread(out.write, chunk)
            out.flush()
            await asyncio.to_thread(os.fsync, out.fileno())
        part.rename(file)
    if packing.exported is None:
        raise AssertionError("a pack that was written has an end")
    return packing.exported


def _begin_file(part: Path, opening: PackHeader) -> Partial | None:
    begun = partial(part)
    if begun is None:
        return None
    if (begun.opening.deployment, begun.opening.scope) != (opening.deployment, opening.scope):
        raise Invalid(
            f"{part} is a partial export of another scope. Delete it, or choose another file", code="other_export"
        )
    return begun


@contextmanager
def _alone(file: Path, part: Path) -> Iterator[None]:
    if file.exists():
        raise Invalid(f"{file} exists already: choose another file, or move it away", code="file_exists")
    lock = Lock(part)
    try:
        if not lock.take():
            raise Invalid(f"another process is exporting to {file} at this moment", code="file_in_use")
        yield
    except OSError as fault:
        raise Invalid(f"{file} cannot be written: {fault}", code="unwritable_file") from fault
    finally:
        if lock.held and not part.stat().st_size:
            part.unlink()
        lock.give_back()
