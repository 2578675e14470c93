"""A deployment whose projections are behind in every way there is, while somebody compares its answers with the log.

Several processes write and ask; projectors go as far as they are told, and stop in the middle of what they write; the
server's buckets lose their latest writes, each for itself, as they do when it dies. The log loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from random import Random
from typing import Any, Literal, Self

from msgspec import Struct
from msgspec.structs import replace
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeout
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from clew_events.codec import decode_recorded
from clew_events.commands import (
    AddMessage,
    Command,
    CreateThread,
    DeleteMessage,
    UpdateMessage,
    UpdateThread,
    has_digest,
)
from clew_events.commit import Position, Recorded
from clew_events.errors import ClewError, Unavailable
from clew_events.queries import GetFeed, Query
from clew_events.replies import Feed
from clew_events.requests import MetadataPatch, NewMessage
from clew_events.subjects import Address, address_of, event_stream
from clew_projections.apply import advance, advance_message, message_ids
from clew_projections.nats.stream_messages import DIGEST, EXPECTED, Ack, OutgoingMessage
from clew_projections.projector.batch import BatchProjection
from clew_projections.projector.parked_threads import retry_parked
from clew_projections.projector.projector import Projector
from clew_projections.projector.shard_consumer import ShardConsumer
from clew_projections.views import MessageView, absent
from clew_services.compose import Clew, connect, connection
from clew_services.eventstore import provision
from clew_services.threads.decide import decide, thread_exists
from clew_services.threads.result import Outcome
from support import naive, questions
from support.naive import Kept
from support.proxy import Proxy, between
from support.simulation import NOWHERE
from support.waiting import eventually

SHARDS = 2
THREADS = [f"thread_{n}" for n in range(3)]
TENANT = "default"
BUCKETS = ("KV_clew_threads_v1", "KV_clew_commands_v1")
ROUNDS = 20
"""How often each process asks at most while commands are under way: when a write has to wait, it would ask for ever."""
SHORTEST_WINDOW = 100_000_000
"""Nanoseconds for which the server knows a message by its id: the shortest that it has."""


class Written(Struct, frozen=True):
    """Something that a bucket took."""

    subject: str
    body: bytes
    headers: Mapping[str, str]


class Write(Struct, frozen=True):
    """A command, given to one of the processes."""

    thread: str
    process: int
    command: Command


class Again(Struct, frozen=True):
    """A command that was given before, given again, to one of the processes; ``other`` under the same id only."""

    which: int
    process: int
    other: bool


class Burst(Struct, frozen=True):
    """Many commits of one thread."""

    thread: str
    process: int
    count: int


class Project(Struct, frozen=True):
    """A projector goes on: until it has made so many writes, if that is given, and then it is stopped short."""

    process: int
    writes: int | None
    checkpoint: bool


class Crash(Struct, frozen=True):
    """The server dies, and with it the latest writes of each bucket, so many of each."""

    lost: tuple[int, int]


class Restart(Struct, frozen=True):
    """A process ends, and another takes its place, which remembers nothing."""

    process: int


class Together(Struct, frozen=True):
    """Commands that are under way at once, while everybody asks, and perhaps a projector runs."""

    writes: tuple[Write, ...]
    projector: int | None


Step = Write | Again | Burst | Project | Crash | Restart | Together


class Truth:
    """The log, read by nats-py alone, and only what is new of it."""

    def __init__(self) -> None:
        self.kept: dict[Address, list[Kept]] = {}
        self.recorded: dict[Address, list[Recorded]] = {}
        self.feed: list[tuple[Any, int, int]] = []
        self._read = [0] * SHARDS
        self._subscriptions: list[JetStreamContext.PullSubscription] = []

    async def follow(self, clew: Clew) -> None:
        """Begin to read."""
        self._js = clew.nc.jetstream()
        config = ConsumerConfig(ack_policy=AckPolicy.NONE, mem_storage=True)
        for shard in range(SHARDS):
            made = await self._js.pull_subscribe("", stream=event_stream(shard), config=config)
            self._subscriptions.append(made)

    async def refresh(self) -> None:
        """Read what is new."""
        for shard, subscription in enumerate(self._subscriptions):
            last = (await self._js.stream_info(event_stream(shard))).state.last_seq
            while self._read[shard] < last:
                with suppress(NatsTimeout):
                    for message in await subscription.fetch(min(200, last - self._read[shard]), timeout=5):
                        self._take(shard, message)
        self.feed.sort()

    def _take(self, shard: int, message: Msg) -> None:
        seq = self._read[shard] = message.metadata.sequence.stream
        digest = (message.headers or {}).get(DIGEST)
        found = decode_recorded(message.data, Position(shard, seq), digest=digest)
        address = address_of(message.subject)
        self.recorded.setdefault(address, []).append(found)
        self.kept.setdefault(address, []).append(naive.kept(message.data, seq, found.hash))
        self.feed.append((message.metadata.timestamp, shard, seq))

    def history(self, thread: str) -> Sequence[Kept]:
        """A thread's commits."""
        return self.kept.get(Address(TENANT, thread), [])

    def commits(self, thread: str) -> Sequence[Recorded]:
        """The same, for Clew's rules."""
        return self.recorded.get(Address(TENANT, thread), [])


