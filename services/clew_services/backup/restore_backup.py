"""Restoring a backup to a server without a deployment.

Every file is checked against the manifest before anything is written. Until the restore is finished, the metadata of
each stream name the backup: a restore of the same backup resumes, one of another replaces it, and no process takes the
streams for a deployment. The log's first stream, which identifies a deployment, is restored and unmarked last.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.errors import AlreadyExists, Corrupt, Invalid, Unavailable
from clew_events.subjects import event_stream
from clew_projections.nats.jetstream import JetStream, stream_state
from clew_services.backup import manifest, stream_snapshot
from clew_services.backup.backup_folder import Folder
from clew_services.backup.manifest import LoadedManifest, StreamEntry
from clew_services.backup.stream_snapshot import Description, State
from clew_services.backup.take_backup import Progress, Tell
from clew_services.eventstore import provision
from clew_services.eventstore.stream_config import existing_stream, remove_stream
from clew_services.eventstore.topology import Config
from clew_services.eventstore.topology import streams as wanted_streams
from clew_services.eventstore.unfinished_restore import RESTORING, restoring_backup
from clew_services.nats_connection import Connection

STALLED: Final = 120.0
"""Seconds without progress after which a replica counts as stalled."""
_OURS: Final = ("CLEW_", "KV_clew_", "OBJ_clew_")


class RestoreResult(Struct, frozen=True):
    """The result of a restore: the backup's name, the restored streams, and the number of commits."""

    name: str
    replicas: int
    streams: tuple[str, ...]
    commits: int


async def restore(connection: Connection, folder: Folder, replicas: int | None, report: Tell) -> RestoreResult:
    """Restore a backup to a server or cluster without a deployment; ``replicas`` is the backup's by default.

    Raises:
        AlreadyExists: there is a deployment, or a part of one; the message names its streams.
        Invalid: this is no backup, or of another format; or the server's messages are too small for it.
        Corrupt: the backup is damaged, and nothing was written; or the log was damaged before it was backed up.
        Unavailable: the restore was not finished; restoring the same backup again resumes it.
    """
    loaded = manifest.read(folder.path)
    complete = loaded.manifest
    copies = replicas or complete.replicas
    wanted = {str(config["name"]): config for config in wanted_streams(complete.shards, copies, complete.max_msg_size)}
    if unknown := [entry.stream for entry in complete.streams if entry.stream not in wanted]:
        raise Invalid(f"this version of Clew has no stream {unknown[0]}: use a newer one", code="backup_format")
    if connection.nc.max_payload < complete.max_msg_size:
        raise Invalid(
            f"the server's max_payload is {connection.nc.max_payload}, and the backup's streams have messages of up to "
            f"{complete.max_msg_size} bytes: set max_payload to that",
            code="max_payload_too_small",
        )
    unfinished = await _unfinished_streams(connection.js)
    for entry in complete.streams:
        await asyncio.to_thread(_check, folder, entry, report)
    for name in (name for name, backup in unfinished.items() if backup != loaded.name):
        await remove_stream(connection.js, name)  # of another backup's interrupted restore
    ordered = sorted(complete.streams, key=lambda entry: entry.stream == event_stream(0))
    for entry in ordered:
        if unfinished.get(entry.stream) != loaded.name or not await _is_whole(connection.js, entry):
            await _restore_stream(connection, folder, entry, _mark_restoring(wanted[entry.stream], loaded), report)
    for entry in ordered:
        await _await_replicas(connection.js, entry.stream)
    for entry in ordered:
        # Removes the mark. On a cluster it is needed for another reason, too: until a stream is updated, servers record
        # it as being restored, and one that has lost its disk crashes when it gets the stream from others (2.15.1).
        await connection.js.api(f"STREAM.UPDATE.{entry.stream}", wanted[entry.stream])
    await provision.init(connection.js, shards=complete.shards, replicas=copies, max_msg_size=complete.max_msg_size)
    commits = [(await stream_state(connection.js, name)).messages for name in complete.events()]
    return RestoreResult(loaded.name, copies, tuple(entry.stream for entry in ordered), sum(commits))


