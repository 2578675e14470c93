"""``clew serve``: any choice of parts in one process, started and stopped as an init system does it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator

import pytest

from clew_services.embedded.server import EmbeddedServer
from support.up import CLEW, PATIENCE, clew, environment

KEYS = "a-secret-key:default"


@contextlib.contextmanager
def serving(*roles: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    with tempfile.TemporaryDirectory() as index:
        settings = environment(CLEW_INDEX=index, **env)
        with subprocess.Popen([*CLEW, "serve", *roles], env=settings, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()


def told(process: subprocess.Popen[str], words: str) -> str:
    """The line of its standard error that has these words in it."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        if words in line:
            return line
        lines.append(line)
    raise AssertionError("".join(lines))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_all_parts_run_in_one_process_and_stop_with_success(
    deployment: EmbeddedServer, number: signal.Signals
) -> None:
    env = {"CLEW_NATS": deployment.url, "CLEW_HTTP": "127.0.0.1:0", "CLEW_API_KEYS": KEYS}
    with serving("api", "commands", "query", "projector", **env) as process:
        told(process, "ready http 127.0.0.1:")
        made = clew("thread", "create", "--id", "thread_x", env=env)
        assert made.returncode == 0, made.stderr
        assert clew("thread", "get", "thread_x", env=env).returncode == 0
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
    assert clew("history", "thread_x", env=env).returncode == 0


async def test_queries_are_answered_by_another_process_than_commands(deployment: EmbeddedServer) -> None:
    env = {"CLEW_NATS": deployment.url}
    with serving("commands", **env) as first, serving("query", **env) as second:
        told(first, "ready")
        told(second, "ready")
        assert clew("thread", "create", "--id", "thread_x", env=env).returncode == 0
        os.kill(first.pid, signal.SIGKILL)
        assert clew("thread", "get", "thread_x", env=env).returncode == 0
        refused = clew("thread", "update", "thread_x", "--set", "a=b", env=env)
        assert refused.returncode == 4
        assert "nobody answers" in refused.stderr


async def test_a_server_without_a_deployment_is_refused_with_what_to_do(nats_server: EmbeddedServer) -> None:
    refused = clew("serve", "query", env={"CLEW_NATS": nats_server.url})
    assert refused.returncode == 4
    assert "run 'clew init'" in refused.stderr
    made = clew("init", "--shards", "1", env={"CLEW_NATS": nats_server.url})
    assert "created CLEW_EVT_00" in made.stdout
    with serving("query", CLEW_NATS=nats_server.url) as process:
        told(process, "ready")


async def test_a_taken_port_ends_the_api_and_says_which(deployment: EmbeddedServer) -> None:
    taken = f"127.0.0.1:{deployment.port}"
    refused = clew("serve", "api", env={"CLEW_NATS": deployment.url, "CLEW_HTTP": taken, "CLEW_API_KEYS": KEYS})
    assert refused.returncode == 1
    assert taken in refused.stderr
    assert "Traceback" not in refused.stderr
