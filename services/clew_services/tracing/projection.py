"""Projecting with a span for each thread of a batch, below the append of its latest commit and linked to the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Tracer

from clew_events.subjects import Address
from clew_projections.buckets.bucket import Fault
from clew_projections.projecting.applying import Projecting
from clew_projections.projecting.deliveries import Delivery
from clew_services.tracing.context import remote


class TracedProjecting(Projecting):
    """Applies commits to views, and leaves spans for those that came with a trace."""

    def __init__(self, projecting: Projecting, tracer: Tracer) -> None:  # the one inside has all that one needs
        self._projecting = projecting
        self._tracer = tracer

    def forget(self) -> None:
        """As projecting does."""
        self._projecting.forget()

    async def catch_up(self, address: Address) -> None:
        """As projecting does."""
        await self._projecting.catch_up(address)

    async def apply(self, batch: Mapping[Address, Sequence[Delivery]]) -> dict[Address, Fault]:
        """As projecting does; see :meth:`clew_projections.projecting.applying.Projecting.apply`."""
        with ExitStack() as spans:
            for address, deliveries in batch.items():
                contexts = [remote(each.trace) for each in deliveries if each.trace is not None]
                if contexts:
                    spans.enter_context(self._span(address, len(deliveries), contexts))
            return await self._projecting.apply(batch)

    def _span(self, address: Address, commits: int, contexts: Sequence[Context]) -> AbstractContextManager[Span]:
        *others, last = contexts
        return self._tracer.start_as_current_span(
            "project",
            context=last,
            kind=SpanKind.CONSUMER,
            links=[Link(trace.get_current_span(each).get_span_context()) for each in others],
            attributes={"clew.thread": address.thread, "clew.commits": commits},
        )
