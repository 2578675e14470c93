"""Members of a pack as bytes: each is a piece of a tar archive in its own zstd frame. Pure.

A skippable frame of twelve bytes with the length precedes each frame, as pzstd writes them; a skippable frame with the
place and the hash of the manifest's frame follows the last one. Other tools skip these.
"""

from __future__ import annotations

import tarfile
from hashlib import sha256
from struct import Struct as Layout
from struct import pack
from typing import Final

import zstandard

from clew_projections.packs.layout import altered_pack, truncated_pack

LEVEL: Final = 3
LARGEST: Final = 1 << 30
"""The most bytes of a member: Clew does not write larger ones."""
SEGMENT: Final = 72 << 20
"""The most bytes of a member with commits: 4 MiB, and the longest commit that a NATS server takes."""
RATIO: Final = 64
"""How many times as large as its frame a larger member is at most: it holds hashes, which do not get small."""

_BEFORE: Final = Layout("<III")
_BEHIND: Final = Layout("<IIQ32s")
_LENGTH_FOLLOWS: Final = 0x184D2A50
_MANIFEST_WAS: Final = 0x184D2A5C
BEFORE: Final = _BEFORE.size
BEHIND: Final = _BEHIND.size
BLOCK: Final = tarfile.BLOCKSIZE
END: Final = bytes(2 * BLOCK)


def block(name: str, content: bytes) -> bytes:
    """Return a file as a piece of a tar archive: the same bytes for the same content."""
    return _header(name, len(content)) + content + bytes(-len(content) % BLOCK)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def unblock(raw: bytes) -> tuple[str, bytes]:
    """Return the name and content of a file of a tar archive.

    Raises:
        Corrupt: the bytes differ from those that :func:`block` makes.
    """
    try:
        info = tarfile.TarInfo.frombuf(raw[:BLOCK], "ascii", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as fault:
        raise altered_pack(f"a file's header cannot be read: {fault}") from fault
    end = BLOCK + info.size
    try:
        same = _header(info.name, info.size) == raw[:BLOCK] and raw[end:] == bytes(-info.size % BLOCK)
    except (ValueError, UnicodeEncodeError):
        same = False
    if not same or len(raw) < end:
        raise altered_pack(f"the file {info.name[:100]!r} is not as Clew writes it")
    return info.name, raw[BLOCK:end]


def frame(content: bytes) -> bytes:
    """Compress content to a frame."""
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True).compress(content)


def unframe(raw: bytes) -> bytes:
    """Decompress a frame. Nothing is decompressed of one that says that it is larger than Clew writes any.

    Raises:
        Corrupt: it is not a frame, it was altered, it is too large, or bytes follow it.
    """
    try:
        size = zstandard.get_frame_parameters(raw).content_size
        if size > min(LARGEST, max(SEGMENT, RATIO * len(raw))):
            raise altered_pack("a frame is larger than any that Clew writes")
        content = zstandard.ZstdDecompressor().decompress(raw, allow_extra_data=False)
    except zstandard.ZstdError as fault:
        raise altered_pack(f"a frame cannot be read: {fault}") from fault
    if len(content) != size or not size:
        raise altered_pack("a frame is not as long as it says")
    return content


def before(packed: int) -> bytes:
    """Return the skippable frame before a frame of ``packed`` bytes."""
    return _BEFORE.pack(_LENGTH_FOLLOWS, 4, packed)


def length_after(raw: bytes) -> int | None:
    """Return the length of the following frame; ``None`` after the last one.

    Raises:
        Corrupt: the bytes are not a skippable frame of Clew's.
    """
    if len(raw) < BEFORE:
        raise truncated_pack("it ends between two files")
    magic, size, packed = _BEFORE.unpack(raw[:BEFORE])
    if magic == _MANIFEST_WAS:
        return None
    if (magic, size) != (_LENGTH_FOLLOWS, 4):
        raise altered_pack("there is something between two files")
    return int(packed)


def suffix_after(offset: int, manifest: bytes) -> bytes:
    """Return the skippable frame after the manifest's frame, which begins at ``offset``."""
    return _BEHIND.pack(_MANIFEST_WAS, BEHIND - 8, offset, sha256(manifest).digest())


def manifest_at(raw: bytes) -> tuple[int, bytes] | None:
    """Return the place and the hash of the manifest's frame from a pack's last bytes; ``None`` if these are others."""
    if len(raw) != BEHIND:
        return None
    magic, size, offset, digest = _BEHIND.unpack(raw)
    return (int(offset), bytes(digest)) if (magic, size) == (_MANIFEST_WAS, BEHIND - 8) else None


def begins_a_pack(raw: bytes) -> bool:
    """Whether a file with this beginning may be a pack, complete or not."""
    return raw[:8] == pack("<II", _LENGTH_FOLLOWS, 4)


def check_digest(raw: bytes, digest: str, name: str) -> bytes:
    """Check the hash of bytes, and return the bytes.

    Raises:
        Corrupt: the hash differs.
    """
    if sha256(raw).hexdigest() != digest:
        raise altered_pack(f"{name} has another hash than the manifest says")
    return raw
