"""A pack opened for reading: any member by its place, and the commits of a shard in order."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE
from clew_events.errors import Corrupt, Invalid
from clew_projections.integrity.inclusion import Head
from clew_projections.nats.stream_messages import TRACE, StoredMessage
from clew_projections.packs import frames, layout
from clew_projections.packs.layout import (
    CheckpointCoverage,
    Entry,
    ErasedContents,
    Manifest,
    Member,
    PackedErasures,
    PackHeader,
    altered_pack,
)

_ENTRIES: Final = msgspec.json.Decoder(Entry)
_HEADS: Final = msgspec.json.Decoder(Head)
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Segment(Struct, frozen=True):
    """A segment of a shard's commits: the member with the bodies and the member with the index."""

    bodies: Member
    index: Member

    @property
    def first(self) -> int:
        """The sequence of the first one."""
        return self.index.first or 0

    @property
    def last(self) -> int:
        """The sequence of the last one."""
        return self.index.last or 0


class Pack:
    """A pack in a file. All reads are checked against the hashes of the manifest.

    Raises:
        Invalid: the file is not a pack, or one of a newer Clew, or unreadable.
        Corrupt: it was truncated, altered or damaged.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._raw = _map_file(file)
        manifest, self.manifest_packed = _manifest(self._raw)
        self.manifest = manifest
        self.members = {member.name: member for member in manifest.members}
        if len(self.members) != len(manifest.members):
            raise altered_pack("the manifest names a file twice")
        if layout.whole_of(manifest.members) != manifest.whole:
            raise altered_pack("the hash of the whole is not that of the files in the manifest")
        self.opening = layout.read(self.content(layout.OPENING), PackHeader, layout.OPENING)
        self.segments = [self._segments(shard) for shard in range(self.opening.shards)]

    def content(self, name: str) -> bytes:
        """Return the content of a member.

        Raises:
            Corrupt: there is no such member, or it differs from the manifest.
        """
        member = self.members.get(name)
        if member is None:
            raise altered_pack(f"it has no {name}")
        packed = frames.check_digest(self.packed(member), member.packed_sha256, name)
        found, content = frames.unblock(frames.unframe(packed))
        if found != name or len(content) != member.size:
            raise altered_pack(f"where {name} should be is {found[:100]!r}")
        return frames.check_digest(content, member.sha256, name)

    def packed(self, member: Member) -> bytes:
        """Return the frame of a member."""
        return self._raw[member.offset : member.offset + member.packed]

    def between(self, first: int, last: int) -> bytes:
        """Return the bytes of the file between two places."""
        return self._raw[first:last]

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return len(self._raw)

    def entries(self, segment: Segment) -> list[Entry]:
        """Return the index of a segment.

        Raises:
            Corrupt: it was altered.
        """
        return entries(self.content(segment.index.name), segment.index.name)

    def stored(self, segment: Segment) -> list[StoredMessage]:
        """Return the commits of a segment, as they were stored in the log.

        Raises:
            Corrupt: they were altered.
        """
        return decode_commits(self.content(segment.bodies.name), self.entries(segment), segment.bodies.name)

    def heads(self, shard: int) -> Iterator[Head]:
        """Yield the heads of a shard's threads in the pack.

        Raises:
            Corrupt: they were altered.
        """
        prefix = f"{layout.HEADS}{shard:02d}/"
        for member in self.manifest.members:
            if member.name.startswith(prefix):
                try:
                    yield from _HEADS.decode_lines(self.content(member.name))
                except UNREADABLE as fault:
                    raise altered_pack(f"{member.name} cannot be read: {fault}") from fault

    @property
    def coverage(self) -> CheckpointCoverage | None:
        """The checkpoint that covers it, if one does.

        Raises:
            Corrupt: it cannot be read.
        """
        if layout.COVERING not in self.members:
            return None
        return layout.read(self.content(layout.COVERING), CheckpointCoverage, layout.COVERING)

    @property
    def erasures(self) -> PackedErasures | None:
        """What proves that contents were erased, if commits request that.

        Raises:
            Corrupt: it cannot be read.
        """
        if layout.ERASURES not in self.members:
            return None
        return layout.read(self.content(layout.ERASURES), PackedErasures, layout.ERASURES)

    @property
    def erased(self) -> ErasedContents | None:
        """What was erased in it when it was made, as its manifest says; ``None`` if nothing was."""
        return self.manifest.erased or None

    def _segments(self, shard: int) -> list[Segment]:
        found: list[Segment] = []
        while (bodies := self.members.get(layout.commits_name(shard, len(found) + 1) + layout.BODIES)) is not None:
            index = self.members.get(layout.commits_name(shard, len(found) + 1) + layout.INDEX)
            if index is None:
                raise altered_pack(f"{bodies.name} has no index")
            found.append(Segment(bodies, index))
        return found


def entries(raw: bytes, name: str) -> list[Entry]:
    """Decode the lines of an index.

    Raises:
        Corrupt: they are unreadable.
    """
    try:
        return _ENTRIES.decode_lines(raw)
    except UNREADABLE as fault:
        raise altered_pack(f"{name} cannot be read: {fault}") from fault


def decode_commits(bodies: bytes, index: list[Entry], name: str) -> list[StoredMessage]:
    """Return commits as they were stored in the log, from their bodies and their index.

    Raises:
        Corrupt: the two do not fit.
    """
    found: list[StoredMessage] = []
    place = 0
    for entry in index:
        end = place + entry.size
        if bodies[end : end + 1] != b"\n":
            raise altered_pack(f"{name} does not fit its index at sequence {entry.seq}")
        headers = {TRACE: entry.traceparent} if entry.traceparent is not None else _NO_HEADERS
        found.append(StoredMessage(entry.seq, entry.subject, bodies[place:end], headers))
        place = end + 1
    if place != len(bodies):
        raise altered_pack(f"{name} has more in it than its index says")
    return found


def _map_file(file: Path) -> mmap.mmap:
    try:
        with file.open("rb") as opened:
            beginning = opened.read(frames.BEFORE)
            if not frames.begins_a_pack(beginning):
                raise layout.not_a_pack(str(file))
            return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as fault:
        raise Invalid(f"{file} cannot be read: {fault}", code="unreadable_file") from fault


def _manifest(raw: mmap.mmap) -> tuple[Manifest, tuple[int, int]]:
    """Return the manifest, and the start and end of its frame."""
    _check_known(raw)
    found = frames.manifest_at(raw[max(0, len(raw) - frames.BEHIND) :])
    if found is None:
        raise layout.truncated_pack("the end of the file is missing")
    offset, digest = found
    end = len(raw) - frames.BEHIND
    packed = frames.check_digest(raw[offset:end], digest.hex(), "the manifest")
    content = frames.unframe(packed)
    if not content.endswith(frames.END):
        raise altered_pack("the archive has no end")
    name, document = frames.unblock(content[: -len(frames.END)])
    if name != layout.MANIFEST:
        raise altered_pack(f"where the manifest should be is {name[:100]!r}")
    return layout.read(document, Manifest, layout.MANIFEST), (offset, end)


def _check_known(raw: mmap.mmap) -> None:
    """Check by its beginning that this is a pack of a known format, even if its end is missing.

    Raises:
        Invalid: it is of a newer format, or not a pack.
    """
    place = 0
    content = b""
    for name in (layout.README, layout.OPENING):
        length = frames.length_after(raw[place : place + frames.BEFORE])
        packed = raw[place + frames.BEFORE : place + frames.BEFORE + (length or 0)]
        if length is None or len(packed) < length:
            raise layout.truncated_pack(f"it ends before {name} does")
        try:
            found, content = frames.unblock(frames.unframe(packed))
        except Corrupt as fault:
            raise altered_pack(f"{name} cannot be read ({fault.message})") from fault
        if found != name:
            raise layout.not_a_pack("this file")
        place += frames.BEFORE + length
    layout.read(content, PackHeader, layout.OPENING)
