"""What if: history replayed through another fold or another decider, compared with the real state. Pure.

Commands are not recorded, only their events. So the decider is asked for each commit whether it accepts it in the
state that the replayed thread has by then; refused commits are left out. A command that was rejected, or that a client
would have sent instead, cannot be replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from clew_events.codec import decode
from clew_events.commit import Commit
from clew_events.errors import ClewError, Corrupt
from clew_events.events import Event
from clew_events.subjects import Address
from clew_projections.fold import ThreadState, evolve

Fold = Callable[[ThreadState, Event], ThreadState]
"""Like :func:`clew_projections.fold.evolve`: returns the state after an event."""
Decide = Callable[[ThreadState, Commit], object]
"""Whether a commit is accepted in a state: ``None`` or ``True``; otherwise ``False`` or a reason."""

_FIELDS: Final = ThreadState.__struct_fields__


class Refusal(Struct, frozen=True):
    """The first commit of a thread that the decider refused, the reason, and the number of refused commits."""

    n: int
    why: str | None
    commits: int


class Change(Struct, frozen=True):
    """A field of a thread's last state, or a metadata key, with its real and its replayed value."""

    field: str
    before: object
    after: object


class Difference(Struct, frozen=True, kw_only=True):
    """A thread whose replayed state differs from commit ``n`` on."""

    tenant: str
    thread: str
    n: int
    refused: Refusal | None
    fields: tuple[Change, ...]


class Failure(Struct, frozen=True, kw_only=True):
    """A thread that could not be replayed: the given code failed, or a commit is unreadable."""

    tenant: str
    thread: str
    n: int
    code: str
    what: str


class WhatIfResult(Struct, frozen=True, kw_only=True):
    """The result of a replay. ``in_between`` threads differed for a while and are equal in the end."""

    threads: int = 0
    commits: int = 0
    in_between: int = 0
    refused: int = 0
    differ: tuple[Difference, ...] = ()
    failed: tuple[Failure, ...] = ()

    def __add__(self, other: WhatIfResult) -> WhatIfResult:
        return WhatIfResult(
            **{name: getattr(self, name) + getattr(other, name) for name in WhatIfResult.__struct_fields__}
        )


class _Thread(Struct):
    real: ThreadState = ThreadState()
    other: ThreadState = ThreadState()
    n: int = 0
    first: int | None = None
    refused: Refusal | None = None
    failed: Failure | None = None


class WhatIf:
    """Replays the commits of any number of threads, each thread's in order, and tells which threads differ."""

    def __init__(self, fold: Fold = evolve, decide: Decide | None = None) -> None:
        self._fold = fold
        self._decide = decide
        self._threads: dict[Address, _Thread] = {}
        self._commits = 0

    def take(self, address: Address, body: bytes) -> None:
        """Replay the next commit of a thread, given its stored body."""
        self._commits += 1
        thread = self._threads.get(address)
        if thread is None:
            thread = self._threads[address] = _Thread()
        if thread.failed is not None:
            return
        try:
            self._advance(address, thread, body)
        except _FoldError as failed:
            thread.failed = Failure(
                tenant=address.tenant, thread=address.thread, n=thread.n + 1, code=failed.code, what=failed.message
            )

    def _advance(self, address: Address, thread: _Thread, body: bytes) -> None:
        try:
            # Decoded twice: code that mutates its input must not change what it is compared with.
            real, other = decode(body), decode(body)
        except Corrupt as fault:
            raise _FoldError(fault.message, fault.code) from fault
        if (real.tenant, real.thread, real.n) != (*address, thread.n + 1):
            raise _FoldError(
                f"commit {real.n} is where commit {thread.n + 1} should be; 'clew verify' says more", "missing_commit"
            )
        after = thread.real
        for event in real.events:
            after = evolve(after, event)
        state = self._other(thread, other)
        same = state == after or not any(_changes(after, state))
        thread.real, thread.other, thread.n = after, after if same else state, real.n
        if not same and thread.first is None:
            thread.first = real.n

    def _other(self, thread: _Thread, commit: Commit) -> ThreadState:
        state = _copy_state(thread.other)
        if self._decide is not None and (refused := self._record_refusal(state, commit)) is not None:
            before = thread.refused
            thread.refused = replace(before, commits=before.commits + 1) if before is not None else refused
            return thread.other
        for event in commit.events:
            result = _call("the fold", self._fold, _copy_state(state), event)
            if not isinstance(result, ThreadState):
                raise _FoldError(f"the fold returned {type(result).__name__}, expected ThreadState", "failed")
            state = result
        return state

    def _record_refusal(self, state: ThreadState, commit: Commit) -> Refusal | None:
        verdict = _call("the decider", self._decide, state, commit)
        if verdict is None or verdict is True:
            return None
        if verdict is False or isinstance(verdict, str):
            return Refusal(commit.n, verdict or None, 1)
        raise _FoldError(
            f"the decider returned {type(verdict).__name__}: None or True accepts, False or a reason refuses", "failed"
        )

    def result(self) -> WhatIfResult:
        """Return the result for all commits so far."""
        differ = tuple(self._differences())
        named = {(each.tenant, each.thread) for each in differ}
        return WhatIfResult(
            threads=len(self._threads),
            commits=self._commits,
            in_between=sum(
                thread.first is not None and thread.failed is None and address not in named
                for address, thread in self._threads.items()
            ),
            refused=sum(each.refused.commits for each in self._threads.values() if each.refused is not None),
            differ=differ,
            failed=tuple(each.failed for each in self._threads.values() if each.failed is not None),
        )

    def _differences(self) -> Iterator[Difference]:
        for address, thread in self._threads.items():
            fields = tuple(_changes(thread.real, thread.other))
            if thread.failed is not None or not (fields or thread.refused is not None):
                continue
            places = [thread.first, thread.refused.n if thread.refused is not None else None]
            yield Difference(
                tenant=address.tenant,
                thread=address.thread,
                n=min(place for place in places if place is not None),
                refused=thread.refused,
                fields=fields,
            )


class _FoldError(ClewError):
    """A thread cannot be replayed."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, code=code)


def _call(what: str, function: object, *arguments: object) -> object:
    assert callable(function)
    try:
        return function(*arguments)
    except Exception as fault:
        raise _FoldError(f"{what} raised {type(fault).__name__}: {fault}", "failed") from fault


def _copy_state(state: ThreadState) -> ThreadState:
    return replace(state, metadata=dict(state.metadata))


def _changes(before: ThreadState, after: ThreadState) -> Iterator[Change]:
    for name in _FIELDS:
        was, now = getattr(before, name), getattr(after, name)
        if was == now:
            continue
        if name == "metadata" and isinstance(now, dict):
            for key in dict.fromkeys((*was, *now)):
                if was.get(key) != now.get(key):
                    yield Change(f"metadata.{key}", was.get(key), _plain(now.get(key)))
        else:
            yield Change(name, _plain(was), _plain(now))


def _plain(value: object) -> object:
    return msgspec.to_builtins(value, enc_hook=repr)
