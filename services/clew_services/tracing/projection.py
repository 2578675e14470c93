"""Projecting with a span for each thread of a batch, below the append of its latest commit and linked to the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind, Tracer

from clew_events.subjects import Address
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

    async def prepare(self, addresses: Iterable[Address]) -> None:
        """As projecting does."""
        await self._projecting.prepare(addresses)

    async def catch_up(self, address: Address) -> None:
        """As projecting does."""
        await self._projecting.catch_up(address)

    async def apply(self, address: Address, deliveries: Sequence[Delivery]) -> None:
        """As projecting does; see :meth:`clew_projections.projecting.applying.Projecting.apply`."""
        contexts = [remote(each.trace) for each in deliveries if each.trace is not None]
        if not contexts:
            await self._projecting.apply(address, deliveries)
            return
        *others, last = contexts
        with self._tracer.start_as_current_span(
            "project",
            context=last,
            kind=SpanKind.CONSUMER,
            links=[Link(trace.get_current_span(each).get_span_context()) for each in others],
            attributes={"clew.thread": address.thread, "clew.commits": len(deliveries)},
        ):
            await self._projecting.apply(address, deliveries)
