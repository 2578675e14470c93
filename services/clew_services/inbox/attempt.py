"""The processing of one inbox message, from its delivery to its confirmed acknowledgement."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import nats.errors
from nats.aio.msg import Msg

from clew_events.backoff import delays
from clew_events.errors import ClewError, Conflict, Corrupt, Rejected, Unavailable
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.lean_client import LeanClient
from clew_projections.wait import wait_for_event
from clew_services.inbox import inbox_message, rejections
from clew_services.inbox.inbox_message import Letter
from clew_services.inbox.poison import Trials
from clew_services.inbox.term import Over, Term
from clew_services.lease import LeaseLost
from clew_services.nats_api import reply_codec
from clew_services.nats_api.caller import NATS
from clew_services.nats_api.reply_codec import Reply
from clew_services.observer import NOBODY, Observer
from clew_services.tenant_list import EVERY, Tenants
from clew_services.threads.handler import Commands
from clew_services.threads.result import receipt
from clew_services.tracing import trace_of

ENOUGH: Final = 10
"""Attempts after which a command that fails with an unexpected error is rejected."""
LONGEST_PAUSE: Final = 5.0
CONFIRMED: Final = 2.0
"""Seconds to wait for the confirmation of an acknowledgement."""

INBOX: Final = "inbox"
"""What is recorded of the caller of an inbox command."""

_ACK: Final = b"+ACK"
_LOG: Final = logging.getLogger("clew.inbox")


class _Try(msgspec.Struct, frozen=True):
    """One attempt of several."""

    is_first: bool
    is_last: bool


class InboxParts(msgspec.Struct, frozen=True):
    """The parts that the inbox uses; ``observer`` is called for each settled command."""

    js: JetStream
    commands: Commands
    observer: Observer = NOBODY
    tenants: Tenants = EVERY


class Carrier:
    """Carries out inbox commands, and acknowledges each after its outcome is stored and its reply sent.

    ``stop`` ends the backoff between retries.
    """

    def __init__(self, parts: InboxParts, nc: LeanClient, term: Term, trials: Trials, stop: asyncio.Event) -> None:
        self._parts = parts
        self._nc = nc
        self._term = term
        self._trials = trials
        self._stop = stop

    async def carry(self, message: Msg) -> bool:
        """Settle a message, with retries without limit; whether it was settled before ``stop`` was set.

        Later commands of its thread wait meanwhile. A rejection is recorded first. Then the reply is sent, if one is
        requested, and the message is acknowledged. A crash in between repeats the command under its own id, which
        changes nothing.
        """
        return await self._until_done(message, self._try) and await self._until_done(message, self._acknowledge)

    async def _until_done(self, message: Msg, step: Callable[[Msg, _Try], Awaitable[None]]) -> bool:
        failures, seq = 0, message.metadata.sequence.stream
        for attempt, pause in enumerate(delays(first=0.1, longest=LONGEST_PAUSE)):
            try:
                await step(message, _Try(is_first=attempt == 0, is_last=failures + 1 >= ENOUGH))
            except (LeaseLost, Over) as fault:
                self._term.end(fault.message)  # otherwise its thread would stand still until the term ends
                return False
            except Unavailable as fault:
                _LOG.warning("inbox message %d waits for a retry: %s", seq, fault)
            except Exception:  # noqa: BLE001 - an unexpected error of one message must not stop the others
                failures += 1
                _LOG.exception("inbox message %d failed", seq)
            else:
                return True
            if self._stop.is_set():
                return False
            await wait_for_event(self._stop, pause)
        raise AssertionError("delays never end")

    async def _try(self, message: Msg, attempt: _Try) -> None:
        if (fault := self._trials.poison_fault(message)) is not None:
            _LOG.error("inbox message %d is given up: %s", message.metadata.sequence.stream, fault.message)
            letter: Letter | None = None
            with contextlib.suppress(Rejected):
                letter = inbox_message.read(message)
            await self._reply(letter, await self._refuse(message, letter, fault))
            await self._trials.give_up(message)
            return
        async with self._trials.attempt(message):
            await self._settle(message, attempt)

    async def _settle(self, message: Msg, attempt: _Try) -> None:
        letter: Letter | None = None
        try:
            letter = inbox_message.read(message)
            await self._parts.tenants.check(letter.tenant)
            reply = await self._recorded_refusal(message, attempt) or await self._carry_out(message, letter)
        except (Rejected, Conflict) as refusal:
            reply = await self._refuse(message, letter, refusal)
        except Unavailable:
            raise
        except Exception as error:
            if not attempt.is_last:
                raise
            _LOG.exception("inbox message %d is given up", message.metadata.sequence.stream)
            reply = await self._refuse(message, letter, _as_corrupt(error))
        await self._reply(letter, reply)

    async def _recorded_refusal(self, message: Msg, attempt: _Try) -> Reply | None:
        # A rejection is final, even if it was not acknowledged and the command would succeed now. A message older
        # than this term may have been rejected in an earlier one.
        if attempt.is_first and message.metadata.sequence.stream > self._term.last_seq:
            return None
        refusal = await rejections.recorded_refusal(self._parts.js, message)
        return reply_codec.refusal(refusal) if refusal is not None else None

    async def _carry_out(self, message: Msg, letter: Letter) -> Reply:
        outcome = await self._parts.commands.handle(
            letter.tenant, letter.command, actor=NATS, by=INBOX, trace=trace_of(message), fence=self._term.check
        )
        self._parts.observer.on_settled("done")
        return reply_codec.answer(receipt(letter.command, outcome))

    async def _refuse(self, message: Msg, letter: Letter | None, refusal: ClewError) -> Reply:
        self._term.check()
        command_id = letter.command.id if letter is not None else None
        await rejections.record(self._parts.js, message, command_id, refusal)
        self._parts.observer.on_settled("refused")
        return reply_codec.refusal(refusal)

    async def _reply(self, letter: Letter | None, reply: Reply) -> None:
        if letter is None or letter.command.reply_to is None:
            return
        await reply_codec.send(self._nc, letter.command.reply_to, reply)

    async def _acknowledge(self, message: Msg, attempt: _Try) -> None:
        self._term.check()
        try:
            # Confirmed, because a redelivery after the thread's next command would reverse their order.
            await self._nc.request(message.reply, _ACK, timeout=CONFIRMED)
        except (nats.errors.Error, TimeoutError) as fault:
            why = f"its acknowledgement was not confirmed: {str(fault) or type(fault).__name__}"
            if attempt.is_first:
                raise Unavailable(why) from fault
            self._term.end(f"inbox message {message.metadata.sequence.stream}: {why}, twice")
            self._term.check()


def _as_corrupt(error: Exception) -> Corrupt:
    if isinstance(error, Corrupt):
        return error
    return Corrupt("Clew failed with an unexpected error.", code="internal_error")
