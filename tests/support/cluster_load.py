"""Load on three servers, in the books of which everything must be found afterwards."""

from __future__ import annotations

import itertools
from collections import Counter

from clew_events.commands import AddMessage, Command, CreateThread, UpdateThread
from clew_events.errors import ClewError, Unavailable
from clew_events.queries import GetThread
from clew_events.requests import MetadataPatch, NewMessage
from clew_services.compose import Clew
from clew_services.threads.result import Outcome
from support.auditing import audit
from support.lanes import InLanes
from support.truth import log_of
from support.waiting import eventually
from support.writers import Writer, handler


class Load(InLanes):
    """Commands of many lanes through three servers, each followed by strong reads through the others."""

    def __init__(self, clews: list[Clew]) -> None:
        super().__init__()
        self._clews = clews
        self._writers = [Writer(handler(clew, attempt=0.5, deadline=20.0)) for clew in clews]
        self.commands: dict[str, Command] = {}
        self.answers: dict[str, Outcome | ClewError] = {}
        self.reads = 0
        self.unanswered = 0
        self.stale: list[str] = []

    async def _lane(self, lane: int) -> None:
        thread: str | None = None
        for step in itertools.count():
            if self.stopped:
                return
            command_id = f"{id(self)}-{lane}-{step}"
            command: Command = CreateThread(id=command_id)
            if thread is not None and step % 8:
                patch = MetadataPatch(set={"step": str(step)})
                message = NewMessage(role="user", content=command_id)
                command = (
                    UpdateThread(id=command_id, thread_id=thread, patch=patch)
                    if step % 2
                    else AddMessage(id=command_id, thread_id=thread, message=message)
                )
            done = await self.send(command_id, command, lane + step)
            if isinstance(done, Outcome):
                thread = done.thread.id if done.thread is not None else thread
                if thread is not None:
                    await self._read(thread, done.n, lane + step + 1)

    async def send(self, command_id: str, command: Command, through: int = 0) -> Outcome | ClewError:
        self.commands[command_id] = command
        try:
            done: Outcome | ClewError = await self._writers[through % 3].handler.handle("default", command)
        except ClewError as fault:
            done = fault
        self.answers[command_id] = done
        return done

    async def _read(self, thread: str, n: int, through: int) -> None:
        try:
            found = await self._clews[through % 3].reader.thread("default", GetThread(thread_id=thread))
        except Unavailable:
            self.unanswered += 1
            return
        self.reads += 1
        if found.n < n:
            self.stale.append(f"{thread} was at {found.n} after {n} was acknowledged")

    def acknowledged(self) -> int:
        return sum(isinstance(answer, Outcome) for answer in self.answers.values())

    async def more(self, commands: int) -> None:
        """Wait until so many more were acknowledged: whatever was disturbed goes on by itself."""
        wanted = self.acknowledged() + commands

        async def enough() -> bool:
            return self.acknowledged() >= wanted

        await eventually(enough)

    async def account(self, auditor: Clew) -> None:
        """Send again what has no answer; then hold that each command is in the log once, and no read was behind."""
        for command_id, answer in list(self.answers.items()):
            if not isinstance(answer, Outcome):
                assert isinstance(answer, Unavailable), answer
                assert isinstance(await self.send(command_id, self.commands[command_id]), Outcome)
        times = Counter(each.commit.id for records in (await log_of(auditor)).values() for each in records)
        assert {command_id: times[command_id] for command_id in self.answers if times[command_id] != 1} == {}
        assert self.stale == []
        assert self.reads > 0


async def clean(clew: Clew) -> None:
    """The record is whole, and the buckets follow from it."""
    verified = [folded.finding async for _, folded in audit(clew).verify()]
    assert verified
    assert set(verified) == {None}
    assert {each.finding async for each in clew.prover().prove()} == {None}