class Stopped(Unavailable):
    """What a projector that may write no more is told."""


class Process:
    """One process of the deployment: a connection, and whatever it remembers."""

    def __init__(self, world: World, clew: Clew, stack: AsyncExitStack) -> None:
        self.clew = clew
        self.stack = stack
        self._world = world
        self._left: int | None = None
        self._projector: _Stepped | None = None
        publish = clew.js.publish

        async def tapped(
            subject: str, body: bytes, headers: Mapping[str, str] | None = None, timeout: float | None = None
        ) -> Ack:
            if not subject.startswith("$KV.clew_"):
                return await publish(subject, body, headers, timeout)
            if self._left is not None:
                self._left -= 1
                if self._left < 0:
                    raise Stopped("this projector may write no more")
            ack = await publish(subject, body, headers, timeout)
            if ack.error is None:
                world.wrote(ack.stream, ack.seq, Written(subject, body, headers or {}))
            return ack

        async def tapped_each(messages: Sequence[OutgoingMessage], timeout: float | None = None) -> list[Ack]:
            return [await clew.js.publish(each.subject, each.body, each.headers, timeout) for each in messages]

        clew.js.publish = tapped  # type: ignore[method-assign]
        clew.js.publish_each = tapped_each  # type: ignore[method-assign]

    async def project(self, step: Project) -> None:
        """Do so."""
        if self._projector is None:
            self._projector = _Stepped(self.clew)
        self._left = step.writes
        try:
            await self._projector.run(checkpoint=step.checkpoint)
        except Unavailable:
            await self._projector.give_back()
        finally:
            self._left = None

    async def close(self) -> None:
        """End, in good order."""
        if self._projector is not None:
            await self._projector.close()
        await self.stack.aclose()


class _Stepped:
    """Projectors of all shards that go on only while they are told to."""

    def __init__(self, clew: Clew) -> None:
        self._clew = clew
        side = clew.live.current
        self._ready: int | None = None
        self._shards: list[tuple[ShardConsumer, BatchProjection, Projector]] = []
        for shard in range(SHARDS):
            deliveries = ShardConsumer(clew.nc, event_stream(shard), side.consumer, clew.js.pending, wait=0.02)
            projecting = BatchProjection(side.threads, side.spent, clew.histories)
            checkpoint, made = clew.generations.position(shard), lambda: clew.connection.made
            projector = Projector(deliveries, projecting, side.threads, checkpoint, made)
            self._shards.append((deliveries, projecting, projector))
        self._checkpoints = [clew.generations.position(shard) for shard in range(SHARDS)]

    async def run(self, *, checkpoint: bool) -> None:
        if self._ready != (made := self._clew.connection.made):
            for (_, projecting, _), mark in zip(self._shards, self._checkpoints, strict=True):
                projecting.forget()
                await mark.rewind()
                await retry_parked(self._clew.live.current.threads, projecting)
            self._ready = made
        for (deliveries, _, projector), mark in zip(self._shards, self._checkpoints, strict=True):
            while (await mark.state()).num_pending or (await mark.state()).num_ack_pending:
                batch = await deliveries.next(50)
                if not batch:
                    break
                await projector.project(batch)
                await self._clew.nc.flush()
            if checkpoint:
                await mark.advance(0.0, reached=2**60)

    async def give_back(self) -> None:
        self._ready = None
        for deliveries, _, _ in self._shards:
            await deliveries.give_back()

    async def close(self) -> None:
        for deliveries, _, _ in self._shards:
            await deliveries.close()


