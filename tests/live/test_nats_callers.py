"""Who sent a command over NATS, by the word of a real server: what a client can have it say, and what it cannot."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats.errors
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats.aio.msg import Msg

from clew_projections.nats.lean_client import LeanClient
from clew_services.embedded import config
from clew_services.embedded import server as embedded
from clew_services.embedded.server import EmbeddedServer
from clew_services.nats_api.caller import caller_of
from clew_services.nats_api.tolerant_client import TolerantClient
from support.accounts import Claimant, User
from support.up import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)

LONG = "l" * 61


def nkey(public: bytes) -> str:
    """The name of a user with this public key: a prefix, the key, and a check sum."""
    named = bytes([20 << 3]) + public
    return base64.b32encode(named + binascii.crc_hqx(named, 0).to_bytes(2, "little")).decode().rstrip("=")


def sign(nonce: str) -> str:
    return base64.urlsafe_b64encode(KEY.sign(nonce.encode())).decode().rstrip("=")


NKEY = nkey(KEY.public_key().public_bytes_raw())
ACCOUNTS = f"""
accounts {{
  clew {{
    users: [
      {{ user: service, password: p }}
      {{ user: inside, password: p, permissions: {{ publish: {{ deny: "clew.imported.>" }} }} }}
    ]
    exports: [
      {{ service: "clew.imported.*.*", account_token_position: 3 }}
      {{ service: "clew.cmd.*.*" }}
    ]
  }}
  acme {{
    users: [
      {{ user: billing, password: p }}
      {{ user: "Zoë /*>", password: p }}
      {{ user: "{LONG}", password: p }}
      NKEYS
    ]
    imports: [
      {{ service: {{ account: clew, subject: "clew.imported.acme.*" }}, to: "clew.cmd.acme.*", share: true }}
      {{ service: {{ account: clew, subject: "clew.cmd.plain.*" }}, share: true }}
    ]
    exports: [{{ service: "clew.cmd.acme.*" }}]
  }}
  silent {{
    users: [{{ user: silent, password: p }}]
    imports: [{{ service: {{ account: clew, subject: "clew.imported.silent.*" }}, to: "clew.cmd.silent.*" }}]
  }}
  partner {{
    users: [{{ user: partner, password: p }}]
    imports: [{{ service: {{ account: acme, subject: "clew.cmd.acme.*" }}, to: "ask.*", share: true }}]
  }}
  stranger {{
    users: [{{ user: stranger, password: p }}]
    imports: [{{ service: {{ account: acme, subject: "clew.cmd.acme.*" }}, to: "ask.*" }}]
  }}
}}
"""
FORGED = b'Nats-Request-Info: {"acc":"acme","user":"boss","kind":"Client"}\r\n'
FORGERIES = {
    "none": b"",
    "plain": FORGED,
    "twice": FORGED + FORGED,
    "in small letters": FORGED.lower(),
    "with a blank": FORGED.replace(b":", b" :", 1),
    "after a line feed": b"a: b\n" + FORGED + b"a line that is no header\r\n",
    "unseen by the server": b"a: Nats-Request-InfoNats-Request-Info\r\n" + FORGED,
    "before what is no header": b"a: Nats-Request-InfoNats-Request-Info\r\n" + FORGED + b"\r\nno: header\r\n",
}


@contextlib.contextmanager
def configured(accounts: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "accounts", lambda _password, *, limit: accounts)
        yield


@contextlib.asynccontextmanager
async def answered(folder: Path, accounts: str) -> AsyncIterator[EmbeddedServer]:
    """A server with these accounts, where each request is answered with who its caller is."""

    async def answer(message: Msg) -> None:
        await message.respond(caller_of(message).encode())

    with configured(accounts):
        async with EmbeddedServer(folder, sync="2m") as server:
            service = TolerantClient()
            await service.connect(server.url, user="service", password="p")
            await service.subscribe("clew.imported.*.*", cb=answer)
            await service.subscribe("clew.cmd.*.*", cb=answer)
            await service.flush()
            yield server
            await service.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedServer]:
    async with answered(
        tmp_path_factory.mktemp("callers"), ACCOUNTS.replace("NKEYS", f"{{ nkey: {NKEY} }}")
    ) as started:
        yield started


async def ask(
    server: EmbeddedServer,
    subject: str,
    *,
    user: str | None = None,
    head: bytes = b"",
    client: LeanClient | None = None,
) -> str:
    """Who this is to Clew, as one who writes these headers."""
    asking = client or LeanClient()
    try:
        await asking.connect(server.url, user=user, password=user and "p", allow_reconnect=False, error_cb=ignore)
        inbox = asking.new_inbox()
        replies = await asking.subscribe(inbox)
        asking.post(subject, b"{}", inbox, b"NATS/1.0\r\n" + head + b"\r\n" if head else b"")
        return (await replies.next_msg(timeout=60)).data.decode()
    finally:
        await asking.close()


async def ignore(_: Exception) -> None:
    pass


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_through_an_import_that_shares_the_user_is_known_whatever_its_headers_say(
    server: EmbeddedServer, forgery: str
) -> None:
    assert await ask(server, "clew.cmd.acme.create_thread", user="billing", head=FORGERIES[forgery]) == (
        "nats:acme/billing"
    )


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_through_an_import_that_does_not_share_nobody_is_known(server: EmbeddedServer, forgery: str) -> None:
    assert await ask(server, "clew.cmd.silent.create_thread", user="silent", head=FORGERIES[forgery]) == "nats"


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_within_the_account_and_on_the_plain_subject_nobody_is_known(
    server: EmbeddedServer, forgery: str
) -> None:
    assert await ask(server, "clew.cmd.acme.create_thread", user="inside", head=FORGERIES[forgery]) == "nats"
    assert await ask(server, "clew.cmd.plain.create_thread", user="billing", head=FORGERIES[forgery]) == "nats"


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_who_may_publish_to_the_imports_subject_within_the_account_is_still_nobody(
    server: EmbeddedServer, forgery: str
) -> None:
    assert await ask(server, "clew.imported.acme.create_thread", user="service", head=FORGERIES[forgery]) == "nats"


@pytest.mark.parametrize("user", ["service", "billing"])
async def test_no_client_names_a_reply_subject_as_an_import_has_it(server: EmbeddedServer, user: str) -> None:
    claimant = User()
    await claimant.nc.connect(server.url, user=user, password="p", error_cb=claimant.note)
    await claimant.nc.publish("clew.imported.acme.create_thread", b"{}", reply="_R_.abcdef.abcdef")
    await claimant.seen()
    await claimant.nc.close()
    assert claimant.denied == ['nats: permissions violation for publish with reply of "_r_.abcdef.abcdef"']


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_through_two_imports_the_first_account_is_known_if_it_shares(
    server: EmbeddedServer, forgery: str
) -> None:
    assert await ask(server, "ask.create_thread", user="partner", head=FORGERIES[forgery]) == "nats:partner/partner"
    assert await ask(server, "ask.create_thread", user="stranger", head=FORGERIES[forgery]) == "nats"


async def test_odd_names_are_escaped_and_long_ones_are_hashed(server: EmbeddedServer) -> None:
    assert await ask(server, "clew.cmd.acme.x", user="Zoë /*>") == "nats:acme/Zo%C3%AB%20%2F%2A%3E"
    assert (await ask(server, "clew.cmd.acme.x", user=LONG)).startswith("nats:acme/sha256:")


async def test_an_nkey_is_known_by_its_public_half(server: EmbeddedServer) -> None:
    assert await ask(server, "clew.cmd.acme.x", client=Claimant(NKEY, sign=sign)) == f"nats:acme/{NKEY}"


@pytest.mark.parametrize("claimed", ["boss", NKEY])
async def test_a_server_that_knows_an_nkey_lets_nobody_in_who_only_names_one(
    server: EmbeddedServer, claimed: str
) -> None:
    with pytest.raises(nats.errors.Error, match="Authorization"):
        await ask(server, "clew.cmd.acme.x", user="billing", client=Claimant(claimed))


async def test_the_nkey_of_nobody_is_the_hash_of_that_word() -> None:
    (ours,) = re.findall(r"nkey: (\w+)", config.accounts("secret1", limit=1))
    (example,) = re.findall(r"nkey: (\w+)", (ROOT / "infra/nats/accounts.conf").read_text())
    assert ours == example == nkey(hashlib.sha256(b"nobody").digest())


async def test_a_server_that_knows_no_nkey_believes_one_that_is_only_named(tmp_path: Path) -> None:
    """This is why each of Clew's configurations has an nkey. With a server that asks for proof, none needs it."""
    async with answered(tmp_path, ACCOUNTS.replace("NKEYS", "")) as credulous:
        assert await ask(credulous, "clew.cmd.acme.x", user="billing", client=Claimant("boss")) == "nats:acme/boss"
