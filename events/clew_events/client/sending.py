"""Any command, sent or left in the inbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from clew_events import ids, subjects
from clew_events.client import reading
from clew_events.client.requesting import Requester
from clew_events.commands import WIRE_NAMES, Command
from clew_events.replies import Done

C = TypeVar("C", bound=Command)
T = TypeVar("T")
_ENCODE: Final = msgspec.json.Encoder().encode


class Sender:
    """Sends commands of one tenant, under this actor's name where they carry none, and each under an id."""

    def __init__(self, requester: Requester, *, tenant: str, actor: str | None) -> None:
        self._requester = requester
        self.tenant = tenant
        self.actor = actor

    async def send(self, command: Command) -> Done:
        """Carry out any command; the methods named after the commands answer more precisely."""
        return await self._carry_out(command, reading.done)

    async def _carry_out(self, command: Command, read: Callable[[bytes], T]) -> T:
        subject = subjects.command_subject(self.tenant, WIRE_NAMES[command.named])
        return await self._requester.ask(subject, _ENCODE(self._signed(command)), read)

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
        command = self._signed(command)
        subject = subjects.inbox_subject(self.tenant, WIRE_NAMES[command.named])
        return await self._requester.ask(subject, _ENCODE(command), reading.stored)

    def _signed(self, command: C) -> C:
        return msgspec.structs.replace(command, id=command.id or ids.random("cmd_"), actor=command.actor or self.actor)
