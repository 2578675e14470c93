"""A backup of a deployment, made while services run.

The snapshot of each stream is consistent, but those of different streams are of different moments. So the streams are
backed up in an order in which no concurrent change is lost: checkpoints before the log that they cover, the inbox
before the log and the rejected commands, and what erasures leave of commits after the log. A command that is in the
backup twice is recognised by its id.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from msgspec import Struct

from clew_events.errors import Corrupt, Unavailable
from clew_events.subjects import CHECKPOINT_STREAM, ERASED_STREAM, INBOX_STREAM, REJECTED_STREAM, event_stream
from clew_projections.generations.record import GENERATIONS
from clew_projections.nats.jetstream import stream_state
from clew_services.api_keys.key_bucket import KEYS
from clew_services.backup import stream_snapshot
from clew_services.backup.backup_folder import Folder
from clew_services.backup.manifest import FORMAT, KIND, Manifest, StreamEntry, file_name
from clew_services.erasure.copy_records import CopyRecord, place_of, record_copy
from clew_services.eventstore.lost_streams import known_shards, refuse_lost
from clew_services.eventstore.provision import identity
from clew_services.eventstore.stream_config import existing_stream
from clew_services.eventstore.topology import Config
from clew_services.nats_connection import Connection


class Progress(Struct, frozen=True):
    """Progress: ``done`` bytes of a stream's file, of ``total`` if that is known."""

    stage: str
    stream: str
    done: int
    total: int | None = None


Tell = Callable[[Progress], None]


def order(shards: int) -> list[str]:
    """The streams of a backup, in the order in which they are backed up."""
    before = [f"KV_{GENERATIONS}", f"KV_{KEYS}", CHECKPOINT_STREAM, INBOX_STREAM]
    return [*before, *(event_stream(shard) for shard in range(shards)), ERASED_STREAM, REJECTED_STREAM]


async def take(connection: Connection, folder: Folder, clew: str, report: Tell) -> Manifest:
    """Write a backup into a new folder, and return its manifest; ``clew`` is this version.

    Raises:
        Invalid: the folder cannot be created, or is not empty.
        Corrupt: a stream is missing.
        Unavailable: the backup was not finished; the folder then has no manifest, and is no backup.
    """
    await _check_whole(connection)
    folder.make()
    complete = await copy(connection, folder, clew, report)
    folder.finish(complete)
    ends = tuple(entry.last_seq for entry in complete.streams if entry.stream in complete.events())
    record = CopyRecord(kind="backup", place=place_of(folder.path), made_at=complete.made_at, ends=ends)
    await record_copy(connection.js, record)
    return complete


async def copy(connection: Connection, folder: Folder, clew: str, report: Tell) -> Manifest:
    """Write the files of a backup without its manifest, which is returned.

    Raises:
        Corrupt: a stream is missing.
        Unavailable: it was not finished.
    """
    began = datetime.now(UTC)
    shards, first = await _check_whole(connection)
    erased_up_to = (await stream_state(connection.js, ERASED_STREAM)).last_seq
    entries = [await _stream(connection, folder, name, report) for name in order(shards)]
    return Manifest(
        kind=KIND,
        format=FORMAT,
        made_at=began,
        finished_at=datetime.now(UTC),
        clew=clew,
        nats_server=str(connection.nc.connected_server_version),
        identity=await identity(connection.js),
        shards=shards,
        replicas=int(str(first.get("num_replicas", 1))),
        max_msg_size=int(str(first.get("max_msg_size", -1))),
        streams=tuple(entries),
        erased_up_to=erased_up_to,
        edition=folder.edition,
    )


async def _check_whole(connection: Connection) -> tuple[int, Config]:
    """Check that no stream is lost, and return the number of shards and the configuration of the log's first stream."""
    shards = await known_shards(connection.js) or 1
    await refuse_lost(connection.js, shards)
    return shards, await _config(connection, event_stream(0))


async def _stream(connection: Connection, folder: Folder, name: str, report: Tell) -> StreamEntry:
    await _config(connection, name)  # fails at once if the stream has no leader
    async with stream_snapshot.snapshot(connection, name) as (description, chunks):
        written = await folder.write(name, chunks, lambda done: report(Progress("backing up", name, done)))
    report(Progress("backing up", name, written.bytes, written.bytes))
    return StreamEntry(
        stream=name,
        file=file_name(name, folder.edition),
        bytes=written.bytes,
        sha256=written.sha256,
        messages=description.state.messages,
        first_seq=description.state.first_seq,
        last_seq=description.state.last_seq,
        config=description.config,
    )


async def _config(connection: Connection, name: str) -> Config:
    config = await existing_stream(connection.js, name)
    if config is not None:
        return config
    if name == event_stream(0):
        raise Unavailable("there is no Clew on this NATS server to back up", code="not_initialised")
    raise Corrupt(f"the stream {name} is missing: run 'clew init'", code="missing_stream")
