"""The observer: callbacks for what a process does, which metrics count.

Nothing here depends on metrics. The parts that handle, append, answer and project call an :class:`Observer`;
:mod:`clew_services.metrics` has one that counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from clew_events.errors import Kind

Handled = Literal["ok", "nothing", "repeat", "failed"] | Kind
"""How a command ended: with a commit, without a change, as a repeat, with an error of a kind, or interrupted."""

Answered = Callable[[str, int, float], None]
"""Called for each HTTP response with its method, its status, and its duration in seconds."""
Projected = Callable[[int, float], None]
"""Called for each projected batch of a shard with its number of commits and the age in seconds of the oldest."""


class Observer:
    """The base of observers, and the default, which does nothing.

    Methods are called for every command, so they must be fast and must not raise.
    """

    def on_handled(self, command: str, outcome: Handled, seconds: float) -> None:
        """A command has ended."""

    def guard_failed(self, why: Literal["stale", "duplicate"]) -> None:
        """The guard of an append failed: the thread has a later commit, or the command id was stored before."""

    def on_retry(self) -> None:
        """A command is decided again, on the current state of the log."""

    def on_batch(self, commits: int, stored: bool) -> None:
        """A batch of ``commits`` was sent; if it was not stored, each commit is sent singly."""

    def on_reply(self, service: str, code: str, seconds: float) -> None:
        """A request over NATS was answered with ``200`` or an error code."""

    def on_settled(self, outcome: Literal["done", "refused"]) -> None:
        """A command from the inbox was carried out, or recorded as rejected."""

    def route(self, path: str) -> Answered:  # noqa: ARG002 - for subclasses
        """The callback for the HTTP responses of one route."""
        return ignore_answer

    def shard(self, number: int) -> Projected:  # noqa: ARG002 - as above
        """The callback for the batches of one shard."""
        return ignore_projection


def ignore_answer(_method: str, _status: int, _seconds: float) -> None:
    """Do nothing."""


def ignore_projection(_commits: int, _seconds: float) -> None:
    """Do nothing."""


NOBODY: Final = Observer()
