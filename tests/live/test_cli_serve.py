"""``clew serve``: any choice of parts in one process, started and stopped as an init system does it."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
from collections.abc import Iterator

import httpx2
import pytest

from clew_services.embedded.server import EmbeddedServer
from support.callers import calling
from support.up import CLEW, clew, environment
from support.waiting import PATIENCE

KEYS = "a-secret-key-of-ours:default"


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
        assert "no service listens" in refused.stderr


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


@contextlib.contextmanager
def few_descriptors() -> Iterator[None]:
    """A block in which processes are started that may have 128 descriptors, and raise that themselves."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_whoever_holds_many_connections_shuts_no_key_holder_out(deployment: EmbeddedServer) -> None:
    key, _, _ = KEYS.partition(":")
    async with contextlib.AsyncExitStack() as stack:
        with few_descriptors():
            env = {"CLEW_NATS": deployment.url, "CLEW_HTTP": "127.0.0.1:0", "CLEW_API_KEYS": KEYS}
            process = stack.enter_context(serving("api", **env))
            url = "http://" + told(process, "ready http 127.0.0.1:").split()[-1]
        for _ in range(160):
            caller = await stack.enter_async_context(calling(url))
            await caller.send(b"POST /v1/threads HTTP/1.1\r\nHost: clew\r\nContent-Length: 1000000\r\n\r\n{")
        headers = {"Authorization": f"Bearer {key}", "OpenAI-Beta": "assistants=v2"}
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            assert (await http.post(f"{url}/v1/threads")).status_code == 200
