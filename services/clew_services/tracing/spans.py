"""Commands with a span each: one for the handling, and below it one for each append, which the commit then names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TypeVar

from nats.aio.msg import Msg
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Tracer

from clew_events.commands import Command
from clew_events.commit import Commit
from clew_events.errors import ClewError
from clew_events.subjects import Address
from clew_projections.kv.bucket import Fault
from clew_projections.projector.batch import BatchProjection
from clew_projections.projector.shard_consumer import Delivery
from clew_services.eventstore.append import AppendResult, Log, UncertainAppend
from clew_services.http.traced_route import TracedRoute
from clew_services.nats_api.request import trace_of
from clew_services.threads.handler import Handler
from clew_services.threads.result import Outcome
from clew_services.tracing import App, Tracing
from clew_services.tracing.context import OUTCOME, here_or, record_error, remote, traceparent


class TracedHandler(Handler):
    """Carries commands out, below the span that is under way here or the one that came with the command."""

    def __init__(self, handler: Handler, tracer: Tracer) -> None:  # the handler inside has all that one needs
        self._handler = handler
        self._tracer = tracer

    async def handle(
        self,
        tenant: str,
        command: Command,
        *,
        actor: str = "unknown",
        trace: str | None = None,
        fence: Callable[[], None] | None = None,
    ) -> Outcome:
        """As the handler does; see :meth:`clew_services.threads.handler.Handler.handle`."""
        with self._tracer.start_as_current_span(
            f"handle {command.named}",
            context=here_or(trace),
            attributes={"clew.tenant": tenant, "clew.command": command.named},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                done = await self._handler.handle(tenant, command, actor=actor, trace=traceparent(span), fence=fence)
            except ClewError as error:
                record_error(span, error)
                raise
            span.set_attribute(OUTCOME, "ok")
            span.set_attribute("clew.n", done.n)
            return done


class TracedLog(Log):
    """Appends commits, each under the span of its own append: from there the projection goes on."""

    def __init__(self, log: Log, tracer: Tracer) -> None:  # the log inside has all that one needs
        self._log = log
        self._tracer = tracer

    async def append(
        self, commit: Commit, expected_seq: int, trace: str | None = None
    ) -> AppendResult | UncertainAppend:
        """As the log does; see :meth:`clew_services.eventstore.append.Log.append`."""
        with self._tracer.start_as_current_span(
            "append",
            context=here_or(trace),
            kind=SpanKind.PRODUCER,
            attributes={"messaging.system": "nats", "clew.thread": commit.thread, "clew.n": commit.n},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                outcome = await self._log.append(commit, expected_seq, traceparent(span))
            except ClewError as error:
                record_error(span, error)
                raise
            span.set_attribute(OUTCOME, "ok" if isinstance(outcome, AppendResult) else outcome.why)
            return outcome


class TracedProjection(BatchProjection):
    """Applies commits to views, and leaves spans for those that came with a trace."""

    def __init__(self, projecting: BatchProjection, tracer: Tracer) -> None:  # the one inside has all that one needs
        self._projecting = projecting
        self._tracer = tracer

    def forget(self) -> None:
        """As projecting does."""
        self._projecting.forget()

    async def catch_up(self, address: Address) -> None:
        """As projecting does."""
        await self._projecting.catch_up(address)

    async def apply(self, batch: Mapping[Address, Sequence[Delivery]]) -> dict[Address, Fault]:
        """As projecting does; see :meth:`clew_projections.projector.batch.BatchProjection.apply`."""
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


T = TypeVar("T")


def trace_work(work: Callable[[Msg], Awaitable[T]], tracer: Tracer) -> Callable[[Msg], Awaitable[T]]:
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
                record_error(span, error)
                raise

    return working


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

    def projection(self, projecting: BatchProjection) -> BatchProjection:
        """A span for each thread of a batch that has traced commits in it."""
        return TracedProjection(projecting, self._tracer)

    def request(self, work: Callable[[Msg], Awaitable[T]]) -> Callable[[Msg], Awaitable[T]]:
        """A span for each request."""
        return trace_work(work, self._tracer)

    def route(self, app: App, path: str) -> App:
        """A span for each answer."""
        return TracedRoute(app, path, self._tracer)
