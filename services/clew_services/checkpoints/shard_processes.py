"""Shards that are verified by processes beside this one: a process uses one core, and shards are independent.

A process gets an order on standard input, connects by itself, and tells on standard output what it read and found, a
line of JSON each; :mod:`clew_services.integrity.shard_process` is its program. It ends with this one.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from signal import SIGKILL
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.errors import Fault, Unavailable, from_fault
from clew_events.nats_security import NatsSecurity
from clew_projections.integrity.verify import Progress, Verification
from clew_projections.nats.stream_messages import StreamState
from clew_projections.packs.check import Mark
from clew_services.host.terminate import signal
from clew_services.host.tether import tether_command

WORTH_A_PROCESS: Final = 50_000
"""Messages that take one process as long as the start of another."""
_LONGEST_LINE: Final = 64 * 1024 * 1024


class Login(Struct, frozen=True):
    """Where a process connects to and as whom, and the public keys that it trusts."""

    url: str
    security: NatsSecurity
    inbox_prefix: str
    keys: tuple[str, ...]


class Order(Struct, frozen=True):
    """What a process is to verify, and what to compare it with."""

    login: Login
    shards: Sequence[int]
    marks: Sequence[Mark]
    extents: Sequence[StreamState]
    tenant: str | None


class Report(Struct, frozen=True, omit_defaults=True):
    """A line of a process: how many messages it read since the last, what it found in each shard, or why it failed."""

    read: int = 0
    verified: Sequence[Verification] | None = None
    fault: Fault | None = None


_REPORT: Final = msgspec.json.Decoder(Report)


class ShardProcesses(Struct, frozen=True):
    """Divides shards among this process and others: ``count`` in all, or as many as there are cores for long logs."""

    login: Login
    count: int | None = None

    def divide(self, extents: Sequence[StreamState]) -> list[list[int]]:
        """Return the shards of each process, those of this one first; those with most messages are dealt first."""
        parts: list[list[int]] = [[] for _ in range(min(self.count or _worthwhile(extents), len(extents)))]
        for shard in sorted(range(len(extents)), key=lambda each: -extents[each].messages):
            min(parts, key=lambda part: (sum(extents[each].messages for each in part), len(part))).append(shard)
        return parts

    async def verify(
        self,
        shards: Sequence[int],
        marks: Sequence[Mark],
        extents: Sequence[StreamState],
        tenant: str | None,
        progress: Progress,
    ) -> Sequence[Verification]:
        """Verify shards in another process, which is killed if this is cancelled.

        Raises:
            Unavailable: the log does not answer, or the process ended too early.
        """
        process = await asyncio.create_subprocess_exec(
            *tether_command([sys.executable, "-m", "clew_services.integrity.shard_process"]),
            stdin=PIPE,
            stdout=PIPE,
            start_new_session=True,  # Ctrl-C goes to this process, which ends the others
            limit=_LONGEST_LINE,
        )
        try:
            return await _follow(process, Order(self.login, shards, marks, extents, tenant), progress)
        finally:
            signal(process, SIGKILL)
            await process.wait()


async def _follow(process: Process, order: Order, progress: Progress) -> Sequence[Verification]:
    orders, reports = process.stdin, process.stdout
    assert orders is not None
    assert reports is not None
    orders.write(msgspec.json.encode(order))
    orders.close()
    async for line in reports:
        report = _REPORT.decode(line)
        if report.fault is not None:
            raise from_fault(report.fault)
        if report.verified is not None:
            return report.verified
        progress(report.read)
    which = ", ".join(map(str, order.shards))
    raise Unavailable(
        f"the process that verified shards {which} ended too early ({await process.wait()}): nothing is known of them. "
        "Run the command again, with --processes 1 if this repeats",
        code="process_ended",
    )


def _worthwhile(extents: Sequence[StreamState]) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, sum(extent.messages for extent in extents) // WORTH_A_PROCESS))
