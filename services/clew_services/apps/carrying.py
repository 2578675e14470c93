"""One inbox message from delivery to acknowledgement."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from clew_events.backoff import delays
from clew_events.errors import ClewError, Conflict, Corrupt, Rejected, Unavailable
from clew_events.replies import Done
from clew_services.apps import letters, rejecting, replying
from clew_services.apps.asking import trace_of
from clew_services.apps.commands import ACTOR
from clew_services.apps.letters import Letter
from clew_services.apps.replying import Reply

if TYPE_CHECKING:
    from clew_services.compose import Clew

PATIENCE: Final = 30.0
"""Seconds for which a command is tried again here, where it keeps its place, before it is given back."""
ENOUGH: Final = 10
"""Deliveries after which what fails for a reason nobody foresaw is put on record instead of being tried again."""
LONGEST_DELAY: Final = 60.0

_LOG: Final = logging.getLogger("clew.inbox")


class Carrier:
    """Carries inbox commands out, and acknowledges each when its outcome is where it belongs.

    ``stop`` ends waiting for better times: what is not settled by then is given back at once.
    """

    def __init__(self, clew: Clew, nc: Client, stop: asyncio.Event) -> None:
        self._clew = clew
        self._nc = nc
        self._stop = stop

    async def carry(self, message: Msg) -> bool:
        """Settle a message, or give it back to be delivered again; whether it was settled.

        Carried out: the reply is sent, if one is wanted. Refused: that is recorded, then the reply is sent.
        Both are acknowledged after that, so a crash in between repeats a command under its own id, which
        changes nothing.
        """
        try:
            await self._settle(message)
        except Unavailable as fault:
            _LOG.warning("inbox %d waits: %s", message.metadata.sequence.stream, fault)
            await self.give_back(message)
            return False
        except Exception:  # noqa: BLE001 - whatever one message brings up, the others go on
            _LOG.exception("inbox %d failed", message.metadata.sequence.stream)
            await self.give_back(message)
            return False
        with contextlib.suppress(nats.errors.Error):
            await message.ack()
        return True

    async def give_back(self, message: Msg) -> None:
        """Have a message delivered again, later each time; at once if it is only that this process stops."""
        delay = None if self._stop.is_set() else min(2.0**message.metadata.num_delivered, LONGEST_DELAY)
        with contextlib.suppress(nats.errors.Error):
            await message.nak(delay=delay)

    async def _settle(self, message: Msg) -> None:
        letter: Letter | None = None
        try:
            letter = letters.read(message)
            done = await self._handle(letter, trace_of(message))
        except (Rejected, Conflict) as refusal:
            await self._refuse(message, letter, refusal)
        except Unavailable:
            raise
        except Exception as unforeseen:
            if message.metadata.num_delivered < ENOUGH:
                raise
            _LOG.exception("inbox %d is given up", message.metadata.sequence.stream)
            await self._refuse(message, letter, _as_corrupt(unforeseen))
        else:
            await self._reply(letter, replying.answer(done))

    async def _handle(self, letter: Letter, trace: str | None) -> Done:
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        for pause in delays(first=0.1, longest=5.0):
            try:
                return await self._clew.handler.handle(letter.tenant, letter.command, actor=ACTOR, trace=trace)
            except Unavailable:
                if self._stop.is_set() or loop.time() + pause > until:
                    raise
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)
        raise AssertionError("delays never end")

    async def _refuse(self, message: Msg, letter: Letter | None, refusal: ClewError) -> None:
        command_id = letter.command.id if letter is not None else None
        await rejecting.record(self._clew.js, message, command_id, refusal)
        await self._reply(letter, replying.refusal(refusal))

    async def _reply(self, letter: Letter | None, reply: Reply) -> None:
        if letter is None or letter.command.reply_to is None:
            return
        try:
            await self._nc.publish(letter.command.reply_to, reply.body, headers=reply.headers)
        except nats.errors.Error as fault:
            _LOG.warning("no reply to %r: %s", letter.command.reply_to, fault)


def _as_corrupt(error: Exception) -> Corrupt:
    if isinstance(error, Corrupt):
        return error
    return Corrupt("Clew failed at this in an unforeseen way.", code="internal_error")
