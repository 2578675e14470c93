"""Handlers that give up sooner than in production, and short words for the commands that tests give them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from clew_events.commands import AddMessage, CreateThread, DeleteMessage, DeleteThread, UpdateMessage, UpdateThread
from clew_events.requests import MetadataPatch, NewMessage
from clew_services.compose import Clew
from clew_services.eventstore.append import Log
from clew_services.threads.cache import Memory
from clew_services.threads.handler import Handler
from clew_services.threads.idempotency import Repeats
from clew_services.threads.result import Outcome

TENANT = "default"


def handler(
    clew: Clew,
    *,
    attempt: float = 0.3,
    deadline: float = 20.0,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Handler:
    """A handler with a memory of its own, as another process would have."""
    replicated = clew.deployment.replicas > 1
    log = Log(clew.js, clew.deployment.shards, replicated=replicated, attempt=attempt, deadline=deadline)
    repeats, limit = Repeats(clew.current, clew.histories), clew.nc.max_payload
    return Handler(
        log.append,
        clew.current,
        clew.histories,
        repeats,
        Memory(),
        tenants=clew.tenant_histories,
        impacts=clew.lists,
        erasures=clew.erasure_records,
        forks=clew.forks,
        max_payload=lambda: limit,
        clock=clock,
    )


class Writer:
    """Says commands to a handler."""

    def __init__(self, handler: Handler, tenant: str = TENANT) -> None:
        self.handler = handler
        self.tenant = tenant

    async def create(self, thread: str | None = None, **said: object) -> Outcome:
        """Create a thread."""
        return await self.handler.handle(self.tenant, CreateThread(thread_id=thread, **said))  # type: ignore[arg-type]

    async def update(self, thread: str, **said: object) -> Outcome:
        """Change a thread."""
        return await self.handler.handle(self.tenant, UpdateThread(thread_id=thread, **said))  # type: ignore[arg-type]

    async def set(self, thread: str, key: str, value: str, **said: object) -> Outcome:
        """Change one key of a thread's metadata."""
        return await self.update(thread, patch=MetadataPatch(set={key: value}), **said)

    async def delete(self, thread: str, **said: object) -> Outcome:
        """Delete a thread."""
        return await self.handler.handle(self.tenant, DeleteThread(thread_id=thread, **said))  # type: ignore[arg-type]

    async def add(self, thread: str, text: str = "hello", **said: object) -> Outcome:
        """Add a message."""
        message = NewMessage(role="user", content=text)
        return await self.handler.handle(self.tenant, AddMessage(thread_id=thread, message=message, **said))  # type: ignore[arg-type]

    async def change(self, thread: str, message: str, **said: object) -> Outcome:
        """Change a message."""
        command = UpdateMessage(thread_id=thread, message_id=message, **said)  # type: ignore[arg-type]
        return await self.handler.handle(self.tenant, command)

    async def remove(self, thread: str, message: str, **said: object) -> Outcome:
        """Delete a message."""
        command = DeleteMessage(thread_id=thread, message_id=message, **said)  # type: ignore[arg-type]
        return await self.handler.handle(self.tenant, command)


def message_id(done: Outcome) -> str:
    """The id of the message that a command was about."""
    assert done.message is not None
    return done.message.id


def thread_id(done: Outcome) -> str:
    """The id of the thread that a command was about."""
    assert done.thread is not None
    return done.thread.id
