"""The guide's walkthrough, from top to bottom: one ``clew up``, then three servers, and what may happen."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clew_events.client import sync
from clew_services import compose
from clew_services.cli import main
from support.cluster import Cluster, running_cluster
from support.up import CLEW, ROOT, environment, running_up
from support.waiting import PATIENCE, eventually, wait_until

GUIDE = (ROOT / "docs/operating/walkthrough.md").read_text()
SECTIONS = {
    heading: [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    for heading, body in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", GUIDE, re.MULTILINE | re.DOTALL)
}


class Operator:
    """Runs the guide's lines where they are to be run, with a thread's id and the cluster's addresses put in."""

    def __init__(self, folder: Path, cluster: Cluster, stack: ExitStack) -> None:
        self.folder = folder
        self.cluster = cluster
        self.stack = stack
        self.env: dict[str, str] = {}
        self.http = ""

    def walk(self, heading: str) -> None:
        assert SECTIONS[heading]
        for line in SECTIONS[heading]:
            self.line(line)

    def line(self, line: str) -> None:
        if line.startswith("export CLEW_NATS="):
            self.env["CLEW_NATS"] = self.cluster.url(user="operator")
            return
        if exported := re.match(r"export (\w+)=", line):
            shell = f'{line}; printf %s "${exported[1]}"'
            self.env[exported[1]] = subprocess.run(
                ["sh", "-c", shell], cwd=self.folder, check=True, capture_output=True, text=True
            ).stdout
            return
        program, *words = shlex.split(line, comments=True)
        if program in {"cp", "mkdir"}:
            subprocess.run([program, *words], cwd=self.folder, check=True)
            return
        assert program == "clew", line
        if words[0] == "serve":
            assert words.pop() == "&"
            self.serve(words[1:])
            return
        ran = self.clew(*("thread_docs" if word == "thread_…" else word for word in words))
        code = int(found[1]) if (found := re.search(r"# exits with (\d)", line)) else 0
        assert ran.exit_code == code, f"{line}: {ran.stdout}{ran.stderr}"
        assert ran.stdout.strip(), line

    def clew(self, *words: str) -> Result:
        return CliRunner().invoke(main, words, env=self.env)

    def metadata(self) -> dict[str, str]:
        found = self.clew("thread", "get", "thread_docs", "--json")
        assert found.exit_code == 0, found.stderr
        return dict(json.loads(found.stdout)["thread"]["metadata"])

    def serve(self, roles: list[str]) -> None:
        errors = self.folder / "serve.stderr"
        env = environment(
            CLEW_NATS=self.cluster.url(),
            CLEW_HTTP="127.0.0.1:0",
            CLEW_API_KEYS=self.env["CLEW_API_KEYS"],
            CLEW_SIGNING_KEY=self.env["CLEW_SIGNING_KEY"],
            CLEW_INDEX=str(self.folder / "index"),
        )
        with errors.open("w") as stream:
            process = subprocess.Popen([*CLEW, "serve", *roles], cwd=self.folder, env=env, stderr=stream)
        self.stack.callback(process.wait, PATIENCE)
        self.stack.callback(process.terminate)
        wait_until(lambda: "ready http" in errors.read_text())
        self.http = f"http://{errors.read_text().rpartition('ready http ')[2].split()[0]}/v1"

    def over_http(self, api_key: str) -> dict[str, str]:
        """The thread's metadata, as an application reads it that has a key."""
        headers = {"Authorization": f"Bearer {api_key}", "OpenAI-Beta": "assistants=v2"}
        request = urllib.request.Request(f"{self.http}/threads/thread_docs", headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return dict(json.load(answer)["metadata"])

    def over_nats(self) -> dict[str, str]:
        """The thread's metadata, as a service of the tenant reads it."""
        url = self.cluster.url(user="default-reader")
        with sync.connect(url, inbox_prefix="_INBOX_reader") as reader:
            return dict(reader.get_thread("thread_docs").thread.metadata)


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "servers").mkdir()
    with running_cluster(tmp_path / "servers") as cluster, ExitStack() as stack:
        yield Operator(tmp_path, cluster, stack)


async def tamper(cluster: Cluster) -> None:
    """Somebody who may do so writes a view."""
    async with compose.connect(cluster.url(user="operator"), name="tampering") as there:
        key = "default.thread_docs"
        await eventually(lambda: there.live.current.threads.latest(key))
        found = await there.live.current.threads.latest(key)
        assert found is not None
        assert b"weather" in found.body
        await there.live.current.threads.put(key, found.body.replace(b"weather", b"whether"), found.revision)


def lose_a_disk(operator: Operator) -> None:
    """The section's lines, of which the first ones are for the machine that the server is on."""
    removed, started, asked, *rest = SECTIONS["A server's disk is lost"]
    assert (removed, started) == ("rm -r clew-nats", "nats-server -c cluster-2.conf &")
    node = operator.cluster.nodes[2]
    node.stop(signal.SIGKILL)
    # What the lost server led waits until the others have elected.
    wait_until(lambda: operator.clew("thread", "update", "thread_docs", "--set", "two=left").exit_code == 0)
    subprocess.run(shlex.split(removed), cwd=node.folder, check=True)
    operator.cluster.start(2)
    there = shlex.split(asked.replace("127.0.0.1:8222", node.monitor))
    wait_until(
        lambda: json.loads(subprocess.run(there, capture_output=True, check=False).stdout or "{}") == {"status": "ok"}
    )
    for line in rest:
        operator.line(line)


def test_the_guide_leads_from_one_machine_to_three_and_through_a_lost_disk(operator: Operator, tmp_path: Path) -> None:
    with running_up(tmp_path / "clew-data", "--checkpoints", "0") as up:
        operator.env |= {"CLEW_NATS": up.nats_url, "CLEW_DATA": str(up.data)}
        assert operator.clew("thread", "create", "--id", "thread_docs", "-m", "topic=weather").exit_code == 0
        operator.walk("One machine")
        api_key = (up.data / "api-key").read_text().strip()
        assert operator.clew("thread", "update", "thread_docs", "--set", "late=yes").exit_code == 0
    operator.walk("The disk is lost")
    with running_up(tmp_path / "clew-data-2") as up:
        assert operator.clew("thread", "get", "thread_docs", "--nats", up.nats_url).exit_code == 0
        assert (up.data / "api-key").read_text() == (tmp_path / "clew-data/api-key").read_text()
        operator.http = up.base_url
        assert operator.over_http(api_key) == {"topic": "weather"}
    operator.walk("Three machines")
    assert operator.metadata() == {"topic": "weather", "late": "yes"}
    assert operator.over_http(api_key) == operator.over_nats() == operator.metadata()
    operator.walk("A rebuild")
    asyncio.run(tamper(operator.cluster))
    operator.walk("A drift alert")
    lose_a_disk(operator)
    assert operator.metadata() == {"topic": "weather", "late": "yes", "two": "left"}
