"""A log that loses contents, beside the plain list of what it was: each read of the one is compared with the other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from itertools import count

from msgspec import Struct

from clew_events.codec import redact
from clew_events.commit import Position
from clew_events.subjects import ERASED_STREAM, EVENTS, Address, event_stream, event_subject
from clew_projections.history.erased_commits import ErasedCommits
from clew_projections.history.log_reads import LogReads
from clew_projections.nats.jetstream import stream_state
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
from support.commits import added, body_of, commit

SHARD = 0
KEPT = (MSG_ID, EXPECTED, TRACE, STORED_AT)
"""The headers that a commit keeps when it loses contents."""


async def _at_once(_: float) -> None: ...


def unhurried(clew: Clew) -> Eraser:
    """An eraser that takes no time between deletions."""
    return Eraser(clew.connection.js, Budget(sleep=_at_once))


class Step(Struct, frozen=True):
    """What happens next: a commit to a thread, or the loss of contents of one of its commits but the last."""

    thread: Address
    erase: int | None = None
    """Which of the thread's commits, from the first on and around; ``None`` appends one."""
    numbers: tuple[int, ...] = (0, 1, 2)
    stop: int | None = None
    """The change, from 1, before which the eraser is killed."""
    more: tuple[int, ...] = ()
    """Further contents that go when another eraser takes over from one that was killed."""


class Killed(Exception):
    """The eraser was killed."""


class ErasedLog:
    """Lives through steps, and keeps what every read of the log must answer from then on."""

    def __init__(self, clew: Clew) -> None:
        self.clew = clew
        self.messages: list[StoredMessage] = []
        self.of: dict[str, list[int]] = {}
        self._names = count(1)

    async def step(self, step: Step) -> None:
        subject = event_subject(SHARD, step.thread)
        if step.erase is None:
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
                await StoppedEraser(self.clew, step.stop).erase([Loss(Position(SHARD, message.seq), numbers)])
            numbers |= {*step.more}
        await unhurried(self.clew).erase([Loss(Position(SHARD, message.seq), numbers)])
        headers = {name: value for name, value in message.headers.items() if name != DIGEST}
        self.messages[place] = StoredMessage(message.seq, message.subject, redact(message.body, numbers), headers)

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
        lost = [each for each in self.messages if DIGEST not in each.headers]
        assert len(await ErasedCommits(js, replicated=False).sequences(SHARD)) == len(lost)
        assert (await stream_state(js, ERASED_STREAM)).messages == len(lost)
        extent = await js.extent(SHARD)
        assert (extent.messages, extent.first_seq, extent.last_seq) == (end, 1, end)

    def _patterns(self) -> list[str]:
        addresses = {tuple(subject.split(".")[3:]) for subject in self.of}
        tenants, threads = {tenant for tenant, _ in addresses}, {thread for _, thread in addresses}
        prefix = f"{EVENTS}.{SHARD:02d}"
        return [*(f"{prefix}.{tenant}.*" for tenant in tenants), *(f"{prefix}.*.{thread}" for thread in threads)]


class StoppedEraser(Eraser):
    """An eraser that is killed before one of its calls that change something."""

    def __init__(self, clew: Clew, stop: int) -> None:
        calls = count(1)

        js = clew.connection.js

        class Calls:
            """JetStream, whose changes are counted."""

            from_leader = js.from_leader
            newest_at_leader = js.newest_at_leader

            async def publish(self, subject: str, body: bytes, headers: dict[str, str]):  # type: ignore[no-untyped-def]
                if next(calls) == stop:
                    raise Killed
                return await js.publish(subject, body, headers)

            async def api(self, call: str, request: object):  # type: ignore[no-untyped-def]
                if next(calls) == stop:
                    raise Killed
                return await js.api(call, request)

        super().__init__(Calls(), Budget(sleep=_at_once))  # type: ignore[arg-type]


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
