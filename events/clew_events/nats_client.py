"""nats-py's client with endless reconnection, and checks of what may be sent.

A server closes a connection that sends a message above its limits. nats-py 2.16 compares only the body with the limit,
and it closes the client for good on nearly every error that a server reports, including errors that leave the
connection open (an invalid subject) and temporary ones (an expired login). A request that the server does not permit
waits until its timeout. This client checks headers and body before it sends, reconnects after every error, and fails a
request that is not permitted at once.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from clew_events.errors import Forbidden, TooLarge
from clew_events.nats_security import UNSECURED, NatsSecurity

MAX_SUBJECTS: Final = 4096 - 32
"""Bytes that subject and reply subject may have together: with both sizes, a server reads 4096 (max_control_line)."""
_STALE: Final = "stale connection"
_DENIED: Final = re.compile('permissions violation for (publish|subscription) to "([^"]*)"', re.IGNORECASE)


class Violation(NamedTuple):
    """What a server said that it does not permit this user: to ``publish`` to a subject, or a ``subscription`` to it.

    nats-py lowers the server's text, so a subject is compared regardless of case.
    """

    action: str
    subject: str

    @classmethod
    def parse(cls, error: str) -> Violation | None:
        """What an error of the server denies, if it is about permissions."""
        match = _DENIED.search(error)
        return cls(match[1].lower(), match[2].lower()) if match else None

    def is_publish_to(self, subject: str) -> bool:
        """Whether it is to publish to this subject."""
        return self == ("publish", subject.lower())

    def is_subscription_to(self, subject: str) -> bool:
        """Whether it is to listen at this subject."""
        return self == ("subscription", subject.lower())


def no_publish(subject: str) -> str:
    """The message of an error: this user may not publish to a subject."""
    return f"the NATS user that is connected may not publish to {subject}"


def no_replies(inbox: str) -> str:
    """The message of an error: this user may not listen where its replies come to."""
    return (
        f"the NATS user that is connected may not listen at {inbox}, where its replies come to: "
        "connect with the inbox prefix that it is permitted"
    )


class TlsError(Error):
    """TLS that the one end requires and the other does not have."""


class LastingClient(Client):
    """A nats-py client that reconnects for ever, whatever error the server reports.

    Connect it with ``max_reconnect_attempts=-1``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ended = asyncio.Event()
        """Set when the client is closed for good without a call of ``close`` or ``drain``."""
        self.security: NatsSecurity = UNSECURED
        self._closing = False
        self._requested: dict[asyncio.Future[Msg], str] = {}
        self._deaf: str | None = None

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """What the next connection with TLS takes, read anew from its files."""
        return self.security.tls()

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Publish a message, as nats-py does.

        Raises:
            Forbidden: it is a request, and this user may not listen where the reply would come to.
        """
        prefix = bytes(self._resp_sub_prefix or b"").decode()
        request = self._resp_map.get(reply[len(prefix) :]) if prefix and reply.startswith(prefix) else None
        if request is not None:
            if self._deaf is not None:
                raise Forbidden(self._deaf, code="not_permitted")
            self._requested[request] = subject
            request.add_done_callback(self._requested.pop)
        await super().publish(subject, payload, reply, headers)

    async def close(self) -> None:
        """Close the connection for good."""
        self._closing = True
        await super().close()

    async def drain(self) -> None:
        """Close the connection for good, after received messages were delivered."""
        self._closing = True
        await super().drain()

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        unexpected = status == Client.CLOSED and not self._closing
        await super()._close(status, do_cbs)
        if unexpected:
            self.ended.set()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        await super()._process_info(info, initial_connection)
        if not initial_connection or self._current_server is None:
            return
        # nats-py would go on without TLS, and send the credentials, where a server does not have it.
        uri = self._current_server.uri
        if uri.scheme not in {"ws", "wss"} and self.security.requires_tls([uri.geturl()]):
            if not (info.get("tls_required") or info.get("tls_available")):
                raise TlsError("it has no TLS, which is required of it by a tls:// URL, or by ca or cert")
            info["tls_required"] = True
        if info.get("tls_verify") and not self.security.cert:
            raise TlsError(
                "it requires a client's certificate: name one with cert and key (--nats-cert, CLEW_NATS_CERT and "
                "--nats-key, CLEW_NATS_KEY)"
            )

    def _connect_command(self) -> bytes:
        identity = self.security.identity()
        if identity is not None:
            self._signature_cb = identity.sign
            self._public_nkey = identity.public
            self._user_jwt_cb = (lambda: bytearray(identity.jwt.encode())) if identity.jwt else None
        return super()._connect_command()

    async def _process_err(self, err_msg: str) -> None:
        # After a fatal error the server closes the connection, and nats-py reconnects. After any other error, such as a
        # refused permission or an invalid subject, the connection stays open.
        if _STALE in err_msg:
            await super()._process_err(err_msg)
            return
        self._err = Error(f"nats: {err_msg.strip(chr(39))}")
        if (violation := Violation.parse(err_msg)) is not None:
            self._fail_denied(violation)
        await self._error_cb(self._err)

    def _fail_denied(self, violation: Violation) -> None:
        inbox = bytes(self._resp_sub_prefix or b"").decode() + "*"
        if violation.is_subscription_to(inbox):
            self._deaf = no_replies(inbox)
        for request, subject in tuple(self._requested.items()):
            message = self._deaf or (no_publish(subject) if violation.is_publish_to(subject) else None)
            if message is not None and not request.done():
                request.set_exception(Forbidden(message, code="not_permitted"))

    async def _attempt_reconnect(self) -> None:
        self._deaf = None
        # nats-py stops on an unexpected error, and its status then still says that it is reconnecting.
        while True:
            try:
                await super()._attempt_reconnect()
            except Exception as fault:  # noqa: BLE001 - the next attempt may succeed after any error
                await self._error_cb(fault)
                if self.is_closed or self.is_connected:
                    return
                self._status = Client.RECONNECTING
                await asyncio.sleep(self.options["reconnect_time_wait"])
            else:
                return


def check_message(subject: str, reply: str, head: int, body: int, limit: int) -> None:
    """Validate that a message with ``head`` bytes of headers and ``body`` bytes of body is within the server's limits.

    Raises:
        TooLarge: together they exceed ``limit`` bytes, the server's ``max_payload``; or the subjects exceed
            ``MAX_SUBJECTS``.
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
    """The size in bytes of the header block that nats-py writes; 0 without headers."""
    if headers is None:
        return 0
    fields = (len(name.strip().encode()) + len(value.strip().encode()) + 4 for name, value in headers.items())
    return len("NATS/1.0\r\n") + sum(fields) + len("\r\n")
