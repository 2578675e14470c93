"""A deployment whose projections are behind in every way there is, while somebody compares its answers with the log.

Several processes write and ask; projectors go as far as they are told, and stop in the middle of what they write; the
server's buckets lose their latest writes, each for itself, as they do when it dies. Contents are erased, by workers
that are killed in the middle; beside that, the log loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any, Literal, Self

from msgspec import Struct
from msgspec.structs import replace
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeout
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from clew_events.checkpoint_messages import GetProof, KeptProof
from clew_events.codec import decode_recorded
from clew_events.commands import (
    AddMessage,
    Command,
    CreateThread,
    DeleteMessage,
    DeleteThread,
    EraseMessage,
    EraseThread,
    MessageCommand,
    UpdateMessage,
    UpdateThread,
    has_digest,
)
from clew_events.commit import Position, Recorded
from clew_events.errors import ClewError, Unavailable
from clew_events.queries import GetFeed, Query
from clew_events.replies import Feed
from clew_events.requests import MetadataPatch, NewMessage
from clew_events.subjects import ERASED_STREAM, ERASURES, Address, address_of, event_stream
from clew_projections.apply import advance, item_ids
from clew_projections.nats.headers import Headers
from clew_projections.nats.request_mux import Request
from clew_projections.nats.stream_messages import DIGEST, EXPECTED, Ack
from clew_projections.projector.batch import BatchProjection
from clew_projections.projector.parked_threads import retry_parked
from clew_projections.projector.projector import Projector
from clew_projections.projector.shard_consumer import ShardConsumer
from clew_projections.views import ItemView, absent
from clew_services.checkpoints.maker import Maker
from clew_services.checkpoints.thread_proofs import check as verify_proof
from clew_services.checkpoints.thread_proofs import temporary_heads
from clew_services.compose import Clew, connect, connection
from clew_services.erasure.worker import NEVER_ASKED
from clew_services.eventstore import provision
from clew_services.threads.decide import decide, thread_exists
from clew_services.threads.result import Outcome
from support import naive, questions
from support.commits import advance_named
from support.erasure_worker import KEY, Killed, complete_all
from support.naive import Kept
from support.proxy import Proxy, between
from support.simulation import NOWHERE
from support.waiting import eventually

SHARDS = 2
THREADS = [f"thread_{n}" for n in range(3)]
TENANT = "default"
BUCKETS = ("KV_clew_threads_v", "KV_clew_commands_v")
"""How the names of the buckets' streams begin, whatever their generation."""
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
    worker: Erase | None = None


class Erase(Struct, frozen=True):
    """A worker carries erasures out as far as it can, or is killed before so many calls."""

    process: int
    stop: int | None


class Sign(Struct, frozen=True):
    """A checkpoint is signed, and proofs under it are kept."""


Step = Write | Again | Burst | Project | Crash | Restart | Together | Erase | Sign


