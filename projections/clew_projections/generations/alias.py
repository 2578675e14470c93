"""The alias: the key ``threads`` of the bucket ``clew_generations`` says which generation is live."""

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
"""The subject on which the server republishes a changed record: ``clew.live.generations.threads``."""
_TRIES: Final = 10


class StoredRecord(Struct, frozen=True):
    """A record and its revision. A later record has a higher revision."""

    record: Record
    revision: int


class Alias:
    """Reads and changes the record. Reads go to the leader; writes are guarded by the revision."""

    def __init__(self, js: JetStream) -> None:
        self._js = js
        self._bucket = Bucket(js, GENERATIONS)

    async def read(self) -> StoredRecord | None:
        """Read the record; ``None`` if there is none.

        Raises:
            Corrupt: the record is unreadable.
            Unavailable: the bucket does not answer.
        """
        stored = await self._js.newest_at_leader(self._bucket.stream, self._bucket.subject(KEY), 0)
        return StoredRecord(decode(stored.body), stored.seq) if stored is not None else None

    async def read_record(self) -> StoredRecord:
        """Read the record of an initialised deployment.

        Raises:
            Unavailable: there is no record, or the bucket does not answer.
            Corrupt: the record is unreadable.
        """
        stored = await self.read()
        if stored is None:
            raise Unavailable("no generation of buckets is on record yet: run 'clew init'", code="not_initialised")
        return stored

    async def begin(self, record: Record) -> None:
        """Write the first record, unless there is one."""
        try:
            await self._bucket.put(KEY, msgspec.json.encode(record), 0)
        except LostRace:
            return

    async def change(self, change: Callable[[Record], Record]) -> StoredRecord:
        """Change the record and return the new one. Retries after a concurrent change.

        ``change`` is a pure function of the record and may be called again. Its errors are raised.

        Raises:
            Unavailable: the bucket does not answer, or others keep changing the record.
            Corrupt: the record is unreadable.
        """
        pauses = delays()
        for _ in range(_TRIES):
            stored = await self.read_record()
            changed = change(stored.record)
            if changed == stored.record:
                return stored
            try:
                return StoredRecord(changed, await self._bucket.put(KEY, msgspec.json.encode(changed), stored.revision))
            except LostRace:
                await asyncio.sleep(next(pauses))
        raise Unavailable("others keep changing the record of generations", code="generations_contended")
