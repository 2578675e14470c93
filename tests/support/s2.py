"""S2, in which the server compresses snapshots: unpacked, so that a test can look at what is in them."""

from __future__ import annotations

from collections.abc import Iterator

MAGIC = b"\xff\x06\x00\x00S2sTwO"
"""How a stream begins."""
_CRC = 4


def unpack(stream: bytes) -> bytes:
    """What was compressed. Sums are not verified."""
    return b"".join(_chunks(stream))


def _chunks(stream: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(stream):
        kind, length = stream[place], int.from_bytes(stream[place + 1 : place + 4], "little")
        body = stream[place + 4 : place + 4 + length]
        place += 4 + length
        if kind == 0:
            yield _block(body[_CRC:])
        elif kind == 1:
            yield body[_CRC:]


def _block(block: bytes) -> bytes:
    place = next(at for at, byte in enumerate(block) if byte < 0x80) + 1  # behind the length of what comes out
    out, offset = bytearray(), 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        return int.from_bytes(block[place - count : place], "little")

    while place < len(block):
        tag = take(1)
        kind, length = tag & 3, tag >> 2
        if kind == 0:
            length = 1 + (length if length < 60 else take(length - 59))
            out += block[place : place + length]
            place += length
            continue
        if kind == 1:
            near, length = (tag & 0xE0) << 3 | take(1), length & 7
            if near:
                offset = near
            elif length > 4:  # a repeat of the last offset, of a greater length
                length = take(length - 4) + (4, 1 << 8, 1 << 16)[length - 5]
            length += 4
        else:
            offset, length = take(2 if kind == 2 else 4), 1 + length
        for _ in range(length):
            out.append(out[-offset])
    return bytes(out)