class Truth:
    """The log as it was written, read by nats-py alone, and only what is new of it."""

    def __init__(self) -> None:
        self.kept: dict[Address, list[Kept]] = {}
        self.recorded: dict[Address, list[Recorded]] = {}
        self.feed: list[tuple[Any, int, int]] = []
        self._read = [0] * SHARDS
        self._subscriptions: list[JetStreamContext.PullSubscription] = []

    async def follow(self, clew: Clew) -> None:
        """Begin to read."""
        self._js = clew.nc.jetstream()
        config = ConsumerConfig(ack_policy=AckPolicy.NONE, mem_storage=True, inactive_threshold=600)
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
        """A thread's commits, as they were written."""
        return self.kept.get(Address(TENANT, thread), [])

    def shown(self) -> dict[tuple[int, int], list[naive.JSON]]:
        """The events of all commits without what was erased, by shard and sequence."""
        return {
            (recorded.position.shard, recorded.position.seq): naive.events(each)
            for address, history in self.kept.items()
            for each, recorded in zip(
                naive.redacted(history, naive.requests(history)), self.recorded[address], strict=True
            )
        }

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

        async def tapped_each(messages: Sequence[Request], timeout: float | None = None) -> list[Ack]:
            return [await clew.js.publish(each.subject, each.body, Headers(each.head), timeout) for each in messages]

        clew.js.publish = tapped  # type: ignore[method-assign]
        clew.js.publish_each = tapped_each  # type: ignore[method-assign]

    async def project(self, step: Project) -> None:
        """Do so."""
        await self.clew.live.refresh()
        if self._projector is not None and self._projector.generation is not self.clew.live.current:
            await self._projector.close()
            self._projector = None
        if self._projector is None:
            self._projector = _Stepped(self.clew)
        self._left = step.writes
        try:
            await self._projector.run(checkpoint=step.checkpoint)
        except Unavailable:
            await self._projector.give_back()
        finally:
            self._left = None

    async def erase(self, step: Erase) -> None:
        """Carry erasures out, or be killed meanwhile; one whose request is not in the log yet is taken for failed."""
        with suppress(Killed):
            await complete_all(self.clew, stop=step.stop, clock=lambda: datetime.now(UTC) + 2 * NEVER_ASKED)

    async def close(self) -> None:
        """End, in good order."""
        if self._projector is not None:
            await self._projector.close()
        await self.stack.aclose()


