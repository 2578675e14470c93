"""A thread of a source as commits: what the rules make of it, divided so that no commit is larger than it should be."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, cast

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import replace

from clew_events import ids
from clew_events.codec import EncodedCommit, encode
from clew_events.commands import AddItems, CreateThread
from clew_events.commit import FORMAT, Commit
from clew_events.content import Provenance
from clew_events.errors import Invalid, Rejected, TooLarge
from clew_events.events import Event, ForkedFrom, ItemAdded, ThreadCreated
from clew_events.subjects import Address
from clew_projections.fold import ThreadState
from clew_projections.views import ThreadView, absent
from clew_services.imports.source_thread import SourceThread
from clew_services.threads.decide import decide
from clew_services.threads.limits import DEFAULT, Limits, check_sizes

COMMAND: Final = "ImportThread"
"""What the record of an imported commit names as its command."""
CALLER: Final = "import"
COMMIT_BYTES: Final = 256 * 1024
"""Bytes of items after which a commit ends: who reads one item reads its commit."""
LARGEST_THREAD: Final = 64 * 1024 * 1024
"""Bytes of a thread's items: its commits are stored as one atomic batch, which has at most a thousand."""
_AROUND: Final = 256
"""Bytes around an item in a commit."""
_ITEM: Final = re.compile(r"items\[(\d+)\]")


class ThreadToImport(Struct, frozen=True):
    """A thread that the rules accept: its address, and its events.

    ``id`` is that of its first commit, by which it is found again; it follows from the thread's id. ``command`` is what
    tells it from another thread under that id. ``there`` is the thread as it is in the log, where an earlier import
    left it and there are further items now.
    """

    thread: SourceThread
    address: Address
    id: str
    created: ThreadCreated
    added: tuple[ItemAdded, ...]
    command: CreateThread
    there: ThreadView | None = None

    @property
    def new(self) -> tuple[ItemAdded, ...]:
        """The items that the log does not have yet."""
        return self.added if self.there is None else self.added[self.there.last_ordinal - self.there.inherited :]

    @property
    def parent(self) -> str | None:
        """The id of the thread that it is a branch of; ``None`` if it is none."""
        return self.thread.branch.parent if self.thread.branch is not None else None


def judge_thread(thread: SourceThread, tenant: str, file: str, limits: Limits = DEFAULT) -> ThreadToImport:
    """Have the rules decide on a thread, which came in the file of a SHA-256.

    Raises:
        Rejected: they refuse it; the message names the place.
    """
    command_id = ids.derive_id("import_", tenant, thread.id)
    bodies = tuple(item.body for item in thread.items)
    command = CreateThread(thread_id=thread.id, items=bodies, metadata=thread.metadata)
    inherited = thread.branch.items if thread.branch is not None else 0
    state = ThreadState(status="open", messages=inherited, last_ordinal=inherited)
    try:
        adding = AddItems(thread_id=thread.id, items=bodies)
        decided = decide(adding, thread.id, command_id, state, limits=limits) if bodies else ()
    except Rejected as fault:
        raise _name_place(fault, thread) from fault
    if (size := sum(map(len, bodies))) > LARGEST_THREAD:
        raise TooLarge(
            f"thread {thread.source_id}: its items have {size} bytes, and can have at most {LARGEST_THREAD} to be "
            "stored all at once"
        )
    provenance = Provenance(thread.source, thread.source_id, file, thread.created_at)
    added = tuple(
        replace(event, created_at=item.created_at or UNSET)
        for event, item in zip(cast("tuple[ItemAdded, ...]", decided), thread.items, strict=True)
    )
    created = ThreadCreated(metadata=thread.metadata, imported=provenance)
    return ThreadToImport(thread, Address(tenant, thread.id), command_id, created, added, command)


def _name_place(fault: Rejected, thread: SourceThread) -> Invalid:
    """The error with the places of the items that it names by number."""
    named = list(dict.fromkeys(int(number) for number in _ITEM.findall(f"{fault.param} {fault.message}")))
    places = " and ".join(thread.items[number].place for number in named) if named else f"thread {thread.source_id}"
    return Invalid(f"{places}: {fault.message}", code=fault.code)


def encode_thread(
    accepted: ThreadToImport,
    at: datetime,
    salts: Callable[[int], Sequence[str]],
    *,
    actor: str,
    limit: int,
    forked_from: ForkedFrom | UnsetType = UNSET,
) -> list[EncodedCommit]:
    """The commits of what the log does not have of a thread, chained, as of a time; none exceeds ``limit`` bytes.

    Raises:
        TooLarge: an item is too large for one.
    """
    view = accepted.there or absent(*accepted.address)
    first = () if accepted.there is not None else (replace(accepted.created, forked_from=forked_from),)
    commits: list[EncodedCommit] = []
    for n, events in enumerate(_divide(first, accepted.new), view.n + 1):
        commit = Commit(
            v=FORMAT,
            id=accepted.id if n == 1 else f"{accepted.id}.{n}",
            tenant=accepted.address.tenant,
            thread=accepted.address.thread,
            n=n,
            at=at if view.updated_at is None else max(at, view.updated_at),
            actor=actor,
            by=CALLER,
            command=COMMAND,
            prev=commits[-1].hash if commits else view.hash,
            events=events,
        )
        encoded = encode(commit, salts(len(events) + 1))
        check_sizes(encoded, view, (), limit)
        commits.append(encoded)
    return commits


def _divide(first: Sequence[Event], added: Sequence[ItemAdded]) -> list[tuple[Event, ...]]:
    """The events of each commit."""
    commits: list[list[Event]] = [[*first]]
    size = 0
    for event in added:
        more = _AROUND + (len(event.body) if isinstance(event.body, Raw) else 0)
        if size and size + more > COMMIT_BYTES:
            commits.append([])
            size = 0
        commits[-1].append(event)
        size += more
    return [tuple(events) for events in commits]
