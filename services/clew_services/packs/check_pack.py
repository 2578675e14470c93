"""A pack checked with the checkpoint it carries and one that somebody kept, the signatures of both looked at first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from clew_projections.findings import Finding
from clew_projections.integrity.checkpoint import Checkpoint
from clew_projections.integrity.verify import Verification
from clew_projections.packs.check import Mark, Progress, check
from clew_projections.packs.layout import altered_pack
from clew_projections.packs.pack import Pack
from clew_services.checkpoints.note import VerifierKey
from clew_services.checkpoints.signed_checkpoint import KeptCheckpoint, read, verify_note


class PackCheck(Struct, frozen=True):
    """What was found, and by which checkpoints; ``key_id`` is none if no key was there to check signatures with.

    A key that was ``given`` is one that somebody trusts; one out of the pack says nothing of who made it.
    """

    verified: Verification
    checkpoints: tuple[int, ...]
    key_id: str | None
    given: bool


def check_pack(
    pack: Pack, *, key: VerifierKey | None = None, kept: KeptCheckpoint | None = None, progress: Progress
) -> PackCheck:
    """Everything that is wrong with a pack; with a ``key``, that nothing in it is what was signed with that, too.

    Raises:
        Corrupt: the pack was altered or damaged, or a checkpoint was not signed with the key, or altered since.
        Invalid: nothing can be said by the checkpoint that was kept.
    """
    covering = pack.coverage
    trusted = key
    if trusted is None and kept is not None:
        trusted = VerifierKey.parse(kept.key)
    if trusted is None and covering is not None and covering.key is not None:
        trusted = VerifierKey.parse(covering.key)
    marks = tuple(_marks(pack, kept, trusted))
    if pack.opening.checkpoint != (marks[0].checkpoint.number if covering is not None else None):
        raise altered_pack("the checkpoint in it is another than its beginning names")
    found = check(pack, marks, progress)
    if key is not None and found.commits and not found.covered and not found.findings:
        found = replace(found, findings=(_uncovered(marks),))
    return PackCheck(
        verified=found,
        checkpoints=tuple(dict.fromkeys(mark.checkpoint.number for mark in marks)),
        key_id=trusted.id if trusted is not None and marks else None,
        given=key is not None or kept is not None,
    )


def _uncovered(marks: Sequence[Mark]) -> Finding:
    """That nothing of a pack is what was signed with the key that it is checked with."""
    if marks:
        number = marks[-1].checkpoint.number
        code, what = "not_covered", f"checkpoint {number} was made before any commit in this pack"
    else:
        code, what = "no_checkpoint", "there is no checkpoint in this pack"
    what += ": nothing that is signed with this key says what is in it"
    return Finding(tenant="", thread="", code=code, what=what, shard=0)


def _marks(pack: Pack, kept: KeptCheckpoint | None, key: VerifierKey | None) -> Iterator[Mark]:
    """The checkpoint in the pack, and the one that was kept, unless that is the same."""

    def signed(note: str) -> Checkpoint:
        return (read(note.encode()) if key is None else verify_note(note.encode(), key)).checkpoint

    covering = pack.coverage
    if covering is not None:
        yield Mark(signed(covering.note), beside=covering.beside)
    if kept is not None and (covering is None or kept.checkpoint != covering.note or kept.heads is not None):
        yield Mark(signed(kept.checkpoint), heads=kept.heads)
