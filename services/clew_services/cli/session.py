"""What a command of the command line works with: a client, or a composed deployment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from clew_events import client
from clew_services import compose
from clew_services.cli.logs import hush
from clew_services.cli.options import reply_prefix
from clew_services.settings import Settings

PATIENCE: Final = 5.0
"""Seconds that somebody at a terminal waits for an answer before being told that there is none."""

T = TypeVar("T")


def ask(nats: str, tenant: str, question: Callable[[client.Clew], Awaitable[T]], *, actor: str | None = None) -> T:
    """Ask the services that listen on NATS, and nothing else of the deployment."""
    prefix = reply_prefix()

    async def asked() -> T:
        url = Settings(nats=nats).nats_url
        async with client.connect(url, tenant=tenant, actor=actor, timeout=PATIENCE, inbox_prefix=prefix) as clew:
            return await question(clew)

    hush()
    return asyncio.run(asked())


def look(nats: str, question: Callable[[compose.Clew], Awaitable[T]]) -> T:
    """Look at the deployment itself, which works with no service running."""
    prefix = reply_prefix()

    async def looked() -> T:
        url = Settings(nats=nats).nats_url
        async with compose.connected(url, name="clew-cli", patience=PATIENCE, inbox_prefix=prefix) as clew:
            return await question(clew)

    hush()
    return asyncio.run(looked())
