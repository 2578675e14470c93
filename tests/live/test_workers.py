"""Several workers on one port: what one has written the others read at once, and one that dies comes back."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from clew_services.embedded.server import EmbeddedServer
from support.up import CLEW, Up, await_end, environment, running_up
from support.waiting import PATIENCE, wait_until

KEY = "a-secret-key-of-ours"
WORKERS = 3


class Api:
    """The API of several workers. Each request has a connection of its own, so any of them may answer it."""

    def __init__(self, address: str, key: str) -> None:
        self.address = address
        self.key = key

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, object]]:
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        try:
            headers = {
                "Authorization": f"Bearer {self.key}",
                "Content-Type": "application/json",
                "OpenAI-Beta": "assistants=v2",
                **headers,
            }
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


@contextlib.contextmanager
def serving(url: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], Api]]:
    env = environment(
        CLEW_NATS=url, CLEW_HTTP="127.0.0.1:0", CLEW_API_KEYS=f"{KEY}:default", CLEW_INDEX=str(folder / "index")
    )
    words = [*CLEW, "serve", "api", "--workers", str(WORKERS)]
    with subprocess.Popen(words, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found: list[str] = []
            while len(found) < WORKERS:
                line = process.stderr.readline()
                assert line, process.poll()
                found += [line.split()[-1]] if "ready http" in line else []
            assert len(set(found)) == 1
            yield process, Api(found[0], KEY)
        finally:
            process.kill()


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in found if b"\0serve\0" in Path(f"/proc/{each}/cmdline").read_bytes()]


def listening(port: int, pids: Sequence[int]) -> int:
    """How many of some processes listen on a port."""
    rows = (row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:])
    sockets = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}
    found = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            held = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
            found += bool(held & sockets)
    return found


def eventually_listening(process: int, port: int, count: int = WORKERS) -> None:
    """Wait for every worker: a server is ready as soon as one of them answers."""
    wait_until(lambda: listening(port, children(process)) >= count)


async def test_what_one_worker_has_written_every_other_reads_at_once_and_the_dead_come_back(
    deployment: EmbeddedServer, tmp_path: Path
) -> None:
    with serving(deployment.url, tmp_path) as (process, api):
        port = int(api.address.rpartition(":")[2])
        eventually_listening(process.pid, port)
        workers = children(process.pid)
        assert len(workers) == WORKERS
        status, thread = api.ask("POST", "/v1/threads", {})
        assert status == 200
        for step in range(12):
            changed = api.ask("POST", f"/v1/threads/{thread['id']}", {"metadata": {"step": str(step)}})
            assert changed[0] == 200
            seen = [api.ask("GET", f"/v1/threads/{thread['id']}")[1] for _ in range(3)]
            assert [each["metadata"] for each in seen] == [{"step": str(step)}] * 3
        made = {str(api.ask("POST", "/v1/threads", {}, **{"Idempotency-Key": "once"})[1]["id"]) for _ in range(9)}
        assert len(made) == 1
        os.kill(workers[1], signal.SIGKILL)
        await_end(workers[1])
        eventually_listening(process.pid, port)
        assert api.ask("GET", f"/v1/threads/{thread['id']}")[0] == 200
        workers = children(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        await_end(*workers)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("workers") / "data", "--workers", "2") as running:
        yield running


def test_all_of_clew_comes_with_as_many_workers_as_are_asked_for(up: Up) -> None:
    parts = up.children()
    assert {"serve api"} == {name for name in parts if "api" in name}
    address = up.base_url.removeprefix("http://").removesuffix("/v1")
    eventually_listening(up.process.pid, int(address.rpartition(":")[2]), 2)
    workers = [pid for pid in children(up.process.pid) if b"\0api\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(workers) == 2
    api = Api(address, up.api_key)
    status, thread = api.ask("POST", "/v1/threads", {"metadata": {"a": "b"}})
    assert status == 200
    assert {json.dumps(api.ask("GET", f"/v1/threads/{thread['id']}")[1]["metadata"]) for _ in range(8)} == {
        '{"a": "b"}'
    }
