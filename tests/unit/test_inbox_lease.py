"""The lease on the inbox, on a bucket that answers when it is told to."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from clew_events.errors import ClewError, Corrupt, Unavailable
from clew_projections.kv.bucket import Bucket, Value
from clew_services import lease as leases
from clew_services.lease import Lease, LeaseLost


class Slow:
    """A bucket of one key whose writes take as long as the test wants."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.asked = asyncio.Event()
        self.revision = 0

    async def latest(self, _: str) -> Value | None:
        return None

    async def put(self, _key: str, _body: bytes, _revision: int) -> int:
        self.asked.set()
        await self.go_on.wait()
        self.revision += 1
        return self.revision

    async def delete(self, _key: str, _revision: int) -> None: ...


async def test_a_lease_that_slipped_is_not_held_again_by_a_renewal_that_comes_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(leases, "_now", lambda: now)
    monkeypatch.setattr(leases, "RENEW", 0.0)
    bucket = Slow()
    lease = Lease(cast("Bucket", bucket))
    assert await lease.take()
    bucket.asked.clear()
    bucket.go_on.clear()
    keeping = asyncio.create_task(lease.keep())
    await bucket.asked.wait()
    # A renewal is under way when somebody finds that the term is over, and leaves what it was about to do.
    lease_until, now = now, leases.TTL
    with pytest.raises(LeaseLost):
        lease.check()
    now = lease_until
    bucket.go_on.set()
    with pytest.raises(LeaseLost):
        await keeping
    with pytest.raises(LeaseLost):
        lease.check()


@pytest.mark.parametrize("fault", [Unavailable("no answer"), Corrupt("damaged")])
async def test_work_under_a_lease_that_fails_begins_again(fault: ClewError) -> None:
    begun, again = 0, asyncio.Event()

    async def task() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise fault
        again.set()
        await asyncio.Event().wait()

    lease = Lease(cast("Bucket", Slow()))
    working = asyncio.create_task(lease.work(task, 0.0))
    await again.wait()
    assert lease.is_held
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert not lease.is_held
