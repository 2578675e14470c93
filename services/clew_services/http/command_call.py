"""Commands over HTTP: their preconditions in headers, the command carried out once, and the answer."""

from __future__ import annotations

import asyncio
import copy
import functools
import re
from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from clew_events import error_texts, ids
from clew_events.commands import Command, CreateThread, ErasureCommand, ForkThread, TenantCommand
from clew_events.errors import ClewError, Conflict, Rejected
from clew_events.ids import ACTOR_PATTERN, CODE_PATTERN, COMMAND_ID_PATTERN, REASON_PATTERN, is_traceparent
from clew_events.replies import Done
from clew_events.subjects import TENANT
from clew_services.http import retries
from clew_services.http.call import Call
from clew_services.http.preconditions import NO_CONDITIONS
from clew_services.http.responses import Answer, etag, json_answer, position
from clew_services.http.retries import Attempts
from clew_services.threads.handler import Commands
from clew_services.threads.result import Outcome, receipt
from clew_services.validation import rules

_COMMAND_ID: Final = re.compile(COMMAND_ID_PATTERN)
_ACTOR: Final = re.compile(ACTOR_PATTERN)
_REASON: Final = re.compile(REASON_PATTERN)
_CODE: Final = re.compile(CODE_PATTERN)


def command_id(headers: Mapping[bytes, bytes]) -> str | None:
    """The id to carry a command out under, once: what ``Idempotency-Key`` says.

    Raises:
        Invalid: it cannot be one.
    """
    said = headers.get(b"idempotency-key")
    if said is None:
        return None
    key = said.decode("latin-1")
    if _COMMAND_ID.fullmatch(key) is None:
        raise error_texts.malformed_value("Idempotency-Key", key, "1 to 128 visible ASCII characters")
    return key


def actor(headers: Mapping[bytes, bytes]) -> str | None:
    """Who asks, if ``Clew-Actor`` says.

    Raises:
        Invalid: it can be no actor.
    """
    return _text(
        headers.get(b"clew-actor"),
        "Clew-Actor",
        _ACTOR,
        ids.ACTOR_FORM,
    )


def reason(headers: Mapping[bytes, bytes], *, code: bool = False) -> str | None:
    """Why it is asked, if ``Clew-Reason`` says; with ``code`` as a code.

    Raises:
        Invalid: it can be no reason, or is no code.
    """
    said = headers.get(b"clew-reason")
    if code:
        return _text(said, "Clew-Reason", _CODE, ids.CODE_FORM)
    return _text(said, "Clew-Reason", _REASON, "1 to 512 characters of UTF-8, none of them a control character")


def _text(said: bytes | None, name: str, pattern: re.Pattern[str], expected: str) -> str | None:
    if said is None:
        return None
    try:
        text = said.decode()
    except UnicodeDecodeError:
        raise error_texts.malformed_value(name, said.decode("latin-1"), expected) from None
    if pattern.fullmatch(text) is None:
        raise error_texts.malformed_value(name, text, expected)
    return text


def trace(headers: Mapping[bytes, bytes]) -> str | None:
    """The W3C trace that the request belongs to, if its ``traceparent`` is well formed."""
    said = headers.get(b"traceparent")
    if said is None:
        return None
    text = said.decode("latin-1")
    return text if is_traceparent(text) else None


_OF_COMMANDS: Final = frozenset({b"idempotency-key", b"if-match", b"clew-actor", b"clew-reason"})
"""The headers that say something of a command."""
_HEADERS: Final = {
    "id": "Idempotency-Key",
    "expected_version": "If-Match",
    "actor": "Clew-Actor",
    "reason": "Clew-Reason",
}
"""The headers from which HTTP takes fields of a command: an error names the header."""


Show = Callable[[Command, Outcome], object]
"""Returns what an answer shows of the outcome of a command."""


def _show(_: Command, outcome: Outcome) -> object:
    return _first_of(outcome)


def _show_receipt(command: Command, outcome: Outcome) -> object:
    return _first_of(receipt(command, outcome))


def _first_of(shown: Outcome | Done) -> object:
    made = shown.erasure or shown.thread or shown.message or shown.held or shown.retention or shown.standing
    return made or shown.deleted


class CommandCall:
    """Carries out what calls ask for, each once, however often its client repeats it."""

    def __init__(self, commands: Commands, earlier: Attempts) -> None:
        self._commands = commands
        self._earlier = earlier

    async def answer(
        self, call: Call, command: Command, show: Show = _show, show_receipt: Show = _show_receipt
    ) -> Answer:
        """Carry out a call's command, in the name of the caller, and answer with what it left.

        That is the thread or message, or a receipt where the caller's key may not read it, or the holds of a thread, or
        a policy; with the ``ETag`` of its history, and ``Clew-Position``. A caller who leaves does not stop it. Another
        face of the API gives what it shows instead, ``show_receipt`` to a key that may not read.

        Raises:
            ClewError: it was not carried out; see :meth:`clew_services.threads.handler.Handler.handle`.
        """
        if not _OF_COMMANDS.isdisjoint(call.headers):
            command = _complete(call, command)
        rules.check_command(command)
        count = retries.retry_count(call.headers) if command.id is None else None
        outcome = await (
            self._carry_out(call, command) if count is None else self._carry_out_retry(call, command, count)
        )
        tags = (etag(outcome.n),) if outcome.deleted is None or outcome.thread is not None else ()
        value = (show if "read" in call.holder.scopes else show_receipt)(command, outcome)
        status = 200 if outcome.erasure is None else 202
        return json_answer(value, status, headers=(*tags, position(outcome.position)))

    async def _carry_out_retry(self, call: Call, command: Command, count: int) -> Outcome:
        attempt = self._earlier.begin(await call.likeness(), count)
        watch = asyncio.create_task(call.watch_caller(attempt.lost))
        try:
            return await self._carry_out(call, replace(command, id=attempt.id))
        except (Rejected, Conflict):
            raise
        except BaseException:
            attempt.lost()
            raise
        finally:
            watch.cancel()

    async def _carry_out(self, call: Call, command: Command) -> Outcome:
        holder = call.holder
        try:
            return await self._commands.handle(
                holder.tenant,
                command,
                actor=holder.actor,
                by=holder.by,
                trace=trace(call.headers),
                condition=_condition(call, command),
            )
        except ClewError as fault:
            if (header := _HEADERS.get(fault.param or "")) is None:
                raise
            named = copy.copy(fault)
            named.param = header
            raise named from fault


def _complete(call: Call, command: Command) -> Command:
    """A command with what the headers of its call say of it."""
    # A list of threads, in which one is created, has no version.
    expected = None if isinstance(command, CreateThread | ForkThread) else call.conditions.expected_version
    return replace(
        command,
        id=command_id(call.headers),
        expected_version=expected,
        actor=actor(call.headers),
        reason=reason(call.headers, code=isinstance(command, ErasureCommand)) or command.reason,
    )


def _condition(call: Call, command: Command) -> Callable[[int], None] | None:
    if call.conditions is NO_CONDITIONS:
        return None
    thread = TENANT if isinstance(command, TenantCommand) else command.thread_id
    if thread is None:
        return lambda _: call.conditions.check_collection()
    return functools.partial(call.conditions.check_version, error_texts.name_history(thread))
