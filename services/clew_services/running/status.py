"""What a deployment holds, and whether everything keeps up."""

from __future__ import annotations

import asyncio

from msgspec import Struct, convert

from clew_events.errors import Unavailable
from clew_events.subjects import INBOX_STREAM, REJECTED_STREAM, event_stream
from clew_projections.index.folder import Folder
from clew_projections.projecting.parking import Parked
from clew_services import progress as shards
from clew_services.compose import Clew
from clew_services.progress import Progress
from clew_services.running.derived import Derived, derived


class _State(Struct, frozen=True):
    messages: int
    last_seq: int


class Shard(Struct, frozen=True, kw_only=True):
    """One stream of the log. ``behind`` counts the commits that are not projected yet.

    ``lag`` is the age in seconds of the oldest of these, and ``still`` for how many seconds none was projected.
    """

    stream: str
    threads: int
    commits: int
    bytes: int
    last_seq: int
    behind: int
    lag: float = 0.0
    still: float = 0.0


class Status(Struct, frozen=True, kw_only=True):
    """A deployment at a glance.

    ``inbox`` counts commands waiting, ``rejected`` those refused and kept; ``inbox_seq`` and ``rejected_seq`` count all
    that ever were. ``derived`` is there if it was asked for.
    """

    nats_server: str
    replicas: int
    threads: int
    commits: int
    behind: int
    inbox: int
    rejected: int
    inbox_seq: int
    rejected_seq: int
    parked: tuple[Parked, ...]
    shards: tuple[Shard, ...]
    derived: Derived | None = None


async def status(clew: Clew, progress: Progress | None = None, folder: Folder | None = None) -> Status:
    """Ask JetStream, now.

    ``progress`` remembers since when shards do not move, if there is more than one look. ``folder`` is where this
    machine's index would be, if what was made of the log is to be looked at as well.

    Raises:
        Unavailable: it does not answer.
    """
    progress = progress or Progress(clew.js, clew.deployment.shards, lambda: clew.feeder)
    looked, inbox, rejected, parked, follows = await asyncio.gather(
        progress.look(),
        _state(clew, INBOX_STREAM),
        _state(clew, REJECTED_STREAM),
        clew.parked(),
        _derived(clew, folder),
    )
    found = tuple(_shard(each) for each in looked)
    server = clew.nc.connected_server_version
    return Status(
        nats_server=f"{server.major}.{server.minor}.{server.patch}",
        replicas=clew.deployment.replicas,
        threads=sum(shard.threads for shard in found),
        commits=sum(shard.commits for shard in found),
        behind=sum(shard.behind for shard in found),
        inbox=inbox.messages,
        rejected=rejected.messages,
        inbox_seq=inbox.last_seq,
        rejected_seq=rejected.last_seq,
        parked=tuple(parked),
        shards=found,
        derived=follows,
    )


async def _derived(clew: Clew, folder: Folder | None) -> Derived | None:
    return await derived(clew, folder) if folder is not None else None


def _shard(found: shards.Shard) -> Shard:
    if found.trouble:
        raise Unavailable("; ".join(found.trouble))
    return Shard(
        stream=event_stream(found.shard),
        threads=found.threads,
        commits=found.commits,
        bytes=found.bytes,
        last_seq=found.last_seq,
        behind=found.behind,
        lag=round(found.lag, 3),
        still=round(found.still, 3),
    )


async def _state(clew: Clew, stream: str) -> _State:
    return convert((await clew.js.api(f"STREAM.INFO.{stream}"))["state"], _State)
