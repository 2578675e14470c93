"""Records of the backups, packs and reports that were made of a deployment, so that certificates name what remains.

They are kept in ``CLEW_ERASED``. Nobody tells Clew when a copy is moved or deleted, so a record says what was made, and
not what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from pathlib import Path
from socket import gethostname
from typing import Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from clew_events import ids
from clew_events.codec import UNREADABLE
from clew_events.errors import Unavailable
from clew_events.subjects import COPIES, ERASED_STREAM, copy_subject
from clew_projections.integrity.erasure_extent import Extent
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.replica_reads import whole

NAMED: Final = 20
"""Copies that a certificate names, the newest; the others are counted."""
_ENCODE: Final = msgspec.json.Encoder().encode


class CopyRecord(Struct, frozen=True, kw_only=True):
    """A backup, a pack or a report: where it was written, when it was begun, and up to where it has each shard.

    It is of all tenants, of one, or of one thread. What was erased before ``erased_at`` was taken out of it since.
    """

    kind: Literal["backup", "pack", "report"]
    place: str
    made_at: datetime
    ends: tuple[int, ...]
    tenant: str | None = None
    thread: str | None = None
    erased_at: datetime | None = None

    def has(self, extent: Extent, gone_at: datetime) -> bool:
        """Whether it has contents that an erasure took, which were gone from the log at a time.

        A pack or a report has none from the request on, a backup until they are gone.
        """
        commit = extent.requested.commit
        if self.made_at > (gone_at if self.kind == "backup" else commit.at):
            return False
        if self.tenant not in {None, commit.tenant} or self.thread not in {None, commit.thread}:
            return False
        if self.erased_at is not None and self.erased_at > commit.at:
            return False
        return any(at.shard < len(self.ends) and at.seq <= self.ends[at.shard] for at in extent.contents)


_DECODE: Final = msgspec.json.Decoder(CopyRecord).decode


def place_of(path: Path) -> str:
    """A path on this machine, as a record names it."""
    return f"{gethostname()}:{path.absolute()}"


async def record_copy(js: JetStream, record: CopyRecord) -> None:
    """Record a copy, or what was taken out of it since, if that can be done: a copy is one without a record as well."""
    with suppress(Unavailable):
        subject = copy_subject(ids.derive_id("copy_", record.kind, record.place, record.made_at.isoformat()))
        await js.publish(subject, _ENCODE(record), {})


async def known_copies(js: JetStream) -> tuple[CopyRecord, ...]:
    """The copies on record, the oldest first.

    Raises:
        Unavailable: JetStream does not answer.
    """
    found: dict[str, CopyRecord] = {}
    async with aclosing(whole(js, ERASED_STREAM, f"{COPIES}.*")) as pages:
        async for page in pages:
            for stored in page:
                with suppress(*UNREADABLE):  # of a newer version
                    found[stored.subject] = _DECODE(stored.body)
    return tuple(sorted(found.values(), key=lambda record: record.made_at))


async def record_erased(js: JetStream, made_at: datetime, erased_at: datetime) -> None:
    """Record of the backups that were begun at a time that what was erased before another was taken out of them.

    Raises:
        Unavailable: JetStream does not answer.
    """
    for record in await known_copies(js):
        if record.kind == "backup" and record.made_at == made_at:
            await record_copy(js, replace(record, erased_at=erased_at))


def name_copies(copies: Iterable[CopyRecord], extent: Extent, gone_at: datetime) -> Iterator[str]:
    """Name the copies that have what an erasure takes, for its certificate: the newest, and how many more there are."""
    having: Sequence[CopyRecord] = [record for record in copies if record.has(extent, gone_at)]
    for record in having[-NAMED:][::-1]:
        yield f"the {record.kind} of {record.made_at:%Y-%m-%d %H:%M:%S} UTC in {record.place}, unless it was deleted"
    if len(having) > NAMED:
        yield f"{len(having) - NAMED} older backups, packs and reports on record, unless they were deleted"
