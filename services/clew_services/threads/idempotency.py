"""Idempotency: a command whose id was carried out before returns its first outcome.

A thread's view lists the ids of its last 100 commits, a thread created with an id is recognised by its first commit for
ever, and other ids that callers chose are kept for a day in the bucket of commands. That bucket is read once for each
thread that has more commits than its view lists; from then on this process knows all of the thread's ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import UNSET, Struct

from clew_events.commands import (
    Command,
    OneItemCommand,
    PopItem,
    ReplaceItem,
    UpdateMessage,
    has_digest,
)
from clew_events.commit import Commit, Recorded
from clew_events.error_texts import name_history
from clew_events.errors import IdReused
from clew_events.subjects import Address
from clew_projections.apply import REMEMBERED_COMMANDS, item_ids, item_ordinals
from clew_projections.history.histories import Histories
from clew_projections.kv.command_ids import is_chosen_by_caller, mark
from clew_projections.lru_cache import LRUCache
from clew_projections.state.current import CurrentState
from clew_projections.views import ItemView, SpentId, ThreadView
from clew_services.threads.decide import Creation, already_erased, thread_exists
from clew_services.threads.result import Outcome, outcome

THREADS: Final = 1_000
"""Threads whose older ids are cached at most."""


class _Outgrown(Struct):
    """Marks of the ids up to commit ``n`` that a view at ``n`` no longer lists, and the ids that it lists."""

    n: int
    commands: tuple[SpentId, ...]
    marks: set[str]


class Repeats:
    """Finds the first outcome of a repeated command."""

    def __init__(self, current: CurrentState, histories: Histories) -> None:
        self._current = current
        self._histories = histories
        self._outgrown = LRUCache[Address, _Outgrown](THREADS)

    async def answered(self, command: Command, command_id: str, view: ThreadView) -> Outcome | None:
        """The first outcome of a command, if the thread's view or the bucket of commands shows that there was one.

        Raises:
            IdReused: the id was used for another command.
            AlreadyErased: what that outcome shows was erased since.
            AlreadyExists: the command would create a thread that another command created.
            Unavailable: the log or a bucket does not answer.
        """
        if view.n == 0:
            return None
        known = view.find_spent(command_id)
        address = Address(view.tenant, view.id)
        if known is not None:
            return await self._first_outcome(command, view, await self._histories.at(address, known[1].seq))
        if isinstance(command, Creation):
            first = await self._histories.first(address)
            if first.commit.id != command_id:
                raise thread_exists(address.thread)
            return await self._first_outcome(command, view, first)
        if command.id is None or view.n <= REMEMBERED_COMMANDS or not is_chosen_by_caller(command_id):
            return None
        if mark(command_id) not in await self._marks(address, view):
            return None
        return await self.long_ago(command, command_id, view)

    async def long_ago(self, command: Command, command_id: str, view: ThreadView) -> Outcome | None:
        """The first outcome of a command that the thread's view no longer lists; ``None`` if the history has none.

        Raises:
            IdReused: the id was used for another command.
            AlreadyErased: what that outcome shows was erased since.
            Unavailable: the log or a bucket does not answer.
        """
        address = Address(view.tenant, view.id)
        spent = await self._current.find_spent(address, command_id)
        if spent is not None and spent.id == command_id:
            return await self._first_outcome(command, view, await self._histories.at(address, spent.seq))
        async for recorded in self._histories.after(address, 0):
            if recorded.commit.id == command_id:
                return await self._first_outcome(command, view, recorded)
        return None

    async def _marks(self, address: Address, view: ThreadView) -> set[str]:
        """Marks of all of the thread's ids that ``view`` no longer lists."""
        known = self._outgrown.get(address)
        if known is None or view.n - known.n > len(known.commands):
            outgrown = await self._current.read_older_ids(address)
            marks = outgrown.marks
            async for recorded in self._histories.after(address, outgrown.seq):
                marks.add(mark(recorded.commit.id))
            known = _Outgrown(view.n, view.commands, marks)
            self._outgrown.put(address, known)
        elif view.n > known.n:
            known.marks.update(mark(spent.id) for spent in known.commands[: view.n - known.n])
            known.n, known.commands = view.n, view.commands
        return known.marks

    async def _first_outcome(self, command: Command, view: ThreadView, first: Recorded) -> Outcome:
        commit = first.commit
        if not _may_have_made(command, first):
            raise IdReused(f"the command id '{commit.id}' was already used for a different command", param="id")
        address = Address(view.tenant, view.id)
        then = view if commit.n == view.n else await self._histories.thread_at(address, commit.n)
        items: Sequence[ItemView] = ()
        if isinstance(command, UpdateMessage | ReplaceItem | PopItem):
            n = commit.n - 1 if isinstance(command, PopItem) else commit.n
            items = tuple((await self._histories.items_at(address, item_ordinals(commit), n)).values())
        done = outcome(command, then, items, first.position, commit)
        await self._check_not_erased(done, commit, view)
        return done

    async def _check_not_erased(self, done: Outcome, commit: Commit, view: ThreadView) -> None:
        """Check that what a first outcome shows was not erased since.

        Raises:
            AlreadyErased: it was, or is being erased.
        """
        of_items = done.message is not None or done.popped is not UNSET or done.items is not None
        if (done.thread is not None or of_items) and view.erasure is not None:
            raise already_erased(name_history(view.id, capital=True), view.erasure)
        if not of_items:
            return
        present = await self._current.read_current(Address(view.tenant, view.id))
        for item in (await self._current.items(present, item_ordinals(commit), deleted=True)).values():
            if item.erasure is not None:
                raise already_erased(f"{'Message' if done.message is not None else 'Item'} '{item.id}'", item.erasure)


def _may_have_made(command: Command, first: Recorded) -> bool:
    """Whether a command may be the one that made a commit under its id.

    Without a digest, as after an import or an erasure, only what the record says can tell.
    """
    if first.digest is not None:
        return has_digest(command, first.digest)
    about = not isinstance(command, OneItemCommand) or command.about in item_ids(first.commit)
    return about and command.named == first.commit.command
