"""Commands with a span each: one for the handling, and below it one for each append, which the commit then names."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.trace import SpanKind, Tracer

from clew_events.commands import Command
from clew_events.commit import Commit
from clew_events.errors import ClewError
from clew_services.handling.handle import Handler
from clew_services.handling.log import Appended, Behind, Log
from clew_services.handling.outcome import Outcome
from clew_services.tracing.context import here_or, traceparent
from clew_services.tracing.outcomes import OUTCOME, told


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
        """As the handler does; see :meth:`clew_services.handling.handle.Handler.handle`."""
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
                told(span, error)
                raise
            span.set_attribute(OUTCOME, "ok")
            span.set_attribute("clew.n", done.n)
            return done


class TracedLog(Log):
    """Appends commits, each under the span of its own append: from there the projection goes on."""

    def __init__(self, log: Log, tracer: Tracer) -> None:  # the log inside has all that one needs
        self._log = log
        self._tracer = tracer

    async def append(self, commit: Commit, expected_seq: int, trace: str | None = None) -> Appended | Behind:
        """As the log does; see :meth:`clew_services.handling.log.Log.append`."""
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
                told(span, error)
                raise
            span.set_attribute(OUTCOME, "ok" if isinstance(outcome, Appended) else outcome.why)
            return outcome
