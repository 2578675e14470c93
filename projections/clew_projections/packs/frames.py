"""Members of a pack as bytes: each is a piece of a tar archive in its own zstd frame. Pure.

A skippable frame of twelve bytes with the length precedes each frame, as pzstd writes them; a skippable frame with the
place and the hash of the manifest's frame follows the last one. Other tools skip these.
"""

from __future__ import annotations

import io
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
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % BLOCK)


def unblock(raw: bytes) -> tuple[str, bytes]:
    """Return the name and content of a file of a tar archive.

    Raises:
        Corrupt: the bytes differ from those that :func:`block` makes.
    """
    try:
        info = tarfile.TarInfo.frombuf(raw[:BLOCK], "ascii", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as fault:
        raise altered_pack(f"a file's header cannot be read: {fault}") from fault
    content = raw[BLOCK : BLOCK + info.size]
    try:
        same = block(info.name, content) == raw
    except (ValueError, UnicodeEncodeError):
        same = False
    if not same:
        raise altered_pack(f"the file {info.name[:100]!r} is not as Clew writes it")
    return info.name, content


def frame(content: bytes) -> bytes:
    """Compress content to a frame."""
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True).compress(content)


def unframe(raw: bytes) -> bytes:
    """Decompress a frame.

    Raises:
        Corrupt: it is not a frame, it was altered, or bytes follow it.
    """
    try:
        parameters = zstandard.get_frame_parameters(raw)
        if parameters.content_size > LARGEST:
            raise altered_pack("a frame is larger than any that Clew writes")
        out = io.BytesIO()
        work = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        out.write(work.decompress(raw))
    except zstandard.ZstdError as fault:
        raise altered_pack(f"a frame cannot be read: {fault}") from fault
    if not work.eof or work.unused_data or parameters.content_size != out.tell():
        raise altered_pack("a frame is not as long as it says")
    return out.getvalue()


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