class _Stepped:
    """Projectors of all shards that go on only while they are told to."""

    def __init__(self, clew: Clew) -> None:
        self._clew = clew
        side = self.generation = clew.live.current
        self._ready: int | None = None
        self._shards: list[tuple[ShardConsumer, BatchProjection, Projector]] = []
        for shard in range(SHARDS):
            deliveries = ShardConsumer(clew.nc, event_stream(shard), side.consumer, clew.js.pending, wait=0.02)
            projecting = BatchProjection(side.threads, side.spent, clew.histories)
            checkpoint, made = clew.generations.position(shard), lambda: clew.connection.made
            removed = partial(clew.live.is_removed, side)
            projector = Projector(deliveries, projecting, side.threads, checkpoint, made, removed=removed)
            self._shards.append((deliveries, projecting, projector))
        self._checkpoints = [clew.generations.position(shard) for shard in range(SHARDS)]

    async def run(self, *, checkpoint: bool) -> None:
        if self._ready != (made := self._clew.connection.made):
            for (_, projecting, _), mark in zip(self._shards, self._checkpoints, strict=True):
                projecting.forget()
                await mark.rewind()
                await retry_parked(self.generation.threads, projecting)
            self._ready = made
        for (deliveries, _, projector), mark in zip(self._shards, self._checkpoints, strict=True):
            while (await mark.state()).num_pending or (await mark.state()).num_ack_pending:
                batch = await deliveries.next(50)
                if not batch:
                    break
                await projector.project(batch)
                await self._clew.nc.flush()
            if checkpoint:
                mark.note(2**60, 2**60)
                await mark.advance(0.0)

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
        self._proofs: list[KeptProof] = []

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

    async def live_through(self, step: Step) -> None:  # noqa: C901 - one case a step
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
            case Erase():
                await self.processes[step.process].erase(step)
            case Sign():
                await self._sign()
        await self.truth.refresh()
        await self._hear()
        await self.ask()

    async def end(self) -> None:
        """Carry out what is left to be erased, and hold that nobody can tell but by what is gone."""
        await self.processes[0].erase(Erase(0, None))
        await self._sign()
        await self.truth.refresh()
        await self._hear()
        await self.processes[0].project(Project(0, None, checkpoint=True))
        await self.ask(everything=True)
        admin = self._admin
        asked = {event["erasure"] for thread in THREADS for _, event in naive.requests(self.truth.history(thread))}
        records = [erasure async for erasure in admin.erasure_records.iterate(TENANT)]
        assert {erasure.status for erasure in records if erasure.id in asked} <= {"completed"}
        assert {erasure.status for erasure in records if erasure.id not in asked} <= {"failed"}
        assert asked <= {erasure.id for erasure in records}
        await admin.live.refresh()
        assert {each.finding async for each in admin.prover().prove()} <= {None}
        verified = await admin.record_verifier().whole(None, {KEY.verifier.id: KEY.verifier})
        assert verified.findings == () or not self._proofs, verified.findings
        for proof in self._proofs:
            verify_proof(proof, KEY.verifier)
            head = proof.head.head
            assert self.truth.commits(head.thread)[head.n - 1].hash == head.hash

    async def _hear(self) -> None:
        """Wait until the news of every erasure has reached every process: for a moment an eventual answer may lag."""
        last = await self._admin.js.newest_at_leader(ERASED_STREAM, f"{ERASURES}.*.*", 0)

        async def heard() -> bool:
            pending = [process.clew.js.pending for process in self.processes]
            return last is None or all(each._read_up_to >= last.seq for each in pending)

        await eventually(heard)

    async def _sign(self) -> None:
        """Sign a checkpoint, if there is anything to sign, and keep the proofs of all threads."""
        admin = self._admin
        async with temporary_heads(admin.js, SHARDS) as heads:
            if await Maker(admin.js, admin.ledger, heads, KEY).make() is None:
                return
        await self.truth.refresh()
        for thread in THREADS:
            if self.truth.history(thread):
                proof = await self.processes[0].clew.reader.answer(TENANT, GetProof(thread_id=thread))
                assert isinstance(proof, KeptProof)
                self._proofs.append(proof)

    async def _crash(self, step: Crash) -> None:
        await self._wire.down()
        js = self._admin.js
        before = [process.clew.connection.made for process in self.processes]
        streams = await js.streams()
        latest = [max(name for name in streams if name.startswith(bucket)) for bucket in BUCKETS]
        for stream, lost in zip(latest, step.lost, strict=True):
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
        self._hold(command, answer, low, repeat=True)

    def _meant(self, step: Write) -> Command:
        history = self.truth.history(step.thread)
        known = [*naive.state(step.thread, history).messages]
        expected = self._chance.choice([None, None, None, len(history), len(history), len(history) - 1])
        command = replace(
            step.command,
            thread_id=step.thread,
            id=f"c{len(self.given)}",
            actor=self._chance.choice(["a1", "a2", "b"]),
            reason=step.command.reason or self._chance.choice([None, "because"]),
            expected_version=None if expected is None or expected < 0 else expected,
        )
        if isinstance(command, MessageCommand) and command.message_id.isdigit():
            pick = int(command.message_id)
            pick = pick % len(known) if isinstance(command, EraseMessage) and known else pick
            command = replace(command, message_id=known[pick] if pick < len(known) else NOWHERE)
        assert command.id is not None
        self.given[command.id] = command
        return command

    async def _carry_out(self, process: int, command: Command) -> Outcome | ClewError:
        try:
            return await self.processes[process].clew.handler.handle(TENANT, command)
        except ClewError as fault:
            return fault

    def _hold(self, command: Command, answer: Outcome | ClewError, low: int, *, repeat: bool = False) -> None:
        """Hold that the answer to a command is what came of it, or would have at some moment since ``low`` commits."""
        assert command.thread_id is not None
        assert command.id is not None
        history, commits = self.truth.history(command.thread_id), self.truth.commits(command.thread_id)
        places = [n for n, each in enumerate(commits, start=1) if each.commit.id == command.id]
        assert len(places) <= 1, f"{command} was carried out twice"
        if places:
            if not repeat or not self._hold_erased(command, answer, history, commits[places[0] - 1]):
                self._hold_made(command, answer, history, commits, places[0])
            return
        moments = [_decided(command, commits[:n]) for n in range(low, len(commits) + 1)]
        if isinstance(answer, ClewError):
            assert (answer.kind, answer.code) in moments, f"{command}\n  said  {answer!r}\n  right {moments}"
            return
        assert (None, answer.n) in moments, f"{command}\n  said  {answer}\n  right {moments}"
        self._hold_told(command, answer, history[: answer.n])

    def _hold_erased(
        self, command: Command, answer: Outcome | ClewError, history: Sequence[Kept], made: Recorded
    ) -> bool:
        """Hold that a repeat says so if what came of the command was erased since; false if it was not."""
        requests = [event for n, event in naive.requests(history) if n > made.commit.n]
        message = answer_of(command, made)
        if not has_digest(command, made.digest or ""):
            # Which of the two it is told, it cannot do twice.
            assert isinstance(answer, ClewError), f"{command} was answered with {answer}"
            return answer.code == "already_erased" and bool(requests)
        erased = any(each["items"] is None or message in each["items"] for each in requests)
        if not erased or isinstance(command, DeleteThread | DeleteMessage | EraseThread | EraseMessage):
            return False
        assert isinstance(answer, ClewError), f"{command} was answered with {answer}"
        assert answer.code == "already_erased", f"{command}\n  said  {answer!r}"
        return True

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
        if answer.erasure is not None:
            assert (answer.erasure.thread_id, answer.erasure.n) == (command.thread_id, n)
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
        """Hold that an answer is right as of some moment since the thread had ``low`` commits.

        Whatever moment that is, what an erasure took that was acknowledged before is not in it.
        """
        history = self.truth.history(getattr(query, "thread_id", ""))
        first = 0 if questions.is_eventual(query) else low
        if questions.is_eventual(query) and (least := getattr(query, "at_least", None)):
            first = min(least, low)
        requests = naive.requests(history)
        known = sum(n <= low for n, _ in requests)
        stories = [naive.redacted(history, requests[:count]) for count in range(len(requests), known - 1, -1)]
        moments = range(len(history), first - 1, -1)
        wrong = [questions.same(query, answer, story[:n]) for story in stories for n in moments]
        assert None in wrong, wrong[0]

    async def _hold_feed(self, process: Process) -> None:
        order: Literal["asc", "desc"] = self._chance.choice(["asc", "desc"])
        found: list[tuple[int, int]] = []
        shown: dict[tuple[int, int], list[naive.JSON]] = {}
        after = None
        while True:
            query = GetFeed(order=order, limit=self._chance.choice([1, 7, 50]), after=after)
            page = await process.clew.reader.answer(TENANT, query)
            assert isinstance(page, Feed)
            found += [(each.position.shard, each.position.seq) for each in page.data]
            entries = questions.plain(page)["data"]
            shown |= {
                place: questions.events(each["commit"])
                for place, each in zip(found[-len(entries) :], entries, strict=True)
                if entries
            }
            after = page.next
            if not page.has_more:
                break
        right = [(shard, seq) for _, shard, seq in self.truth.feed]
        assert found == (right if order == "asc" else right[::-1])
        assert shown == self.truth.shown()

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
        if step.worker is not None:
            others.append(self.processes[step.worker.process].erase(step.worker))
        answers, *_ = await asyncio.gather(writing(), *others)
        await self.truth.refresh()
        for (_, command), answer in zip(writes, answers, strict=True):
            self._hold(command, answer, low[command.thread_id or ""])
        for query, answer in heard:
            self._hold_answer(query, answer, low[getattr(query, "thread_id", "")])


def answer_of(command: Command, made: Recorded) -> str | None:
    """The message that a command is answered with, if it is."""
    if isinstance(command, MessageCommand):
        return command.message_id
    return item_ids(made.commit)[0] if isinstance(command, AddMessage) and item_ids(made.commit) else None


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
    messages: dict[str, ItemView] = {}
    for each in commits:
        view = advance(view, each)
        messages = advance_named(messages, each.commit)
    if isinstance(command, CreateThread) and commits:
        exists = thread_exists(command.thread_id or "")
        return exists.kind, exists.code
    named = messages.get(command.message_id) if isinstance(command, MessageCommand) else None
    concerned = (named,) if named is not None else ()
    try:
        events = decide(command, command.thread_id or "", command.id or "", view, concerned)
    except ClewError as refusal:
        return refusal.kind, refusal.code
    if command.expected_version is not None and command.expected_version != view.n:
        return "conflict", "version_conflict"
    return (None, view.n) if not events else (None, "a commit is due")
