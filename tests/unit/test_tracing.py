from __future__ import annotations

import subprocess
import sys

import pytest

from clew_events.errors import Invalid
from clew_services.tracing import UNTRACED, set_up_tracing, wanted_exporter
from support.up import environment


@pytest.mark.parametrize(
    ("said", "exporter"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, None),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "True"}, None),
    ],
)
def test_the_environment_says_whether_there_are_traces(said: dict[str, str], exporter: str | None):
    assert wanted_exporter(said) == exporter


def test_an_exporter_that_there_is_not_is_refused():
    with pytest.raises(Invalid, match="OTEL_TRACES_EXPORTER is 'zipkin'"):
        wanted_exporter({"OTEL_TRACES_EXPORTER": "zipkin"})


def test_where_nobody_traces_every_part_is_as_it_was():
    tracing, send_off = set_up_tracing({}, "test")
    assert tracing is UNTRACED
    send_off()

    async def app(scope: object, receive: object, send: object) -> None: ...

    async def work(message: object) -> None: ...

    assert tracing.route(app, "/") is app
    assert tracing.request(work) is work


def test_without_traces_nothing_that_traces_is_even_imported():
    program = (
        "import sys, clew_services.process.serve; "
        "print([name for name in ('opentelemetry.trace', 'opentelemetry.sdk') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.strip() == "[]"


def test_traces_that_are_wanted_without_the_extra_are_missed_in_words(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    tracing, _ = set_up_tracing({"OTEL_TRACES_EXPORTER": "otlp"}, "test")
    assert tracing is UNTRACED
    assert "pip install 'clew[otel]'" in caplog.text
