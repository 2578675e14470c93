"""Traces: one command followed from where it came in, through the log, to the projection.

The composition root asks a :class:`Tracing` for a traced version of each part. This one gives the part back as it is,
so that where nobody traces no line of this package runs, and a ``traceparent`` that came in is passed on as it came.
The other is :class:`clew_services.tracing.spans.Spans`, which leaves spans with OpenTelemetry.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Final, TypeVar

from nats.aio.msg import Msg

from clew_projections.projector.batch import BatchProjection
from clew_services.eventstore.append import Log
from clew_services.threads.handler import Handler

__all__ = ["UNTRACED", "Tracing"]

T = TypeVar("T")
Part = MutableMapping[str, object]
App = Callable[[Part, Callable[[], Awaitable[Part]], Callable[[Part], Awaitable[None]]], Awaitable[None]]
"""An application by the ASGI specification."""


class Tracing:
    """Gives every part back as it is."""

    def log(self, log: Log) -> Log:
        """The log, so that appends are traced and commits name their trace."""
        return log

    def handler(self, handler: Handler) -> Handler:
        """The handler, so that commands are traced however they came."""
        return handler

    def projection(self, projecting: BatchProjection) -> BatchProjection:
        """What applies commits, so that this is traced to where they came from."""
        return projecting

    def request(self, work: Callable[[Msg], Awaitable[T]]) -> Callable[[Msg], Awaitable[T]]:
        """What answers requests over NATS."""
        return work

    def route(self, app: App, path: str) -> App:  # noqa: ARG002 - for those who name spans by it
        """What answers one route over HTTP."""
        return app


UNTRACED: Final = Tracing()
