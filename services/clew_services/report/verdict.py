"""The verdict of a report: what was checked of a thread and of the log that it is in, and what was not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from clew_events.commit import Recorded
from clew_events.subjects import Address
from clew_projections.audit.moments import format_time
from clew_projections.findings import Finding
from clew_projections.integrity.erasure_check import missing_contents
from clew_projections.packs.pack import Pack
from clew_services.checkpoints.signed_checkpoint import SignedNote, read
from clew_services.packs.check_pack import PackCheck

_UNCOVERED: Final = (
    "The log: no signed checkpoint covers this thread, so an end that was cut off, or a history that was written anew "
    "as a whole, would not be noticed."
)
_BEYOND: Final = (
    "The other threads of the log ('clew verify --all --key FILE' checks them), and policies of retention and standing "
    "legal holds, which are in the tenant's own history ('clew history')."
)


class Verdict(Struct, frozen=True, kw_only=True):
    """What was checked of the thread, and of the log that it is in, and what was not, each as sentences."""

    outcome: Literal["no_findings", "findings"]
    thread: tuple[str, ...]
    log: tuple[str, ...]
    unchecked: tuple[str, ...]
    findings: tuple[Finding, ...]


def make_verdict(pack: Pack, checked: PackCheck, address: Address, records: Sequence[Recorded], shard: int) -> Verdict:
    """Make the verdict about a thread, whose commits are given, from the check of the pack that has it."""
    found = tuple(
        finding for finding in checked.verified.findings if (finding.tenant, finding.thread) in {address, ("", "")}
    )
    own = any(finding.thread for finding in found)
    erased = sum(len(missing_contents(each.commit)) for each in records)
    thread = [
        "Its history is damaged: see the findings."
        if own
        else f"All {len(records)} commits are there, without a gap; each names the SHA-256 of the one before it.",
    ]
    if not own:
        gone = f", but for {erased} that were erased, as its erasures say" if erased else ""
        thread.append(f"Every content has the hash that its commit sealed{gone}.")
    signed = read(pack.coverage.note.encode()) if pack.coverage is not None else None
    log, unsigned = _log(signed, checked, records, shard, agrees=not found)
    if pack.erasures is not None and not checked.given:
        unsigned = (*unsigned, "The signatures of the certificates of erasures: no public key was given (--key).")
    unchecked = (
        *unsigned,
        f"What happened after commit {records[-1].commit.n if records else 0}: this report ends there.",
        _BEYOND,
        "Whether what was recorded is true and complete, who an actor really was, and whether clocks were right.",
    )
    outcome: Literal["no_findings", "findings"] = "findings" if found else "no_findings"
    return Verdict(outcome=outcome, thread=tuple(thread), log=log, unchecked=unchecked, findings=found)


def _log(
    signed: SignedNote | None, checked: PackCheck, records: Sequence[Recorded], shard: int, *, agrees: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a checkpoint says of the thread, and what was not checked of the checkpoint."""
    if signed is None:
        return (), (_UNCOVERED,)
    checkpoint, signers = signed.checkpoint, ", ".join(signed.key_ids)
    covered = sum(each.position.seq <= checkpoint.shards[shard].seq for each in records)
    of = f"checkpoint {checkpoint.number} of {format_time(checkpoint.at)}"
    says = [
        f"The first {covered} of the {len(records)} commits are what {of} signed: the hash of commit {covered} leads "
        f"to its root of shard {shard}."
        if agrees and covered
        else f"The log does not agree with {of}: see the findings."
        if covered
        else f"The thread is younger than {of}, which does not cover it."
    ]
    unsigned = []
    if agrees and covered < len(records):
        unsigned.append(f"The end: of the last {len(records) - covered} commits only the chain speaks, until a later "
                        "checkpoint covers them.")  # fmt: skip
    if checked.key_id is None:
        unsigned.append(f"The signature of {of}, by {signers}: no public key was given (--key).")
    elif checked.given:
        says.append(f"The checkpoint is signed with the key {checked.key_id}, which was given to check it with.")
    else:
        unsigned.append(f"Whose signature {of} has: it fits the key {checked.key_id}, which the pack itself names. "
                        "Give one that you trust with --key.")  # fmt: skip
    return tuple(says), tuple(unsigned)
