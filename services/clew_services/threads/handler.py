"""The command handler: read the thread, decide, append, answer.

In the steady state a command costs one round trip: the state is cached, and the guard on the append proves that it was
current. An outcome that no append proves (a rejection, a command that changes nothing) is decided again on the current
state, read from the log, so a stale cache never rejects a command.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from clew_events import ids
from clew_events.codec import EncodedCommit, encode
from clew_events.commands import (
    AddItems,
    Command,
    EraseThread,
    ErasureCommand,
    ForkThread,
    OneItemCommand,
    PopItem,
    SetRetention,
    TenantCommand,
    digest,
)
from clew_events.commit import FORMAT, Commit, Position
from clew_events.erasures import Erasure
from clew_events.error_texts import name_history
from clew_events.errors import ClewError, Conflict, Corrupt, Forbidden, Rejected, Unavailable
from clew_events.events import Event
from clew_events.items import own_ids
from clew_events.subjects import TENANT, Address
from clew_projections.apply import advance
from clew_projections.history.histories import Histories
from clew_projections.history.tenant_histories import TenantHistories
from clew_projections.state.current import CurrentState
from clew_projections.state.state_reads import CurrentThread
from clew_projections.tenant_state import TenantState
from clew_projections.views import ItemView, ThreadView, absent
from clew_services.eventstore.append import Append, AppendResult
from clew_services.observer import NOBODY, Handled, Observer
from clew_services.threads.cache import Memory, Turns
from clew_services.threads.decide import Creation, Descendant, Origin, decide
from clew_services.threads.forks import Forks
from clew_services.threads.idempotency import Repeats
from clew_services.threads.limits import DEFAULT, Limits, check_sizes
from clew_services.threads.result import Outcome, outcome, requested_erasure
from clew_services.threads.tenant_rules import Impact, decide_tenant, retention_effect

TRIES: Final = 24
"""Attempts at a command while other writers change its thread first; then the handler raises :class:`Conflict`."""
PATIENCE: Final = 4
"""Attempts after which the log is checked to reach the cached state: a replica may show a write not applied yet."""


class _Task(Struct, frozen=True):
    """A command to carry out, with everything that does not depend on the thread's state."""

    command: Command
    address: Address
    id: str
    actor: str
    by: str
    condition: Callable[[int], None] | None
    named: frozenset[str]
    """The ids of items that the command names."""
    impact: Impact | None = None

    @property
    def needs_items(self) -> bool:
        """Whether the command cannot be decided on the thread alone."""
        return bool(self.named) or isinstance(self.command, PopItem)

    @property
    def needs_orders(self) -> bool:
        """Whether the command depends on what the tenant has ordered, or on other threads."""
        return isinstance(self.command, _ORDERED)


class _Ground(Struct, frozen=True):
    """The state that a decision is based on: the thread, its items, and whether they were just read (``fresh``).

    ``tenant`` is what the tenant has ordered, for a command about that, and ``standing`` are the standing legal holds
    that cover the thread, for one that erases. They are always just read.
    """

    thread: ThreadView
    items: tuple[ItemView, ...]
    fresh: bool
    tenant: TenantState = TenantState()
    standing: tuple[str, ...] = ()
    origin: Origin | None = None
    """What a fork is made of."""
    forks: tuple[Descendant, ...] = ()
    """The forks that show what is to be erased."""


_ORDERED: Final = TenantCommand | ForkThread | ErasureCommand


class _HandledCommand(Struct, frozen=True):
    """The outcome of a command, and how it came about."""

    done: Outcome
    how: Handled


class ErasureRecords(Protocol):
    """Keeps a record of each erasure, by which it is carried out; see :mod:`clew_services.erasure.records`."""

    async def announce(self, tenant: str, erasure: Erasure) -> None:
        """Record an erasure that is about to be requested, unless it has a record."""

    async def confirm(self, tenant: str, erasure: Erasure) -> Erasure:
        """Record that an erasure is requested in the log, unless that is recorded; return it as it is now."""


