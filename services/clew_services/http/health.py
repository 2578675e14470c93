"""Whether the process lives, and whether it can do its work: the latter is asked of JetStream, every time."""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec import Struct

from clew_events.errors import ClewError
from clew_events.subjects import event_stream
from clew_services.http.answers import RETRY_AFTER, Answer, json_answer
from clew_services.http.parts import Parts
from clew_services.streams.wanted import PROJECTOR

TIME: Final = 2.0
"""Seconds within which JetStream has to answer."""


class Health(Struct, frozen=True):
    """Whether all is well, and what is not."""

    ok: bool
    reasons: tuple[str, ...] = ()


async def alive() -> Answer:
    """``GET /healthz``: this process answers, which is all it says."""
    return json_answer(Health(ok=True))


class Readiness:
    """``GET /readyz``: JetStream answers, and every shard's stream and its projector's consumer are there."""

    def __init__(self, parts: Parts, seconds: float = TIME) -> None:
        self._parts = parts
        self._seconds = seconds
        self._running: asyncio.Task[Answer] | None = None

    async def show(self) -> Answer:
        """200, or 503 with the reasons. However many ask at once, JetStream is asked once."""
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._ask())
        return await asyncio.shield(self._running)

    async def _ask(self) -> Answer:
        streams = [event_stream(shard) for shard in range(self._parts.deployment.shards)]
        calls = {
            "INFO": "JetStream",
            **{f"STREAM.INFO.{stream}": f"stream {stream}" for stream in streams},
            **{f"CONSUMER.INFO.{stream}.{PROJECTOR}": f"consumer {stream}/{PROJECTOR}" for stream in streams},
        }
        found = await asyncio.gather(*(self._trouble(call, name) for call, name in calls.items()))
        reasons = tuple(trouble for trouble in found if trouble is not None)
        health = Health(ok=not reasons, reasons=reasons)
        return json_answer(health, 503, (RETRY_AFTER,)) if reasons else json_answer(health)

    async def _trouble(self, call: str, name: str) -> str | None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._parts.js.api(call)
        except TimeoutError:
            return f"{name} did not answer within {self._seconds:g} s"
        except ClewError as error:
            return f"{name}: {error.message}"
        return None
