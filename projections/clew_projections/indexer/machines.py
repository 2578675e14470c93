"""The machines with an index of a deployment, and up to where each has nothing left of what was erased.

Each machine has an index file of its own, and nothing outside reaches it. So its indexer says how far it is, under a
key of its own in the bucket of leases: when something was erased, and at least every :data:`EVERY` seconds. A machine
that says nothing any more may have a copy of what was erased since, until somebody says that it is gone for good.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.errors import NotFound, Unavailable
from clew_projections.index.index_folder import IndexFolder
from clew_projections.kv.bucket import Bucket, LostRace
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.stream_messages import STORED_AT

EVERY: Final = 60.0
"""Seconds between two reports of an indexer."""
AGAIN: Final = 5.0
"""Seconds after which a report that failed is made again."""
SILENT: Final = timedelta(seconds=180)
"""Age of the last report of a machine after which nobody waits for it."""
PREFIX: Final = "index"

_LOG: Final = logging.getLogger("clew.index")


class _Report(Struct, frozen=True):
    """The value under ``index.<id>``: where the folder is, and by shard the sequence up to which it is clean."""

    host: str
    folder: str
    clean: dict[str, int]


_REPORT: Final = msgspec.json.Decoder(_Report)


class Machine(Struct, frozen=True, kw_only=True):
    """A folder with an index, on ``host``, and what its indexer reported at ``seen_at``, by the server's clock.

    Of what an erasure erased no byte is left in it if the request's sequence is not above ``clean`` of its shard.
    """

    id: str
    host: str
    folder: str
    clean: dict[int, int]
    seen_at: datetime

    def may_have(self, requests: Mapping[int, int]) -> bool:
        """Whether something is left of erasures, whose requests have at most these sequences by shard."""
        return any(self.clean.get(shard, 0) < seq for shard, seq in requests.items())


class Machines:
    """The reports of all machines."""

    def __init__(self, js: JetStream, bucket: Bucket) -> None:
        self._js = js
        self._bucket = bucket

    async def all(self) -> list[Machine]:
        """Return the last report of every machine, by id.

        Raises:
            Unavailable: the bucket does not answer.
        """
        subjects = await self._js.subjects(self._bucket.stream, self._bucket.subject(f"{PREFIX}.*"))
        stored = await self._js.lasts_at_leader(self._bucket.stream, list(subjects))
        machines: list[Machine] = []
        for subject, message in sorted(stored.items()):
            if not message.body:
                continue
            report = _REPORT.decode(message.body)
            machines.append(
                Machine(
                    id=subject.rpartition(".")[2],
                    host=report.host,
                    folder=report.folder,
                    clean={int(shard): seq for shard, seq in report.clean.items()},
                    seen_at=datetime.fromisoformat(message.headers[STORED_AT]),
                )
            )
        return machines

    async def forget(self, machine: str) -> None:
        """Remove the report of a machine that is gone for good, with its disk. One that is not is there again soon.

        Raises:
            NotFound: no machine has this id.
            Unavailable: the bucket does not answer, or it has reported meanwhile.
        """
        value = await self._bucket.latest(f"{PREFIX}.{machine}")
        if value is None or not value.body:
            raise NotFound(f"no machine with an index has the id {machine}", code="machine_not_found")
        try:
            await self._bucket.delete(f"{PREFIX}.{machine}", value.revision)
        except LostRace as fault:
            raise Unavailable(f"the machine {machine} has just reported", code="machine_alive") from fault

    async def report(self, machine: str, folder: str, clean: Mapping[int, int]) -> None:
        """Store what a machine reports.

        Raises:
            Unavailable: the bucket does not answer.
        """
        key = f"{PREFIX}.{machine}"
        report = _Report(socket.gethostname(), folder, {str(shard): seq for shard, seq in clean.items()})
        value = await self._bucket.latest(key)
        try:
            await self._bucket.put(key, msgspec.json.encode(report), value.revision if value is not None else 0)
        except LostRace as fault:
            raise Unavailable(f"another process reports as {machine}", code="report_contended") from fault


class Reporter:
    """Reports for the folder of one machine, when it is time."""

    def __init__(self, machines: Machines, folder: IndexFolder) -> None:
        self._machines = machines
        self._folder = folder
        self._told: dict[int, int] = {}
        self._told_at = float("-inf")
        self._failed = False

    async def tell(self, clean: Mapping[int, int], *, erased: Mapping[int, int]) -> None:
        """Report if :data:`EVERY` seconds passed, or if what was erased, up to these sequences, is clean since.

        A report that fails is logged, and made again later.
        """
        now = time.monotonic()
        news = any(self._told.get(shard, 0) < seq <= clean.get(shard, 0) for shard, seq in erased.items())
        passed = now - self._told_at
        if passed < (AGAIN if self._failed else EVERY) and (self._failed or not news):
            return
        self._told_at = now
        try:
            await self._machines.report(self._folder.machine(), str(self._folder.path), clean)
        except (Unavailable, OSError) as fault:
            _LOG.warning("this machine's index is not reported: %s", fault)
            self._failed = True
        else:
            self._told, self._failed = dict(clean), False
