"""Members of a pack as bytes: each a piece of a tar archive in a zstd frame of its own. Pure.

Before each frame stands a skippable one of twelve bytes that says how long the frame is, as pzstd writes them; behind
the last one stands another that says where the manifest's frame is and what its hash is. Other tools skip these.
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
"""Bytes that a member may have: what says that it has more was not written by Clew."""

_BEFORE: Final = Layout("<III")
_BEHIND: Final = Layout("<IIQ32s")
_LENGTH_FOLLOWS: Final = 0x184D2A50
_MANIFEST_WAS: Final = 0x184D2A5C
BEFORE: Final = _BEFORE.size
BEHIND: Final = _BEHIND.size
BLOCK: Final = tarfile.BLOCKSIZE
END: Final = bytes(2 * BLOCK)


def block(name: str, content: bytes) -> bytes:
    """A file as it stands in a tar archive: the same for the same content, whenever and by whomever it was made."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % BLOCK)


def unblock(raw: bytes) -> tuple[str, bytes]:
    """The name and content of a file of a tar archive.

    Raises:
        Corrupt: it is not as :func:`block` makes it.
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
    """A compressed frame."""
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True).compress(content)


def unframe(raw: bytes) -> bytes:
    """What is in a frame.

    Raises:
        Corrupt: it is none, it was altered, or something stands behind it.
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
    """What stands before a frame of so many bytes."""
    return _BEFORE.pack(_LENGTH_FOLLOWS, 4, packed)


def length_after(raw: bytes) -> int | None:
    """The length of the frame that follows; nothing if no frame does.

    Raises:
        Corrupt: this is no place between two frames.
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
    """What stands behind the frame of the manifest, which begins at ``offset``."""
    return _BEHIND.pack(_MANIFEST_WAS, BEHIND - 8, offset, sha256(manifest).digest())


def manifest_at(raw: bytes) -> tuple[int, bytes] | None:
    """Where the frame of the manifest begins, and its hash, by a pack's last bytes; nothing if these are others."""
    if len(raw) != BEHIND:
        return None
    magic, size, offset, digest = _BEHIND.unpack(raw)
    return (int(offset), bytes(digest)) if (magic, size) == (_MANIFEST_WAS, BEHIND - 8) else None


def begins_a_pack(raw: bytes) -> bool:
    """Whether a file that begins so may be a pack, whole or not."""
    return raw[:8] == pack("<II", _LENGTH_FOLLOWS, 4)


def check_digest(raw: bytes, digest: str, name: str) -> bytes:
    """The same bytes.

    Raises:
        Corrupt: their hash is another.
    """
    if sha256(raw).hexdigest() != digest:
        raise altered_pack(f"{name} has another hash than the manifest says")
    return raw
