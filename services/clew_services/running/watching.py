"""A deployment looked at again and again: how it is, and how fast things go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from msgspec import Struct

from clew_events.errors import ClewError, Fault, to_fault
from clew_projections.index.folder import Folder
from clew_services.compose import Clew
from clew_services.progress import Progress
from clew_services.running.status import Status, status


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


async def glances(clew: Clew, every: float, folder: Folder | None = None) -> AsyncIterator[Glance]:
    """A look every so many seconds, for ever; ``folder`` is as :func:`.status.status` takes it.

    Where JetStream does not answer, that is what the glance says.
    """
    progress = Progress(clew.js, clew.deployment.shards, lambda: clew.feeder)
    loop = asyncio.get_running_loop()
    before: tuple[float, Status] | None = None
    while True:
        began = loop.time()
        at = datetime.now(UTC)
        try:
            found = await status(clew, progress, folder)
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
