"""Three real NATS servers, configured by the files of ``infra/nats`` as they stand, on free ports of this machine."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from clew_services import compose
from clew_services.embedded import binary
from clew_services.host.tether import tether_command
from support.freezing import freeze, go_on
from support.ports import free_port
from support.routes import Routes
from support.up import ROOT, clew
from support.waiting import PATIENCE, eventually, wait_until

BLOCK = re.compile(r"^  acme \{\n.*?^  \}\n", re.MULTILINE | re.DOTALL)
PASSWORD = "secret"
NUMBERS = (1, 2, 3)
SHARDS = 2


def with_default(text: str) -> str:
    """A configuration in which the tenant ``default`` has an account, as the guide has it made."""
    return BLOCK.sub(lambda block: block[0] + block[0].replace("acme", "default").replace("ACME", "DEFAULT"), text)


class Node:
    """One of the three; ``client`` is its address for clients, ``reached`` the one at which the others reach it."""

    def __init__(self, number: int, folder: Path, client: str, route: str, monitor: str, *, reached: str) -> None:
        self.number = number
        self.name = f"clew-{number}"
        self.folder = folder
        self.client = client
        self.monitor = monitor
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        for file in (ROOT / "infra/nats").glob("*.conf"):
            text = with_default(file.read_text())
            for ours, theirs in (("0.0.0.0:4222", client), ("0.0.0.0:6222", route), ("127.0.0.1:8222", monitor)):
                text = text.replace(ours, theirs)
            listen = f'listen: "{route}"'
            (folder / file.name).write_text(text.replace(listen, f'{listen}\n  advertise: "{reached}"'))

    def start(self, environment: dict[str, str]) -> None:
        command = [str(binary.find()), "-c", f"cluster-{self.number}.conf", "-l", "log"]
        self._process = subprocess.Popen(
            tether_command(command), cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it, or with SIGKILL kill it, and wait until it is gone."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None

    def freeze(self) -> None:
        """Have it say nothing more, as if its machine had died: its connections stay open, and nothing comes back."""
        assert self._process is not None
        freeze(self._process.pid)

    def go_on(self) -> None:
        """Have it go on where it was frozen."""
        assert self._process is not None
        go_on(self._process.pid)

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

    def leads_all(self) -> bool:
        """It leads the cluster, and all the others are there: streams can be made."""
        try:
            with urllib.request.urlopen(f"http://{self.monitor}/jsz", timeout=10) as answer:
                meta = json.loads(answer.read()).get("meta_cluster", {})
        except OSError:
            return False
        there = [each for each in meta.get("replicas", ()) if each["current"] and not each.get("offline")]
        return len(there) == len(NUMBERS) - 1

    def log(self) -> str:
        file = self.folder / "log"
        return file.read_text() if file.exists() else ""


class Cluster:
    """The three, which start together and go on without any one of them."""

    def __init__(self, folder: Path, routes: Routes | None = None) -> None:
        """``routes`` are what stands between them, if anything does."""
        ports = [f"127.0.0.1:{free_port()}" for _ in range(9)]
        client, route, monitor = ports[:3], ports[3:6], ports[6:]
        reached = [routes.before(f"clew-{n}", route[i]) for i, n in enumerate(NUMBERS)] if routes else route
        self.nodes = {
            number: Node(number, folder / str(number), client[i], route[i], monitor[i], reached=reached[i])
            for i, number in enumerate(NUMBERS)
        }
        files = (ROOT / "infra/nats" / name for name in ("accounts.conf", "cluster-1.conf"))
        text = "".join(with_default(file.read_text()) for file in files)
        self.environment = {
            **os.environ,
            **dict.fromkeys(re.findall(r"\$(\w+_PASSWORD)", text), PASSWORD),
            "CLEW_MAX_FILE_STORE": "10GB",
            **{f"CLEW_ROUTE_{n}": f"nats://route:{PASSWORD}@{reached[i]}" for i, n in enumerate(NUMBERS)},
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

    def until_whole(self) -> None:
        """Wait until the three have found each other."""

        wait_until(
            lambda: any(node.leads_all() for node in self.nodes.values()),
            why=lambda: [node.log() for node in self.nodes.values()],
        )

    def until_healthy(self) -> None:
        wait_until(self.is_healthy, why=lambda: [node.trouble() for node in self.nodes.values()])

    async def healthy(self) -> None:
        await asyncio.to_thread(self.until_healthy)

    def number_of(self, name: str) -> int:
        return next(number for number, node in self.nodes.items() if node.name == name)


@contextmanager
def running_cluster(folder: Path, routes: Routes | None = None) -> Iterator[Cluster]:
    """Three servers that have found each other, through ``routes`` if they are given."""
    cluster = Cluster(folder, routes)
    cluster.start(*NUMBERS)
    try:
        cluster.until_whole()
        cluster.until_healthy()
        yield cluster
    finally:
        cluster.stop()


@contextmanager
def deployed_cluster(folder: Path, routes: Routes | None = None) -> Iterator[Cluster]:
    """The same with Clew's streams, in two shards."""
    with running_cluster(folder, routes) as running:
        asked = ("init", "--replicas", "3", "--shards", str(SHARDS))
        made = clew(*asked, env={"CLEW_NATS": running.url(user="operator")})
        if made.returncode:
            # Servers that have just met may still replace a connection by another, and lose what was on it.
            made = clew(*asked, env={"CLEW_NATS": running.url(user="operator")})
        assert made.returncode == 0, made.stderr
        yield running


@asynccontextmanager
async def operating(cluster: Cluster, user: str = "operator") -> AsyncIterator[compose.Connection]:
    async with compose.connection(cluster.url(user=user), name=user) as made:
        yield made


async def leader_of(operator: compose.Connection, stream: str) -> str:
    async def known() -> str:
        info = (await operator.js.api(f"STREAM.INFO.{stream}"))["cluster"]
        assert isinstance(info, dict)
        return str(info.get("leader", ""))

    return await eventually(known)
