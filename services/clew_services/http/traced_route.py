"""A span for each HTTP request, below the caller's own if it names one."""

from __future__ import annotations

from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clew_services.tracing.context import remote


class TracedRoute:
    """An ASGI application that answers one route, and leaves a span for each answer."""

    def __init__(self, app: ASGIApp, path: str, tracer: Tracer) -> None:
        self._app = app
        self._path = path
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        parent = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"), None)
        method = scope["method"]
        attributes = {"http.request.method": method, "http.route": self._path, "url.path": scope["path"]}
        with self._tracer.start_as_current_span(
            f"{method} {self._path}", context=remote(parent), kind=SpanKind.SERVER, attributes=attributes
        ) as span:

            async def seen(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.set_attribute("http.response.status_code", status)
                    if status >= 500:
                        span.set_status(Status(StatusCode.ERROR))
                await send(message)

            await self._app(scope, receive, seen)
