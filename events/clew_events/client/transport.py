"""One request, sent again until it is answered or time is up: safe, as the bytes are the same every time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec
import nats.errors
from nats.aio.client import Client

from clew_events import ids, subjects
from clew_events.backoff import delays
from clew_events.client import decode
from clew_events.commands import Command
from clew_events.errors import Unavailable
from clew_events.nats_client import check_message, header_size
from clew_events.operations import WIRE_NAMES
from clew_events.replies import Done

FIRST_PATIENCE: Final = 1.0
"""Seconds to wait for the first reply; doubled from attempt to attempt, as a loaded service answers late."""
UNDONE: Final = frozenset({"overloaded", "inbox_full"})
"""Codes of an ``unavailable`` reply which say for certain that nothing was carried out."""

T = TypeVar("T")


class Requester:
    """Asks over a connection, for at most ``timeout`` seconds per call.

    ``trace`` gives the ``traceparent`` to send along, if there is one at that moment.
    """

    def __init__(self, nc: Client, *, timeout: float, trace: Callable[[], str | None] | None = None) -> None:
        self._nc = nc
        self._timeout = timeout
        self._trace = trace

    async def ask(
        self,
        subject: str,
        payload: bytes,
        read: Callable[[bytes], T],
        *,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Send ``payload`` until ``read`` makes something of a reply.

        Repeated on silence, on a lost connection, when nobody listens, and when ``read`` raises
        :class:`~clew_events.errors.Unavailable`; any other error that ``read`` raises is the answer.

        Raises:
            Unavailable: no answer in time; ``outcome_unknown`` if anyone may have received the request.
            TooLarge: payload and headers are more than the server takes.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        sent = self._headers(headers)
        head, inbox = header_size(sent), 2 * self._nc.new_inbox()  # the one that nats-py makes is no longer
        patience, reached = FIRST_PATIENCE, False
        for pause in delays():
            code = "no_reply"
            # Each time anew: another server of a cluster may take less.
            check_message(subject, inbox, head, len(payload), self._nc.max_payload)
            try:
                reply = await self._nc.request(
                    subject, payload, timeout=max(0.001, min(patience, deadline - loop.time())), headers=sent
                )
                return read(reply.data)
            except Unavailable as refusal:
                trouble, code = refusal.message, refusal.code
                reached = reached or refusal.code not in UNDONE
            except nats.errors.NoRespondersError:
                trouble, code = f"nobody answers at {subject}: is Clew running there?", "no_responders"
            except (nats.errors.ConnectionClosedError, nats.errors.ConnectionDrainingError) as fault:
                raise Unavailable(
                    "the connection is closed", code="connection_closed", outcome_unknown=reached
                ) from fault
            except nats.errors.TimeoutError:
                trouble, reached, patience = f"no reply from {subject} in time", True, patience * 2
            except (nats.errors.Error, OSError) as fault:
                trouble, code = str(fault), "connection_lost"
            if loop.time() + pause >= deadline:
                raise Unavailable(trouble, code=code, outcome_unknown=reached)
            await asyncio.sleep(pause)
        raise AssertionError("delays never end")

    def _headers(self, headers: Mapping[str, str] | None) -> dict[str, str] | None:
        trace = self._trace() if self._trace else None
        merged = {**(headers or {}), **({"traceparent": trace} if trace else {})}
        return merged or None


C = TypeVar("C", bound=Command)
_ENCODE: Final = msgspec.json.Encoder().encode


class Sender:
    """Sends commands of one tenant, under this actor's name where they carry none, and each under an id."""

    def __init__(self, requester: Requester, *, tenant: str, actor: str | None) -> None:
        self._requester = requester
        self.tenant = tenant
        self.actor = actor

    async def send(self, command: Command) -> Done:
        """Carry out any command; the methods named after the commands answer more precisely."""
        return await self._carry_out(command, decode.done)

    async def _carry_out(self, command: Command, read: Callable[[bytes], T]) -> T:
        subject = subjects.command_subject(self.tenant, WIRE_NAMES[command.named])
        return await self._requester.ask(subject, _ENCODE(self._with_actor(command)), read)

    async def enqueue(self, command: Command) -> int:
        """Leave a command in the inbox, to be carried out when a handler is there; its place in the stream.

        Returns when JetStream has stored it. Whether it was then accepted is seen in the thread's history, in
        ``CLEW_REJECTED``, or at the command's ``reply_to``. What had to be sent again may be stored twice; it is
        carried out once, under its id.

        Raises:
            Unavailable: it was not stored, or nobody knows. Leave it again with the same ``id`` in the
            command. With the code ``inbox_full`` it was not: more wait there than may.
        """
        # Without a message id: the stream knows messages by it, whoever sent them, so another tenant's would hide this.
        command = self._with_actor(command)
        subject = subjects.inbox_subject(self.tenant, WIRE_NAMES[command.named])
        return await self._requester.ask(subject, _ENCODE(command), decode.stored_sequence)

    def _with_actor(self, command: C) -> C:
        return msgspec.structs.replace(
            command, id=command.id or ids.random_id("cmd_"), actor=command.actor or self.actor
        )
