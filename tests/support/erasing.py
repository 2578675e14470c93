"""A log that loses contents, beside the plain list of what it was: each read of the one is compared with the other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Sequence
from itertools import count
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from clew_events.codec import redact
from clew_events.commit import Position
from clew_events.events import ErasureRequested
from clew_events.subjects import ERASED_STREAM, EVENTS, Address, erased_subjects, event_stream, event_subject
from clew_projections.history.erased_commits import ErasedCommits
from clew_projections.history.log_reads import LogReads
from clew_projections.history.pending_erasures import Request
from clew_projections.nats.jetstream import JetStream, stream_state
from clew_projections.nats.stream_messages import (
    DIGEST,
    EXPECTED,
    MSG_ID,
    STORED_AT,
    TRACE,
    StoredMessage,
    microseconds,
)
from clew_services.compose import Clew
from clew_services.erasure.eraser import Budget, Eraser, Loss
from clew_services.erasure.log_sweep import LogSweep, NoSweep, SweepRule
from support.commits import added, body_of, commit

SHARD = 0
KEPT = (MSG_ID, EXPECTED, TRACE, STORED_AT)
"""The headers that a commit keeps when it loses contents."""


async def _at_once(_: float) -> None: ...


def unhurried(clew: Clew) -> Eraser:
    """An eraser that takes no time between deletions."""
    return Eraser(clew.connection.js, Budget(sleep=_at_once))


EVERY = SweepRule(block=0, remnant=0, least=0, copies=-1)
"""Each commit more is a gain, and blocks do not count."""


class Step(Struct, frozen=True):
    """What happens next: a commit to a thread, the loss of contents of one of its commits but the last, or a sweep."""

    thread: Address
    erase: int | None = None
    """Which of the thread's commits, from the first on and around; ``None`` appends one."""
    numbers: tuple[int, ...] = (0, 1, 2)
    stop: int | None = None
    """The change, from 1, before which the eraser is killed."""
    more: tuple[int, ...] = ()
    """Further contents that go when another eraser takes over from one that was killed."""
    sweep: int | None = None
    """Sweep at most so many commits; if ``erase`` is given, the thread loses all contents in them."""


class Killed(Exception):
    """The eraser was killed."""