class World:
    """The deployment, and everything that was asked of it."""

    def __init__(self, url: str, seed: int) -> None:
        self._url = url
        self._chance = Random(seed)
        self._written: dict[str, list[Written]] = {}
        self._stack = AsyncExitStack()
        self.processes: list[Process] = []
        self.truth = Truth()
        self.given: dict[str, Command] = {}
        self.asked = 0

    async def __aenter__(self) -> Self:
        made = await self._stack.enter_async_context(connection(self._url, name="init"))
        for stream in await made.js.streams():
            await made.js.api(f"STREAM.DELETE.{stream}")
        await provision.init(made.js, shards=SHARDS, max_msg_size=made.nc.max_payload)
        self._admin = await self._stack.enter_async_context(connect(self._url, name="admin"))
        self._wire: Proxy = await self._stack.enter_async_context(between(self._url))
        self.processes = [await self._begin(fold=1), await self._begin(fold=1), await self._begin(fold=2)]
        await self.truth.follow(self._admin)
        return self

    async def __aexit__(self, *fault: object) -> None:
        for process in self.processes:
            await process.close()
        await self._stack.aclose()

    async def _begin(self, *, fold: int) -> Process:
        stack = AsyncExitStack()
        clew = await stack.enter_async_context(connect(self._wire.url, name="process", fold=fold))
        return Process(self, clew, stack)

    def wrote(self, stream: str, seq: int, written: Written) -> None:
        """Note what a bucket took."""
        taken = self._written.setdefault(stream, [])
        taken += [written] * (seq - len(taken))
        taken[seq - 1] = written

    async def live_through(self, step: Step) -> None:
        """Do what a step says, and hold that everybody's answers are right then."""
        match step:
            case Write():
                await self._write(step)
            case Again():
                await self._again(step)
            case Burst():
                for n in range(step.count):
                    await self._write(Write(step.thread, step.process, small(n, self._chance)))
            case Project():
                await self.processes[step.process].project(step)
            case Crash():
                await self._crash(step)
            case Restart():
                process = self.processes[step.process]
                fold = process.clew.fold
                await process.close()
                self.processes[step.process] = await self._begin(fold=fold)
            case Together():
                await self._together(step)
        await self.truth.refresh()
        await self.ask()

    async def _crash(self, step: Crash) -> None:
        await self._wire.down()
        js = self._admin.js
        before = [process.clew.connection.made for process in self.processes]
        for stream, lost in zip(BUCKETS, step.lost, strict=True):
            config: Any = (await js.api(f"STREAM.INFO.{stream}"))["config"]
            left = self._written.get(stream, [])
            left = left[: max(0, len(left) - lost)]
            await js.api(f"STREAM.DELETE.{stream}")
            await js.api("STREAM.CREATE." + stream, config)
            for each in left:
                headers = {key: value for key, value in each.headers.items() if key != EXPECTED}
                ack = await js.publish(each.subject, each.body, headers)
                assert ack.error is None
            self._written[stream] = left
        await self._wire.up()

        async def back() -> bool:
            return all(
                process.clew.nc.is_connected and process.clew.connection.made > made
                for process, made in zip(self.processes, before, strict=True)
            )

        await eventually(back)

    # Commands.

    async def _write(self, step: Write) -> None:
        await self.truth.refresh()
        low = len(self.truth.history(step.thread))
        command = self._meant(step)
        answer = await self._carry_out(step.process, command)
        await self.truth.refresh()
        self._hold(command, answer, low)

    async def _again(self, step: Again) -> None:
        if not self.given:
            return
        command = [*self.given.values()][step.which % len(self.given)]
        if step.other:
            assert command.id is not None
            command = UpdateThread(
                thread_id=command.thread_id or "", id=command.id, patch=MetadataPatch(set={"other": "1"}, unset=())
            )
        await self.truth.refresh()
        low = len(self.truth.history(command.thread_id or ""))
        answer = await self._carry_out(step.process, command)
        await self.truth.refresh()
        self._hold(command, answer, low)

    def _meant(self, step: Write) -> Command:
        history = self.truth.history(step.thread)
        known = [*naive.state(step.thread, history).messages]
        expected = self._chance.choice([None, None, None, len(history), len(history), len(history) - 1])
        command = replace(
            step.command,
            thread_id=step.thread,
            id=f"c{len(self.given)}",
            actor=self._chance.choice(["a1", "a2", "b"]),
            expected_version=None if expected is None or expected < 0 else expected,
        )
        if isinstance(command, UpdateMessage | DeleteMessage) and command.message_id.isdigit():
            pick = int(command.message_id)
            command = replace(command, message_id=known[pick] if pick < len(known) else NOWHERE)
        assert command.id is not None
        self.given[command.id] = command
        return command

    async def _carry_out(self, process: int, command: Command) -> Outcome | ClewError:
        try:
            return await self.processes[process].clew.handler.handle(TENANT, command)
        except ClewError as fault:
            return fault

    def _hold(self, command: Command, answer: Outcome | ClewError, low: int) -> None:
        """Hold that the answer to a command is what came of it, or would have at some moment since ``low`` commits."""
        assert command.thread_id is not None
        assert command.id is not None
        history, commits = self.truth.history(command.thread_id), self.truth.commits(command.thread_id)
        places = [n for n, each in enumerate(commits, start=1) if each.commit.id == command.id]
        assert len(places) <= 1, f"{command} was carried out twice"
        if places:
            self._hold_made(command, answer, history, commits, places[0])
            return
        moments = [_decided(command, commits[:n]) for n in range(low, len(commits) + 1)]
        if isinstance(answer, ClewError):
            assert (answer.kind, answer.code) in moments, f"{command}\n  said  {answer!r}\n  right {moments}"
            return
        assert (None, answer.n) in moments, f"{command}\n  said  {answer}\n  right {moments}"
        self._hold_told(command, answer, history[: answer.n])

    def _hold_made(
        self,
        command: Command,
        answer: Outcome | ClewError,
        history: Sequence[Kept],
        commits: Sequence[Recorded],
        n: int,
    ) -> None:
        if not has_digest(command, commits[n - 1].digest or ""):
            assert isinstance(answer, ClewError), f"{command} was answered with {answer}"
            # A thread that is there under an id that somebody else gave is said to be there.
            assert answer.code in {"command_id_reused", "version_conflict"}, f"{command}\n  said  {answer!r}"
            return
        assert isinstance(answer, Outcome), f"{command} made commit {n}\n  said  {answer!r}"
        assert (answer.n, answer.position) == (n, commits[n - 1].position)
        self._hold_told(command, answer, history[:n])

    def _hold_told(self, command: Command, answer: Outcome, history: Sequence[Kept]) -> None:
        now = naive.state(command.thread_id or "", history)
        if answer.thread is not None:
            said = questions.plain(answer.thread)
            right = questions.plain({**now.shown, "tool_resources": now.resources})
            assert said == right, f"{command}\n  said  {said}\n  right {right}"
        if answer.message is not None:
            message = questions.plain(answer.message)
            assert questions.plain(now.messages[message["id"]]) == message, f"{command}\n  said  {message}"

    # Questions.

    async def ask(self, *, everything: bool = False) -> None:
        """Hold that everybody's answers follow from the log."""
        for process in self.processes:
            for thread in (*THREADS, "thread_nobody"):
                history = self.truth.history(thread)
                for query in questions.asked(thread, history, self._chance):
                    if everything or self._chance.random() < 0.4:
                        self._hold_answer(query, await self._answer(process, query), len(history))
        await self._hold_feed(self._chance.choice(self.processes))

    async def _answer(self, process: Process, query: Query) -> Any:
        self.asked += 1
        try:
            return await process.clew.reader.answer(TENANT, query)
        except ClewError as fault:
            return fault

    def _hold_answer(self, query: Query, answer: Any, low: int) -> None:
        """Hold that an answer is right as of some moment since the thread had ``low`` commits."""
        history = self.truth.history(getattr(query, "thread_id", ""))
        first = 0 if questions.is_eventual(query) else low
        if questions.is_eventual(query) and (least := getattr(query, "at_least", None)):
            first = min(least, low)
        wrong = [questions.same(query, answer, history[:n]) for n in range(len(history), first - 1, -1)]
        assert None in wrong, wrong[0]

    async def _hold_feed(self, process: Process) -> None:
        order: Literal["asc", "desc"] = self._chance.choice(["asc", "desc"])
        found: list[tuple[int, int]] = []
        after = None
        while True:
            query = GetFeed(order=order, limit=self._chance.choice([1, 7, 50]), after=after)
            page = await process.clew.reader.answer(TENANT, query)
            assert isinstance(page, Feed)
            found += [(each.position.shard, each.position.seq) for each in page.data]
            after = page.next
            if not page.has_more:
                break
        right = [(shard, seq) for _, shard, seq in self.truth.feed]
        assert found == (right if order == "asc" else right[::-1])

    async def _together(self, step: Together) -> None:
        await self.truth.refresh()
        low = {thread: len(self.truth.history(thread)) for thread in THREADS}
        writes = [(each, self._meant(each)) for each in step.writes]
        heard: list[tuple[Query, Any]] = []
        done = asyncio.Event()

        async def asking(process: Process) -> None:
            chance = Random(self._chance.random())
            for _ in range(ROUNDS):
                if done.is_set():
                    return
                thread = chance.choice(THREADS)
                asked = questions.asked(thread, self.truth.history(thread), chance)
                heard.extend([(query, await self._answer(process, query)) for query in asked])

        async def writing() -> list[Outcome | ClewError]:
            try:
                return await asyncio.gather(*(self._carry_out(each.process, command) for each, command in writes))
            finally:
                done.set()

        others: list[Awaitable[None]] = [asking(process) for process in self.processes]
        if step.projector is not None:
            others.append(self.processes[step.projector].project(Project(step.projector, None, checkpoint=False)))
        answers, *_ = await asyncio.gather(writing(), *others)
        await self.truth.refresh()
        for (_, command), answer in zip(writes, answers, strict=True):
            self._hold(command, answer, low[command.thread_id or ""])
        for query, answer in heard:
            self._hold_answer(query, answer, low[getattr(query, "thread_id", "")])


