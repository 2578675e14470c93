"""Header blocks: written once as bytes, and read only as far as anybody asks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from nats.errors import BadHeaderError

BEGIN: Final = b"NATS/1.0\r\n"
_END: Final = b"\r\n\r\n"
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NEWLINES: Final = str.maketrans({"\r": " ", "\n": " "})


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """The block that says some headers, byte for byte as nats-py writes it; nothing in a value can end its line.

    Raises:
        BadHeaderError: a name that no header may have.
    """
    lines = ["NATS/1.0"]
    for name, value in headers.items():
        if known := _name(name):
            said = value.strip()
            lines.append(f"{known}: {said if said.isprintable() else said.translate(_NEWLINES)}")
    return "\r\n".join((*lines, "\r\n")).encode()


def append_headers(block: bytes, headers: Mapping[str, str]) -> bytes:
    """A block with more headers at its end."""
    return block[:-2] + encode_headers(headers)[len(BEGIN) :]


@lru_cache(1024)
def _name(name: str) -> str:
    stripped = name.strip()
    if stripped and not _NAME.fullmatch(stripped):
        raise BadHeaderError(stripped)
    return stripped


def plain(block: bytes) -> dict[str, str] | None:
    """The fields of a block, if it is one that leaves no question open.

    Not so are a status, other characters than printable ASCII, and blanks where they do not belong.
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
    """The fields of any block, its status line aside, as nats-py reads them: what is no field is passed over."""
    return plain(block) or _line_by_line(block)


def _line_by_line(block: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in block.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        name = name.strip()
        if colon and name.isascii() and not any(each.isspace() for each in name.decode()):
            found[name.decode()] = value.strip().decode(errors="replace")
    return found


def status_of(block: bytes) -> str | None:
    """The status that a server says in a block's first line, as ``404``; most blocks have none."""
    if block.startswith(BEGIN) or not block:
        return None
    status = block[9:12].decode(errors="replace").strip()
    return status if status.isdigit() else None


def description_of(block: bytes) -> str:
    """What a server says beside a status."""
    return block[13:].partition(b"\r\n")[0].decode(errors="replace")


_STORED: Final = re.compile(
    rb"\r\nNats-Subject: ([^\s]+)\r\nNats-Sequence: (\d+)\r\nNats-Time-Stamp: ([^\s]+)\r\n"
    rb"(?:Nats-Num-Pending: (\d+)\r\nNats-Last-Sequence: (\d+)\r\n)?\r\n\Z"
)
"""What a server puts at the end of a stored message's headers. The last of a name counts, so it cannot be forged."""
_GROUPS: Final = {
    "Nats-Subject": 1, "Nats-Sequence": 2, "Nats-Time-Stamp": 3, "Nats-Num-Pending": 4, "Nats-Last-Sequence": 5,
}  # fmt: skip


class Headers(Mapping[str, str]):
    """The headers in a block, read as far as they are asked for; those that a server adds to a stored message first."""

    __slots__ = ("_fields", "_found", "block")

    def __init__(self, block: bytes) -> None:
        self.block = block
        self._fields: dict[str, str] | None = None
        self._found = _STORED.match(block, max(block.rfind(b"\r\nNats-Subject: "), 0))

    def _all(self) -> dict[str, str]:
        found = self._fields
        if found is None:
            found = self._fields = fields(self.block)
        return found

    def __getitem__(self, name: str) -> str:
        if self._found is not None and (at := _GROUPS.get(name)) and (value := self._found[at]):
            return value.decode(errors="replace")
        return self._all()[name]

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """The value of a header, if it is there."""
        if self._found is not None and (at := _GROUPS.get(name)) and (value := self._found[at]):
            return value.decode(errors="replace")
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
