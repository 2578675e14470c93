"""Every part in a version that leaves spans with one tracer of OpenTelemetry's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from nats.aio.msg import Msg
from opentelemetry.trace import Tracer

from clew_projections.projecting.applying import Projecting
from clew_services.handling.handle import Handler
from clew_services.handling.log import Log
from clew_services.http.traced import TracedRoute
from clew_services.tracing import App, Tracing
from clew_services.tracing.commands import TracedHandler, TracedLog
from clew_services.tracing.projection import TracedProjecting
from clew_services.tracing.requests import traced

T = TypeVar("T")


class Spans(Tracing):
    """Wraps every part."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def log(self, log: Log) -> Log:
        """A span for each append."""
        return TracedLog(log, self._tracer)

    def handler(self, handler: Handler) -> Handler:
        """A span for each command."""
        return TracedHandler(handler, self._tracer)

    def projecting(self, projecting: Projecting) -> Projecting:
        """A span for each thread of a batch that has traced commits in it."""
        return TracedProjecting(projecting, self._tracer)

    def request(self, work: Callable[[Msg], Awaitable[T]]) -> Callable[[Msg], Awaitable[T]]:
        """A span for each request."""
        return traced(work, self._tracer)

    def route(self, app: App, path: str) -> App:
        """A span for each answer."""
        return TracedRoute(app, path, self._tracer)