def small(n: int, chance: Random) -> Command:
    """A command that changes little, of a thread that is yet to be named."""
    message = NewMessage(role="user", content=f"{n}")
    patch = MetadataPatch(set={"k": f"{n}"}, unset=())
    return chance.choice(
        [
            AddMessage(thread_id="", message=message),
            UpdateThread(thread_id="", patch=patch),
            UpdateMessage(thread_id="", message_id=f"{chance.randint(0, 5)}", patch=patch),
        ]
    )


def _decided(command: Command, commits: Sequence[Recorded]) -> tuple[str | None, object]:
    """What the rules say of a command after some commits: the error; or that nothing has to be done, and where."""
    view = absent(TENANT, command.thread_id or "")
    messages: dict[str, MessageView] = {}
    for each in commits:
        view = advance(view, each)
        for message_id in message_ids(each.commit):
            messages[message_id] = advance_message(messages.get(message_id), message_id, each.commit)
    if isinstance(command, CreateThread) and commits:
        exists = thread_exists(command.thread_id or "")
        return exists.kind, exists.code
    concerned = messages.get(command.message_id) if isinstance(command, UpdateMessage | DeleteMessage) else None
    try:
        events = decide(command, command.thread_id or "", command.id or "", view, concerned)
    except ClewError as refusal:
        return refusal.kind, refusal.code
    if command.expected_version is not None and command.expected_version != view.n:
        return "conflict", "version_conflict"
    return (None, view.n) if not events else (None, "a commit is due")
