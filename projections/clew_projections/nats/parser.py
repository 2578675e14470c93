"""A fast parser of the NATS protocol.

nats-py matches each message against regular expressions and moves the rest of its buffer. This parser reads a chunk in
place and calls direct receivers at once. Everything that is not a message goes to nats-py's parser.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from nats.errors import ProtocolError
from nats.protocol.parser import Parser

if TYPE_CHECKING:
    from clew_projections.nats.lean_client import LeanClient

TakeBatch = Callable[[bytes, int], int]
"""Takes the messages to one reply subject that begin at a place in the input, and returns where they end."""
Receive = Callable[[bytes, bytes, bytes, bytes], None]
"""Takes a message: subject, reply subject, header block, body. The middle two may be empty."""

_MSG: Final = b"MSG "
_HMSG: Final = b"HMSG "
_CRLF: Final = b"\r\n"


class LeanParser(Parser):
    """Parses the bytes from a server; see the module."""

    nc: LeanClient

    def __init__(self, nc: LeanClient) -> None:
        self.receivers: dict[bytes, Receive] = {}
        """The direct receivers of messages, by subscription number as the server writes it."""
        self.batches: dict[bytes, TakeBatch] = {}
        """Takers of messages that are many, by reply subject or subscription. What they leave goes to receivers."""
        self._resets = 0
        super().__init__(nc)

    def reset(self) -> None:
        """Reset the parser, as for a new connection."""
        super().reset()
        self._resets += 1
        self._rest: list[bytes] = []
        self._have = 0
        self._need = 0

    async def parse(self, data: bytes = b"") -> None:
        """Parse the next bytes of a connection; incomplete messages wait for the rest.

        Raises:
            ProtocolError: the bytes are not NATS protocol.
        """
        self._have += len(data)
        if self._have < self._need:
            self._rest.append(data)
            return
        if self._rest:
            data = b"".join((*self._rest, data))
            self._rest.clear()
        resets = self._resets
        taken, self._need = await self._read(data)
        if resets == self._resets:  # else this is a new connection
            self._have = len(data) - taken
            if self._have:
                self._rest.append(data[taken:])

    async def _read(self, data: bytes) -> tuple[int, int]:
        """Return the number of bytes parsed, and the number of bytes needed before the rest can be parsed."""
        client, receivers, batches, resets = self.nc, self.receivers, self.batches, self._resets
        stats = client.stats
        at, end = 0, len(data)
        while at < end and resets == self._resets:
            line = data.find(_CRLF, at)
            if line < 0:
                return at, end - at + 1
            start = line + 2
            if not data.startswith((_HMSG, _MSG), at):
                await super().parse(data[at:start])
                at = start
                continue
            subject, sid, reply, body, stop = _parse_header_line(data[at:line], start)
            if stop + 2 > end:
                return at, stop + 2 - at
            take = (batches.get(subject) or batches.get(sid)) if batches else None
            if take is not None and (taken := take(data, at)) > at:
                at = taken
                continue
            at = stop + 2
            receive = receivers.get(sid)
            try:
                if receive is None:
                    await client.queue(int(sid), subject, reply, data[body:stop], data[start:body])
                    continue
                stats["in_msgs"] += 1
                stats["in_bytes"] += stop - body
                receive(subject, reply, data[start:body], data[body:stop])
            except Exception as fault:  # noqa: BLE001 - other receivers go on
                await client.report_fault(fault)
        return at, 0


def _parse_header_line(line: bytes, start: int) -> tuple[bytes, bytes, bytes, int, int]:
    """Parse the line before a message at ``start``; return subject, subscription, reply, start and end of the body."""
    words = line.split(b" ")
    try:
        if words[0] == b"MSG":
            _, subject, sid, *answer, size = words
            head = b"0"
        else:
            _, subject, sid, *answer, head, size = words
        (reply,) = answer or (b"",)
        return subject, sid, reply, start + int(head), start + int(size)
    except ValueError:
        raise ProtocolError(f"nats: malformed {line!r}") from None
