"""Verification of a pack against its own checkpoint and one that was kept elsewhere, after their signatures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from clew_projections.findings import Finding
from clew_projections.integrity.checkpoint import Checkpoint
from clew_projections.integrity.erasure_check import Evidence
from clew_projections.integrity.verify import Verification
from clew_projections.packs.check import Mark, Progress, check
from clew_projections.packs.layout import altered_pack
from clew_projections.packs.pack import Pack
from clew_services.checkpoints.note import VerifierKey
from clew_services.checkpoints.signed_checkpoint import KeptCheckpoint, read, verify_note
from clew_services.erasure.evidence import evidence_in


class PackCheck(Struct, frozen=True):
    """The result, and the checkpoints that were used; ``key_id`` is ``None`` if no key was available.

    A ``given`` key is one that the caller trusts; a key out of the pack proves nothing about its origin.
    """

    verified: Verification
    checkpoints: tuple[int, ...]
    key_id: str | None
    given: bool


def check_pack(
    pack: Pack, *, key: VerifierKey | None = None, kept: KeptCheckpoint | None = None, progress: Progress
) -> PackCheck:
    """Verify a pack; with a ``key``, it is a finding if nothing in the pack is covered by a signature of that key.

    Raises:
        Corrupt: the pack was altered or damaged, or a checkpoint was altered or not signed with the key.
        Invalid: the checkpoint that was kept cannot be compared with the pack.
    """
    coverage = pack.coverage
    trusted = key
    if trusted is None and kept is not None:
        trusted = VerifierKey.parse(kept.key)
    if trusted is None and coverage is not None and coverage.key is not None:
        trusted = VerifierKey.parse(coverage.key)
    marks = tuple(_marks(pack, kept, trusted))
    if pack.opening.checkpoint != (marks[0].checkpoint.number if coverage is not None else None):
        raise altered_pack("its checkpoint is not the one that its header names")
    keys = {trusted.id: trusted} if trusted is not None else {}
    verified = check(pack, marks, progress, evidence=_evidence(pack, keys))
    if key is not None and verified.commits and not verified.covered and not verified.findings:
        verified = replace(verified, findings=(_uncovered(marks),))
    return PackCheck(
        verified=verified,
        checkpoints=tuple(dict.fromkeys(mark.checkpoint.number for mark in marks)),
        key_id=trusted.id if trusted is not None and marks else None,
        given=key is not None or kept is not None,
    )


def _evidence(pack: Pack, keys: Mapping[str, VerifierKey]) -> dict[str, Evidence]:
    """The pack's evidence of the erasures in it, by their ids."""
    packed = pack.erasures
    if packed is None:
        return {}
    found = {erasure: Evidence(under_way=True) for erasure in packed.under_way}
    for erasure, note in packed.certificates.items():
        found[erasure] = evidence_in(note.encode(), keys, under_way=erasure in found)
    return found


def _uncovered(marks: Sequence[Mark]) -> Finding:
    """The finding that nothing in a pack is covered by a signature of the given key."""
    if marks:
        number = marks[-1].checkpoint.number
        code, what = "not_covered", f"checkpoint {number} was signed before any commit in this pack"
    else:
        code, what = "no_checkpoint", "there is no checkpoint in this pack"
    what += ": nothing that is signed with this key covers it"
    return Finding(tenant="", thread="", code=code, what=what, shard=0)


def _marks(pack: Pack, kept: KeptCheckpoint | None, key: VerifierKey | None) -> Iterator[Mark]:
    """The pack's checkpoint, and the one that was kept, unless they are the same."""

    def signed(note: str) -> Checkpoint:
        return (read(note.encode()) if key is None else verify_note(note.encode(), key)).checkpoint

    covering = pack.coverage
    if covering is not None:
        yield Mark(signed(covering.note), beside=covering.beside)
    if kept is not None and (covering is None or kept.checkpoint != covering.note or kept.heads is not None):
        yield Mark(signed(kept.checkpoint), heads=kept.heads)
