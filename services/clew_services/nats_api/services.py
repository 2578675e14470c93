"""Commands and queries by request and reply: ``clew.cmd.<tenant>.<command>`` and ``clew.query.<tenant>.<query>``.

Commands that another account imports come on subjects of their own, on which the caller is known: see
:mod:`clew_services.nats_api.caller`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, TypeVar

from nats.aio.msg import Msg

from clew_events import ids, operations, subjects
from clew_events.errors import Invalid, NotFound
from clew_projections.nats.lean_client import LeanClient
from clew_services import validation
from clew_services.nats_api import reply_codec
from clew_services.nats_api.caller import NATS, caller_of
from clew_services.nats_api.listener import listen
from clew_services.nats_api.reply_codec import Reply
from clew_services.observer import NOBODY, Observer
from clew_services.queries.reader import Reader
from clew_services.tenant_list import EVERY, Tenants
from clew_services.threads.handler import Commands
from clew_services.threads.result import receipt
from clew_services.tracing import UNTRACED, Tracing, trace_of

COMMAND_QUEUE: Final = "clew-commands"
QUERY_QUEUE: Final = "clew-queries"
"""The queue groups: any number of processes may serve side by side, and the server shares the requests out."""
_LONGEST_SHOWN: Final = 64

T = TypeVar("T")


async def serve_commands(
    nc: LeanClient,
    commands: Commands,
    stop: asyncio.Event,
    ready: asyncio.Event | None = None,
    *,
    tenants: Tenants = EVERY,
    tracing: Tracing = UNTRACED,
    observer: Observer = NOBODY,
) -> None:
    """Carry out commands until ``stop`` is set, then answer those in flight and return.

    ``ready`` is set once commands are received.
    """

    async def answer(message: Msg) -> Reply:
        tenant, kind = parse_subject(message.subject, operations.COMMANDS, "command")
        await tenants.check(tenant)
        command = validation.decode(message.data, kind)
        outcome = await commands.handle(tenant, command, actor=NATS, by=caller_of(message), trace=trace_of(message))
        return reply_codec.answer(receipt(command, outcome))

    async with listen(
        nc,
        (f"{subjects.COMMANDS}.*.*", f"{subjects.IMPORTED}.*.*"),
        queue=COMMAND_QUEUE,
        names=operations.COMMANDS,
        work=tracing.request(answer),
        observer=observer,
    ):
        await _stay(stop, ready)


async def serve_queries(
    nc: LeanClient,
    reader: Reader,
    stop: asyncio.Event,
    ready: asyncio.Event | None = None,
    *,
    tenants: Tenants = EVERY,
    tracing: Tracing = UNTRACED,
    observer: Observer = NOBODY,
) -> None:
    """Answer queries until ``stop`` is set, then answer those in flight and return.

    ``ready`` is set once queries are received.
    """

    async def answer(message: Msg) -> Reply:
        tenant, kind = parse_subject(message.subject, operations.QUERIES, "query")
        await tenants.check(tenant)
        return reply_codec.answer(await reader.answer(tenant, validation.decode(message.data, kind)))

    async with listen(
        nc,
        (f"{subjects.QUERIES}.*.*",),
        queue=QUERY_QUEUE,
        names=operations.QUERIES,
        work=tracing.request(answer),
        observer=observer,
    ):
        await _stay(stop, ready)


async def _stay(stop: asyncio.Event, ready: asyncio.Event | None) -> None:
    if ready is not None:
        ready.set()
    await stop.wait()


def parse_subject(subject: str, kinds: Mapping[str, type[T]], word: str) -> tuple[str, type[T]]:
    """The tenant, and which of ``kinds`` is asked for, from a subject ``clew.<where>.<tenant>.<name>``.

    Raises:
        Invalid: the tenant could not be one.
        NotFound: there is no such kind; the message lists those there are.
    """
    _, _, tenant, name = subject.split(".", 3)
    if not ids.is_tenant(tenant):
        raise Invalid(
            f"Invalid tenant '{_shorten(tenant)}' in the subject. Expected 1 to 64 of a-z, 0-9, '_' and '-', "
            "beginning with a letter or digit.",
            code="invalid_tenant",
        )
    kind = kinds.get(name)
    if kind is None:
        raise NotFound(
            f"There is no {word} '{_shorten(name)}'. Known are: {', '.join(sorted(kinds))}.",
            code=f"{word}_not_found",
        )
    return tenant, kind


def _shorten(token: str) -> str:
    return token if len(token) <= _LONGEST_SHOWN else f"{token[:_LONGEST_SHOWN]}…"
