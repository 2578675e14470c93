"""Repeats: a command that was carried out before is answered as it was then.

A thread's view knows the ids of its last 100 commits, a thread created under an id is known by its first commit for
ever, and the other ids that callers chose are kept for a day in the bucket of commands. That bucket is asked once for
each thread that has outgrown its view; from then on this process knows all of the thread's ids by itself.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from msgspec import Struct

from clew_events.commands import Command, CreateThread, UpdateMessage
from clew_events.commit import Recorded
from clew_events.errors import IdReused
from clew_events.subjects import Address
from clew_projections.apply import REMEMBERED_COMMANDS, advance
from clew_projections.history.histories import Histories
from clew_projections.kv.command_ids import is_chosen_by_caller, mark
from clew_projections.state.current import CurrentState
from clew_projections.views import SpentId, ThreadView, absent
from clew_services.threads.decide import thread_exists
from clew_services.threads.result import Outcome, outcome

THREADS: Final = 1_000
"""Threads whose outgrown ids are known at a time."""


class _Outgrown(Struct):
    """Marks of all ids spent up to commit ``n`` that a view at ``n`` has outgrown, and the ids it holds."""

    n: int
    commands: tuple[SpentId, ...]
    marks: set[str]


class Repeats:
    """Finds what was answered when a command came first."""

    def __init__(self, current: CurrentState, histories: Histories) -> None:
        self._current = current
        self._histories = histories
        self._outgrown: OrderedDict[Address, _Outgrown] = OrderedDict()

    async def answered(self, command: Command, command_id: str, digest: str, view: ThreadView) -> Outcome | None:
        """The answer of the first time, if a thread's view or what is kept beside it tells of one.

        Raises:
            IdReused: the id was spent on another command.
            AlreadyExists: the command would create a thread that another command created.
            Unavailable: the log or a bucket does not answer.
        """
        address = Address(view.tenant, view.id)
        known = view.find_spent(command_id)
        if known is not None:
            return await self._as_then(command, digest, view, await self._histories.at(address, known[1].seq))
        if isinstance(command, CreateThread) and view.n > 0:
            first = await self._histories.first(address)
            if first.commit.id != command_id:
                raise thread_exists(address.thread)
            return await self._as_then(command, digest, view, first)
        if command.id is None or view.n <= REMEMBERED_COMMANDS or not is_chosen_by_caller(command_id):
            return None
        if mark(command_id) not in await self._marks(address, view):
            return None
        return await self.long_ago(command, command_id, digest, view)

    async def long_ago(self, command: Command, command_id: str, digest: str, view: ThreadView) -> Outcome | None:
        """The same for a command that is known to be a repeat, though its thread remembers it no more."""
        address = Address(view.tenant, view.id)
        spent = await self._current.find_spent(address, command_id)
        if spent is not None and spent.id == command_id:
            return await self._as_then(command, digest, view, await self._histories.at(address, spent.seq))
        async for found in self._histories.after(address, 0):
            if found.commit.id == command_id:
                return await self._as_then(command, digest, view, found)
        return None

    async def _marks(self, address: Address, view: ThreadView) -> set[str]:
        """Marks of every id that the thread spent and ``view`` does not hold any more."""
        known = self._outgrown.get(address)
        if known is None or view.n - known.n > len(known.commands):
            outgrown = await self._current.read_older_ids(address)
            marks = outgrown.marks
            async for recorded in self._histories.after(address, outgrown.seq):
                marks.add(mark(recorded.commit.id))
            known = self._outgrown[address] = _Outgrown(view.n, view.commands, marks)
        elif view.n > known.n:
            known.marks.update(mark(spent.id) for spent in known.commands[: view.n - known.n])
            known.n, known.commands = view.n, view.commands
        self._outgrown.move_to_end(address)
        if len(self._outgrown) > THREADS:
            self._outgrown.popitem(last=False)
        return known.marks

    async def _as_then(self, command: Command, digest: str, view: ThreadView, first: Recorded) -> Outcome:
        commit = first.commit
        if commit.digest != digest:
            raise IdReused(f"the command id '{commit.id}' was already used for a different command", param="id")
        address = Address(view.tenant, view.id)
        then = view if commit.n == view.n else await self._until(address, commit.n)
        message = None
        if isinstance(command, UpdateMessage):
            message = await self._histories.message_at(address, command.message_id, commit.n)
        return outcome(command, then, message, first.position, commit)

    async def _until(self, address: Address, n: int) -> ThreadView:
        view = absent(*address)
        async for recorded in self._histories.after(address, 0):
            view = advance(view, recorded)
            if view.n == n:
                break
        return view
