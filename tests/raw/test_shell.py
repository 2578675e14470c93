"""Publishing with plain tools: the guide's shell program, and the same protocol spoken by hand."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from clew_events.client.sync import connect
from clew_services.testing import ClewServer, running_clew

PROGRAM = Path(__file__).parents[2] / "examples" / "publish.sh"


@pytest.fixture(scope="module")
def server() -> Iterator[ClewServer]:
    with running_clew() as running:
        yield running


def open_url(server: ClewServer) -> str:
    """Where NATS is, without user and password."""
    return re.sub("//[^/]*@", "//", server.nats_url)


def run(server: ClewServer, program: Path = PROGRAM) -> subprocess.CompletedProcess[str]:
    where = {"NATS_URL": open_url(server), "CLEW_URL": server.base_url, "CLEW_API_KEY": server.api_key}
    bash = shutil.which("bash")
    assert bash is not None
    return subprocess.run(
        [bash, program], env={**os.environ, **where}, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_shell_program_does_its_work_once_however_often_it_runs(server: ClewServer) -> None:
    first, second = run(server), run(server)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == second.stdout
    made, reply = first.stdout.splitlines()
    thread = made.removeprefix("made ")
    assert json.loads(reply.removeprefix("MSG: "))["ok"]["thread"]["metadata"] == {"paid": "yes"}
    with connect(server.nats_url) as clew:
        commits = [entry.commit for entry in clew.iter_history(thread)]
    assert [(commit.command, commit.id) for commit in commits][1:] == [("UpdateThread", "paid-1042")]
    assert len(commits) == 2


def test_the_shell_program_shows_a_refusal_with_its_headers(server: ClewServer, tmp_path: Path) -> None:
    wrong = tmp_path / "publish.sh"
    wrong.write_text(PROGRAM.read_text().replace('\\"paid\\": \\"yes\\"', '\\"paid\\": 1'))
    ran = run(server, wrong)
    assert ran.returncode == 1
    assert "HMSG: NATS/1.0" in ran.stdout
    assert "Nats-Service-Error-Code: 400" in ran.stdout
    assert '"param":"patch.set.paid"' in ran.stdout


def test_the_inbox_answers_a_plain_publish_over_a_socket(server: ClewServer) -> None:
    host, _, port = open_url(server).removeprefix("nats://").partition(":")
    body = b'{"id": "by-hand", "thread_id": "thread_by_hand"}'
    with socket.create_connection((host, int(port)), timeout=20) as wire, wire.makefile("rwb") as stream:
        assert stream.readline().startswith(b"INFO {")
        stream.write(b'CONNECT {"verbose":false}\r\nSUB stored 1\r\nUNSUB 1 1\r\n')
        stream.write(b"PUB clew.inbox.default.create_thread stored %d\r\n%s\r\n" % (len(body), body))
        stream.flush()
        while not (line := stream.readline()).startswith(b"MSG stored 1 "):
            assert line in {b"PING\r\n", b"PONG\r\n"}
        assert json.loads(stream.readline()) == {"stream": "CLEW_INBOX", "seq": 1}
    with connect(server.nats_url) as clew:
        assert clew.wait_for("thread_by_hand", 1).thread.id == "thread_by_hand"
