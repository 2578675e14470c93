"""Shards that several processes verify: what they find is what one finds, and none is left behind."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import Process
from collections.abc import Callable
from signal import SIGKILL, SIGSTOP, Signals

import pytest

from clew_events.connection import INBOX_PREFIX
from clew_events.errors import Invalid, Unavailable
from clew_events.nats_security import UNSECURED
from clew_events.subjects import Address, shard_of
from clew_projections.integrity.verify import Verification
from clew_projections.nats.stream_messages import StreamState
from clew_projections.packs.check import Mark
from clew_services.checkpoints.comparison import Comparison
from clew_services.checkpoints.note import SigningKey
from clew_services.checkpoints.shard_processes import WORTH_A_PROCESS, Login, ShardProcesses
from clew_services.checkpoints.thread_proofs import temporary_heads
from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from support.forging import bodies, five_commits, rechained, rewrite
from support.parts import sign, verifier_of

KEY = SigningKey(bytes(range(32)))
THREADS = [Address("default", f"thread_{name}") for name in ("a", "b", "ab", "ac", "abc", "abd")]


def processes(url: str, count: int | None) -> ShardProcesses:
    return ShardProcesses(Login(url, UNSECURED, INBOX_PREFIX, (str(KEY.verifier),)), count)


async def verify(clew: Clew, helpers: ShardProcesses, marks: list[Mark]) -> tuple[Verification, int]:
    """What is found, and how many messages were read."""
    verifier, read = verifier_of(clew, KEY), list[int]()
    comparison = Comparison(clew.js, clew.ledger, verifier, clew.deployment.shards, helpers)
    found = await comparison.whole(marks, await verifier.extents(), progress=read.append)
    return found, sum(read)


async def test_several_processes_find_what_one_finds(deployment: EmbeddedServer, clew: Clew) -> None:
    for address in THREADS:
        await five_commits(clew, address)
    await sign(clew, KEY)
    kept = await clew.ledger.latest()
    assert kept is not None
    async with temporary_heads(clew.js, 2) as heads:
        kept_heads = [await heads.agreeing_heads(shard, kept.checkpoint) for shard in range(2)]
    marks = [Mark(kept.checkpoint, kept_heads)]
    for address in THREADS[:4]:
        await rewrite(clew, address, rechained(await bodies(clew, address), b"billing", b"nobody!"))
    assert {shard_of(address.thread, 2) for address in THREADS[:4]} == {0, 1}
    alone, together = [await verify(clew, processes(deployment.url, count), marks) for count in (1, 2)]
    assert together == alone
    assert {finding.shard for finding in alone[0].findings} == {0, 1}


def start_with(monkeypatch: pytest.MonkeyPatch, number: Signals) -> list[Process]:
    """Send a signal to each process that is started; returns those that were."""
    started: list[Process] = []
    create: Callable[..., object] = asyncio.create_subprocess_exec

    async def start(*words: str, **options: object) -> Process:
        process = await create(*words, **options)  # type: ignore[misc]
        os.kill(process.pid, number)
        started.append(process)
        return process  # type: ignore[no-any-return]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    return started


async def test_of_a_process_that_is_killed_it_is_said_and_nothing_of_what_was_found(
    deployment: EmbeddedServer, clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_with(monkeypatch, SIGKILL)
    with pytest.raises(Unavailable, match=r"shards? [01] ended too early \(-9\)") as refusal:
        await verify(clew, processes(deployment.url, 2), [])
    assert refusal.value.code == "process_ended"


async def test_who_is_interrupted_leaves_no_process_behind(
    deployment: EmbeddedServer, clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = start_with(monkeypatch, SIGSTOP)
    running = asyncio.create_task(verify(clew, processes(deployment.url, 2), []))
    while not started:
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    assert [process.returncode for process in started] == [-SIGKILL]


async def test_why_a_process_failed_is_said_as_if_it_had_been_this_one(deployment: EmbeddedServer, clew: Clew) -> None:
    login = Login(deployment.url, UNSECURED, INBOX_PREFIX, ("no key",))
    with pytest.raises(Invalid, match="this is no public key"):
        await verify(clew, ShardProcesses(login, 2), [])


def test_shards_are_dealt_so_that_each_process_has_about_as_much_to_read() -> None:
    extents = [StreamState(messages=messages) for messages in (10, 80, 30, 60)]
    assert processes("", 2).divide(extents) == [[1, 0], [3, 2]]
    assert processes("", 9).divide(extents) == [[1], [3], [2], [0]]
    assert processes("", 1).divide(extents) == [[1, 3, 2, 0]]


def test_by_default_a_short_log_is_read_by_one_process_and_a_long_one_by_each_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    for each, count in ((1, 1), (WORTH_A_PROCESS // 2, 2), (10 * WORTH_A_PROCESS, 3)):
        assert len(processes("", None).divide([StreamState(messages=each)] * 4)) == count