class ErasedLog:
    """Lives through steps, and keeps what every read of the log must answer from then on."""

    def __init__(self, clew: Clew) -> None:
        self.clew = clew
        self.messages: list[StoredMessage] = []
        self.of: dict[str, list[int]] = {}
        self.copied: set[int] = set()

    async def step(self, step: Step) -> None:
        subject = event_subject(SHARD, step.thread)
        if step.sweep is not None:
            await self._sweep(subject, step, step.sweep)
        elif step.erase is None:
            await self._append(step.thread, subject, self.of.setdefault(subject, []))
        elif len(places := self.of.get(subject, [])) > 1:
            place = places[step.erase % (len(places) - 1)]
            await self._erase(place, step)

    async def _append(self, thread: Address, subject: str, places: list[int]) -> None:
        n = len(places) + 1
        made = commit(
            n, added(2 * n), added(2 * n + 1), thread=thread.thread, tenant=thread.tenant, reason=f"because {n}"
        )
        guard = self.messages[places[-1]].seq if places else 0
        headers = {MSG_ID: f"{subject}:{n}", EXPECTED: str(guard), DIGEST: "salt:digest", TRACE: f"trace-{n}"}
        ack = await self.clew.js.publish(subject, body_of(made), headers)
        assert ack.error is None, ack.error
        assert ack.seq == len(self.messages) + 1
        (stored,) = await self.clew.js.at(event_stream(SHARD), [ack.seq])
        assert stored is not None
        places.append(len(self.messages))
        self.messages.append(plain(stored))

    async def _erase(self, place: int, step: Step) -> None:
        message, numbers = self.messages[place], {*step.numbers}
        if step.stop is not None:
            with contextlib.suppress(Killed):
                await Eraser(stopped(self.clew, step.stop), Budget(sleep=_at_once)).erase(
                    [Loss(Position(SHARD, message.seq), numbers)]
                )
            numbers |= {*step.more}
        await unhurried(self.clew).erase([Loss(Position(SHARD, message.seq), numbers)])
        self.copied.add(message.seq)
        self._lose(place, numbers)

    async def _sweep(self, subject: str, step: Step, most: int) -> None:
        places = self.of.get(subject, []) if step.erase is not None else []
        event = ErasureRequested(erasure="erasure_a", items=None, code=None)
        due = {subject: [Request(self.messages[places[-1]].seq, event)]} if places else {}

        async def run(js: JetStream) -> None:
            eraser, rule = Eraser(js, Budget(sleep=_at_once)), replace(EVERY, most=most)
            sweep = LogSweep(js, eraser, SHARD, due, replicated=False, rule=rule, pause=_at_once)
            with contextlib.suppress(Killed, NoSweep):
                async for _ in sweep.run():
                    pass

        if step.stop is not None:
            await run(stopped(self.clew, step.stop))
        js = self.clew.connection.js
        await run(js)
        last = min((self.messages[each[-1]].seq for each in self.of.values()), default=0)
        alive = [each.seq for each in self.messages if each.seq < last and each.seq not in self.copied]
        until = (await ErasedCommits(js, replicated=False).read_swept(SHARD)).until
        assert until <= last
        assert not alive or until > alive[0]
        assert until <= (await stream_state(js, event_stream(SHARD))).first_seq or not until
        for place, message in enumerate(self.messages[: max(until - 1, 0)]):
            if place in places and message.seq not in self.copied:
                self._lose(place, range(3))
            self.copied.add(message.seq)

    def _lose(self, place: int, numbers: Collection[int]) -> None:
        message = self.messages[place]
        body = redact(message.body, numbers)
        lost = body != message.body
        headers = {name: value for name, value in message.headers.items() if not (lost and name == DIGEST)}
        self.messages[place] = StoredMessage(message.seq, message.subject, body, headers)

    async def check(self, limit: int, reads: LogReads | None = None) -> None:
        """Ask everything of the log at every place, and compare it with the plain list."""
        js, stream = reads or self.clew.js, event_stream(SHARD)
        end = len(self.messages)
        assert seen(await js.at(stream, range(1, end + 2))) == [*self.messages, None]
        for subject in (">", *self._patterns(), *self.of):
            all_of = [each for each in self.messages if matches(subject)(each)]
            for seq in range(end + 2):
                later = [each for each in all_of if each.seq >= seq]
                page, more = await js.after(stream, subject, seq, limit)
                assert seen(page) == later[: len(page)]
                assert len(page) == limit or not later[len(page) :] or more
                assert page or not later
                if not more:
                    assert len(page) == len(later)
                first = later[0] if later else None
                assert seen([await js.from_leader(stream, {"seq": max(seq, 1), "next_by_subj": subject})]) == [first]
            for moment in sorted({microseconds(each.headers[STORED_AT]) for each in self.messages}):
                since = [each for each in all_of if microseconds(each.headers[STORED_AT]) >= moment]
                assert seen([await js.first_since(stream, subject, moment)]) == [since[0] if since else None]
        for subject in self.of:
            own = [each for each in self.messages if each.subject == subject]
            assert seen(await js.at(stream, [each.seq for each in own], first_on=subject)) == own
            for seq in range(1, end + 2):
                if seq <= end:  # the server knows of nothing before a sequence that it does not have
                    until = [each for each in own if each.seq <= seq]
                    assert seen([await js.newest_until(stream, subject, seq)]) == [until[-1] if until else None]
                after = own[-1] if own[-1].seq > seq else None
                assert seen([await js.newest(stream, subject, seq)]) == [after]
                assert seen([await js.newest_at_leader(stream, subject, seq)]) == [after]
                found = await js.from_leader(stream, {"seq": seq})
                assert seen([found]) == [self.messages[seq - 1] if seq <= end else None]
                following = self.messages[seq - 1] if seq <= end else None
                assert seen([await js.next_at_leader(stream, seq)]) == [following]
        assert {*await ErasedCommits(js, replicated=False).sequences(SHARD)} == self.copied
        stored, _ = await self.clew.connection.js.after(ERASED_STREAM, erased_subjects(SHARD), 1)
        assert len(stored) == len(self.copied)  # no older copy is left
        extent = await js.extent(SHARD)
        assert (extent.messages, extent.first_seq, extent.last_seq) == (end, 1, end)

    def _patterns(self) -> list[str]:
        addresses = {tuple(subject.split(".")[3:]) for subject in self.of}
        tenants, threads = {tenant for tenant, _ in addresses}, {thread for _, thread in addresses}
        prefix = f"{EVENTS}.{SHARD:02d}"
        return [*(f"{prefix}.{tenant}.*" for tenant in tenants), *(f"{prefix}.*.{thread}" for thread in threads)]


def stopped(clew: Clew, stop: int) -> JetStream:
    """JetStream for a process that is killed before one of its calls that change something, counted from 1."""
    calls, js = count(1), clew.connection.js

    class Calls:
        def __getattr__(self, name: str) -> Any:
            if name in {"publish", "publish_batch", "api"} and next(calls) == stop:
                raise Killed
            return getattr(js, name)

    return Calls()  # type: ignore[return-value]


def matches(subject: str) -> Callable[[StoredMessage], bool]:
    wanted = subject.split(".")
    return lambda each: (
        subject == ">" or all(token in {"*", own} for token, own in zip(wanted, each.subject.split("."), strict=True))
    )


def plain(stored: StoredMessage) -> StoredMessage:
    """A message with those of its headers that readers look at."""
    headers = {name: stored.headers[name] for name in (*KEPT, DIGEST) if name in stored.headers}
    return StoredMessage(stored.seq, stored.subject, stored.body, headers)


def seen(messages: Sequence[StoredMessage | None]) -> list[StoredMessage | None]:
    return [plain(each) if each is not None else None for each in messages]
