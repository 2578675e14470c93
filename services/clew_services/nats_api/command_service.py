"""Commands by request and reply: ``clew.cmd.<tenant>.<command>``."""

from __future__ import annotations

import asyncio
from typing import Final

from nats.aio.msg import Msg

from clew_events.operations import COMMANDS as KINDS
from clew_events.subjects import COMMANDS
from clew_projections.nats.lean_client import LeanClient
from clew_services import validation
from clew_services.nats_api import reply_codec
from clew_services.nats_api.listener import listen
from clew_services.nats_api.reply_codec import Reply
from clew_services.nats_api.request import parse_subject
from clew_services.observer import NOBODY, Observer
from clew_services.threads.handler import Commands
from clew_services.threads.result import receipt
from clew_services.tracing import UNTRACED, Tracing, trace_of

QUEUE: Final = "clew-commands"
ACTOR: Final = "nats"
"""Who is put on record for a command over NATS that does not say who asks."""


async def serve_commands(
    nc: LeanClient,
    commands: Commands,
    stop: asyncio.Event,
    ready: asyncio.Event | None = None,
    *,
    tracing: Tracing = UNTRACED,
    observer: Observer = NOBODY,
) -> None:
    """Carry out commands until ``stop`` is set, then answer those in flight and return.

    ``ready`` is set once commands are being taken. Any number of processes may serve side by side.
    """

    async def work(message: Msg) -> Reply:
        tenant, kind = parse_subject(message.subject, KINDS, "command")
        command = validation.decode(message.data, kind)
        outcome = await commands.handle(tenant, command, actor=ACTOR, trace=trace_of(message))
        return reply_codec.answer(receipt(command, outcome))

    async with listen(nc, f"{COMMANDS}.*.*", queue=QUEUE, work=tracing.request(work), observer=observer):
        if ready is not None:
            ready.set()
        await stop.wait()
