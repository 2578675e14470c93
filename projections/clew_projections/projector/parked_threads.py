"""Parked threads: a thread whose history cannot be folded is skipped and reported, and other threads go on.

The reason is stored under ``_parked.<tenant>.<thread>`` in the bucket of threads. Nothing is lost: the commits are in
the log, and every start of a projector retries parked threads, so a version that can read them projects them again.
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
"""Characters stored of a reason, which may quote data."""


class ParkedThread(Struct, frozen=True, kw_only=True):
    """Why a thread is parked, and since when."""

    tenant: str
    thread: str
    code: str
    reason: str
    since: datetime


_DECODER: Final = msgspec.json.Decoder(ParkedThread)


async def list_parked(threads: Bucket) -> list[ParkedThread]:
    """Return all parked threads.

    Raises:
        Unavailable: the bucket does not answer.
    """
    values = await threads.values_matching(f"{PARKED}.*.*")
    return [_read(key, value.body) for key, value in values.items() if value.body]


async def park_thread(threads: Bucket, address: Address, fault: Corrupt) -> None:
    """Record that a thread cannot be folded, and log it once."""
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
        # The key alone says that the thread is parked.
        _, tenant, thread = key.split(".")
        reason = "the reason is unreadable"
        return ParkedThread(tenant=tenant, thread=thread, code="unreadable", reason=reason, since=datetime.now(UTC))


async def retry_parked(threads: Bucket, projecting: BatchProjection) -> int:
    """Retry every parked thread, and return how many are no longer parked.

    Raises:
        Unavailable: a bucket or the log does not answer.
    """
    released = 0
    for parked in await list_parked(threads):
        address = Address(parked.tenant, parked.thread)
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
