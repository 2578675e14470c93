"""Requests over NATS, retried until a reply or a timeout. A retry is safe, because its bytes are the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import msgspec
import nats.errors
from nats.aio.client import Client

from clew_events import error_texts, ids
from clew_events.backoff import delays
from clew_events.client.decode import decode_reply, decode_sequence
from clew_events.commands import AddItems, Command, CreateThread, ReplaceItem
from clew_events.errors import Invalid, Unavailable
from clew_events.items import read_object
from clew_events.nats_client import check_message, header_size
from clew_events.operations import QUERIES, WIRE_NAMES
from clew_events.queries import Query
from clew_events.replies import Done
from clew_events.subjects import command_subject, inbox_subject, query_subject

FIRST_PATIENCE: Final = 1.0
"""Seconds to wait for the first reply. Doubles with every retry, because a loaded service replies late."""
NOT_EXECUTED: Final = frozenset({"overloaded", "inbox_full"})
"""Codes of an ``unavailable`` reply that guarantee that nothing was executed."""

T = TypeVar("T")


class Requester:
    """Sends requests over a connection, with retries for at most ``timeout`` seconds each.

    ``trace`` returns the ``traceparent`` to send along, or None.
    """

    def __init__(self, nc: Client, *, timeout: float, trace: Callable[[], str | None] | None = None) -> None:
        self._nc = nc
        self._timeout = timeout
        self._trace = trace

    async def request(self, subject: str, payload: bytes, decode: Callable[[bytes], T]) -> T:
        """Send ``payload`` until ``decode`` accepts a reply, and return what it returns.

        Retries when no reply comes, the connection is lost, nobody listens at ``subject``, or ``decode`` raises
        :class:`~clew_events.errors.Unavailable`. Any other error of ``decode`` is raised at once.

        Raises:
            Unavailable: no reply in time; ``outcome_unknown`` if a service may have received the request.
            TooLarge: payload and headers exceed what the server takes.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        trace = self._trace() if self._trace else None
        headers = {"traceparent": trace} if trace else None
        head, inbox = header_size(headers), 2 * self._nc.new_inbox()  # nats-py's own is not longer
        patience, reached = FIRST_PATIENCE, False
        for pause in delays():
            code = "no_reply"
            # Checked on every attempt: another server of the cluster may have a lower limit.
            check_message(subject, inbox, head, len(payload), self._nc.max_payload)
            try:
                reply = await self._nc.request(
                    subject, payload, timeout=max(0.001, min(patience, deadline - loop.time())), headers=headers
                )
                return decode(reply.data)
            except Unavailable as fault:
                problem, code = fault.message, fault.code
                reached = reached or fault.code not in NOT_EXECUTED
            except nats.errors.NoRespondersError:
                problem, code = f"no service listens at {subject}: is Clew running?", "no_responders"
            except (nats.errors.ConnectionClosedError, nats.errors.ConnectionDrainingError) as fault:
                raise Unavailable(
                    "the connection is closed", code="connection_closed", outcome_unknown=reached
                ) from fault
            except nats.errors.TimeoutError:
                problem, reached, patience = f"no reply from {subject} in time", True, patience * 2
            except (nats.errors.Error, OSError) as fault:
                problem, code = str(fault), "connection_lost"
            if loop.time() + pause >= deadline:
                raise Unavailable(problem, code=code, outcome_unknown=reached)
            await asyncio.sleep(pause)
        raise AssertionError("delays never end")


C = TypeVar("C", bound=Command)
_ENCODE: Final = msgspec.json.Encoder().encode
_QUERY_NAMES: Final = {query: name for name, query in QUERIES.items()}


class Caller:
    """Sends the commands and queries of one tenant over a nats-py connection, which it does not close.

    ``actor`` is recorded with every command that names none. A call without a reply is repeated for at most
    ``timeout`` seconds. ``trace`` returns the W3C ``traceparent`` to send along, or None. Safe for concurrent use by
    any number of tasks.

    Raises:
        Invalid: there can be no such tenant, or no caller may name itself like ``actor``.
    """

    def __init__(
        self,
        nc: Client,
        *,
        tenant: str = "default",
        actor: str | None = None,
        timeout: float = 10.0,
        trace: Callable[[], str | None] | None = None,
    ) -> None:
        check_caller(tenant, actor)
        self.nc = nc
        self.tenant = tenant
        self.actor = actor
        self._requester = Requester(nc, timeout=timeout, trace=trace)

    async def send(self, command: Command) -> Done:
        """Execute any command. The methods named after the commands have more precise return types."""
        return await self._execute(command, Done)

    async def enqueue(self, command: Command) -> int:
        """Put a command in the inbox, where a handler executes it later, and return its sequence in the stream.

        Returns once JetStream has stored it. Whether it was then accepted shows in the thread's history, in
        ``CLEW_REJECTED``, or at the command's ``reply_to``. A command that had to be sent again may be stored twice; it
        is executed once, under its id.

        Raises:
            Invalid: no caller may name itself like the command's ``actor``, or an item is no JSON object.
            Unavailable: it was not stored, or that is unknown. Enqueue it again with the same ``id`` in the
                command. The code ``inbox_full`` says that it was not stored: the inbox holds no more commands.
        """
        # Without a message id: the stream knows messages by it, whoever sent them, so another tenant's would hide this.
        command = self._complete(command)
        subject = inbox_subject(self.tenant, WIRE_NAMES[command.named])
        return await self._requester.request(subject, _encode(command), decode_sequence)

    async def _execute(self, command: Command, answer: type[T]) -> T:
        subject = command_subject(self.tenant, WIRE_NAMES[command.named])
        return await self._requester.request(subject, _encode(self._complete(command)), partial(decode_reply, answer))

    async def _ask(self, query: Query, answer: type[T]) -> T:
        subject = query_subject(self.tenant, _QUERY_NAMES[type(query)])
        return await self._requester.request(subject, _encode(query), partial(decode_reply, answer))

    def _complete(self, command: C) -> C:
        check_caller(self.tenant, command.actor)
        actor = command.actor if command.actor is not None else self.actor
        # The text of an item goes into that of the command as it is: it has to be one value.
        texts: dict[str, object] = {}
        if isinstance(command, ReplaceItem):
            texts["item"] = read_object(command.item, "item")
        elif isinstance(command, AddItems | CreateThread) and command.items is not None:
            texts["items"] = tuple(read_object(item, f"items[{at}]") for at, item in enumerate(command.items))
        return msgspec.structs.replace(command, id=command.id or ids.random_id("cmd_"), actor=actor, **texts)


def _encode(request: Command | Query) -> bytes:
    try:
        return _ENCODE(request)
    except ValueError as fault:  # a lone surrogate
        raise Invalid(f"This cannot be sent as JSON: {fault}.", code="invalid_json") from None


def check_caller(tenant: str, actor: str | None) -> None:
    """Check what goes into every request of a client.

    Raises:
        Invalid: there can be no such tenant, or no caller may name itself so.
    """
    if not ids.is_tenant(tenant):
        raise error_texts.malformed_value("tenant", tenant, ids.TENANT_FORM)
    if actor is not None and not ids.is_actor(actor):
        raise error_texts.malformed_value("actor", actor, ids.ACTOR_FORM)
