"""Resume of an interrupted export from its last complete segment."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct
from msgspec.structs import replace

from clew_events.errors import ClewError
from clew_events.subjects import Address, address_of
from clew_projections.packs import frames, layout
from clew_projections.packs.layout import Member, PackHeader
from clew_projections.packs.pack import decode_commits, entries
from clew_projections.packs.pack_writer import Ends


class Totals(Struct):
    """The manifest's counts for the shards written so far."""

    threads: int = 0
    commits: int = 0
    misfits: int = 0

    def count(self, ends: Ends) -> None:
        """Add a shard."""
        self.threads += len(ends.tips)
        self.commits += ends.commits
        self.misfits += ends.misfits


class Partial(Struct):
    """A pack without an end, of which ``length`` bytes are complete. Its last commit is at ``seq`` of ``shard``.

    ``number`` is the last segment, and ``ends`` has the chains of that shard so far. ``totals`` and ``threads`` are of
    the shards before.
    """

    opening: PackHeader
    members: list[Member]
    length: int
    shard: int
    seq: int
    number: int
    ends: Ends
    totals: Totals
    threads: set[Address]


def partial(file: Path) -> Partial | None:
    """Return the resumable part of a file; ``None`` if it has no commits or is not a pack."""
    found: Partial | None = None
    opening: PackHeader | None = None
    members: list[Member] = []
    bodies, place = b"", 0
    ends, totals, shard = Ends(), Totals(), 0
    threads: set[Address] = set()
    with file.open("rb") as opened:
        while (read := _next(opened, place)) is not None:
            member, content = read
            place = member.offset + member.packed
            members.append(member)
            if member.name == layout.OPENING:
                opening = layout.read(content, PackHeader, layout.OPENING)
            elif member.name.startswith(layout.COMMITS) and member.name.endswith(layout.BODIES):
                bodies = content
            elif member.name.endswith(layout.INDEX) and opening is not None:
                of, number = _numbers(member.name)
                if of != shard:
                    totals.count(ends)
                    if not opening.scope.whole:
                        threads |= {address_of(subject) for subject in ends.tips}
                    ends, shard = Ends(), of
                commits = decode_commits(bodies, entries(content, member.name), member.name)
                for each in commits:
                    ends.take(each.subject, each.body)
                about = {"shard": of, "first": commits[0].seq, "last": commits[-1].seq, "commits": len(commits)}
                members[-2:] = [replace(each, **about) for each in members[-2:]]
                found = Partial(opening, list(members), place, of, commits[-1].seq, number, ends, totals, threads)
    return found


def _next(file: BinaryIO, place: int) -> tuple[Member, bytes] | None:
    """Read the next member and its content; ``None`` where the rest is incomplete."""
    try:
        length = frames.length_after(file.read(frames.BEFORE))
        packed = file.read(length) if length is not None else b""
        if length is None or len(packed) < length:
            return None
        name, content = frames.unblock(frames.unframe(packed))
    except ClewError:
        return None
    return Member(
        name=name,
        size=len(content),
        sha256=sha256(content).hexdigest(),
        offset=place + frames.BEFORE,
        packed=length,
        packed_sha256=sha256(packed).hexdigest(),
    ), content


def _numbers(name: str) -> tuple[int, int]:
    """Return the shard and the number of a segment from its name."""
    shard, _, number = name.removeprefix(layout.COMMITS).removesuffix(layout.INDEX).partition("/")
    return int(shard), int(number)
