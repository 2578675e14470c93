"""The feed under everything that may happen to those who serve it: every reader gets what the log has, once.

All parts are killed, one worker of the API and all of them, buckets and index are rebuilt, a worker stands still, while
many write and readers of every kind read, hang up and come back. Each of these happens once, and then any of them for
as long as CLEW_SOAK_SECONDS says. CLEW_SOAK_SEED repeats the choices of a run, as far as they are up to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from signal import SIGKILL

import pytest

from clew_events import client
from clew_services.compose import Clew, connect
from support.feed_reading import Bare, Pager, Reader, Restless, Service, Shell, Taking, reading
from support.freezing import freeze, go_on
from support.lasting import SECONDS
from support.truth import log_of
from support.up import CLEW, Up, environment, running_up
from support.up import clew as clew_command
from support.waiting import eventually

SEED = int(os.environ.get("CLEW_SOAK_SEED", random.SystemRandom().randrange(10**6)))
WRITERS = 20
WORKERS = 2
PAUSE = 0.5


class Writers:
    """Services that write as fast as they are answered, through whatever happens."""

    def __init__(self, url: str, chance: random.Random) -> None:
        self._url = url
        self._chance = chance
        self.stop = asyncio.Event()
        self.acknowledged = 0

    async def write(self, tenant: str, writers: int) -> None:
        """Threads of a few messages, one after the other, from so many at once."""
        async with client.connect(self._url, tenant=tenant, timeout=60) as clew:
            await asyncio.gather(*(self._one(clew) for _ in range(writers)))

    async def _one(self, clew: client.Clew) -> None:
        while not self.stop.is_set():
            thread = (await clew.create_thread()).thread.id
            for i in range(self._chance.randint(0, 9)):
                await clew.add_message(thread, f"message {i}")
                self.acknowledged += 1
            # Bursts, so that commits are stored in batches, and lulls, so that readers come to the live end.
            await asyncio.sleep(self._chance.choice([0, 0.01, 0.1, 0.4]))


class Trouble:
    """What happens to a running Clew."""

    def __init__(self, up: Up, chance: random.Random, shell: Shell) -> None:
        self._up = up
        self._chance = chance
        self._shell = shell
        self.happened = Counter[str]()

    async def one_worker(self) -> None:
        """A process of the API dies, while another one lives."""
        self._kill(self._chance.choice(await self._workers()))

    async def all_workers(self) -> None:
        """There is nobody left who serves HTTP."""
        for pid in await self._workers():
            self._kill(pid)

    async def a_worker_that_stands_still(self) -> None:
        """What it is sent meanwhile waits in the server, in the kernel, and in it."""
        pid = self._chance.choice(await self._workers())
        with contextlib.suppress(ProcessLookupError):
            freeze(pid)
            await asyncio.sleep(PAUSE)
            go_on(pid)

    async def nats(self) -> None:
        """The log itself is gone for a moment."""
        self._kill(self._up.children().get("nats-server"))

    async def queries(self) -> None:
        """One who answers commands and queries dies."""
        self._kill(self._up.children().get("serve commands query"))

    async def projector(self) -> None:
        """One on whom the feed does not depend dies."""
        self._kill(self._up.children().get("serve projector erasure retention"))

    async def terminal(self) -> None:
        """A reader is killed, who has read something."""

        async def has_read() -> bool:
            return bool(self._shell.places)

        await eventually(has_read)
        self._shell.kill()

    async def rebuilt_threads(self) -> None:
        """The buckets are made anew."""
        await self._command("rebuild", "threads")

    async def rebuilt_index(self) -> None:
        """The index is made anew."""
        await self._command("rebuild", "index")

    @property
    def all(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            self.one_worker, self.all_workers, self.a_worker_that_stands_still, self.nats, self.queries,
            self.projector, self.terminal, self.rebuilt_threads, self.rebuilt_index,
        ]  # fmt: skip

    async def make(self) -> None:
        """Each once, in any order, and then any for as long as there is time."""
        until = asyncio.get_running_loop().time() + SECONDS
        each_once = self.all
        self._chance.shuffle(each_once)
        while each_once or asyncio.get_running_loop().time() < until:
            happens = each_once.pop() if each_once else self._chance.choice(self.all)
            print("TROUBLE", happens.__name__, round(asyncio.get_running_loop().time(), 1), flush=True)
            await happens()
            self.happened[happens.__name__] += 1
            await asyncio.sleep(self._chance.uniform(0.1, PAUSE))

    async def _workers(self) -> list[int]:
        async def found() -> list[int]:
            children = Path(f"/proc/{self._up.process.pid}/task/{self._up.process.pid}/children").read_text().split()
            there = []
            for pid in children:
                with contextlib.suppress(OSError):
                    if b"\0serve\0api" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        there.append(int(pid))
            return there if len(there) == WORKERS else []

        return await eventually(found)

    def _kill(self, pid: int | None) -> None:
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, SIGKILL)

    async def _command(self, *words: str) -> None:
        env = environment(CLEW_NATS=self._up.nats_url, CLEW_DATA=str(self._up.data))
        ran = await asyncio.create_subprocess_exec(
            *CLEW, *words, "--json", env=env, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        _, said = await ran.communicate()
        # What was killed a moment ago may be missing; what is broken off goes on the next time.
        assert ran.returncode in {0, 1, 4}, said.decode()
        if ran.returncode:
            self.happened[f"{' '.join(words)} was broken off"] += 1


async def places_of(clew: Clew, tenant: str = "") -> list[tuple[int, int]]:
    threads = await log_of(clew)
    return sorted(
        (each.position.shard, each.position.seq)
        for address, commits in threads.items()
        if tenant in {"", address.tenant}
        for each in commits
    )


async def whole(reader: Reader | Taking, wanted: Sequence[tuple[int, int]]) -> None:
    async def there() -> bool:
        assert len(reader.places) >= len(wanted), f"{type(reader).__name__}: {len(reader.places)} of {len(wanted)}"
        return True

    await eventually(there, within=60)
    assert sorted(reader.places) == wanted  # nothing missed, nothing twice, nothing of another
    newest: dict[str, int] = {}
    for thread, n in reader.commits:
        assert n == newest.get(thread, 0) + 1
        newest[thread] = n


async def have_begun(readers: Sequence[Reader | Taking]) -> bool:
    """Each has read something, so whatever happens from now on interrupts it."""
    return all(reader.places for reader in readers)


async def have_come_back(readers: Sequence[Reader | Taking]) -> bool:
    """Each was cut off and has connected again, also if it had everything before."""
    return all(reader.times > 1 for reader in readers)


@pytest.mark.soak
@pytest.mark.timeout(300 + 2 * SECONDS)
async def test_whatever_happens_every_reader_gets_what_the_log_has_once(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    with running_up(tmp_path / "data", "--workers", str(WORKERS)) as up:
        assert clew_command("tenants", "add", "other", env={"CLEW_NATS": up.nats_url}).returncode == 0
        async with client.connect(up.nats_url) as clew:
            beginning = await clew.create_thread()
            begin = [each.id async for each in clew.feed()]
            assert beginning.thread.id
        url = up.base_url.removesuffix("/v1")
        streams = [Restless(lambda: url, up.api_key, random.Random(SEED + place)) for place in range(3)]
        pager, service, shell = Pager(up, chance), Service(up, chance), Shell(up, chance, begin[-1])
        bare = Bare(up, chance)
        writers, trouble = Writers(up.nats_url, chance), Trouble(up, chance, shell)
        readers = (*streams, pager, service, shell, bare)
        async with reading(*readers):
            async with asyncio.TaskGroup() as both:
                both.create_task(writers.write("default", WRITERS))
                both.create_task(writers.write("other", 2))
                await eventually(partial(have_begun, readers), within=60)
                await trouble.make()
                writers.stop.set()
            async with connect(up.nats_url, name="soak") as found:
                wanted = await places_of(found, "default")
                print(f"seed {SEED}: {len(wanted)} commits, {dict(trouble.happened)}")
                for reader in (*streams, pager, service):
                    await whole(reader, wanted)
                    print(f"{type(reader).__name__} came back {reader.times} times")
                await whole(shell, sorted(set(wanted) - {shell_begin(pager)}))
                await whole(bare, await places_of(found))
            await eventually(partial(have_come_back, (*streams, shell)), within=60)
        assert pager.times_stored == sorted(pager.times_stored)  # page by page, in the one order


def shell_begin(pager: Pager) -> tuple[int, int]:
    """The commit after which the shell began: the first."""
    return pager.places[0]
