"""Traces: a command from its request through the log to its projection.

The composition root requests a traced version of each part from a :class:`Tracing`. :data:`UNTRACED` returns each part
unchanged, so without tracing none of this runs, and a received ``traceparent`` is passed on unchanged.
:class:`clew_services.tracing.spans.Spans` records spans with OpenTelemetry; :func:`set_up_tracing` chooses.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Final, TypeVar

from nats.aio.msg import Msg

from clew_events import ids
from clew_events.errors import Invalid
from clew_projections.nats.stream_messages import TRACE
from clew_projections.projector.batch import Apply
from clew_services.eventstore.append import Append
from clew_services.threads.handler import Commands
from clew_services.version import clew_version

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["UNTRACED", "Tracing"]

T = TypeVar("T")
Part = MutableMapping[str, object]
App = Callable[[Part, Callable[[], Awaitable[Part]], Callable[[Part], Awaitable[None]]], Awaitable[None]]
"""An application by the ASGI specification."""


def trace_of(message: Msg) -> str | None:
    """The message's W3C ``traceparent``, if it has one that is well formed."""
    trace = message.headers.get(TRACE) if message.headers else None
    return trace if trace is not None and ids.is_traceparent(trace) else None


class Tracing:
    """Returns every part unchanged."""

    def append(self, append: Append) -> Append:
        """The append to the log, so that it is traced and commits name their trace."""
        return append

    def handler(self, commands: Commands) -> Commands:
        """The handler, so that commands are traced wherever they come from."""
        return commands

    def projection(self, apply: Apply) -> Apply:
        """The projection of a batch, so that it is traced to where its commits came from."""
        return apply

    def request(self, work: Callable[[Msg], Awaitable[T]]) -> Callable[[Msg], Awaitable[T]]:
        """The work that answers a request over NATS."""
        return work

    def route(self, app: App, path: str) -> App:  # noqa: ARG002 - for those who name spans by it
        """The application that answers one route over HTTP."""
        return app


UNTRACED: Final = Tracing()

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
EXPORTERS: Final = "OTEL_TRACES_EXPORTER"
DISABLED: Final = "OTEL_SDK_DISABLED"
SERVICE: Final = "OTEL_SERVICE_NAME"
NAME: Final = "clew"

_LOG: Final = logging.getLogger("clew.tracing")


def wanted_exporter(environment: Mapping[str, str]) -> str | None:
    """The exporter that the environment asks for: ``otlp``, ``console``, or none.

    Raises:
        Invalid: it asks for one that there is not.
    """
    if environment.get(DISABLED, "").strip().lower() == "true":
        return None
    said = environment.get(EXPORTERS, "").strip().lower()
    if said not in {"", "none", "otlp", "console"}:
        raise Invalid(
            f"{EXPORTERS} is {said!r}, and should be 'otlp', 'console' or 'none'",
            code="invalid_setting",
            param=EXPORTERS,
        )
    if said:
        return None if said == "none" else said
    return "otlp" if any(environment.get(each) for each in ENDPOINTS) else None


def set_up_tracing(environment: Mapping[str, str], process: str) -> tuple[Tracing, Callable[[], None]]:
    """Tracing, if traces are wanted, and what sends off the last spans when the process ends.

    ``process`` says which of Clew's processes this is. Sampler, batching, headers and the rest are what OpenTelemetry's
    variables say.

    Raises:
        Invalid: what is wanted does not exist.
    """
    exporter = wanted_exporter(environment)
    if exporter is None:
        return UNTRACED, _do_nothing
    try:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra, and slow to import
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        from clew_services.tracing.spans import Spans  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        _LOG.warning("traces are wanted, and %s is not here: pip install 'clew[otel]'", missing.name)
        return UNTRACED, _do_nothing
    said = {} if environment.get(SERVICE) else {"service.name": NAME}
    said |= {"service.version": clew_version(), "service.instance.id": process}
    provider = TracerProvider(resource=Resource.create(said), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_exporter(exporter)))
    return Spans(provider.get_tracer(NAME)), provider.shutdown


def _exporter(name: str) -> SpanExporter:
    if name == "console":
        import sys  # noqa: PLC0415

        from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415

        return ConsoleSpanExporter(out=sys.stderr)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter()


def _do_nothing() -> None:
    pass
