"""The writer of a pack: its output, member by member, is concatenated to a file or a stream."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from clew_events.codec import count_erased, decode
from clew_events.commit import record_of
from clew_events.errors import ClewError, Corrupt
from clew_events.subjects import Address, address_of, is_thread
from clew_projections.integrity.erasure_check import erasures_of
from clew_projections.integrity.inclusion import Head
from clew_projections.integrity.links import NOTHING, Tip, follow
from clew_projections.nats.stream_messages import TRACE, StoredMessage
from clew_projections.packs import frames, layout
from clew_projections.packs.layout import Entry, ErasedContents, Manifest, Member, PackHeader
from clew_projections.packs.pack import decode_commits, entries

SEGMENT_BYTES: Final = 4 * 1024 * 1024
SEGMENT_COMMITS: Final = 8192
HEADS_AT_ONCE: Final = 10_000

_LINES: Final = msgspec.json.Encoder()
_REQUEST: Final = b'"ErasureRequested"'
_FORKED: Final = b'"forked_from"'


class Writer:
    """Turns contents into the bytes of a pack, and collects the manifest.

    It may continue a pack that has ``members`` already.
    """

    def __init__(self, members: Sequence[Member] = ()) -> None:
        self.members = list(members)
        self._offset = members[-1].offset + members[-1].packed if members else 0

    def add(self, name: str, content: bytes, **about: int) -> bytes:
        """Return the bytes of a member. ``about`` are further fields of the manifest for a member with commits."""
        packed = frames.frame(frames.block(name, content))
        self._offset += frames.BEFORE
        self.members.append(
            Member(
                name=name,
                size=len(content),
                sha256=sha256(content).hexdigest(),
                offset=self._offset,
                packed=len(packed),
                packed_sha256=sha256(packed).hexdigest(),
                **about,
            )
        )
        self._offset += len(packed)
        return frames.before(len(packed)) + packed

    def end(self, totals: Totals, *, under_way: int = 0, missing: Iterable[Address] = ()) -> bytes:
        """Return the bytes of the manifest and of the end. ``under_way`` counts erasures that were not completed.

        ``missing`` are threads that others were forked from, and that are not in the pack.
        """
        absent = tuple(sorted({address.thread for address in missing}))
        erased = ErasedContents(
            erasures=len(totals.erasures),
            under_way=under_way,
            commits=totals.erased_commits,
            contents=totals.erased_contents,
        )
        manifest = Manifest(
            threads=totals.threads,
            commits=totals.commits,
            misfits=totals.misfits,
            members=tuple(self.members),
            whole=layout.whole_of(self.members),
            erased=erased if erased != ErasedContents() else UNSET,
            missing=absent or UNSET,
        )
        packed = frames.frame(frames.block(layout.MANIFEST, layout.as_json(manifest)) + frames.END)
        offset = self._offset + frames.BEFORE
        return frames.before(len(packed)) + packed + frames.suffix_after(offset, packed)


class Segment:
    """A segment of a shard's commits to write. Its end depends on the commits alone."""

    def __init__(self, shard: int, number: int) -> None:
        self.number = number
        self._shard = shard
        self._bodies: list[bytes] = []
        self._index: list[bytes] = []
        self._bytes = 0
        self._first = self._last = 0

    def add(self, stored: StoredMessage) -> bool:
        """Add a commit; return whether the segment is full."""
        entry = Entry(stored.seq, stored.subject, len(stored.body), stored.headers.get(TRACE))
        self._bodies.append(stored.body)
        self._index.append(_LINES.encode(entry))
        self._bytes += len(stored.body)
        self._first, self._last = self._first or stored.seq, stored.seq
        return self._bytes >= SEGMENT_BYTES or len(self._bodies) >= SEGMENT_COMMITS

    def __len__(self) -> int:
        return len(self._bodies)

    def pack(self, writer: Writer) -> bytes:
        """Return the bytes of its members, the bodies and the index."""
        name = layout.commits_name(self._shard, self.number)
        about = {"shard": self._shard, "first": self._first, "last": self._last, "commits": len(self._bodies)}
        bodies = writer.add(name + layout.BODIES, b"\n".join((*self._bodies, b"")), **about)
        return bodies + writer.add(name + layout.INDEX, b"\n".join((*self._index, b"")), **about)


class Ends:
    """The ends of a shard's chains, for the commits written to a pack."""

    def __init__(self) -> None:
        self.tips: dict[str, Tip] = {}
        self.commits = 0
        self.misfits = 0
        self.erased_commits = 0
        self.erased_contents = 0
        self.erasures: dict[str, str] = {}
        """The tenants whose commits request erasures, by the ids of these."""
        self.parents: set[Address] = set()
        """The threads that forks were forked from."""

    def take(self, subject: str, body: bytes) -> None:
        """Add the next commit."""
        self.commits += 1
        owner = address_of(subject)
        if erased := count_erased(body):
            self.erased_commits += 1
            self.erased_contents += erased
        if _REQUEST in record_of(body):
            with contextlib.suppress(Corrupt):
                self.erasures |= dict.fromkeys(erasures_of(decode(body)), owner.tenant)
        if _FORKED in record_of(body):
            with contextlib.suppress(Corrupt):
                if (forked := decode(body).forked_from) is not None:
                    self.parents.add(Address(owner.tenant, forked.thread))
        followed = follow(self.tips.get(subject, NOTHING), owner, body)
        if followed is None:
            self.misfits += 1
            self.tips.setdefault(subject, NOTHING)
        else:
            self.tips[subject] = followed

    def heads(self) -> list[Head]:
        """Return the heads of all threads that have a valid commit, in the order of their first commits."""
        return [Head(*address_of(subject), tip.n, tip.hash) for subject, tip in self.tips.items() if tip.hash]

    def pack(self, writer: Writer, shard: int) -> bytes:
        """Return the bytes of the members with the heads."""
        heads = self.heads()
        parts = [heads[start : start + HEADS_AT_ONCE] for start in range(0, len(heads), HEADS_AT_ONCE)]
        return b"".join(
            writer.add(layout.heads_name(shard, number), b"".join(_LINES.encode(head) + b"\n" for head in part))
            for number, part in enumerate(parts, start=1)
        )


class Totals(Struct):
    """The manifest's counts for the shards written so far."""

    threads: int = 0
    commits: int = 0
    misfits: int = 0
    erased_commits: int = 0
    erased_contents: int = 0
    erasures: dict[str, str] = {}
    parents: set[Address] = set()

    def count(self, ends: Ends) -> None:
        """Add a shard."""
        self.threads += sum(is_thread(address_of(subject)) for subject in ends.tips)
        self.commits += ends.commits
        self.misfits += ends.misfits
        self.erased_commits += ends.erased_commits
        self.erased_contents += ends.erased_contents
        self.erasures = {**self.erasures, **ends.erasures}
        self.parents = self.parents | ends.parents


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
