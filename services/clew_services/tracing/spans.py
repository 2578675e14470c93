"""OpenTelemetry spans: one for each request, command, append and projected thread.

The parent of a span is the current span of this process, or the remote one that a ``traceparent`` names.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Final, cast

from nats.aio.msg import Msg
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from clew_events.codec import EncodedCommit
from clew_events.commands import Command
from clew_events.errors import ClewError
from clew_events.subjects import Address
from clew_projections.kv.bucket import Fault
from clew_projections.nats.stream_messages import TRACE
from clew_projections.projector.batch import Apply
from clew_projections.projector.shard_consumer import Delivery
from clew_services.eventstore.append import Append, AppendResult, UncertainAppend
from clew_services.threads.handler import Commands
from clew_services.threads.result import Outcome
from clew_services.tracing import App, Part, T, Tracing, trace_of

_PROPAGATOR: Final = TraceContextTextMapPropagator()
OUTCOME: Final = "clew.outcome"


def remote(traceparent: str | None) -> Context:
    """The context that a ``traceparent`` names, and an empty one where there is none or it is malformed."""
    return _PROPAGATOR.extract({TRACE: traceparent} if traceparent is not None else {}, Context())


def here_or(traceparent: str | None) -> Context | None:
    """``None``, by which a tracer takes the current span, if there is one; else the remote context."""
    return None if trace.get_current_span().get_span_context().is_valid else remote(traceparent)


def traceparent(span: Span) -> str | None:
    """The ``traceparent`` that names a span."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get(TRACE)


def record_error(span: Span, error: ClewError) -> None:
    """Record an error on a span; unavailable and corrupt set its status to error."""
    span.set_attribute(OUTCOME, error.kind)
    span.set_attribute("error.type", error.code)
    if error.kind in {"unavailable", "corrupt"}:
        span.set_status(Status(StatusCode.ERROR, error.message))


def trace_route(app: App, path: str, tracer: Tracer) -> App:
    """The same application in a span for each HTTP answer, below the caller's own span if the request names one."""

    async def traced(
        scope: Part, receive: Callable[[], Awaitable[Part]], send: Callable[[Part], Awaitable[None]]
    ) -> None:
        headers = cast("Sequence[tuple[bytes, bytes]]", scope["headers"])
        parent = next((value.decode("latin-1") for name, value in headers if name == b"traceparent"), None)
        method, url_path = str(scope["method"]), str(scope["path"])
        attributes = {"http.request.method": method, "http.route": path, "url.path": url_path}
        with tracer.start_as_current_span(
            f"{method} {path}", context=remote(parent), kind=SpanKind.SERVER, attributes=attributes
        ) as span:

            async def send_and_note(message: Part) -> None:
                if message["type"] == "http.response.start":
                    status = cast("int", message["status"])
                    span.set_attribute("http.response.status_code", status)
                    if status >= 500:
                        span.set_status(Status(StatusCode.ERROR))
                await send(message)

            await app(scope, receive, send_and_note)

    return traced


class TracedHandler:
    """Carries commands out, each in a span below the current one or below the one that came with the command."""

    def __init__(self, commands: Commands, tracer: Tracer) -> None:
        self._commands = commands
        self._tracer = tracer

    async def handle(
        self,
        tenant: str,
        command: Command,
        *,
        actor: str = "unknown",
        by: str = "unknown",
        trace: str | None = None,
        fence: Callable[[], None] | None = None,
        condition: Callable[[int], None] | None = None,
    ) -> Outcome:
        """Carry a command out; see :meth:`clew_services.threads.handler.Handler.handle`."""
        with self._tracer.start_as_current_span(
            f"handle {command.named}",
            context=here_or(trace),
            attributes={"clew.tenant": tenant, "clew.command": command.named},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                done = await self._commands.handle(
                    tenant, command, actor=actor, by=by, trace=traceparent(span), fence=fence, condition=condition
                )
            except ClewError as error:
                record_error(span, error)
                raise
            span.set_attribute(OUTCOME, "ok")
            span.set_attribute("clew.n", done.n)
            return done


def trace_append(append: Append, tracer: Tracer) -> Append:
    """The same append in a span, which the commit's ``traceparent`` names: the projection's span links to it."""

    async def traced(
        encoded: EncodedCommit, expected_seq: int, digest: str | None = None, trace: str | None = None
    ) -> AppendResult | UncertainAppend:
        commit = encoded.commit
        with tracer.start_as_current_span(
            "append",
            context=here_or(trace),
            kind=SpanKind.PRODUCER,
            attributes={"messaging.system": "nats", "clew.thread": commit.thread, "clew.n": commit.n},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                outcome = await append(encoded, expected_seq, digest, traceparent(span))
            except ClewError as error:
                record_error(span, error)
                raise
            span.set_attribute(OUTCOME, "ok" if isinstance(outcome, AppendResult) else outcome.why)
            return outcome

    return traced


def trace_projection(apply: Apply, tracer: Tracer) -> Apply:
    """The same projection of a batch, with a span for each thread that has traced commits in the batch."""

    async def traced(batch: Mapping[Address, Sequence[Delivery]]) -> dict[Address, Fault]:
        with ExitStack() as spans:
            for address, deliveries in batch.items():
                contexts = [remote(each.trace) for each in deliveries if each.trace is not None]
                if contexts:
                    spans.enter_context(_projection_span(tracer, address, len(deliveries), contexts))
            return await apply(batch)

    return traced


def _projection_span(
    tracer: Tracer, address: Address, commits: int, contexts: Sequence[Context]
) -> AbstractContextManager[Span]:
    *others, last = contexts
    return tracer.start_as_current_span(
        "project",
        context=last,
        kind=SpanKind.CONSUMER,
        links=[Link(trace.get_current_span(each).get_span_context()) for each in others],
        attributes={"clew.thread": address.thread, "clew.commits": commits},
    )


def trace_work(work: Callable[[Msg], Awaitable[T]], tracer: Tracer) -> Callable[[Msg], Awaitable[T]]:
    """The same work on a NATS request in a span, below the caller's own if the request names one."""

    async def traced(message: Msg) -> T:
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

    return traced


class Spans(Tracing):
    """Wraps each part in spans of one tracer."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def append(self, append: Append) -> Append:
        """A span for each append."""
        return trace_append(append, self._tracer)

    def handler(self, commands: Commands) -> Commands:
        """A span for each command."""
        return TracedHandler(commands, self._tracer)

    def projection(self, apply: Apply) -> Apply:
        """A span for each thread of a batch that has traced commits in the batch."""
        return trace_projection(apply, self._tracer)

    def request(self, work: Callable[[Msg], Awaitable[T]]) -> Callable[[Msg], Awaitable[T]]:
        """A span for each request over NATS."""
        return trace_work(work, self._tracer)

    def route(self, app: App, path: str) -> App:
        """A span for each HTTP answer of one route."""
        return trace_route(app, path, self._tracer)
