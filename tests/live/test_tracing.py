"""One command followed from where it came in, through the log, to the projection."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id

from clew_events.commands import AddMessage, CreateThread
from clew_events.errors import NotFound
from clew_events.requests import NewMessage
from clew_events.subjects import Address, event_stream, event_subject, shard_of
from clew_services.compose.roles import serve_commands, serve_inbox
from clew_services.embedded.server import EmbeddedServer
from clew_services.tracing.spans import Spans
from clew_services.version import clew_version
from support.api import ACME, served
from support.up import running_up
from support.waiting import eventually

if TYPE_CHECKING:
    from clew_services.compose import Clew

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"
HEADERS = {
    "Authorization": f"Bearer {ACME}",
    "Content-Type": "application/json",
    "OpenAI-Beta": "assistants=v2",
}


class Spanned:
    """A composed Clew that is traced, its projector running, and its spans."""

    def __init__(self, clew: Clew, exporter: InMemorySpanExporter) -> None:
        self.clew = clew
        self._exporter = exporter

    async def chain(self, *names: str) -> list[ReadableSpan]:
        """The spans of one trace by name, each below the one before, the first below the caller's."""

        async def all_there() -> list[ReadableSpan]:
            by_name = {span.name: span for span in self._exporter.get_finished_spans()}
            assert set(names) <= set(by_name)
            return [by_name[name] for name in names]

        found = await eventually(all_there)
        above = CALLER
        for span in found:
            assert format_trace_id(span.context.trace_id) == TRACE
            assert span.parent is not None, span.name
            assert format_span_id(span.parent.span_id) == above, span.name
            above = format_span_id(span.context.span_id)
        return found

    def names(self) -> list[str]:
        return sorted(span.name for span in self._exporter.get_finished_spans())


@pytest.fixture
async def spanned(deployment: EmbeddedServer) -> AsyncIterator[Spanned]:
    from clew_services.compose import connect

    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    stop = asyncio.Event()
    tracing = Spans(provider.get_tracer("test"))
    async with connect(deployment.url, name="traced", tracing=tracing) as clew, asyncio.TaskGroup() as running:
        running.create_task(clew.project(stop))
        ready = [asyncio.Event(), asyncio.Event()]
        running.create_task(serve_commands(clew, stop, ready[0]))
        running.create_task(serve_inbox(clew, stop, ready[1]))
        for each in ready:
            await each.wait()
        try:
            yield Spanned(clew, exporter)
        finally:
            stop.set()
    provider.shutdown()


def post(url: str, body: bytes = b"{}", **headers: str) -> dict[str, object]:
    with urlopen(Request(f"{url}/v1/threads", body, HEADERS | headers)) as answer:
        return dict(json.load(answer))


async def stored_trace(clew: Clew, tenant: str, thread: str) -> str:
    """The ``traceparent`` of a thread's last commit."""
    shard = shard_of(thread, clew.deployment.shards)
    stored = await clew.js.last(event_stream(shard), event_subject(shard, Address(tenant, thread)))
    assert stored is not None
    return stored.headers["traceparent"]


async def test_a_request_over_http_is_followed_to_the_projection(spanned: Spanned) -> None:
    async with served(spanned.clew) as url:
        made = await asyncio.to_thread(post, url, traceparent=SAMPLED)
    spans = await spanned.chain("POST /v1/threads", "handle CreateThread", "append", "project")
    request, handled, append, _ = spans
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 200
    assert handled.attributes is not None
    assert handled.attributes["clew.outcome"] == "ok"
    names = await stored_trace(spanned.clew, "acme", str(made["id"]))
    assert names == f"00-{TRACE}-{format_span_id(append.context.span_id)}-01"


async def test_a_command_over_nats_is_followed_to_the_projection(spanned: Spanned) -> None:
    headers = {"traceparent": SAMPLED}
    answer = await spanned.clew.nc.request("clew.cmd.acme.create_thread", b"{}", headers=headers, timeout=60)
    assert b'"ok"' in answer.data
    await spanned.chain("clew.cmd create_thread", "handle CreateThread", "append", "project")


async def test_a_command_in_the_inbox_is_followed_to_the_projection(spanned: Spanned) -> None:
    await spanned.clew.js.publish("clew.inbox.acme.create_thread", b"{}", {"traceparent": SAMPLED})
    await spanned.chain("handle CreateThread", "append", "project")


async def test_commits_projected_in_one_go_are_linked(spanned: Spanned) -> None:
    made = await spanned.clew.handler.handle("acme", CreateThread())
    assert made.thread is not None
    add = AddMessage(thread_id=made.thread.id, message=NewMessage(role="user", content="hi"))
    for _ in range(3):
        await spanned.clew.handler.handle("acme", add, trace=SAMPLED)

    async def projected() -> bool:
        spans = [span for span in spanned._exporter.get_finished_spans() if span.name == "project"]
        return sum(1 + len(span.links) for span in spans) >= 4

    await eventually(projected)


async def test_a_refusal_is_told_and_is_no_error(spanned: Spanned) -> None:
    with pytest.raises(NotFound):
        await spanned.clew.handler.handle(
            "acme", AddMessage(thread_id="thread_gone", message=NewMessage(role="user", content="hi")), trace=SAMPLED
        )
    (handled,) = await spanned.chain("handle AddMessage")
    assert handled.status.is_unset
    assert handled.attributes is not None
    assert handled.attributes["clew.outcome"] == "rejected"


async def test_what_the_caller_does_not_sample_leaves_no_spans_and_keeps_its_trace(spanned: Spanned) -> None:
    made = await spanned.clew.handler.handle("acme", CreateThread(), trace=UNSAMPLED)
    assert made.thread is not None
    version, trace, _, flags = (await stored_trace(spanned.clew, "acme", made.thread.id)).split("-")
    assert (version, trace, flags) == ("00", TRACE, "00")
    assert spanned.names() == []


async def test_what_is_no_traceparent_begins_a_trace_of_its_own(spanned: Spanned) -> None:
    async with served(spanned.clew) as url:
        await asyncio.to_thread(post, url, traceparent="00-nonsense")

    async def there() -> bool:
        return "project" in spanned.names()

    await eventually(there)
    roots = [span for span in spanned._exporter.get_finished_spans() if span.parent is None]
    assert [span.name for span in roots] == ["POST /v1/threads"]


class Collector(HTTPServer):
    """Takes spans as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.spans: dict[str, tuple[str, str, str, str]] = {}

    def take(self, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            assert names["service.version"] == clew_version()
            for scope in resource.scope_spans:
                for span in scope.spans:
                    if span.trace_id.hex() == TRACE:
                        self.spans[span.name] = (
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            names["service.name"],
                            names["service.instance.id"],
                        )


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Collector)
        self.server.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_the_processes_of_clew_up_send_one_trace_to_a_collector(tmp_path: Path, collector: Collector) -> None:
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    with running_up(tmp_path / "data", env=settings) as up:
        headers = {"Authorization": f"Bearer {up.api_key}", "OpenAI-Beta": "assistants=v2", "traceparent": SAMPLED}
        headers["Content-Type"] = "application/json"
        with urlopen(Request(f"{up.base_url}/threads", b"{}", headers)) as answer:
            assert answer.status == 200

        async def whole() -> bool:
            return {"POST /v1/threads", "append", "project"} <= set(collector.spans)

        await eventually(whole)
        spans = collector.spans
        assert spans["project"][1] == spans["append"][0]
        assert {span[2] for span in spans.values()} == {"clew"}
        assert spans["append"][3] == "clew api"
    assert spans["project"][3].startswith("clew projector")
