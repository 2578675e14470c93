"""The alias: the bucket ``clew_generations``, whose key ``threads`` says which generation is live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.backoff import delays
from clew_events.errors import Unavailable
from clew_events.subjects import LIVE
from clew_projections.generations.record import Record, decode
from clew_projections.kv.bucket import Bucket, LostRace
from clew_projections.nats.jetstream import JetStream

GENERATIONS: Final = "clew_generations"
KEY: Final = "threads"
LIVE_GENERATIONS: Final = f"{LIVE}.generations"
"""Where the server says that the record has changed: ``clew.live.generations.threads``."""
_TRIES: Final = 10


class StoredRecord(Struct, frozen=True):
    """A record and the revision it stands at. A later record has a higher one."""

    record: Record
    revision: int


class Alias:
    """Reads and changes the record. What is read is never behind; what is written is guarded."""

    def __init__(self, js: JetStream) -> None:
        self._js = js
        self._bucket = Bucket(js, GENERATIONS)

    async def read(self) -> StoredRecord | None:
        """The record as it is, if there is one.

        Raises:
            Corrupt: it cannot be read.
            Unavailable: the bucket does not answer.
        """
        stored = await self._js.newest_at_leader(self._bucket.stream, self._bucket.subject(KEY), 0)
        return StoredRecord(decode(stored.body), stored.seq) if stored is not None else None

    async def read_record(self) -> StoredRecord:
        """The record of a deployment that is initialised.

        Raises:
            Unavailable: there is none, or the bucket does not answer.
            Corrupt: it cannot be read.
        """
        found = await self.read()
        if found is None:
            raise Unavailable("no generation of buckets is on record yet: run 'clew init'", code="not_initialised")
        return found

    async def begin(self, record: Record) -> None:
        """Write the first record, unless somebody has."""
        try:
            await self._bucket.put(KEY, msgspec.json.encode(record), 0)
        except LostRace:
            return

    async def change(self, change: Callable[[Record], Record]) -> StoredRecord:
        """Change the record, whoever else does so meanwhile; what it has become.

        ``change`` is a pure function of the record and may be called again. What it raises is raised.

        Raises:
            Unavailable: the bucket does not answer, or others keep changing the record.
            Corrupt: the record cannot be read.
        """
        pauses = delays()
        for _ in range(_TRIES):
            found = await self.read_record()
            wanted = change(found.record)
            if wanted == found.record:
                return found
            try:
                return StoredRecord(wanted, await self._bucket.put(KEY, msgspec.json.encode(wanted), found.revision))
            except LostRace:
                await asyncio.sleep(next(pauses))
        raise Unavailable("others keep changing the record of generations", code="generations_contended")
