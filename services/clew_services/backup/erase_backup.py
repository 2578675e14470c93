"""Taking out of a backup what was erased since it was made, on a scratch server of its own.

The backup is restored there, less what was erased, and backed up into further files in the same folder. These are
restored once more and verified before their manifest takes the place of the old one, in one step; then the old files
are overwritten and removed. So the folder is a whole backup at any moment, and whoever was interrupted begins again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from clew_events import ids
from clew_events.errors import Corrupt, Invalid, Unavailable
from clew_projections.history.log_reads import LogReads
from clew_projections.index.index_folder import Lock
from clew_projections.integrity.verify import Verifier
from clew_services.backup import manifest
from clew_services.backup.backup_folder import Folder, overwrite
from clew_services.backup.manifest import LoadedManifest, Manifest
from clew_services.backup.restore_backup import restore
from clew_services.backup.take_backup import Tell, copy
from clew_services.embedded import data_folder
from clew_services.embedded.server import EmbeddedServer
from clew_services.erasure.erasure_file import KnownErasures
from clew_services.erasure.evidence import StoredEvidence
from clew_services.erasure.reapply import ReapplyResult
from clew_services.host import CannotStart
from clew_services.nats_connection import Connection, connection

SCRATCH: Final = "scratch"
"""The folder of the scratch server, in the folder of the backup."""
_LOCK: Final = "lock"
_SYNC: Final = "2m"


class ErasedBackup(Struct, frozen=True, kw_only=True):
    """The result: the backup's name, what was taken out of it, and whether it had anything of that.

    ``damaged`` are other threads, whose histories are damaged in it as they were before.
    """

    name: str
    made_at: datetime
    changed: bool
    bytes: int
    erased: ReapplyResult
    damaged: tuple[str, ...] = ()


async def erase_backup(folder: Folder, known: KnownErasures, clew: str, tell: Tell) -> ErasedBackup:
    """Take out of a backup what known erasures took since, and what it has of those on its own record.

    Without anything to take out, the backup stays as it is.

    Raises:
        Invalid: the folder is not a backup, is in use, or the erasures are of another deployment.
        Corrupt: the backup is damaged.
        Unavailable: it was not finished, as on a full disk. The backup is whole, the old one or the new one.
    """
    found = manifest.read(folder.path)
    lock = Lock(folder.path / _LOCK)
    try:
        if not lock.take():
            raise Invalid(f"another process takes erased contents out of {folder.path}", code="backup_in_use")
        await _clear(folder, found.manifest)
        try:
            return await _erase(folder, found, known, clew, tell)
        finally:
            # By now the manifest names the old files or the new ones.
            await _clear(folder, manifest.read(folder.path).manifest)
    except OSError as fault:
        raise _unfinished(folder, fault.strerror or str(fault)) from fault
    except (CannotStart, Unavailable) as fault:
        raise _unfinished(folder, fault.message) from fault
    finally:
        if lock.held:
            (folder.path / _LOCK).unlink()
        lock.give_back()


async def _erase(folder: Folder, found: LoadedManifest, known: KnownErasures, clew: str, tell: Tell) -> ErasedBackup:
    old = found.manifest
    async with _scratch(folder.path / SCRATCH / "old") as made:
        restored = await restore(made, folder, 1, tell, known=known, found=found)
        if not restored.erased.erasures:
            size = sum(entry.bytes for entry in old.streams)
            return ErasedBackup(name=found.name, made_at=old.made_at, changed=False, bytes=size, erased=restored.erased)
        edition = Folder(folder.path, old.edition + 1)
        copied = await copy(made, edition, clew, tell)
    await asyncio.to_thread(overwrite, folder.path / SCRATCH / "old")
    new = replace(
        copied,
        made_at=old.made_at,
        identity=old.identity,
        replicas=old.replicas,
        max_msg_size=old.max_msg_size,
        erased_at=datetime.now(UTC),
    )
    async with _scratch(folder.path / SCRATCH / "new") as made:
        damaged = await _verify(made, edition, new, restored.erased.threads, tell)
    edition.finish(new)
    size = sum(entry.bytes for entry in new.streams)
    return ErasedBackup(
        name=manifest.load(new).name,
        made_at=new.made_at,
        changed=True,
        bytes=size,
        erased=restored.erased,
        damaged=damaged,
    )


async def _verify(
    made: Connection, folder: Folder, new: Manifest, erased: Collection[str], tell: Tell
) -> tuple[str, ...]:
    """Check that new files can be restored and lack all that was erased, and verify the log in them.

    Returns the threads, other than the ``erased`` ones, that are damaged.
    """
    again = await restore(made, folder, 1, tell, found=manifest.load(new))
    if again.erased.erasures:
        raise Corrupt(f"{folder.path}: what was erased came back, so the backup is as it was", code="not_erased")
    js = LogReads(made.exchange, replicated=False)
    findings = (await Verifier(js, new.shards, StoredEvidence(js, {})).all()).findings
    for found in findings:
        if not found.thread or found.thread in erased:
            raise Corrupt(
                f"the log in {folder.path} is damaged, so the backup is as it was: {found.thread} {found.what} "
                f"[{found.code}]",
                code="backup_damaged",
            )
    return tuple(found.thread for found in findings)


@asynccontextmanager
async def _scratch(data: Path) -> AsyncIterator[Connection]:
    """A server that nobody else has the password of."""
    password = ids.random_id("", 40)
    async with (
        EmbeddedServer(data, sync=_SYNC, password=password) as server,
        connection(server.url, name="clew-backup") as made,
    ):
        yield made


async def _clear(folder: Folder, known: Manifest) -> None:
    """Remove what is not of the backup: a scratch server's data, and files that the manifest does not name."""
    scratch = folder.path / SCRATCH
    for data in scratch.iterdir() if scratch.is_dir() else ():
        (await data_folder.claim(data)).release()  # waits for the server of a killed process
    for path in (*([scratch] if scratch.is_dir() else []), *folder.strays(known)):
        await asyncio.to_thread(overwrite, path)


def _unfinished(folder: Folder, why: str) -> Unavailable:
    return Unavailable(
        f"{folder.path} is a whole backup, and may still have what was erased: {why}. Run this again; it needs room "
        "for two more copies in that folder",
        code="backup_not_erased",
    )
