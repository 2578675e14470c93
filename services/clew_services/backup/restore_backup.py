"""Restore of a backup to a server or cluster without a deployment.

The whole backup is checked against its manifest before anything is written. Until the restore is complete, the metadata
of each stream names the backup that it is from. So an interrupted restore of the same backup resumes, a restore of
another backup replaces the streams, and no process uses them. The log's first stream identifies a deployment: it is
restored last, and its mark is removed last.

Erasures that the backup is older than are applied before that. Then the mark is another one, so that an interrupted
restore begins again and does not resume with streams from which contents were taken already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from clew_events.errors import AlreadyExists, Corrupt, Invalid, Unavailable
from clew_events.subjects import event_stream
from clew_projections.nats.jetstream import JetStream, stream_info, stream_state
from clew_projections.nats.stream_messages import StreamState
from clew_services.backup import manifest, stream_snapshot
from clew_services.backup.backup_folder import Folder
from clew_services.backup.manifest import LoadedManifest, Manifest, StreamEntry
from clew_services.backup.stream_snapshot import Description, State
from clew_services.backup.take_backup import Progress, Tell
from clew_services.erasure.erasure_file import KnownErasures
from clew_services.erasure.reapply import Choice, Reapplication, ReapplyResult, choose
from clew_services.eventstore import provision
from clew_services.eventstore.lost_streams import RESTORING, restoring_backup
from clew_services.eventstore.stream_config import existing_stream, remove_stream
from clew_services.eventstore.topology import Config
from clew_services.eventstore.topology import streams as wanted_streams
from clew_services.nats_connection import Connection

STALLED: Final = 120.0
"""Seconds without progress of the replicas after which a restore fails."""
_OURS: Final = ("CLEW_", "KV_clew_", "OBJ_clew_")
_ERASING: Final = ", less what was erased"
"""What the mark of a stream ends with from which contents may have been taken."""


class RestoreResult(Struct, frozen=True):
    """The result of a restore: its streams, the number of commits in the log, and what was erased of them."""

    name: str
    replicas: int
    streams: tuple[str, ...]
    commits: int
    erased: ReapplyResult


async def restore(
    connection: Connection,
    folder: Folder,
    replicas: int | None,
    tell: Tell,
    *,
    known: KnownErasures | None = None,
    found: LoadedManifest | None = None,
) -> RestoreResult:
    """Restore a backup to a server or cluster without a deployment; ``replicas`` is by default as in the backup.

    Contents go that were erased since: by the erasures that the backup itself has a record of, and ``known`` ones.
    ``found`` is the backup's manifest; by default it is read.

    Raises:
        AlreadyExists: there are streams of a deployment; the message names them.
        Invalid: the folder is not a backup, or of another format; or the server does not accept messages of that size;
            or the known erasures are of another deployment.
        Corrupt: the backup is damaged, and nothing was written; or its log was damaged when it was backed up.
        Unavailable: it is not finished; another restore of the same backup resumes it.
    """
    found = found or manifest.read(folder.path)
    whole = found.manifest
    copies = replicas or whole.replicas
    wanted = _configurations(connection, whole, copies)
    half = await _unfinished_streams(connection.js)
    for each in whole.streams:
        await asyncio.to_thread(_check, folder, each, tell)
    for name in (name for name, backup in half.items() if backup != found.name):
        await remove_stream(connection.js, name)  # of an abandoned restore of another backup
    ordered = sorted(whole.streams, key=lambda each: each.stream == event_stream(0))
    for each in ordered:
        if half.get(each.stream) != found.name or not await _is_whole(connection.js, each):
            await _one(connection, folder, each, _mark_restoring(wanted[each.stream], found.name), tell)
    await _all_caught_up(connection.js, ordered)
    erased = await _apply_erasures(connection, found, wanted, known, tell)
    for each in ordered:
        # On a cluster this does more than remove the mark. Until a stream is updated, servers remember that it is being
        # restored, and one that has lost its disk crashes when it receives the stream from the others (2.15.1).
        await connection.js.api(f"STREAM.UPDATE.{each.stream}", wanted[each.stream])
    await provision.init(connection.js, shards=whole.shards, replicas=copies, max_msg_size=whole.max_msg_size)
    commits = [(await stream_state(connection.js, name)).messages for name in whole.events()]
    return RestoreResult(found.name, copies, tuple(each.stream for each in ordered), sum(commits), erased)


def _configurations(connection: Connection, whole: Manifest, copies: int) -> dict[str, Config]:
    """The configurations of the streams of a backup, by their names, as this version of Clew has them."""
    wanted = {str(each["name"]): each for each in wanted_streams(whole.shards, copies, whole.max_msg_size)}
    if strangers := [each.stream for each in whole.streams if each.stream not in wanted]:
        raise Invalid(f"this version of Clew has no stream {strangers[0]}: use a newer one", code="backup_format")
    if connection.nc.max_payload < whole.max_msg_size:
        raise Invalid(
            f"the server's max_payload is {connection.nc.max_payload}, and messages of the backup have up to "
            f"{whole.max_msg_size} bytes: set max_payload to that",
            code="max_payload_too_small",
        )
    return wanted


async def _apply_erasures(
    connection: Connection,
    found: LoadedManifest,
    wanted: Mapping[str, Config],
    known: KnownErasures | None,
    tell: Tell,
) -> ReapplyResult:
    """Take out of restored streams, which nobody uses yet, what was erased since."""
    whole = found.manifest
    replicated = wanted[event_stream(0)]["num_replicas"] != 1
    reapplication, choice = Reapplication(connection, whole.shards, replicated=replicated), Choice()
    if known is not None:
        try:
            choice = choose(known, await reapplication.beginnings(known), whole.identity)
        except Invalid:
            for each in whole.streams:
                await remove_stream(connection.js, each.stream)
            raise
    gaps = await reapplication.find_gaps(choice.erasures, since=whole.erased_up_to)
    if not gaps:
        return ReapplyResult(others=choice.others)
    for each in whole.streams:
        marked = _mark_restoring(wanted[each.stream], f"{found.name}{_ERASING}")
        await connection.js.api(f"STREAM.UPDATE.{each.stream}", marked)

    def tell_number(done: int) -> None:
        tell(Progress("applying", "erasures", done, len(gaps)))

    erased = await reapplication.apply(gaps, choice.others, tell_number)
    await _all_caught_up(connection.js, whole.streams)
    return erased


def _check(folder: Folder, kept: StreamEntry, tell: Tell) -> None:
    folder.check(kept, lambda done: tell(_at("checking", kept, done)))


async def _unfinished_streams(js: JetStream) -> dict[str, str]:
    """The streams of an unfinished restore, each with the name of its backup."""
    names = {name for name in await js.streams() if name.startswith(_OURS)}
    marks = {name: restoring_backup(await existing_stream(js, name) or {}) for name in names}
    # While the last stream is marked, those without a mark are of the same restore.
    whose = marks.get(event_stream(0))
    half = {name: backup for name, mark in marks.items() if (backup := mark or whose)}
    if half.keys() == names and (whose or event_stream(0) not in names):
        return half
    raise AlreadyExists(
        f"there are streams of a deployment already: {', '.join(sorted(names))}. Restore to a server without a "
        "deployment. If a restore of this backup was interrupted at its end, run 'clew init' instead",
        code="deployment_exists",
    )


async def _is_whole(js: JetStream, kept: StreamEntry) -> bool:
    if _holds_all(kept, await stream_state(js, kept.stream)):
        return True
    await remove_stream(js, kept.stream)  # of this restore, by its metadata, and incomplete
    return False


async def _one(connection: Connection, folder: Folder, kept: StreamEntry, config: Config, tell: Tell) -> None:
    chunks = folder.chunks(kept, lambda done: tell(_at("restoring", kept, done)))
    tell(_at("restoring", kept, 0))
    state = await stream_snapshot.restore(connection, Description(config, _state(kept)), chunks)
    if not _holds_all(kept, state):
        await remove_stream(connection.js, kept.stream)
        raise Corrupt(
            f"{kept.stream} had {kept.messages} messages up to {kept.last_seq}, and the server read {state.messages} "
            f"up to {state.last_seq}: the stream was damaged when it was backed up; use another backup",
            code="restored_short",
        )


def _holds_all(kept: StreamEntry, state: State | StreamState) -> bool:
    # Nothing is removed from a log. From other streams messages may have been removed during the snapshot.
    is_log = kept.messages == kept.last_seq > 0
    return state.last_seq >= kept.last_seq and (state.messages >= kept.messages or not is_log)


async def _all_caught_up(js: JetStream, restored: Iterable[StreamEntry]) -> None:
    for each in restored:
        await _caught_up(js, each.stream)


async def _caught_up(js: JetStream, stream: str) -> None:
    """Wait until every replica has the whole stream."""
    clock = asyncio.get_running_loop().time
    until, before = clock() + STALLED, -1
    while (behind := await _missing_replicas(js, stream)) > 0:
        if behind != before:
            until, before = clock() + STALLED, behind
        if clock() > until:
            raise Unavailable(
                f"{stream} is restored, but not on all servers: make sure that all of them run, and restore again",
                code="replicas_behind",
            )
        await asyncio.sleep(0.1)


async def _missing_replicas(js: JetStream, stream: str) -> int:
    replicas = (await stream_info(js, stream)).cluster.replicas
    return sum(each.lag + (not each.current) for each in replicas)


def _mark_restoring(config: Config, name: str) -> Config:
    metadata = config.get("metadata")
    assert isinstance(metadata, dict)
    return {**config, "metadata": {**metadata, RESTORING: name}}


def _state(kept: StreamEntry) -> State:
    return State(kept.messages, kept.first_seq, kept.last_seq)


def _at(stage: str, kept: StreamEntry, done: int) -> Progress:
    return Progress(stage, kept.stream, done, kept.bytes)
