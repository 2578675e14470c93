"""A server that keeps tenants and users apart, as ``infra/nats/accounts.conf`` has it, and its users."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
from nats.aio.client import Client

from clew_events import client
from clew_projections.kv.key_names import THREADS
from clew_projections.nats.jetstream import stream_state
from clew_projections.nats.lean_client import LeanClient
from clew_services import compose
from clew_services.embedded import config
from clew_services.embedded.config import SERVER
from clew_services.embedded.server import EmbeddedServer
from support.up import ROOT
from support.waiting import eventually

TENANTS = ("acme", "globex")
ROLES = ("publisher", "reader", "auditor", "eraser", "counsel", "archivist")
SHARDS = 2
BY_THE_CLOCK = re.compile(r"\.(_checkpoint|_proved)\.|^\$KV\.clew_leases\.")
BLOCK = re.compile(r"^  acme \{\n.*?^  \}\n", re.MULTILINE | re.DOTALL)


class Accounts:
    """A server with Clew's account and two tenants', and the passwords of all users."""

    def __init__(self, folder: Path) -> None:
        self.conf = folder / "accounts.conf"
        shutil.copy(ROOT / "infra/nats/single.conf", folder)
        text = (ROOT / "infra/nats/accounts.conf").read_text()
        (block,) = BLOCK.findall(text)
        self.text = text.replace(block, block + block.replace("acme", "globex").replace("ACME", "GLOBEX"))
        self.conf.write_text(self.text)
        self.passwords = {name: secrets.token_hex(8) for name in re.findall(r"password: \$(\w+)", self.text)}
        self.environment = {**self.passwords, "CLEW_MAX_FILE_STORE": "1GB"}
        self.server = EmbeddedServer(folder / "data", sync="2m")

    def configuration(self, data: Path, *, port: int, sync: str, base: str) -> str:
        """Ours, with the addresses and the folder of a test; its accounts are in the place of the server's own."""
        embedded = config.configuration(data, port=port, sync=sync, base=base)
        return f'include "../{self.conf.name}"\n{embedded.replace(SERVER, "accounts")}\n'

    def url(self, user: str) -> str:
        name = "CLEW" if user == "clew" else user.upper().replace("-", "_")
        name = f"CLEW_{name}" if user in {"operator", "erasure"} else name
        return self.server.url.replace("//", f"//{user}:{self.passwords[name + '_PASSWORD']}@")

    def log(self) -> str:
        return (self.server.data / "nats-server.log").read_text()


class User:
    """A connection that notes what it is not allowed."""

    def __init__(self) -> None:
        self.nc = Client()
        self.denied: list[str] = []

    async def note(self, error: Exception) -> None:
        self.denied.append(str(error))

    async def seen(self) -> None:
        """The server has seen to all that was done, and its objections are here."""
        await self.nc.flush()
        await self.nc.flush()  # the first asks ahead of what is still to be sent

    async def refused(self, kind: str, subject: str, how: str = "") -> None:
        """The server has refused what was last done, of that kind and on that subject, and nothing else."""
        await self.seen()
        said, self.denied = self.denied, []
        assert said == [f'nats: permissions violation for {kind} to "{subject.lower()}"{how}']


class Claimant(LeanClient):
    """A client that names an nkey beside its password, and signs for it or does not."""

    def __init__(self, nkey: str, *, sign: Callable[[str], str] | None = None) -> None:
        super().__init__()
        self._nkey = nkey
        self._sign = sign

    def _connect_command(self) -> bytes:
        options = json.loads(super()._connect_command().removeprefix(b"CONNECT ")) | {"nkey": self._nkey}
        if self._sign is not None:
            options["sig"] = self._sign(str(self._server_info["nonce"]))
        return b"CONNECT " + json.dumps(options).encode() + b"\r\n"


@contextlib.asynccontextmanager
async def connected_as(accounts: Accounts, user: str) -> AsyncIterator[User]:
    made = User()
    prefix = f"_INBOX_{user.partition('-')[2]}" if "-" in user else "_INBOX"
    await made.nc.connect(accounts.url(user), error_cb=made.note, inbox_prefix=prefix, max_reconnect_attempts=1)
    try:
        yield made
    finally:
        await made.nc.close()


def asking(accounts: Accounts, role: str, tenant: str = "acme", *, timeout: float = 60.0):
    url = accounts.url(f"{tenant}-{role}")
    return client.connect(url, tenant=tenant, actor=role, timeout=timeout, inbox_prefix=f"_INBOX_{role}")


class Listed(msgspec.Struct):
    config: dict[str, object]
    state: dict[str, object]


async def everything(operator: compose.Connection) -> dict[str, dict[str, object]]:
    """All that must not change where nothing is to happen, once nothing is under way.

    Every stream, its settings, its consumers, and which messages are in it; but for what Clew writes by the clock, and
    the inbox's consumer, of which there is another for each term.
    """
    await settled(operator)
    found: dict[str, dict[str, object]] = {}
    listed = (await operator.js.api("STREAM.LIST"))["streams"]
    for stream in msgspec.convert(listed, list[Listed]):
        name = str(stream.config["name"])
        consumers = (await operator.js.api(f"CONSUMER.NAMES.{name}"))["consumers"] if name != "CLEW_INBOX" else None
        held = {each: stream.state.get(each) for each in ("first_seq", "last_seq", "messages")}
        if name.startswith("KV_"):
            subjects = [each for each in await operator.js.subjects(name, ">") if not BY_THE_CLOCK.search(each)]
            held = {subject: stored.seq for subject, stored in (await operator.js.lasts(name, subjects)).items()}
        found[name] = {"settings": stream.config, "consumers": consumers, **held}
    return found


async def settled(operator: compose.Connection) -> None:
    """Nothing is left in the inbox, and everything is projected."""

    async def is_settled() -> bool:
        infos = [await operator.js.api(f"CONSUMER.INFO.CLEW_EVT_{shard:02d}.{THREADS}") for shard in range(SHARDS)]
        waiting = [info[count] for info in infos for count in ("num_pending", "num_ack_pending")]
        return not any((*waiting, (await stream_state(operator.js, "CLEW_INBOX")).messages))

    await eventually(is_settled)