class Impacts(Protocol):
    """Says what a policy of retention would be about; see :class:`clew_services.queries.lists.Lists`."""

    async def measure(self, tenant: str, command: SetRetention, now: datetime) -> Impact | None:
        """What the policy is about now; ``None`` if no index can be asked."""


class Commands(Protocol):
    """Carries commands out: a :class:`Handler`, or one with a span around each command."""

    async def handle(
        self,
        tenant: str,
        command: Command,
        *,
        actor: str = "unknown",
        by: str = "unknown",
        trace: str | None = None,
        fence: Callable[[], None] | None = None,
        condition: Callable[[int], None] | None = None,
    ) -> Outcome:
        """Carry a command out, once, and answer with what came of it; see :meth:`Handler.handle`."""


class Handler:
    """Carries commands out."""

    def __init__(
        self,
        append: Append,
        current: CurrentState,
        histories: Histories,
        repeats: Repeats,
        memory: Memory,
        *,
        tenants: TenantHistories,
        impacts: Impacts,
        erasures: ErasureRecords,
        forks: Forks,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        limits: Limits = DEFAULT,
        may_erase: bool = True,
        max_payload: Callable[[], int],
        observer: Observer = NOBODY,
    ) -> None:
        """``max_payload`` returns the server's current limit of one message in bytes, headers included.

        ``may_erase`` unless nobody has said whether JetStream overwrites what is erased.
        """
        self._append = append
        self._current = current
        self._histories = histories
        self._repeats = repeats
        self._memory = memory
        self._tenants = tenants
        self._impacts = impacts
        self._erasures = erasures
        self._forks = forks
        self._turns = Turns()
        self._clock = clock
        self._limits = limits
        self._may_erase = may_erase
        self._max_payload = max_payload
        self._observer = observer

    async def handle(
        self,
        tenant: str,
        command: Command,
        *,
        actor: str = "unknown",
        by: str = "unknown",
        trace: str | None = None,
        fence: Callable[[], None] | None = None,
        condition: Callable[[int], None] | None = None,
    ) -> Outcome:
        """Carry out a command once, and return its outcome.

        ``actor`` is recorded unless the command names one; ``by`` is recorded as what Clew itself knows of the caller;
        ``trace`` is a W3C ``traceparent`` to store with the commit. A command whose id was carried out before returns
        the first outcome, but an erasure as it is now. ``fence`` is called before each append, after the state was
        read; an error that it raises ends the handling. ``condition`` is called with the thread's version where the
        command would succeed, and may raise :class:`Conflict`.

        Raises:
            Rejected: the rules reject it; see :mod:`clew_services.threads.decide`.
            TooLarge: its commit, or a view after it, is larger than the server accepts.
            IdReused: its id was used for another command.
            Conflict: the thread is not at ``expected_version`` or ``condition`` does not hold, where the command would
                succeed; or other writers were first :data:`TRIES` times.
            Unavailable: the log does not answer; the same command with the same id may be retried.
            Corrupt: the thread's history cannot be read.
        """
        command_id = command.id or ids.random_id("cmd_")
        address = Address(tenant, _thread_of(command, tenant))
        began = time.perf_counter()
        how: Handled = "failed"
        impact: Impact | None = None
        try:
            if isinstance(command, SetRetention):
                impact = await self._impacts.measure(tenant, command, self._clock())
            task = _Task(command, address, command_id, command.actor or actor, by, condition, _named(command), impact)
            await self._turns.take(address)
            try:
                handled = await self._until_done(task, trace, fence)
            finally:
                self._turns.pass_on(address)
            done, how = handled.done, handled.how
            if done.erasure is not None:
                done = await self._confirm(done, done.erasure, tenant)
            if isinstance(command, SetRetention):
                done = replace(done, retention=retention_effect(command, impact))
        except ClewError as error:
            how = error.kind
            if isinstance(error, Corrupt):
                self._memory.forget(address)  # after a repair it is read again
            raise
        finally:
            self._observer.on_handled(command.named, how, time.perf_counter() - began)
        return done

    async def _confirm(self, done: Outcome, erasure: Erasure, tenant: str) -> Outcome:
        """The outcome, with its erasure as it is now; a record of it that is missing is written."""
        try:
            return replace(done, erasure=await self._erasures.confirm(tenant, erasure))
        except Unavailable as fault:
            raise Unavailable(fault.message, code=fault.code, outcome_unknown=True) from fault

    async def _until_done(self, task: _Task, trace: str | None, fence: Callable[[], None] | None) -> _HandledCommand:
        ground = await self._ground(task)
        for attempt in range(TRIES):
            handled = await self._attempt(task, ground, trace, fence)
            if handled is not None:
                return handled
            self._observer.on_retry()
            if attempt > 1:
                await asyncio.sleep(random.uniform(0, min(0.002 * 2**attempt, 0.1)))  # noqa: S311 - jitter
            ground = await self._fresh(task, ground)
            if attempt == PATIENCE:
                await self._histories.check_reaches(task.address, ground.thread.n, ground.thread.seq)
        raise Conflict(
            f"{name_history(task.address.thread)} was changed by others {TRIES} times while this command was being "
            "decided",
            code="too_many_writers",
        )

    async def _attempt(
        self, task: _Task, ground: _Ground, trace: str | None, fence: Callable[[], None] | None
    ) -> _HandledCommand | None:
        """Decide and append once; ``None`` if that has to be done again on the current state."""
        view = ground.thread
        repeat_key = task.command, task.id, view
        # An id that was made for this command is in no view that was read before.
        may_repeat = ground.fresh or task.command.id is not None
        if may_repeat and (first := await self._repeats.answered(*repeat_key)) is not None:
            return _HandledCommand(first, "repeat")
        try:
            decided = self._decide(task, ground)
        except (Rejected, Conflict):
            if ground.fresh:
                raise
            return None
        if decided is None:
            position = Position(self._histories.shard(task.address), view.seq)
            return (
                _HandledCommand(outcome(task.command, view, ground.items, position), "nothing")
                if ground.fresh
                else None
            )
        encoded, digested = decided
        if task.needs_orders and not await self._record_first(task, ground, encoded.commit):
            return None
        if fence is not None:
            fence()
        appended = await self._append(encoded, view.seq, digested, trace)
        if not isinstance(appended, AppendResult):
            self._observer.guard_failed(appended.why)
            if appended.why == "stale" or not ground.fresh:
                return None
            # A duplicate that the current view does not list is more than a hundred commits old.
            first = await self._repeats.long_ago(*repeat_key)
            return _HandledCommand(first, "repeat") if first is not None else None
        after = advance(view, appended.recorded)
        self._memory.remember(after)
        recorded = appended.recorded
        return _HandledCommand(outcome(task.command, after, ground.items, recorded.position, recorded.commit), "ok")

    async def _record_first(self, task: _Task, ground: _Ground, commit: Commit) -> bool:
        """Put on record what must not be forgotten by whoever dies after the append; whether the ground allows it."""
        requested = requested_erasure(commit, None)
        if requested is not None:
            if not ground.fresh:
                return False  # a newer commit may refuse it, and its record would stay
            await self._erasures.announce(task.address.tenant, requested)
        if isinstance(task.command, ForkThread):
            await self._forks.record(task.address.tenant, task.command.parent, task.address.thread)
        return True

    def _decide(self, task: _Task, ground: _Ground) -> tuple[EncodedCommit, str] | None:
        """The commit that carries out a command, and the command's digest; none if it changes nothing."""
        if isinstance(task.command, ErasureCommand) and not self._may_erase:
            raise Forbidden(
                "Nothing can be erased here yet: whether JetStream encrypts its files at rest, and so cannot overwrite "
                "them, is to be said with --encrypted-at-rest (CLEW_ENCRYPTED_AT_REST).",
                code="erasing_not_set_up",
            )
        if isinstance(task.command, TenantCommand):
            events = decide_tenant(task.command, ground.tenant, task.impact)
        else:
            events = decide(
                task.command,
                task.address.thread,
                task.id,
                ground.thread,
                ground.items,
                standing=ground.standing,
                limits=self._limits,
                origin=ground.origin,
                forks=ground.forks,
            )
        decided = None
        if events:
            salt, *salts = ids.random_salts(len(events) + 2)
            encoded = encode(self._commit(task, ground.thread, events), salts)
            check_sizes(encoded, ground.thread, ground.items, self._max_payload())
            decided = encoded, digest(task.command, salt)
        # A command that the rules reject is rejected whatever version was expected (RFC 9110, 13.2.1).
        _check_version(task, ground.thread.n)
        return decided

    def _commit(self, task: _Task, view: ThreadView, events: tuple[Event, ...]) -> Commit:
        now = self._clock()
        return Commit(
            v=FORMAT,
            id=task.id,
            tenant=task.address.tenant,
            thread=task.address.thread,
            n=view.n + 1,
            at=now if view.updated_at is None else max(now, view.updated_at),
            actor=task.actor,
            by=task.by,
            command=task.command.named,
            # Why something is erased is kept as a code, in the event.
            reason=None if isinstance(task.command, ErasureCommand) else task.command.reason,
            prev=view.hash,
            events=events,
        )

    async def _ground(self, task: _Task) -> _Ground:
        if task.needs_items:
            return await self._present(task)
        view = self._memory.recall(task.address)
        if view is None:
            # A thread to create most likely does not exist; the guard finds out.
            creating = isinstance(task.command, Creation)
            view = absent(*task.address) if creating else await self._current.cached_view(task.address)
        ground = _Ground(view, (), fresh=False)
        return await self._with_orders(task, ground) if task.needs_orders else ground

    async def _fresh(self, task: _Task, ground: _Ground) -> _Ground:
        if task.needs_items or ground.thread.n == 0:
            return await self._present(task)
        view = await self._current.catch_up(ground.thread)
        self._memory.remember(view)
        return await self._with_orders(task, _Ground(view, (), fresh=True))

    async def _present(self, task: _Task) -> _Ground:
        present = await self._current.read_current(task.address)
        self._memory.remember(present.thread)
        items = await self._items(task, present)
        return await self._with_orders(task, _Ground(present.thread, items, fresh=True))

    async def _with_orders(self, task: _Task, ground: _Ground) -> _Ground:
        """A ground with what the tenant has ordered, where the command depends on it: never older than its view."""
        if isinstance(task.command, TenantCommand):
            return replace(ground, tenant=await self._tenants.state(task.address.tenant))
        if isinstance(task.command, ForkThread):
            return replace(ground, origin=await self._forks.origin(task.address.tenant, task.command))
        if isinstance(task.command, ErasureCommand) and ground.thread.n:
            items = None if isinstance(task.command, EraseThread) else ground.items
            return replace(
                ground,
                standing=tuple(await self._tenants.find_holds(ground.thread)),
                forks=await self._forks.showing(ground.thread, items),
            )
        return ground

    async def _items(self, task: _Task, present: CurrentThread) -> tuple[ItemView, ...]:
        """The items that a command is decided on; see :func:`clew_services.threads.decide.decide`."""
        if isinstance(task.command, PopItem):
            newest = await self._current.newest_item(present)
            return (newest,) if newest is not None else ()
        return await self._current.items_with(present, task.named) if task.named else ()


def _check_version(task: _Task, n: int) -> None:
    expected = task.command.expected_version
    if expected is not None and expected != n:
        which = name_history(task.address.thread)
        raise Conflict(f"{which} is at version {n}, not {expected}", param="expected_version")
    if task.condition is not None:
        task.condition(n)


def _named(command: Command) -> frozenset[str]:
    """The ids of items of a thread that is there: the one that a command is about, or those of new ones."""
    if isinstance(command, OneItemCommand):
        return frozenset((command.about,))
    return frozenset(own_ids(command.items)) if isinstance(command, AddItems) else frozenset()


def _thread_of(command: Command, tenant: str) -> str:
    if isinstance(command, TenantCommand):
        return TENANT
    if command.thread_id is not None:
        return command.thread_id
    seed = (tenant, command.id) if command.id is not None else ()
    return ids.thread_id(*seed, conversation=command.kind == "conversation")
