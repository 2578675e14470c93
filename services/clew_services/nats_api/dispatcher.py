"""The dispatcher: requests are received, processed concurrently up to a limit, and answered."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from nats.aio.msg import Msg

from clew_events.errors import ClewError, Corrupt, Unavailable
from clew_projections.nats.headers import fields
from clew_projections.nats.lean_client import LeanClient
from clew_services.nats_api.reply_codec import OK, Reply, code_of, is_unfit, post, refusal, send
from clew_services.observer import NOBODY, Observer

LIMIT: Final = 1024
"""Requests in flight in one process before others are turned away: more would only wait until it is too late."""

_LOG: Final = logging.getLogger("clew.nats")


class Intake:
    """One task per request, which begins in the read loop of the connection.

    ``work`` makes the reply to a message, or raises. ``observer`` is called for each reply, with the name ``service``;
    ``note`` is called too, with the last token of the request's subject.
    """

    def __init__(
        self,
        nc: LeanClient,
        work: Callable[[Msg], Awaitable[Reply]],
        *,
        limit: int = LIMIT,
        service: str = "",
        observer: Observer = NOBODY,
        note: Callable[[str, str, float], None] = lambda *_: None,
    ) -> None:
        self._nc = nc
        self._work = work
        self._service = service
        self._observer = observer
        self._note = note
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()

    def receive(self, subject: bytes, reply: bytes, head: bytes, data: bytes) -> None:
        """Take a request as it comes, whatever bytes stand in it."""
        headers = fields(head) if head else None
        self.take(Msg(self._nc, subject.decode(errors="replace"), reply.decode(errors="replace"), data, headers))

    def take(self, message: Msg) -> None:
        """Begin to work on a request, or turn it away when too many are in flight.

        A request whose reply subject is unfit, as :func:`is_unfit` says, is ignored and logged.
        """
        if is_unfit(message.reply):
            _LOG.warning("ignored %r: no reply may go to %r", message.subject, message.reply)
            return
        if len(self._tasks) >= self._limit:
            full = Unavailable(f"{self._limit} requests are in flight here already", code="overloaded")
            self._observer.on_reply(self._service, code_of(full), 0.0)
            if message.reply and not self._nc.crowded:
                post(self._nc, message.reply, refusal(full))
            return
        task = asyncio.get_running_loop().create_task(self._serve(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, until: float) -> None:
        """Wait until everything that was taken has been answered, and no longer than ``until`` by the loop's clock."""
        if self._tasks:
            left = max(0.0, until - asyncio.get_running_loop().time())
            _, late = await asyncio.wait(self._tasks, timeout=left)
            for task in late:
                task.cancel()
            if late:
                _LOG.warning("stopped with %d requests unanswered", len(late))

    async def _serve(self, message: Msg) -> None:
        began, code = time.perf_counter(), OK
        try:
            reply = await self._work(message)
        except ClewError as error:
            code = code_of(error)
            if not message.reply:
                _LOG.warning("refused %r, which asked for no reply: %s", message.subject, error.message)
            reply = refusal(error)
        except Exception:  # noqa: BLE001 - whatever one request brings up, the others go on
            _LOG.exception("failed at %r", message.subject)
            unforeseen = Corrupt("Clew failed at this in an unforeseen way.", code="internal_error")
            reply, code = refusal(unforeseen), code_of(unforeseen)
        took = time.perf_counter() - began
        self._observer.on_reply(self._service, code, took)
        self._note(message.subject.rpartition(".")[2], code, took)
        if message.reply:
            await send(self._nc, message.reply, reply)
