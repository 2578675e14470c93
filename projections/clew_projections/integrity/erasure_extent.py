"""The extent of an erasure: which contents of the log it takes. It follows from the thread's chain alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256

from msgspec import Struct

from clew_events.codec import seals_of
from clew_events.commit import Position, Recorded
from clew_events.erasures import Certificate, Erasure, lines_to_erase
from clew_events.errors import Corrupt
from clew_events.events import ErasureRequested, ThreadEvent


class Sum(Struct, frozen=True):
    """What an erasure takes of the log, as a certificate says it: see :class:`~clew_events.erasures.Certificate`."""

    first: int | None
    last: int | None
    commits: int
    contents: int
    seals: str


class Extent(Struct, frozen=True):
    """What an erasure takes: the commit that requests it, and by position the numbers of the contents that go."""

    requested: Recorded
    request: ErasureRequested
    contents: dict[Position, tuple[int, ...]]
    taken: Sum


class ExtentFold:
    """Adds up what an erasure takes of the commits before its request, one by one in the order of the log."""

    def __init__(self, request: ErasureRequested) -> None:
        self._request = request
        self._seals = sha256()
        self._commits: list[int] = []
        self._count = 0
        self.contents: dict[Position, tuple[int, ...]] = {}
        """By position, the numbers of the contents that go."""

    def add(self, recorded: Recorded) -> None:
        """Add the next commit of the thread."""
        if not (numbers := lines_to_erase(recorded.commit, self._request)):
            return
        seals = seals_of(recorded.body)
        self._seals.update("".join(f"{seals[number]}\n" for number in numbers).encode())
        self._commits.append(recorded.commit.n)
        self._count += len(numbers)
        self.contents[recorded.position] = numbers

    @property
    def taken(self) -> Sum:
        """The sum."""
        first, last = (self._commits[0], self._commits[-1]) if self._commits else (None, None)
        return Sum(first, last, len(self._commits), self._count, self._seals.hexdigest())


def fault_of(certificate: Certificate, extent: Extent) -> str | None:
    """Say why a certificate is not that of an erasure, whose extent follows from the chain; ``None`` if it is."""
    commit, request, taken = extent.requested.commit, extent.request, extent.taken
    expected = {
        "erasure": request.erasure,
        "tenant": commit.tenant,
        "thread": commit.thread,
        "items": request.items,
        "n": commit.n,
        "hash": extent.requested.hash,
        "first": taken.first,
        "last": taken.last,
        "commits": taken.commits,
        "contents": taken.contents,
        "seals": taken.seals,
    }
    for field, wanted in expected.items():
        if (said := getattr(certificate, field)) != wanted:
            return f"its '{field}' is {said!r} and should be {wanted!r}"
    return None


def request_in(recorded: Recorded, erasure: str) -> ErasureRequested | None:
    """The event of a commit that requests an erasure; ``None`` if it does not."""
    for event in recorded.commit.events:
        if isinstance(event, ThreadEvent) and event.request is not None and event.request.erasure == erasure:
            return event.request
    return None


async def read_extent(history: AsyncIterator[Recorded], erasure: Erasure) -> Extent | None:
    """What an erasure takes, from its thread's history; ``None`` if no commit requests it.

    Raises:
        Corrupt: the history cannot be read, or has a gap.
        Unavailable: the log does not answer.
    """
    fold = ExtentFold(erasure.request)
    n = 0
    async for recorded in history:
        n += 1
        if recorded.commit.n != n:
            raise Corrupt(
                f"thread {recorded.commit.thread}: commit {n} is missing, so nothing is erased", code="missing_commit"
            )
        if (request := request_in(recorded, erasure.id)) is not None:
            return Extent(recorded, request, fold.contents, fold.taken)
        fold.add(recorded)
    return None
