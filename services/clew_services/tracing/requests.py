"""A span for each request over NATS, below the caller's own if its headers name one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from nats.aio.msg import Msg
from opentelemetry.trace import SpanKind, Tracer

from clew_events.errors import ClewError
from clew_services.apps.asking import trace_of
from clew_services.tracing.context import remote
from clew_services.tracing.outcomes import told

T = TypeVar("T")


def traced(work: Callable[[Msg], Awaitable[T]], tracer: Tracer) -> Callable[[Msg], Awaitable[T]]:
    """The same work, with a span around it."""

    async def working(message: Msg) -> T:
        where, _, name = message.subject.rpartition(".")
        attributes = {"messaging.system": "nats", "messaging.destination.name": message.subject}
        with tracer.start_as_current_span(
            f"{'.'.join(where.split('.')[:2])} {name}",
            context=remote(trace_of(message)),
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                return await work(message)
            except ClewError as error:
                told(span, error)
                raise

    return working
