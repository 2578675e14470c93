"""What a span says of an error: a refusal is an answer like any other, everything else is marked as an error."""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import Span, Status, StatusCode

from clew_events.errors import ClewError

OUTCOME: Final = "clew.outcome"


def told(span: Span, error: ClewError) -> None:
    """Say how it ended."""
    span.set_attribute(OUTCOME, error.kind)
    span.set_attribute("error.type", error.code)
    if error.kind in {"unavailable", "corrupt"}:
        span.set_status(Status(StatusCode.ERROR, error.message))
