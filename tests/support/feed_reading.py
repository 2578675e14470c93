"""Readers of the feed, each in its own way, who come back when they are cut off and go on where they were."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx2
import msgspec
import nats

from clew_events.client import connect
from clew_events.codec import decode
from clew_events.errors import Unavailable
from support.up import ROOT, Up, environment

Event = dict[str, Any]
Place = tuple[int, int]


class Reader:
    """A reader of server-sent events who comes back after the last one when cut off."""

    def __init__(self, url: Callable[[], str], key: str, **asked: str) -> None:
        self._url = url
        self._key = key
        self._asked = asked
        self.last = ""
        self.events: list[Event] = []
        self.ids: list[str] = []
        self.times = 0

    async def read(self) -> None:
        while True:
            headers = {"Authorization": f"Bearer {self._key}", "Accept": "text/event-stream"}
            if self.last:
                headers["Last-Event-ID"] = self.last
            try:
                async with httpx2.AsyncClient(timeout=30) as http:
                    url = f"{self._url()}/v1/events"
                    async with http.stream("GET", url, headers=headers, params=self._asked) as answer:
                        self.times += 1
                        async for event in events_of(answer):
                            self.take(event)
                            if await self.leaves():
                                break
            except httpx2.HTTPError:
                pass
            await asyncio.sleep(0.02)

    def take(self, event: dict[str, str]) -> None:
        if event.get("event") == "commit":
            self.last = event["id"]
            self.ids.append(event["id"])
            self.events.append(msgspec.json.decode(event["data"]))

    async def leaves(self) -> bool:
        """Whether this reader goes away by itself now, to come back."""
        return False

    @property
    def places(self) -> list[Place]:
        return [place_of(event) for event in self.events]

    @property
    def commits(self) -> list[tuple[str, int]]:
        """Which commit of which thread each is."""
        return [(event["thread_id"], event["n"]) for event in self.events]


class Restless(Reader):
    """One who is slow now and then, and hangs up now and then."""

    def __init__(self, url: Callable[[], str], key: str, chance: random.Random) -> None:
        super().__init__(url, key)
        self._chance = chance

    async def leaves(self) -> bool:
        """Seldom."""
        if self._chance.random() < 0.01:
            await asyncio.sleep(self._chance.uniform(0, 0.3))
        return self._chance.random() < 0.005


class Taking:
    """What one has been given in some other way than by server-sent events."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.places: list[Place] = []
        self.commits: list[tuple[str, int]] = []
        self.times = 0

    def take(self, place: Place, thread: str, n: int) -> None:
        self.places.append(place)
        self.commits.append((thread, n))


class Pager(Taking):
    """One who asks for page after page over HTTP, of any size, and for each of them again if no answer came."""

    def __init__(self, up: Up, chance: random.Random) -> None:
        super().__init__(chance)
        self._up = up
        self.times_stored: list[tuple[str, Place]] = []

    async def read(self) -> None:
        after: dict[str, str] = {}
        headers = {"Authorization": f"Bearer {self._up.api_key}"}
        while True:
            asked = {"limit": str(self.chance.choice([1, 7, 50, 1000])), **after}
            try:
                async with httpx2.AsyncClient(timeout=5, headers=headers) as http:
                    answer = await http.get(f"{self._up.base_url}/events", params=asked)
            except httpx2.HTTPError:
                answer = None
            if answer is None or answer.status_code != 200:
                assert answer is None or answer.status_code >= 500, answer.text
                await asyncio.sleep(0.05)
                continue
            self.times += 1
            page = answer.json()
            for event in page["data"]:
                self.take(place_of(event), event["thread_id"], event["n"])
                self.times_stored.append((event["stored_at"], place_of(event)))
            after = {"after": page["next"]}
            if not page["has_more"]:
                await asyncio.sleep(self.chance.uniform(0, 0.1))