def _check(folder: Folder, entry: StreamEntry, report: Tell) -> None:
    folder.check(entry, lambda done: report(_at("checking", entry, done)))


async def _unfinished_streams(js: JetStream) -> dict[str, str]:
    """The streams of an interrupted restore, with the names of their backups.

    Raises:
        AlreadyExists: there are streams of a deployment.
        Unavailable: JetStream does not answer.
    """
    names = {name for name in await js.streams() if name.startswith(_OURS)}
    marks = {name: restoring_backup(await existing_stream(js, name) or {}) for name in names}
    # While the last stream is marked, streams without a mark are of the same restore.
    current = marks.get(event_stream(0))
    unfinished = {name: backup for name, mark in marks.items() if (backup := mark or current)}
    if unfinished.keys() == names and (current or event_stream(0) not in names):
        return unfinished
    raise AlreadyExists(
        f"there is a deployment here already, or a part of one: {', '.join(sorted(names))}. A backup is restored where "
        "there is none; if a restore was interrupted at its end here, 'clew init' creates what is missing",
        code="deployment_exists",
    )


async def _is_whole(js: JetStream, entry: StreamEntry) -> bool:
    if _holds_all(entry, msgspec.convert((await js.api(f"STREAM.INFO.{entry.stream}"))["state"], State)):
        return True
    await remove_stream(js, entry.stream)  # of this restore, by its metadata, and incomplete
    return False


async def _restore_stream(
    connection: Connection, folder: Folder, entry: StreamEntry, config: Config, report: Tell
) -> None:
    chunks = folder.chunks(entry, lambda done: report(_at("restoring", entry, done)))
    report(_at("restoring", entry, 0))
    state = await stream_snapshot.restore(connection, Description(config, _state(entry)), chunks)
    if not _holds_all(entry, state):
        await remove_stream(connection.js, entry.stream)
        raise Corrupt(
            f"{entry.stream} had {entry.messages} messages up to {entry.last_seq}, and the server could read "
            f"{state.messages} up to {state.last_seq}: it was damaged before it was backed up; use another backup",
            code="restored_short",
        )


def _holds_all(entry: StreamEntry, state: State) -> bool:
    # Nothing is ever removed from the log. From other streams it may be, while the snapshot is taken.
    is_log = entry.messages == entry.last_seq > 0
    return state.last_seq >= entry.last_seq and (state.messages >= entry.messages or not is_log)


async def _await_replicas(js: JetStream, stream: str) -> None:
    """Wait until every replica has all of a stream.

    Raises:
        Unavailable: a replica made no progress for :data:`STALLED` seconds.
    """
    clock = asyncio.get_running_loop().time
    until, before = clock() + STALLED, -1
    while (behind := await _missing_replicas(js, stream)) > 0:
        if behind != before:
            until, before = clock() + STALLED, behind
        if clock() > until:
            raise Unavailable(
                f"{stream} is restored, but not all servers have it: make sure that all of them run, and restore again",
                code="replicas_behind",
            )
        await asyncio.sleep(0.1)


class _Cluster(Struct, frozen=True):
    class Replica(Struct, frozen=True):
        current: bool = False
        lag: int = 0

    replicas: tuple[Replica, ...] = ()


async def _missing_replicas(js: JetStream, stream: str) -> int:
    cluster = (await js.api(f"STREAM.INFO.{stream}")).get("cluster") or {}
    replicas = msgspec.convert(cluster, _Cluster).replicas
    return sum(replica.lag + (not replica.current) for replica in replicas)


def _mark_restoring(config: Config, loaded: LoadedManifest) -> Config:
    metadata = config.get("metadata")
    assert isinstance(metadata, dict)
    return {**config, "metadata": {**metadata, RESTORING: loaded.name}}


def _state(entry: StreamEntry) -> State:
    return State(entry.messages, entry.first_seq, entry.last_seq)


def _at(stage: str, entry: StreamEntry, done: int) -> Progress:
    return Progress(stage, entry.stream, done, entry.bytes)
