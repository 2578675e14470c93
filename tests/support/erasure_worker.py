"""What stands in for the role that carries erasures out: it says that each is done, and erases nothing."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from clew_events.erasures import Certificate, Erasure
from clew_events.subjects import certificate_subject
from clew_services import compose
from clew_services.checkpoints.note import SigningKey
from clew_services.erasure.records import ErasureRecord, ErasureRecords

KEY = SigningKey.new()


def certify(record: ErasureRecord) -> bytes:
    """A signed certificate of an erasure."""
    erasure, at = record.erasure, datetime.now(UTC)
    assert erasure.n is not None
    items = None if erasure.message_id is None else (erasure.message_id,)
    says = Certificate(
        erasure=erasure.id, tenant=record.tenant, thread=erasure.thread_id, items=items, code=erasure.code, n=erasure.n,
        hash="ab" * 32, first=1, last=1, commits=1, contents=1, seals="cd" * 32, requested_at=erasure.requested_at,
        erased_at=at, completed_at=at, done=("all of it",), remains=(),
    )  # fmt: skip
    return KEY.sign(msgspec.json.encode(says) + b"\n")


async def complete(connection: compose.Connection, record: ErasureRecord) -> Erasure | None:
    """An erasure completed, with its certificate; ``None`` if somebody else wrote its record first."""
    note, at = certify(record), datetime.now(UTC)
    done = replace(
        record.erasure,
        status="completed",
        erased_at=at,
        completed_at=at,
        commits=1,
        certificate=sha256(note).hexdigest(),
    )
    await connection.js.publish(certificate_subject(record.erasure.id), note)
    written = await ErasureRecords(connection.js).write(record.tenant, done, record.revision)
    return written.erasure if written is not None else None


@contextlib.contextmanager
def completing(url: str) -> Iterator[None]:
    """Whatever is requested is completed, in a thread of its own, until the end of the block."""
    stop = threading.Event()

    async def run() -> None:
        async with compose.connection(url, name="erasure") as connection:
            records = ErasureRecords(connection.js)
            while not stop.is_set():
                for record in await records.pending():
                    if record.erasure.n is not None:
                        await complete(connection, record)
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="erasure")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
