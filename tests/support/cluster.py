"""Three real NATS servers, configured by the files of ``infra/nats`` as they stand, on free ports of this machine."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clew_services.embedded import binary
from clew_services.embedded.tether import tethered
from support.ports import free_port
from support.up import ROOT

PASSWORD = "secret"
NUMBERS = (1, 2, 3)
PATIENCE = 60.0


class Node:
    """One of the three; ``client`` is its address for clients."""

    def __init__(self, number: int, folder: Path, client: str, route: str, monitor: str) -> None:
        self.number = number
        self.name = f"clew-{number}"
        self.folder = folder
        self.client = client
        self.monitor = monitor
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        for file in (ROOT / "infra/nats").glob("*.conf"):
            text = file.read_text()
            for ours, theirs in (("0.0.0.0:4222", client), ("0.0.0.0:6222", route), ("127.0.0.1:8222", monitor)):
                text = text.replace(ours, theirs)
            (folder / file.name).write_text(text)

    def start(self, environment: dict[str, str]) -> None:
        command = [str(binary.find()), "-c", f"cluster-{self.number}.conf", "-l", "log"]
        self._process = subprocess.Popen(
            tethered(command), cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it, or with SIGKILL kill it, and wait until it is gone."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def is_healthy(self) -> bool:
        """It takes clients, and every stream and consumer that it has a part in is up to date here."""
        return not self.trouble()

    def trouble(self) -> str:
        """What it is not well with."""
        try:
            with urllib.request.urlopen(f"http://{self.monitor}/healthz", timeout=10) as answer:
                said = answer.read()
        except urllib.error.HTTPError as fault:
            with fault:
                said = fault.read()
        except OSError as fault:
            return str(fault)
        found = json.loads(said)
        return "" if found["status"] == "ok" else str(found)

    def log(self) -> str:
        return (self.folder / "log").read_text()


class Cluster:
    """The three, which start together and go on without any one of them."""

    def __init__(self, folder: Path) -> None:
        ports = [f"127.0.0.1:{free_port()}" for _ in range(9)]
        client, route, monitor = ports[:3], ports[3:6], ports[6:]
        self.nodes = {
            number: Node(number, folder / str(number), client[i], route[i], monitor[i])
            for i, number in enumerate(NUMBERS)
        }
        text = "".join((ROOT / "infra/nats" / name).read_text() for name in ("accounts.conf", "cluster-1.conf"))
        self.environment = {
            **os.environ,
            **dict.fromkeys(re.findall(r"\$(\w+_PASSWORD)", text), PASSWORD),
            **{f"CLEW_ROUTE_{n}": f"nats://route:{PASSWORD}@{route[i]}" for i, n in enumerate(NUMBERS)},
        }

    def url(self, *numbers: int, user: str = "clew") -> str:
        """Where clients of some of the servers connect, or of all."""
        nodes = [self.nodes[number] for number in numbers or NUMBERS]
        return ",".join(f"nats://{user}:{PASSWORD}@{node.client}" for node in nodes)

    def start(self, *numbers: int) -> None:
        for number in numbers:
            self.nodes[number].start(self.environment)

    def stop(self) -> None:
        for node in self.nodes.values():
            if node.runs:
                node.stop(signal.SIGKILL)

    def is_healthy(self) -> bool:
        return all(node.is_healthy() for node in self.nodes.values() if node.runs)

    def until_healthy(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.is_healthy():
            assert time.monotonic() < deadline, [node.trouble() for node in self.nodes.values()]
            time.sleep(0.05)

    async def healthy(self) -> None:
        await asyncio.to_thread(self.until_healthy)

    def number_of(self, name: str) -> int:
        return next(number for number, node in self.nodes.items() if node.name == name)


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """Three servers that have found each other."""
    cluster = Cluster(folder)
    cluster.start(*NUMBERS)
    try:
        cluster.until_healthy()
        yield cluster
    finally:
        cluster.stop()
