"""The status of a deployment: its size, its lag, its inbox, and the state of what is derived from the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from msgspec import Struct

from clew_events.errors import ClewError, Fault, Unavailable, to_fault
from clew_events.subjects import INBOX_STREAM, REJECTED_STREAM, event_stream
from clew_projections.generations.generations import Generations
from clew_projections.index.index_folder import IndexFolder
from clew_projections.nats.jetstream import stream_state
from clew_projections.projector.parked_threads import ParkedThread
from clew_services import progress as shards
from clew_services.open_deployment import OpenDeployment
from clew_services.progress import Progress
from clew_services.status.derived_state import DerivedState, read_derived_state


class Shard(Struct, frozen=True, kw_only=True):
    """One stream of the log. ``behind`` counts the commits that are not projected yet.

    ``lag`` is the age in seconds of the oldest of these, ``still`` the time in seconds since the last was projected.
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
    """The status of a deployment.

    ``inbox`` counts waiting commands, ``rejected`` the rejected commands that are kept; ``inbox_seq`` and
    ``rejected_seq`` count all that ever were. ``derived`` is present if it was requested.
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
    parked: tuple[ParkedThread, ...]
    shards: tuple[Shard, ...]
    derived: DerivedState | None = None


async def status(
    opened: OpenDeployment,
    generations: Generations,
    progress: Progress | None = None,
    folder: IndexFolder | None = None,
) -> Status:
    """The current status, read from JetStream.

    ``progress`` remembers from one call to the next since when shards make no progress. ``folder`` is that of this
    machine's index; with it, the status includes what is derived from the log.

    Raises:
        Unavailable: JetStream does not answer.
    """
    progress = progress or Progress(opened.js, opened.shards, generations.consumer)
    observations, inbox, rejected, parked, derived = await asyncio.gather(
        progress.look(),
        stream_state(opened.js, INBOX_STREAM),
        stream_state(opened.js, REJECTED_STREAM),
        generations.list_parked(),
        _derived_state(opened, generations, folder),
    )
    shards_now = tuple(_shard(observed) for observed in observations)
    server = opened.nc.connected_server_version
    return Status(
        nats_server=f"{server.major}.{server.minor}.{server.patch}",
        replicas=opened.layout.replicas,
        threads=sum(shard.threads for shard in shards_now),
        commits=sum(shard.commits for shard in shards_now),
        behind=sum(shard.behind for shard in shards_now),
        inbox=inbox.messages,
        rejected=rejected.messages,
        inbox_seq=inbox.last_seq,
        rejected_seq=rejected.last_seq,
        parked=tuple(parked),
        shards=shards_now,
        derived=derived,
    )


async def _derived_state(
    opened: OpenDeployment, generations: Generations, folder: IndexFolder | None
) -> DerivedState | None:
    return await read_derived_state(opened, generations, folder) if folder is not None else None


def _shard(observed: shards.Shard) -> Shard:
    if observed.trouble:
        raise Unavailable("; ".join(observed.trouble))
    return Shard(
        stream=event_stream(observed.shard),
        threads=observed.threads,
        commits=observed.commits,
        bytes=observed.bytes,
        last_seq=observed.last_seq,
        behind=observed.behind,
        lag=round(observed.lag, 3),
        still=round(observed.still, 3),
    )


class Rates(Struct, frozen=True, kw_only=True):
    """Averages per second since the previous glance.

    ``commits`` were appended and ``projected`` were projected; ``inbox`` commands were published to the inbox, and
    ``refused`` of them were rejected.
    """

    commits: float
    projected: float
    inbox: float
    refused: float


class Glance(Struct, frozen=True, kw_only=True):
    """The status at a time, or the ``error`` in its place. The first glance has no rates."""

    at: datetime
    status: Status | None = None
    rates: Rates | None = None
    error: Fault | None = None


async def glances(
    opened: OpenDeployment, generations: Generations, every: float, folder: IndexFolder | None = None
) -> AsyncIterator[Glance]:
    """The status at an interval, without end; ``folder`` is that of :func:`status`.

    If JetStream does not answer, the glance has that error.
    """
    progress = Progress(opened.js, opened.shards, generations.consumer)
    loop = asyncio.get_running_loop()
    previous: tuple[float, Status] | None = None
    while True:
        began = loop.time()
        at = datetime.now(UTC)
        try:
            current = await status(opened, generations, progress, folder)
        except ClewError as error:
            previous = None
            yield Glance(at=at, error=to_fault(error))
        else:
            yield Glance(
                at=at, status=current, rates=_rates(*previous, began, current) if previous is not None else None
            )
            previous = began, current
        await asyncio.sleep(max(0.0, began + every - loop.time()))


def _rates(then: float, before: Status, now: float, after: Status) -> Rates:
    seconds = max(now - then, 1e-6)

    def per_second(first: int, second: int) -> float:
        return round(max(0, second - first) / seconds, 1)

    appended = sum(shard.last_seq for shard in before.shards), sum(shard.last_seq for shard in after.shards)
    return Rates(
        commits=per_second(*appended),
        projected=per_second(appended[0] - before.behind, appended[1] - after.behind),
        inbox=per_second(before.inbox_seq, after.inbox_seq),
        refused=per_second(before.rejected_seq, after.rejected_seq),
    )
