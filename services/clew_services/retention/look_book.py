"""What retention keeps between two passes, in the bucket of leases: its looks, and the state of the last pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from clew_events.codec import UNREADABLE
from clew_events.errors import Unavailable
from clew_events.subjects import event_stream
from clew_projections.kv.bucket import Bucket, LostRace
from clew_projections.nats.jetstream import JetStream, stream_info
from clew_services.eventstore.topology import LEASES
from clew_services.retention.looks import Clocks, Looks, add_look

T = TypeVar("T")
LOOKS: Final = "retention_looks"
STATE: Final = "retention_state"
_TRIES: Final = 5
_PROCESS: Final = token_hex(8)
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


class PassState(Struct, frozen=True):
    """What became of the threads that were due ``at`` a time.

    ``held`` were kept by legal holds. ``waiting`` are left to a later pass; the one that is due longest is since
    ``oldest``. Nothing was removed if the clock is believed only from ``believed_at`` on.
    """

    at: datetime
    deleted: int = 0
    erased: int = 0
    held: int = 0
    waiting: int = 0
    oldest: datetime | None = None
    believed_at: datetime | None = None

    def count(self, what: str, since: datetime) -> PassState:
        """Return the state with one more thread, which was due since a time."""
        counted = replace(self, **{what: getattr(self, what) + 1})
        return replace(counted, oldest=min(since, self.oldest or since)) if what == "waiting" else counted


def read_clocks(log: datetime) -> Clocks:
    """Read the clocks of this machine, beside what a NATS server has just said."""
    try:
        boot, up = _BOOT.read_text(encoding="ascii").strip(), time.clock_gettime(time.CLOCK_BOOTTIME)
    except (OSError, AttributeError):  # another system: it is known of this process alone
        boot, up = _PROCESS, time.monotonic()
    return Clocks(datetime.now(UTC), log, boot, up)


class LookBook:
    """Keeps looks and the state of the last pass. All methods raise ``Unavailable`` if JetStream does not answer."""

    def __init__(self, js: JetStream, shards: int, read: Callable[[datetime], Clocks] = read_clocks) -> None:
        """``read`` returns what the clocks say, given what those of the NATS servers do."""
        self._js = js
        self._shards = shards
        self._read = read
        self._bucket = Bucket(js, LEASES)

    async def look(self) -> Looks:
        """Look at the clocks and at where the log ends, and keep that."""
        for _ in range(_TRIES):
            value = await self._bucket.latest(LOOKS)
            infos = await asyncio.gather(*(stream_info(self._js, event_stream(each)) for each in range(self._shards)))
            log = min(info.ts for info in infos if info.ts is not None)
            before = _decode(value.body, Looks) if value is not None else None
            looks = add_look(before, self._read(log), tuple(info.state.last_seq for info in infos))
            try:
                await self._bucket.put(LOOKS, msgspec.json.encode(looks), value.revision if value is not None else 0)
            except LostRace:
                continue
            return looks
        raise Unavailable(f"the looks of retention were kept by other processes {_TRIES} times", code="look_contended")

    async def write_state(self, state: PassState) -> None:
        """Keep the state of a pass, unless another process has just done so."""
        value = await self._bucket.latest(STATE)
        try:
            await self._bucket.put(STATE, msgspec.json.encode(state), value.revision if value is not None else 0)
        except LostRace:
            return

    async def state(self) -> PassState | None:
        """The state of the last pass over all tenants, if there was one."""
        value = await self._bucket.latest(STATE)
        return _decode(value.body, PassState) if value is not None else None


def _decode(body: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE:
        return None  # Looks begin anew, and so nothing is removed for a day.
