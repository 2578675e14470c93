"""What is missing of a thread's contents, and whether its erasures explain it. Pure.

A content may be gone only where a later commit of the chain requests its erasure, and that erasure has a certificate
that says what the chain says, or is under way. Nothing else tells an erased content from one that was taken out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from clew_events.commit import Commit, Position, Recorded
from clew_events.erasures import COMMAND, Certificate, lines_to_erase
from clew_events.events import (
    ErasedItemEvent,
    ErasedThreadEvent,
    ErasureCompleted,
    ErasureRequested,
    ThreadEvent,
    is_erased,
)
from clew_projections.integrity.diagnosis import Diagnosis
from clew_projections.integrity.erasure_extent import Extent, ExtentFold, fault_of


class Evidence(Struct, frozen=True):
    """What is known of an erasure beside the chain: its certificate and the hash of that, or that it is under way.

    ``fault`` is why the certificate cannot be used, such as a wrong signature.
    """

    certificate: Certificate | None = None
    hash: str | None = None
    under_way: bool = False
    fault: str | None = None


_CONCERNED: Final = frozenset({ErasedThreadEvent, ErasedItemEvent, ErasureRequested, ErasureCompleted})


def missing_contents(commit: Commit) -> frozenset[int]:
    """Return the numbers of the contents of a commit that are gone."""
    gone = {number for number, event in enumerate(commit.events, start=1) if is_erased(event)}
    return frozenset({COMMAND, *gone} if commit.reason_erased else gone)


def concerns_erasures(commit: Commit) -> bool:
    """Whether a commit lost contents, or is about an erasure."""
    return commit.reason_erased or not _CONCERNED.isdisjoint(map(type, commit.events))


def completions_of(commit: Commit) -> Iterator[ErasureCompleted]:
    """Yield the erasures that a commit says are completed."""
    for event in commit.events:
        if isinstance(event, ThreadEvent) and event.completion is not None:
            yield event.completion


def erasures_of(commit: Commit) -> tuple[str, ...]:
    """Return the erasures that a commit requests."""
    events = [event for event in commit.events if isinstance(event, ThreadEvent)]
    return tuple(event.request.erasure for event in events if event.request is not None)


def certified_contents(commit: Commit, certificates: Iterable[Certificate]) -> frozenset[int]:
    """Return the numbers of the contents of a commit that certificates of its thread say are erased."""
    numbers: set[int] = set()
    for each in certificates:
        if (each.tenant, each.thread) == (commit.tenant, commit.thread) and commit.n < each.n:
            request = ErasureRequested(erasure=each.erasure, items=each.items, code=each.code)
            numbers.update(lines_to_erase(commit, request))
    return frozenset(numbers)


def check_erasures(history: Sequence[Recorded], evidence: Mapping[str, Evidence]) -> Diagnosis | None:
    """Return the first thing wrong with the erasures of a thread whose chain is whole; ``None`` if they are in order.

    ``history`` has all its commits, and ``evidence`` is by the id of the erasure.
    """
    return next(_wrong(history, evidence), None)


def _wrong(history: Sequence[Recorded], evidence: Mapping[str, Evidence]) -> Iterator[Diagnosis]:
    gone = {each.position: missing_contents(each.commit) for each in history}
    hashes = {done.erasure: done.certificate for each in history for done in completions_of(each.commit)}
    explained: dict[Position, set[int]] = {}
    for extent in _extents(history):
        erasure, at = extent.request.erasure, extent.requested.position.seq
        found = evidence.get(erasure, Evidence())
        if (wrong := _fault(erasure, found, hashes.get(erasure), extent)) is not None:
            yield Diagnosis(wrong[0], at, wrong[1])
        for position, numbers in extent.contents.items():
            explained.setdefault(position, set()).update(numbers)
            there = [number for number in numbers if number not in gone[position]]
            if there and not found.under_way:
                what = f"erasure {erasure} is certified, and the content of {_named(there[0])} is there"
                yield Diagnosis("not_erased", position.seq, what)
    for position, missing in gone.items():
        for number in sorted(missing - explained.get(position, set())):
            what = f"the content of {_named(number)} is gone from the log, and no erasure takes it"
            yield Diagnosis("missing_content", position.seq, what)


def _extents(history: Sequence[Recorded]) -> Iterator[Extent]:
    for place, requested in enumerate(history):
        for event in requested.commit.events:
            if isinstance(event, ThreadEvent) and event.request is not None:
                fold = ExtentFold(event.request)
                for earlier in history[:place]:
                    fold.add(earlier)
                yield Extent(requested, event.request, fold.contents, fold.taken)


def _fault(erasure: str, found: Evidence, chained: str | None, extent: Extent) -> tuple[str, str] | None:
    """Return the code and the text of what is wrong with the evidence of an erasure."""
    whose = f"the certificate of erasure {erasure}"
    if found.fault is not None:
        return "wrong_certificate", f"{whose} cannot be used: {found.fault}"
    if found.certificate is not None and (why := fault_of(found.certificate, extent)) is not None:
        return "wrong_certificate", f"{whose} is not of this erasure: {why}"
    if chained is not None and found.hash is not None and found.hash != chained:
        return "wrong_certificate", f"{whose} is not the one that the chain names"
    if found.certificate is None and (chained is not None or not found.under_way):
        return "missing_certificate", f"{whose} is missing"
    if chained is None and not found.under_way:
        return "missing_certificate", f"the chain does not name {whose}"
    return None


def _named(number: int) -> str:
    return f"event {number}" if number != COMMAND else "the command"
