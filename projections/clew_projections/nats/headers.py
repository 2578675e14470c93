"""Header blocks of NATS messages: encoded once, and parsed lazily."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from nats.errors import BadHeaderError

BEGIN: Final = b"NATS/1.0\r\n"
_END: Final = b"\r\n\r\n"
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NEWLINES: Final = str.maketrans({"\r": " ", "\n": " "})


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """Encode headers, byte for byte as nats-py does; newlines in a value become spaces.

    Raises:
        BadHeaderError: a name is not a valid header name.
    """
    block = "NATS/1.0\r\n"
    for name, value in headers.items():
        if known := _name(name):
            text = value.strip()
            block += f"{known}: {text if text.isprintable() else text.translate(_NEWLINES)}\r\n"
    return f"{block}\r\n".encode()


@lru_cache(1024)
def _name(name: str) -> str:
    stripped = name.strip()
    if stripped and not _NAME.fullmatch(stripped):
        raise BadHeaderError(stripped)
    return stripped


def plain(block: bytes) -> dict[str, str] | None:
    """Return the fields of a block in canonical form; ``None`` for any other block.

    A status, characters other than printable ASCII, and unexpected blanks are not canonical.
    """
    if not (block.startswith(BEGIN) and block.endswith(_END) and block.isascii()):
        return None
    lines = block[len(BEGIN) : -len(_END)].decode("ascii").split("\r\n")
    try:
        fields = dict([line.split(": ", 1) for line in lines])
    except ValueError:
        return None
    names, values = "".join(fields), "".join(lines)
    if not values.isprintable() or "  " in values or " " in names or ":" in names or b" \r\n" in block:
        return None
    return fields if "" not in fields else None


def fields(block: bytes) -> dict[str, str]:
    """Return the fields of any block without its status line, as nats-py does: malformed lines are skipped."""
    without_status = block if block.startswith(BEGIN) else BEGIN + block.partition(b"\r\n")[2]
    return plain(without_status) or _line_by_line(block)


def _line_by_line(block: bytes) -> dict[str, str]:
    parsed: dict[str, str] = {}
    for line in block.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        name = name.strip()
        if colon and name.isascii() and not any(character.isspace() for character in name.decode()):
            parsed[name.decode()] = value.strip().decode(errors="replace")
    return parsed


def status_of(block: bytes) -> str | None:
    """Return the status in a block's first line, such as ``404``; ``None`` for most blocks."""
    if block.startswith(BEGIN) or not block:
        return None
    status = block[9:12].decode(errors="replace").strip()
    return status if status.isdigit() else None


def description_of(block: bytes) -> str:
    """Return the description after a status."""
    return block[13:].partition(b"\r\n")[0].decode(errors="replace")


_SUBJECT: Final = b"\r\nNats-Subject: "
_APPENDED: Final = rb"%bNats-Subject: ([^\r]+)\r\nNats-Sequence: (\d+)\r\nNats-Time-Stamp: ([^\r]+)\r\n"
_IN_BATCH: Final = rb"Nats-Num-Pending: ([^\r]+)\r\nNats-Last-Sequence: ([^\r]+)\r\n"
_STORED: Final = re.compile(_APPENDED % rb"\r\n" + rb"(?:%b)?\r\n\Z" % _IN_BATCH)
_BATCH: Final = re.compile(_APPENDED % rb"\n" + _IN_BATCH + rb"\r\n")
_PLACES: Final = {
    "Nats-Subject": 0, "Nats-Sequence": 1, "Nats-Time-Stamp": 2, "Nats-Num-Pending": 3, "Nats-Last-Sequence": 4,
}  # fmt: skip
_STAMP: Final = "Nats-Time-Stamp"
Appended = tuple[bytes, bytes, bytes, bytes | None, bytes | None]
"""The values of the headers that a server appends to a stored message: its subject, its sequence, when it was stored;
and in a reply of many how many follow, and the sequence of the one before."""


def read_appended(block: bytes) -> Appended | None:
    """Return what the server appended to a block; ``None`` for any other block.

    The last header of a name counts, so these cannot be forged.
    """
    found = _STORED.match(block, max(block.rfind(_SUBJECT), 0))
    return found.groups() if found is not None else None  # type: ignore[return-value]


def read_batch(blocks: Sequence[bytes]) -> Sequence[Appended] | None:
    """Return what the server appended to each block of a batch, at once; ``None`` if there is any other block.

    Each has its own at its end. So none was forged, if there are as many as blocks.
    """
    found: list[Appended] = _BATCH.findall(b"".join(blocks))
    return found if len(found) == len(blocks) else None


class Headers(Mapping[str, str]):
    """The headers in a block, parsed lazily; the headers that a server appends to a stored message come first."""

    __slots__ = ("_appended", "_fields", "block")

    def __init__(self, block: bytes, known: Appended | None = None) -> None:
        self.block = block
        self._fields: dict[str, str] | None = None
        self._appended = known or read_appended(block)

    def _all(self) -> dict[str, str]:
        parsed = self._fields
        if parsed is None:
            parsed = self._fields = fields(self.block)
        return parsed

    def _value(self, name: str) -> str | None:
        if self._appended is None or (at := _PLACES.get(name)) is None or (value := self._appended[at]) is None:
            return None
        return value.decode(errors="replace")

    def __getitem__(self, name: str) -> str:
        if (value := self._value(name)) is not None:
            return value
        return self._all()[name]

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """Return the value of a header, or ``default``."""
        if (value := self._value(name)) is not None:
            return value
        if self._fields is None and name.encode() not in self.block:
            return default
        return self._all().get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return f"Headers({self._all()!r})"


class DeliveredHeaders(Headers):
    """The headers of a message that a consumer delivered, with when it was stored, in nanoseconds since 1970."""

    __slots__ = ("nanoseconds",)

    def __init__(self, block: bytes, nanoseconds: int) -> None:
        # Not that of Headers, which looks for what is not there.
        self.block = block
        self.nanoseconds = nanoseconds
        self._fields = None
        self._appended = None

    def _all(self) -> dict[str, str]:
        if self._fields is None:
            seconds, rest = divmod(self.nanoseconds, 1_000_000_000)
            stamp = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}".rstrip("0").rstrip(".") + "Z"
            self._fields = {**fields(self.block), _STAMP: stamp}
        return self._fields

    def _value(self, name: str) -> str | None:
        return self._all()[name] if name == _STAMP else None
