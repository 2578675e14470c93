"""One server of a cluster kept behind in some streams, and every question there is held against the log meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Literal

from msgspec.structs import replace
from nats.errors import Error as NatsError

from clew_events.codec import decode_recorded
from clew_events.commands import Command, CreateThread
from clew_events.commit import Position
from clew_events.errors import ClewError, Unavailable
from clew_events.queries import GetFeed
from clew_events.replies import Feed
from clew_events.subjects import address_of, event_stream
from clew_services.compose import Clew, Connection
from clew_services.threads.result import Outcome
from support import naive, questions
from support.lagging import small
from support.naive import Kept
from support.routes import Routes
from support.simulation import NOWHERE
from support.waiting import eventually

TENANT = "default"


@asynccontextmanager
async def behind(routes: Routes, operator: Connection, name: str, streams: Iterable[str]) -> AsyncIterator[None]:
    """The server of a name gets nothing of what these streams take, for as long as the block lasts.

    It leads neither them nor their consumers: a leader cannot lag.
    """
    routes.groups = frozenset([await _led_elsewhere(operator, f"STREAM.{{}}.{each}", name) for each in streams])
    for stream in streams:
        for consumer in await _consumers(operator, stream):
            await _led_elsewhere(operator, f"CONSUMER.{{}}.{stream}.{consumer}", name)
    routes.behind = frozenset({name})
    try:
        yield
    finally:
        routes.behind = frozenset()


async def _consumers(operator: Connection, stream: str) -> list[str]:
    found: Any = (await operator.js.api(f"CONSUMER.NAMES.{stream}"))["consumers"]
    return [*(found or ())]


async def _led_elsewhere(operator: Connection, call: str, name: str) -> str:
    """The name of a group that copies something, once another server leads it. ``call`` is a call that says so."""

    async def asked() -> str:
        try:
            found: Any = (await operator.js.api(call.format("INFO")))["cluster"]
            if found.get("leader") == name:
                await operator.js.api(call.format("LEADER.STEPDOWN"))
        except Unavailable:
            return ""
        return str(found["raft_group"]) if found.get("leader", name) != name else ""

    return await eventually(asked)


class Life:
    """Threads that are written to, the log that this makes, and whether answers follow from it."""

    def __init__(self, threads: Iterable[str], seed: int) -> None:
        self.threads = [*threads]
        self.given: list[tuple[Command, Outcome | ClewError]] = []
        self._chance = Random(seed)
        self._histories: dict[str, list[Kept]] = {}
        self._feed: list[tuple[Any, int, int]] = []

    async def go_on(self, clew: Clew, commands: int) -> None:
        """Give so many commands, most of which make a commit."""
        for each in self.threads:
            if not self.history(each):
                await self._give(clew, CreateThread(thread_id=each))
        for n in range(commands):
            await self._give(clew, replace(small(n, self._chance), thread_id=self._chance.choice(self.threads)))
        await self.read(clew)

    def history(self, thread: str) -> list[Kept]:
        """A thread's commits as they were last read."""
        return self._histories.get(thread, [])

    async def _give(self, clew: Clew, command: Command) -> None:
        assert command.thread_id is not None
        known = [*naive.state(command.thread_id, self.history(command.thread_id)).messages]
        if (pick := getattr(command, "message_id", "")).isdigit():
            command = replace(command, message_id=known[int(pick)] if int(pick) < len(known) else NOWHERE)
        command = replace(command, id=f"c{len(self.given)}")
        self.given.append((command, await carried_out(clew, command)))

    async def read(self, clew: Clew) -> None:
        """Read the whole log, from those who lead it.

        Raises:
            AssertionError: nobody leads it now.
        """
        try:
            await self._read(clew)
        except NatsError as fault:
            raise AssertionError("the log has no leader") from fault

    async def _read(self, clew: Clew) -> None:
        js = clew.nc.jetstream()
        histories: dict[str, list[Kept]] = {}
        feed: list[tuple[Any, int, int]] = []
        for shard in range(clew.deployment.shards):
            for seq in range(1, (await js.stream_info(event_stream(shard))).state.last_seq + 1):
                message = await js.get_msg(event_stream(shard), seq)
                assert message.data is not None
                found = decode_recorded(message.data, Position(shard, seq))
                thread = address_of(message.subject or "").thread
                histories.setdefault(thread, []).append(naive.kept(message.data, seq, found.hash))
                feed.append((message.time, shard, seq))
        self._histories, self._feed = histories, sorted(feed)

    async def wrong_answers(self, clew: Clew, times: int = 1) -> list[str]:
        """Every kind of strong question, asked so many times: what is wrong with the answers."""
        found: list[str | None] = []
        for thread in times * [*self.threads, "thread_nobody"]:
            history = self.history(thread)
            for query in questions.asked(thread, history, self._chance):
                if questions.is_eventual(query):
                    continue
                try:
                    answer: Any = await clew.reader.answer(TENANT, query)
                except ClewError as fault:
                    answer = fault
                found.append(questions.same(query, answer, history))
        for order in ("asc", "desc"):
            found += [await self._wrong_feed(clew, order) for _ in range(times)]
        return [each for each in found if each is not None]

    async def _wrong_feed(self, clew: Clew, order: Literal["asc", "desc"]) -> str | None:
        said: list[tuple[int, int]] = []
        after = None
        while True:
            query = GetFeed(order=order, limit=self._chance.choice([7, 50]), after=after)
            page = await clew.reader.answer(TENANT, query)
            assert isinstance(page, Feed)
            said += [(each.position.shard, each.position.seq) for each in page.data]
            after = page.next
            if not page.has_more:
                break
        right = [(shard, seq) for _, shard, seq in self._feed]
        right = right if order == "asc" else right[::-1]
        return None if said == right else f"the feed, {order}\n  said  {said}\n  right {right}"

    async def wrong_repeats(self, clew: Clew) -> list[str]:
        """Every command that made a commit given again: whatever is not answered as it was the first time.

        One that changed nothing is nowhere on record, and decided on the thread as it is by now.
        """
        found: list[str] = []
        ends: dict[str, int] = {}
        for command, first in self.given:
            if not isinstance(first, Outcome):
                continue
            thread = command.thread_id or ""
            made, ends[thread] = first.n > ends.get(thread, 0), first.n
            if made and (second := await carried_out(clew, command)) != first:
                found.append(f"{command}\n  said  {second!r}\n  right {first!r}")
        return found


async def carried_out(clew: Clew, command: Command) -> Outcome | ClewError:
    """What a command is answered with."""
    try:
        return await clew.handler.handle(TENANT, command)
    except ClewError as fault:
        return fault
