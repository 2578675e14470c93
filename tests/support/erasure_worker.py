"""The worker that carries erasures out, in this process, step by step or killed before one of its calls."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any

from msgspec.structs import replace

from clew_events.errors import Unavailable
from clew_projections.history.histories import Histories
from clew_services.checkpoints.note import SigningKey
from clew_services.compose import Clew
from clew_services.erasure.eraser import Budget, Eraser
from clew_services.erasure.erasure_file import KnownErasures, collect
from clew_services.erasure.records import ErasureRecords
from clew_services.erasure.worker import ErasureParts, Worker
from support.waiting import eventually

KEY = SigningKey(bytes(range(32)))


class Killed(BaseException):
    """The worker's process was killed."""


class _Counted:
    """An object whose calls are counted, and which is killed before one of them."""

    def __init__(self, of: object, call: Callable[[], None]) -> None:
        self._of = of
        self._call = call

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._of, name)
        if not callable(found):
            return found

        def called(*args: object, **kwargs: object) -> object:
            self._call()
            return found(*args, **kwargs)

        return called


async def _at_once(_: float) -> None: ...


def worker(
    clew: Clew,
    *,
    stop: int | None = None,
    befall: Callable[[int], None] = lambda _: None,
    key: SigningKey = KEY,
    **options: Any,
) -> Worker:
    """A worker that does not pause between deletions; killed before its call number ``stop``, counted from 1.

    ``befall`` is called with the number of each call, before it.
    """
    calls = count(1)

    def call() -> None:
        number = next(calls)
        if number == stop:
            raise Killed
        befall(number)

    parts: ErasureParts = clew.erasure_parts
    js: Any = _Counted(parts.js, call)
    commands: Any = _Counted(parts.commands, call)
    renewal: Any = _Counted(parts.renewal, call)
    snapshots: Any = _Counted(parts.snapshots, call)
    histories: Histories = parts.histories
    return Worker(
        replace(
            parts,
            js=js,
            records=ErasureRecords(js, clew.js.pending),
            histories=histories,
            eraser=Eraser(js, Budget(sleep=_at_once)),
            commands=commands,
            renewal=renewal,
            snapshots=snapshots,
        ),
        key,
        **options,
    )


async def complete_all(clew: Clew, **options: Any) -> None:
    """Have a worker carry out all that is pending, to the end."""
    made = worker(clew, **options)

    async def done() -> bool:
        try:
            return not await made.step()
        except Unavailable:  # another worker was first
            return False

    await eventually(done)


async def known_to(clew: Clew) -> KnownErasures:
    """All erasures of a deployment, as ``clew erasures export`` writes them."""
    return await collect(
        clew.erasure_records, clew.histories, deployment=clew.deployment.identity, made_at=datetime.now(UTC)
    )
