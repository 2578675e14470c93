"""Having commands carried out for HTTP's callers: under which id, at which version, and whoever leaves meanwhile."""

from __future__ import annotations

import copy
from typing import Final

from msgspec.structs import replace

from clew_events.commands import Command
from clew_events.errors import ClewError, Conflict, Rejected
from clew_events.list_query import positions_text
from clew_services import validation
from clew_services.http import preconditions, retries
from clew_services.http.call import Call
from clew_services.http.responses import position
from clew_services.http.retries import Attempts
from clew_services.threads.handler import Commands
from clew_services.threads.result import Outcome, receipt

_HEADERS: Final = {"id": "Idempotency-Key", "expected_version": "If-Match"}
"""The headers from which HTTP takes fields of a command: an error names the header."""


class CommandCall:
    """Carries out what calls ask for, each once, however often its client repeats it."""

    def __init__(self, commands: Commands, earlier: Attempts) -> None:
        self._commands = commands
        self._earlier = earlier

    async def out(self, call: Call, command: Command) -> Outcome:
        """Have a call's command carried out, in the name of who called.

        A caller who leaves meanwhile does not stop it.

        Raises:
            ClewError: it was not carried out; see :meth:`clew_services.threads.handler.Handler.handle`.
        """
        command = replace(
            command,
            id=preconditions.command_id(call.headers),
            expected_version=preconditions.expected_version(call.headers),
        )
        validation.check(command)
        count = retries.repetition(call.headers) if command.id is None else None
        if count is None:
            return await self._carry(call, command)
        attempt = self._earlier.begin(await call.likeness(), count)
        async with call.watch_caller(attempt.lost):
            try:
                return await self._carry(call, replace(command, id=attempt.id))
            except (Rejected, Conflict):
                raise
            except BaseException:
                attempt.lost()
                raise

    async def _carry(self, call: Call, command: Command) -> Outcome:
        tenant, actor = call.holder.tenant, call.holder.actor
        try:
            return await self._commands.handle(tenant, command, actor=actor, trace=preconditions.trace(call.headers))
        except ClewError as fault:
            if (header := _HEADERS.get(fault.param or "")) is None:
                raise
            named = copy.copy(fault)
            named.param = header
            raise named from fault


def render_outcome(call: Call, command: Command, outcome: Outcome) -> object:
    """The thread or message that a command left, or a receipt where the caller's key may not read it."""
    answered = outcome if "read" in call.holder.scopes else receipt(command, outcome)
    return answered.thread or answered.message


def where(outcome: Outcome) -> tuple[bytes, bytes]:
    """The header that says where a command's commit is in the log."""
    return position(positions_text(outcome.position))
