"""The observer: callbacks for what a process does, which metrics count.

Nothing here depends on metrics. The parts that handle, append, answer and project call an :class:`Observer`;
:mod:`clew_services.metrics` has one that counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from clew_events.errors import Kind

Handled = Literal["ok", "nothing", "repeat", "failed"] | Kind
"""How a command ended: a commit, no change needed, answered as the first time, one of the errors, or cut short."""

Answered = Callable[[str, int, float], None]
"""Told of each HTTP answer: the method, the status, and the seconds it took."""
Projected = Callable[[int, float], None]
"""Told of each batch of a shard: how many commits, and the seconds since the oldest of them was stored."""


class Observer:
    """Is told what happens, and does nothing about it: the base of those who do, and what is used when nobody does.

    It is called on the way of every command, so a method has to be quick and must not raise.
    """

    def on_handled(self, command: str, outcome: Handled, seconds: float) -> None:
        """A command came to its end."""

    def guard_failed(self, why: Literal["stale", "duplicate"]) -> None:
        """An append was refused because its thread had moved on, or its id had been stored before."""

    def on_retry(self) -> None:
        """A command is decided once more, on what the log says by now."""

    def on_batch(self, commits: int, stored: bool) -> None:
        """So many commits were sent as one batch; if it was not stored, they go singly."""

    def on_reply(self, service: str, code: str, seconds: float) -> None:
        """A request over NATS was answered: ``200``, or the code of its error."""

    def on_settled(self, outcome: Literal["done", "refused"]) -> None:
        """A command from the inbox was carried out, or put on record as refused."""

    def route(self, path: str) -> Answered:  # noqa: ARG002 - for those who do something about it
        """Who is told of the HTTP answers of one route."""
        return ignore_answer

    def shard(self, number: int) -> Projected:  # noqa: ARG002 - as above
        """Who is told of what is projected of one shard."""
        return ignore_projection


def ignore_answer(_method: str, _status: int, _seconds: float) -> None:
    """Nobody is told."""


def ignore_projection(_commits: int, _seconds: float) -> None:
    """Nobody is told."""


NOBODY: Final = Observer()
