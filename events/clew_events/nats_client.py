"""nats-py's client, made to last, and what may be sent on it.

The server ends a connection on which it is sent more than it takes. nats-py 2.16 compares the body alone with that
limit, and closes for good on nearly every error that a server reports: also on those after which the server goes on (an
invalid subject), and on those that pass (an expired login). Clew checks what it sends, headers included, and connects
again whatever the server reports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from nats.aio.client import Client
from nats.errors import Error

from clew_events.errors import TooLarge

MAX_SUBJECTS: Final = 4096 - 32
"""Bytes of a message's subject and reply subject together: with both sizes a server reads 4096 (max_control_line)."""
_STALE: Final = "stale connection"


class LastingClient(Client):
    """A nats-py client that connects again, for ever, whatever error the server reports.

    To be connected with ``max_reconnect_attempts=-1``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ended = asyncio.Event()
        """Set once the client is closed for good although nobody has asked for that."""
        self._asked = False

    async def close(self) -> None:
        """Close the connection, for good."""
        self._asked = True
        await super().close()

    async def drain(self) -> None:
        """Close the connection, for good, after what has arrived was handed over."""
        self._asked = True
        await super().drain()

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        unasked = status == Client.CLOSED and not self._asked
        await super()._close(status, do_cbs)
        if unasked:
            self.ended.set()

    async def _process_err(self, err_msg: str) -> None:
        # After a fatal error the server closes the connection by itself, and nats-py connects again. After any other,
        # such as a refused permission or an invalid subject, it goes on.
        if _STALE in err_msg:
            await super()._process_err(err_msg)
            return
        self._err = Error(f"nats: {err_msg.strip(chr(39))}")
        await self._error_cb(self._err)

    async def _attempt_reconnect(self) -> None:
        # nats-py gives up on an error that it does not expect, and then looks as if it were still connecting.
        while True:
            try:
                await super()._attempt_reconnect()
            except Exception as fault:  # noqa: BLE001 - whatever it is, the next attempt may do better
                await self._error_cb(fault)
                if self.is_closed or self.is_connected:
                    return
                self._status = Client.RECONNECTING
                await asyncio.sleep(self.options["reconnect_time_wait"])
            else:
                return


def check_message(subject: str, reply: str, head: int, body: int, limit: int) -> None:
    """Validate that the server takes a message with ``head`` bytes of headers and ``body`` bytes of body.

    Raises:
        TooLarge: together they are more than ``limit`` bytes, the server's ``max_payload``; or the subjects are too
            long for the server to read.
    """
    if head + body > limit:
        raise TooLarge(
            f"the message has {head + body} bytes, headers included, and the NATS server takes at most {limit} "
            "(max_payload)"
        )
    if (length := len(subject.encode()) + len(reply.encode())) > MAX_SUBJECTS:
        raise TooLarge(
            f"subject and reply subject have {length} bytes, and a NATS server takes at most {MAX_SUBJECTS}",
            code="subject_too_long",
        )


def header_size(headers: Mapping[str, str] | None) -> int:
    """Bytes of the header block that nats-py writes; 0 without headers."""
    if headers is None:
        return 0
    fields = (len(name.strip().encode()) + len(value.strip().encode()) + 4 for name, value in headers.items())
    return len("NATS/1.0\r\n") + sum(fields) + len("\r\n")
