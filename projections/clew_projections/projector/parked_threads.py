"""Parking: a thread whose history cannot be folded stands aside, loudly, and the others go on.

The reason is kept under ``_parked.<tenant>.<thread>`` in the bucket of threads. Nothing is lost, since the commits are
in the log; every start of a projector tries parked threads again, so a version that can read them takes them up.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE
from clew_events.errors import Corrupt
from clew_events.subjects import Address, is_addressable
from clew_projections.kv.bucket import Bucket, LostRace
from clew_projections.kv.key_names import PARKED, parked_key
from clew_projections.projector.batch import BatchProjection

_LOG: Final = logging.getLogger("clew.projector")

LONGEST_REASON: Final = 4096
"""Characters that are kept of a reason: it may quote what it found."""


class ParkedThread(Struct, frozen=True, kw_only=True):
    """Why a thread stands still, and since when."""

    tenant: str
    thread: str
    code: str
    reason: str
    since: datetime


_DECODER: Final = msgspec.json.Decoder(ParkedThread)


async def list_parked(threads: Bucket) -> list[ParkedThread]:
    """All threads that stand still.

    Raises:
        Unavailable: the bucket does not answer.
    """
    found = await threads.values_matching(f"{PARKED}.*.*")
    return [_read(key, value.body) for key, value in found.items() if value.body]


async def park_thread(threads: Bucket, address: Address, fault: Corrupt) -> None:
    """Record that a thread cannot be folded, and say so, once."""
    key = parked_key(address)
    value = await threads.latest(key)
    if value is not None and value.body:
        return
    reason = fault.message[:LONGEST_REASON]
    _LOG.error("thread %.128s of tenant %.64s is parked: %s", address.thread, address.tenant, reason)
    record = ParkedThread(
        tenant=address.tenant,
        thread=address.thread,
        code=fault.code,
        reason=reason,
        since=datetime.now(UTC),
    )
    try:
        await threads.put(key, msgspec.json.encode(record), value.revision if value is not None else 0)
    except LostRace:
        return


def _read(key: str, body: bytes) -> ParkedThread:
    try:
        return _DECODER.decode(body)
    except UNREADABLE:
        # That it is parked is what counts, and the key says that.
        _, tenant, thread = key.split(".")
        reason = "why it was parked cannot be read"
        return ParkedThread(tenant=tenant, thread=thread, code="unreadable", reason=reason, since=datetime.now(UTC))


async def retry_parked(threads: Bucket, projecting: BatchProjection) -> int:
    """Try every parked thread again; the number of those that could be taken up.

    Raises:
        Unavailable: a bucket or the log does not answer.
    """
    released = 0
    for each in await list_parked(threads):
        address = Address(each.tenant, each.thread)
        if not is_addressable(address):
            continue
        try:
            await projecting.catch_up(address)
        except Corrupt:
            continue
        await _release(threads, address)
        released += 1
    return released


async def _release(threads: Bucket, address: Address) -> None:
    key = parked_key(address)
    value = await threads.latest(key)
    if value is not None and value.body:
        try:
            await threads.delete(key, value.revision)
        except LostRace:
            return
    _LOG.warning("thread %s of tenant %s is no longer parked", address.thread, address.tenant)
