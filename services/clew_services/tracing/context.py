"""From a ``traceparent`` to the context of a span, and back."""

from __future__ import annotations

from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from clew_events.errors import ClewError
from clew_projections.nats.stream_messages import TRACE

_PROPAGATOR = TraceContextTextMapPropagator()


def remote(traceparent: str | None) -> Context:
    """The context that a ``traceparent`` names, and an empty one where there is none or it is malformed."""
    return _PROPAGATOR.extract({TRACE: traceparent} if traceparent is not None else {}, Context())


def here_or(traceparent: str | None) -> Context | None:
    """The span that is under way (as ``None``, which is what a tracer takes for that), or else a remote context."""
    return None if trace.get_current_span().get_span_context().is_valid else remote(traceparent)


def traceparent(span: Span) -> str | None:
    """What names a span to others."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get(TRACE)


OUTCOME: Final = "clew.outcome"


def record_error(span: Span, error: ClewError) -> None:
    """Say how it ended."""
    span.set_attribute(OUTCOME, error.kind)
    span.set_attribute("error.type", error.code)
    if error.kind in {"unavailable", "corrupt"}:
        span.set_status(Status(StatusCode.ERROR, error.message))