class Service(Taking):
    """A service with the client for NATS, which follows, and now and then begins anew where it was."""

    def __init__(self, up: Up, chance: random.Random) -> None:
        super().__init__(chance)
        self._up = up

    async def read(self) -> None:
        after: str | None = None
        while True:
            self.times += 1
            with contextlib.suppress(Unavailable):
                async with connect(self._up.nats_url) as clew, aclosing(clew.feed(after=after, follow=True)) as feed:
                    async for entry in feed:
                        assert entry.commit is not None
                        self.take((entry.position.shard, entry.position.seq), entry.commit.thread, entry.commit.n)
                        after = entry.id
                        if self.chance.random() < 0.002:
                            break
            await asyncio.sleep(0.02)


class Shell(Taking):
    """Somebody at a terminal with ``clew replay --follow``, which is killed and started again after what it said."""

    def __init__(self, up: Up, chance: random.Random, begin: str) -> None:
        super().__init__(chance)
        self._up = up
        self._after = begin
        self._running: asyncio.subprocess.Process | None = None

    async def read(self) -> None:
        try:
            while True:
                await self._once()
        finally:
            self.kill()

    def kill(self) -> None:
        if self._running is not None and self._running.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._running.kill()

    async def _once(self) -> None:
        self.times += 1
        words = ["-m", "clew_services.cli", "replay", "--follow", "--json", "--after", self._after]
        self._running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-u", *words), env=environment(CLEW_NATS=self._up.nats_url),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, limit=2**20,
        )  # fmt: skip
        assert self._running.stdout is not None
        while (line := await self._running.stdout.readline()).endswith(b"\n"):
            entry = msgspec.json.decode(line)
            self.take(place_of(entry), entry["commit"]["thread"], entry["commit"]["n"])
            self._after = entry["id"]
        await self._running.wait()
        await asyncio.sleep(0.2)


class Bare(Taking):
    """An auditor with the program that the guide shows, which has nothing but a NATS client."""

    def __init__(self, up: Up, chance: random.Random) -> None:
        super().__init__(chance)
        self._up = up

    async def read(self) -> None:
        follow = shown("docs/feed.md", "async def follow(")["follow"]
        nc = await nats.connect(self._up.nats_url, max_reconnect_attempts=-1, reconnect_time_wait=0.2)  # type: ignore[arg-type]
        have = {f"CLEW_EVT_{shard:02d}": 0 for shard in range(2)}
        try:
            while True:
                self.times += 1
                async with aclosing(follow(nc, have)) as heard:
                    async for stream, seq, body in heard:
                        found = decode(body)
                        self.take((int(stream[-2:]), seq), found.thread, found.n)
                        if self.chance.random() < 0.002:
                            break
        finally:
            await nc.close()


def shown(document: str, what: str) -> dict[str, Any]:
    """What a program in a document defines: the one in which ``what`` stands."""
    programs = re.findall(r"^```python\n(.*?)^```$", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)
    (program,) = [each for each in programs if what in each]
    defined: dict[str, Any] = {"__name__": "shown"}
    exec(compile(program, document, "exec"), defined)
    return defined


async def events_of(answer: httpx2.Response) -> AsyncIterator[dict[str, str]]:
    event: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if not line:
            yield event
            event = {}
        elif name:
            event[name] = value


def place_of(event: Event) -> Place:
    position = event["position"]
    return position["shard"], position["seq"]


@asynccontextmanager
async def reading(*readers: Reader | Taking) -> AsyncIterator[None]:
    """Readers at work. One that breaks breaks the test."""
    tasks = [asyncio.create_task(reader.read()) for reader in readers]  # type: ignore[union-attr]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until_cut(lines: AsyncIterator[str]) -> list[str]:
    """The lines of an answer that is cut off, and so looks whole to nobody."""
    heard: list[str] = []
    try:
        async for line in lines:
            heard.append(line)  # noqa: PERF401 - what came before the fault counts
    except httpx2.RemoteProtocolError:
        return heard
    raise AssertionError("it ended as if it were whole")
