"""Snapshots of the index in JetStream: a new machine loads one, and follows the log from there.

A snapshot is an object of the bucket ``clew_index`` (a JetStream object store, which any NATS client can read): a copy
of a generation's file as of one moment, compressed with Zstandard. Its headers describe it; the object store holds the
hash of its bytes. If a snapshot is unusable, the next older one is loaded, or the log is read from the beginning.

A purge may come between the chunks of a snapshot and its record. Such a record is no usable snapshot, so another is
stored, and is removed with the old ones.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import aclosing, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import msgspec
import zstandard
from msgspec import Struct
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import api
from nats.js.object_store import ObjectStore

from clew_events.codec import UNREADABLE
from clew_events.errors import TooLarge, Unavailable
from clew_projections.atomic_file import replace_durably
from clew_projections.index.tables import INDEX_FORMAT
from clew_projections.kv.key_names import SNAPSHOT_BUCKET, SNAPSHOT_STREAM
from clew_projections.nats.jetstream import JetStream, stream_state
from clew_projections.nats.replica_reads import whole

KEPT: Final = 2
"""Snapshots kept of a deployment and a format: the newest, and one in case it is damaged."""
CHUNK: Final = 512 * 1024
"""Bytes in a message of a snapshot: half of the default limit of a server."""
LEVEL: Final = 3
"""The Zstandard level: a higher one is slower, and hardly smaller."""

_LOG: Final = logging.getLogger("clew.index")


class Snapshot(Struct, frozen=True, kw_only=True):
    """A snapshot in the bucket: its positions (``marks``) and its size in bytes, uncompressed and compressed.

    ``complete`` is whether the bucket has all of its chunks.
    """

    name: str
    made_at: str
    deployment: str
    format: int
    marks: dict[str, int]
    size: int
    nuid: str
    digest: str
    compressed: int
    complete: bool


class _Object(Struct, frozen=True):
    name: str
    nuid: str
    size: int = 0
    chunks: int = 0
    digest: str = ""
    deleted: bool = False
    headers: dict[str, list[str]] = {}


_OBJECT: Final = msgspec.json.Decoder(_Object)


class Snapshots:
    """The bucket of snapshots, for one deployment."""

    def __init__(self, nc: Client, js: JetStream, deployment: str) -> None:
        self._js = js
        self._context = nc.jetstream(timeout=30)
        self._objects = ObjectStore(SNAPSHOT_BUCKET, SNAPSHOT_STREAM, self._context)
        self._deployment = deployment

    async def all(self) -> list[Snapshot]:
        """Return all snapshots whose metadata is readable, the last that was stored first, whatever clocks say.

        Raises:
            Unavailable: the bucket does not answer.
        """
        # In one answer: chunks are stored before their record.
        stored = await self._js.subjects(SNAPSHOT_STREAM, f"$O.{SNAPSHOT_BUCKET}.>")
        records = [each for each in stored if each.startswith(f"$O.{SNAPSHOT_BUCKET}.M.")]
        metadata = await self._js.lasts_at_leader(SNAPSHOT_STREAM, records)
        read = (_read(each.body, stored) for each in sorted(metadata.values(), key=lambda each: each.seq, reverse=True))
        return [each for each in read if each is not None]

    async def usable(self) -> list[Snapshot]:
        """Return the complete snapshots of this deployment and the current format, newest first."""
        wanted = (self._deployment, INDEX_FORMAT, True)
        return [each for each in await self.all() if (each.deployment, each.format, each.complete) == wanted]

    async def store(self, file: Path, marks: Mapping[int, int]) -> Snapshot:
        """Store a copy of a generation in the bucket, and remove old snapshots.

        ``marks`` are positions that the generation has at least. Its writer may go on meanwhile.

        Raises:
            Unavailable: the bucket refuses it or does not answer, or was purged meanwhile.
            OSError, sqlite3.Error: the disk fails.
        """
        now = datetime.now(UTC).isoformat()
        name = f"{self._deployment}-{now.translate(_NO_MARKS)}"
        with tempfile.TemporaryDirectory(dir=file.parent, prefix="snapshot-") as folder:
            packed, size = await asyncio.to_thread(_pack, file, Path(folder))
            headers = {
                "Clew-Made-At": [now],
                "Clew-Deployment": [self._deployment],
                "Clew-Index-Format": [str(INDEX_FORMAT)],
                "Clew-Marks": [msgspec.json.encode({str(shard): seq for shard, seq in marks.items()}).decode()],
                "Clew-Size": [str(size)],
            }
            meta = api.ObjectMeta(headers=headers, options=api.ObjectMetaOptions(max_chunk_size=CHUNK))
            try:
                with packed.open("rb", buffering=0) as data:
                    await self._objects.put(name, data, meta)  # type: ignore[arg-type]  # it asks for readinto alone
            except (NatsError, TimeoutError, TooLarge) as fault:
                raise Unavailable(f"the snapshot of the index was not stored: {fault}", code="no_snapshot") from fault
        stored = {each.name: each for each in await self.usable()}
        await self._remove_old()
        if name not in stored:
            raise Unavailable("the snapshot of the index was purged while it was stored", code="no_snapshot")
        return stored[name]

    async def purge(self) -> None:
        """Remove all snapshots with every byte of them; those that were deleted before are still in the files.

        After an erasure, call it when all machines are clean: each has then ended the snapshots of its former file. An
        indexer stores another when one is due.

        Raises:
            Unavailable: the bucket does not answer, or has something left.
        """
        purged = (await stream_state(self._js, SNAPSHOT_STREAM)).last_seq
        await self._js.api(f"STREAM.PURGE.{SNAPSHOT_STREAM}")
        left = await stream_state(self._js, SNAPSHOT_STREAM)
        if left.messages and left.first_seq <= purged:
            raise Unavailable(f"{SNAPSHOT_STREAM} has {left.messages} messages left", code="not_purged")

    async def load(self, snapshot: Snapshot, file: Path) -> None:
        """Write a snapshot to a generation's file.

        Raises:
            Unavailable: the bucket does not answer.
            ValueError: the snapshot is damaged.
            OSError: the disk fails.
        """
        part = file.with_name(file.name + ".part")
        try:
            with part.open("wb") as unpacked:
                await self._unpack(snapshot, unpacked)
            replace_durably(part, file)
        finally:
            part.unlink(missing_ok=True)

    async def _unpack(self, snapshot: Snapshot, file: IO[bytes]) -> None:
        digest, read = hashlib.sha256(), 0
        unpacking = zstandard.ZstdDecompressor().stream_writer(file, closefd=False)

        def unpack(bodies: list[bytes]) -> None:
            for body in bodies:
                digest.update(body)
                unpacking.write(body)

        # The next page is read while one is decompressed.
        unpacked: asyncio.Task[None] | None = None
        try:
            async with aclosing(whole(self._js, SNAPSHOT_STREAM, _chunks(snapshot.nuid))) as found:
                async for page in found:
                    if unpacked is not None:
                        await unpacked
                    bodies = [each.body for each in page]
                    read += sum(map(len, bodies))
                    unpacked = asyncio.create_task(asyncio.to_thread(unpack, bodies))
            if unpacked is not None:
                await unpacked
        except zstandard.ZstdError as fault:
            raise ValueError(f"it is damaged: {fault}") from fault
        finally:
            if unpacked is not None:
                await asyncio.wait({unpacked})
        wanted = base64.urlsafe_b64decode(snapshot.digest.partition("=")[2])
        if digest.digest() != wanted:
            raise ValueError(f"it is damaged: {read} of {snapshot.compressed} bytes were read, or the hash differs")

    async def _remove_old(self) -> None:
        ours = [each for each in await self.all() if each.deployment == self._deployment]
        same = [each for each in ours if each.format == INDEX_FORMAT and each.complete]
        # Snapshots of an older format are useless once there is one of this format; those of a newer format stay.
        for each in [*same[KEPT:], *(each for each in ours if each.format < INDEX_FORMAT or not each.complete)]:
            try:
                await self._objects.delete(each.name)
                encoded = base64.urlsafe_b64encode(each.name.encode()).decode()
                await self._context.purge_stream(SNAPSHOT_STREAM, subject=f"$O.{SNAPSHOT_BUCKET}.M.{encoded}")
            except (NatsError, TimeoutError) as fault:
                _LOG.warning("the old snapshot %s of the index stays for now: %s", each.name, fault)


_NO_MARKS: Final = str.maketrans("", "", "-:+.")


def _pack(file: Path, folder: Path) -> tuple[Path, int]:
    copy, packed = folder / "copy.db", folder / "copy.db.zst"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as source, closing(sqlite3.connect(copy)) as target:
        source.execute("PRAGMA busy_timeout = 10000")
        target.execute("PRAGMA synchronous = OFF")
        # In one step, so that the copy is of one moment, despite concurrent writes.
        source.backup(target, pages=-1)
    size = copy.stat().st_size
    with copy.open("rb") as raw, packed.open("wb") as out:
        zstandard.ZstdCompressor(level=LEVEL).copy_stream(raw, out, size=size)
    copy.unlink()
    return packed, size


def _chunks(nuid: str) -> str:
    return f"$O.{SNAPSHOT_BUCKET}.C.{nuid}"


def _read(body: bytes, stored: Mapping[str, int]) -> Snapshot | None:
    try:
        found = _OBJECT.decode(body)
        if found.deleted:
            return None
        headers = {name: values[0] for name, values in found.headers.items()}
        return Snapshot(
            name=found.name,
            made_at=headers["Clew-Made-At"],
            deployment=headers["Clew-Deployment"],
            format=int(headers["Clew-Index-Format"]),
            marks=msgspec.json.decode(headers["Clew-Marks"], type=dict[str, int]),
            size=int(headers["Clew-Size"]),
            nuid=found.nuid,
            digest=found.digest,
            compressed=found.size,
            complete=stored.get(_chunks(found.nuid), 0) == found.chunks,
        )
    except (*UNREADABLE, KeyError, IndexError, ValueError):
        return None
