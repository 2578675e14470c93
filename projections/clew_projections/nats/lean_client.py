"""nats-py's client with a faster path for sending and receiving.

Sending and receiving messages is most of the cost of a commit. So a direct receiver is called from the read loop
itself, without a queue, a task and a coroutine for each message; and all messages posted in one turn of the event loop
are sent in one write. nats-py does everything else, including connecting.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

import nats.aio.client
from nats import errors
from nats.aio.client import Client, Srv
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from clew_events.nats_client import MAX_SUBJECTS, LastingClient, check_message
from clew_projections.nats.headers import encode_headers, plain
from clew_projections.nats.parser import LeanParser, Receive, TakeBatch

READ: Final = 256 * 1024
"""The most bytes that are read from the socket at once, as much as uvloop reads. nats-py reads 32 KiB."""
FLUSH: Final = 10.0
"""Seconds in which the server must answer a flush."""
_UNFIT_SUBJECT: Final = re.compile(r"[ \t\r\n]")
LEANED_ON: Final = {
    "_connect_to_server", "_error_cb", "_flush_pending", "_flush_queue", "_max_payload", "_max_pending_size",
    "_pending", "_pending_data_size", "_process_headers", "_process_msg", "_ps", "_remove_sub", "_server_info", "_sid",
    "_status", "_subs", "_transport",
}  # fmt: skip
"""Internals of nats-py that this client uses. A nats-py without them is rejected."""
nats.aio.client.DEFAULT_BUFFER_SIZE = READ


class LeanClient(LastingClient):
    """A nats-py client with less cost per message, which rejects messages that make the server disconnect it."""

    def __init__(self) -> None:
        super().__init__()
        if missing := sorted(name for name in LEANED_ON if not hasattr(self, name)):
            raise RuntimeError(
                f"nats-py {nats.aio.client.__version__} does not work with Clew: it has no "
                f"{', '.join(missing)}. Install nats-py 2.16.0"
            )
        self._parser = LeanParser(self)
        self._ps = self._parser
        self._soon = False

    @property
    def batches(self) -> dict[bytes, TakeBatch]:
        """Takers of replies that are many, by reply subject; see the parser."""
        return self._parser.batches

    @property
    def server_name(self) -> str:
        """The name of the server that this client is, or was last, connected to."""
        return str(self._server_info.get("server_name", ""))

    @property
    def certificate_until(self) -> datetime | None:
        """When the certificate of the connected server expires; ``None`` without TLS."""
        writer = getattr(self._transport, "_io_writer", None)
        tls = writer.get_extra_info("ssl_object") if writer is not None else None
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(tls.getpeercert()["notAfter"]), UTC) if tls else None

    @property
    def crowded(self) -> bool:
        """Whether so much output is pending that :meth:`wait_for_room` should precede the next :meth:`post`."""
        return 0 < self._max_pending_size < self._pending_data_size

    async def wait_for_room(self) -> None:
        """Return when the pending output was written to the socket, or the flush timed out."""
        await self._flush_pending(force_flush=True)

    async def listen(self, subject: str, receive: Receive) -> Subscription:
        """Subscribe to a subject without messages yet; ``receive`` is called from the read loop with each message.

        It must be quick, since it blocks the read loop. Its exceptions go to the client's error callback.
        """

        async def fail(message: Msg) -> None:
            raise AssertionError(f"{message.subject} did not go to its receiver")

        number = self._sid + 1
        self._parser.receivers[b"%d" % number] = receive
        try:
            subscription = await self.subscribe(subject, cb=fail, pending_msgs_limit=0, pending_bytes_limit=0)
        except BaseException:
            self._parser.receivers.pop(b"%d" % number, None)
            raise
        if self._subs.get(number) is not subscription:
            raise RuntimeError("this nats-py numbers subscriptions in another way than Clew expects")
        return subscription

    async def listen_to_batches(self, subject: str, receive: Receive, take: TakeBatch) -> tuple[Subscription, bytes]:
        """Do as :meth:`listen`; ``take`` takes what comes together. Returns the subscription's number, too."""
        subscription = await self.listen(subject, receive)
        sid = b"%d" % subscription._id  # noqa: SLF001 - which the server writes into each message
        self.batches[sid] = take
        return subscription, sid

    def divert(self, subscription: Subscription, receive: Receive) -> None:
        """Have ``receive`` called with the messages of a subscription from now on, as by :meth:`listen`."""
        self._parser.receivers[b"%d" % subscription._id] = receive  # noqa: SLF001 - the server names it by this number

    async def drain_listener(self, subscription: Subscription) -> None:
        """End a subscription made by :meth:`listen` when all messages that the server has sent for it were received.

        Whatever happens, it has ended afterwards.

        Raises:
            NatsError: the connection is down, or the server does not answer.
        """
        try:
            await subscription.drain()  # type: ignore[no-untyped-call]
        finally:
            self._remove_sub(subscription._id)  # noqa: SLF001 - which nats-py does only if all went well

    async def flush(self, timeout: float = FLUSH) -> None:
        """Return when the server has all that was posted and answered a ping, without losing a cancellation.

        nats-py waits with ``asyncio.wait_for``, which before Python 3.12 swallows a cancellation that comes in the same
        turn of the loop as the answer.
        """
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        self._send()  # nats-py sends the ping before what waits for the end of this turn
        await super().flush(timeout)  # type: ignore[arg-type]
        if task and task.cancelling() > before:
            raise asyncio.CancelledError

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Publish a message, as nats-py does; see :meth:`nats.aio.client.Client.publish`."""
        self.post(subject, payload, reply, b"" if headers is None else encode_headers(headers))
        if self.crowded:
            await self.wait_for_room()

    def post(self, subject: str, body: bytes, reply: str = "", head: bytes = b"") -> None:
        """Send a message together with all others of this turn of the loop; ``head`` is its header block, if any.

        Raises:
            BadSubjectError: the subject is empty or contains blanks.
            ConnectionClosedError: the connection is closed.
            ConnectionDrainingError: the connection is draining.
            OutboundBufferLimitError: the client is disconnected, and its buffer is full.
            TooLarge: headers and body, or the subjects, are larger than the server accepts.
        """
        if not subject or " " in subject or " " in reply or not (subject.isprintable() and reply.isprintable()):
            _check_fit(subject, reply)
        size = len(body)
        if self._status != Client.CONNECTED:
            self._check_open(size)
        if len(head) + size > self._max_payload or 4 * (len(subject) + len(reply)) > MAX_SUBJECTS:
            check_message(subject, reply, len(head), size, self._max_payload)
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += size
        if head:
            line = f"HPUB {subject} {reply} {len(head)} {len(head) + size}\r\n"
        else:
            line = f"PUB {subject} {reply} {size}\r\n"
        self._put_off(b"%b%b%b\r\n" % (line.encode(), head, body))

    def post_each(self, subjects: Collection[bytes], body: bytes) -> None:
        """Send a short message to each of some subjects as the server wrote them, such as acknowledgements.

        Raises as :meth:`post`.
        """
        if self._status != Client.CONNECTED:
            self._check_open(len(subjects) * len(body))
        self.stats["out_msgs"] += len(subjects)
        self.stats["out_bytes"] += len(subjects) * len(body)
        end = b" %d\r\n%b\r\n" % (len(body), body)
        self._put_off(b"".join([b"PUB %b%b" % (subject, end) for subject in subjects]))

    def _put_off(self, output: bytes) -> None:
        self._pending.append(output)
        self._pending_data_size += len(output)
        if not self._soon:
            self._soon = True
            asyncio.get_running_loop().call_soon(self._send)

    async def queue(self, sid: int, subject: bytes, reply: bytes, body: bytes, head: bytes) -> None:
        """Put a message into the queue of its subscription, as nats-py does."""
        await self._process_msg(sid, subject, reply, body, head)

    async def report_fault(self, fault: Exception) -> None:
        """Pass an exception of a receiver to the client's error callback."""
        await self._error_cb(fault)

    async def _connect_to_server(self, server: Srv) -> None:
        # nats-py leaves the socket open when a server accepted the connection and then did not respond.
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]
        await super()._connect_to_server(server)

    def _check_open(self, size: int) -> None:
        if self.is_closed:
            raise errors.ConnectionClosedError
        if self.is_draining_pubs:
            raise errors.ConnectionDrainingError
        most = self._max_pending_size
        if not self.is_connected and (most <= 0 or size + self._pending_data_size > most):
            raise errors.OutboundBufferLimitError

    def _send(self) -> None:
        self._soon = False
        if not self.is_connected or not self._pending or self._flush_queue is None:
            return  # sent after the reconnect
        writer = getattr(self._transport, "_io_writer", None)
        if writer is None or writer.is_closing() or writer.transport.get_write_buffer_size() > 0:
            # The socket is blocked or closed: nats-py's own flusher waits for it and handles errors.
            if self._flush_queue.empty():
                self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())
            return
        writer.write(b"".join(self._pending))
        self._pending, self._pending_data_size = [], 0

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._parser.receivers.pop(b"%d" % sid, None)
        super()._remove_sub(sid, max_msgs)

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        # Canonical headers are parsed quickly; nats-py parses all others.
        return (plain(headers) or await super()._process_headers(headers)) if headers else None


def _check_fit(subject: str, reply: str) -> None:
    if not subject or _UNFIT_SUBJECT.search(subject) or _UNFIT_SUBJECT.search(reply):
        raise errors.BadSubjectError
