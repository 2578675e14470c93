"""What a deployment holds, and whether everything keeps up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from msgspec import Struct, convert

from clew_events.errors import ClewError, Fault, Unavailable, to_fault
from clew_events.subjects import INBOX_STREAM, REJECTED_STREAM, event_stream
from clew_projections.generations.generations import Generations
from clew_projections.index.index_folder import IndexFolder
from clew_projections.nats.jetstream import JetStream
from clew_projections.projector.parked_threads import ParkedThread
from clew_services import progress as shards
from clew_services.open_deployment import OpenDeployment
from clew_services.process.derived_state import DerivedState, read_derived_state
from clew_services.progress import Progress


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
    parked: tuple[ParkedThread, ...]
    shards: tuple[Shard, ...]
    derived: DerivedState | None = None


async def status(
    opened: OpenDeployment,
    generations: Generations,
    progress: Progress | None = None,
    folder: IndexFolder | None = None,
) -> Status:
    """Ask JetStream, now.

    ``progress`` remembers since when shards do not move, if there is more than one look. ``folder`` is where this
    machine's index would be, if what was made of the log is to be looked at as well.

    Raises:
        Unavailable: it does not answer.
    """
    progress = progress or Progress(opened.js, opened.shards, generations.consumer)
    looked, inbox, rejected, parked, follows = await asyncio.gather(
        progress.look(),
        _state(opened.js, INBOX_STREAM),
        _state(opened.js, REJECTED_STREAM),
        generations.list_parked(),
        _derived_state(opened, generations, folder),
    )
    found = tuple(_shard(each) for each in looked)
    server = opened.nc.connected_server_version
    return Status(
        nats_server=f"{server.major}.{server.minor}.{server.patch}",
        replicas=opened.layout.replicas,
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


async def _derived_state(
    opened: OpenDeployment, generations: Generations, folder: IndexFolder | None
) -> DerivedState | None:
    return await read_derived_state(opened, generations, folder) if folder is not None else None


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


async def _state(js: JetStream, stream: str) -> _State:
    return convert((await js.api(f"STREAM.INFO.{stream}"))["state"], _State)


class Rates(Struct, frozen=True, kw_only=True):
    """What happened each second since the look before, on average.

    ``commits`` were appended and ``projected`` were projected; ``inbox`` commands came into the inbox, and ``refused``
    of them were put on record.
    """

    commits: float
    projected: float
    inbox: float
    refused: float


class Glance(Struct, frozen=True, kw_only=True):
    """One look: what was found, or the ``error`` that there was instead. The first look has no rates."""

    at: datetime
    status: Status | None = None
    rates: Rates | None = None
    error: Fault | None = None


async def glances(
    opened: OpenDeployment, generations: Generations, every: float, folder: IndexFolder | None = None
) -> AsyncIterator[Glance]:
    """A look every so many seconds, for ever; ``folder`` is as :func:`.status.status` takes it.

    Where JetStream does not answer, that is what the glance says.
    """
    progress = Progress(opened.js, opened.shards, generations.consumer)
    loop = asyncio.get_running_loop()
    before: tuple[float, Status] | None = None
    while True:
        began = loop.time()
        at = datetime.now(UTC)
        try:
            found = await status(opened, generations, progress, folder)
        except ClewError as error:
            before = None
            yield Glance(at=at, error=to_fault(error))
        else:
            yield Glance(at=at, status=found, rates=_rates(*before, began, found) if before is not None else None)
            before = began, found
        await asyncio.sleep(max(0.0, began + every - loop.time()))


def _rates(then: float, before: Status, now: float, after: Status) -> Rates:
    seconds = max(now - then, 1e-6)

    def a_second(first: int, second: int) -> float:
        return round(max(0, second - first) / seconds, 1)

    appended = sum(shard.last_seq for shard in before.shards), sum(shard.last_seq for shard in after.shards)
    return Rates(
        commits=a_second(*appended),
        projected=a_second(appended[0] - before.behind, appended[1] - after.behind),
        inbox=a_second(before.inbox_seq, after.inbox_seq),
        refused=a_second(before.rejected_seq, after.rejected_seq),
    )
