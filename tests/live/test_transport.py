"""Connections with real TLS on both sides, and users with NKeys, creds and passwords in files."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import msgspec
import pytest

from clew_events import client
from clew_events.errors import Unauthorized, Unavailable
from clew_events.nats_security import NatsSecurity
from clew_services import compose
from clew_services.compose.roles import metrics_source
from clew_services.eventstore import provision
from clew_services.http import http_server, tls_certificate
from clew_services.metrics.instruments import Instruments
from clew_services.process.up import until_ready
from clew_services.settings import Settings
from support import api
from support.certificates import Authority, NKey, OwnServer, private
from support.cli import clew
from support.nats_services import all_of_clew
from support.ports import free_port
from support.up import ROOT
from support.waiting import eventually


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "theirs")


def tls(files: tuple[Path, Path], more: str = "") -> str:
    return f'tls {{ cert_file: "{files[0]}", key_file: "{files[1]}", {more} }}'


async def refusal(url: str, **files: Path) -> str:
    security = msgspec.convert({name: str(file) for name, file in files.items()}, NatsSecurity)
    with pytest.raises(Unauthorized) as refused:
        async with compose.connection(url, name="test", patience=60, security=security):
            pass
    assert refused.value.code == "nats_tls"
    return refused.value.message.removeprefix(f"no TLS with the NATS server at {url}: ")


async def test_a_server_is_trusted_by_its_authority_its_name_its_dates_and_what_was_revoked(
    ours: Authority, theirs: Authority, tmp_path: Path
) -> None:
    good = ours.issue("server", "127.0.0.1")
    server = OwnServer(tmp_path / "data", tls(good))
    async with server:
        async with compose.connection(server.url, name="test", security=NatsSecurity(ca=str(ours.file))) as made:
            await made.nc.flush()
        hint = "name the certificate of its authority with ca (--nats-ca, CLEW_NATS_CA)"
        untrusted = f"its certificate is not trusted: unable to get local issuer certificate: {hint}"
        assert await refusal(server.url) == untrusted
        assert await refusal(server.url, ca=theirs.file) == untrusted
        assert await refusal(server.url, ca=ours.revoking(good[0])) == (
            "its certificate is not trusted: certificate revoked"
        )
    for files, reason in (
        (ours.issue("old", "127.0.0.1", expired=True), "certificate has expired"),
        (ours.issue("other", "nats.example"), "IP address mismatch, certificate is not valid for '127.0.0.1'"),
    ):
        async with OwnServer(tmp_path / files[0].stem, tls(files)) as server:
            assert await refusal(server.url, ca=ours.file) == f"its certificate is not trusted: {reason}"


async def test_a_server_that_knows_clients_by_their_certificates_takes_those_of_its_authority(
    ours: Authority, theirs: Authority, tmp_path: Path
) -> None:
    verified = tls(ours.issue("server", "127.0.0.1"), f'ca_file: "{ours.file}", verify: true')
    async with OwnServer(tmp_path / "data", verified) as server:
        cert, key = ours.issue("client", "clew")
        security = NatsSecurity(ca=str(ours.file), cert=str(cert), key=str(key))
        async with compose.connection(server.url, name="test", security=security) as made:
            await made.nc.flush()
        assert (await refusal(server.url, ca=ours.file)).startswith("it requires a client's certificate: name one with")
        for files, reason in (
            (theirs.issue("client", "clew"), "unknown ca"),
            (ours.issue("old", "clew", expired=True), "certificate expired"),
        ):
            said = await refusal(server.url, ca=ours.file, cert=files[0], key=files[1])
            assert said.startswith("it does not take the client's certificate: ")
            assert said.endswith(reason)
        ran = await asyncio.to_thread(clew, "init", "--nats", server.url, "--nats-ca", str(ours.file))
        assert (ran.returncode, ran.stdout) == (1, "")
        assert re.fullmatch("clew: no TLS with .* it requires a client's certificate: .*nats_tls]\n", ran.stderr)


async def test_nothing_is_said_to_a_server_without_tls_where_tls_is_asked_for(ours: Authority, tmp_path: Path) -> None:
    async with OwnServer(tmp_path / "data", "") as server:
        for url, files in ((server.url, {"ca": ours.file}), (server.url.replace("nats:", "tls:"), {})):
            assert await refusal(url, **files) == (
                "it has no TLS, which is required of it by a tls:// URL, or by ca or cert"
            )


async def test_tls_comes_first_where_a_server_says_nothing_before(
    ours: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def accepts(port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    monkeypatch.setattr("clew_services.embedded.server._await_greeting", accepts)  # there is none in the open
    files = ours.issue("server", "127.0.0.1")
    first = NatsSecurity(ca=str(ours.file), tls_first=True)
    async with OwnServer(tmp_path / "first", tls(files, "handshake_first: true")) as server:
        async with compose.connection(server.url, name="test", patience=60, security=first) as made:
            await made.nc.flush()
        with pytest.raises(Unavailable, match="If it has handshake_first, say so with tls_first"):
            async with compose.connection(
                server.url, name="test", patience=3, security=NatsSecurity(ca=str(ours.file))
            ):
                pass
    async with OwnServer(tmp_path / "later", tls(files)) as server:
        ran = await asyncio.to_thread(
            clew, "init", "--nats", server.url, "--nats-ca", str(ours.file), "--nats-tls-first", "yes"
        )
        # It may hang up, at what it takes for no command of NATS, before anybody reads what it said.
        assert ran.returncode in {1, 4}, ran.stderr
        assert re.search("it has no handshake_first, (so )?leave out tls_first", ran.stderr), ran.stderr


async def test_a_password_and_a_certificate_are_read_again_when_the_connection_is_made_again(
    ours: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def text(password: str, files: tuple[Path, Path]) -> str:
        return tls(files) + f"\naccounts {{ clew {{ users: [{{ user: clew, password: {password} }}] }} }}"

    password, trusted = private(tmp_path / "password", "first\n"), tmp_path / "ca.pem"
    trusted.write_bytes(ours.file.read_bytes())
    server = OwnServer(tmp_path / "data", text("first", ours.issue("server", "127.0.0.1")))
    security = NatsSecurity(user="clew", password_file=str(password), ca=str(trusted))
    async with server, compose.connection(server.url, name="test", security=security) as made:
        other = Authority(tmp_path / "other")
        password.write_text("second\n")
        trusted.write_bytes(other.file.read_bytes())
        server.reload(text("second", other.issue("server", "127.0.0.1")))
        await eventually(lambda: made.made > 1 and made.nc.is_connected)
        await made.nc.flush()
        password.unlink()  # a reconnect that cannot read its files is tried again
        server.reload(text("third", other.issue("server", "127.0.0.1")))
        await eventually(lambda: f"cannot read {password}" in caplog.text)
        private(password, "third\n")
        await eventually(lambda: made.made > 2 and made.nc.is_connected)
        await made.nc.flush()
        password.write_text("wrong\n")
        with pytest.raises(Unauthorized, match="refuses these credentials"):
            async with compose.connection(server.url, name="late", patience=60, security=security):
                pass


def jwt(issuer: NKey, subject: str, kind: str, **more: object) -> str:
    """A JSON Web Token of NATS, as nsc makes it."""

    def encode(part: bytes) -> str:
        return base64.urlsafe_b64encode(part).decode().rstrip("=")

    claims = {"jti": "x", "iat": 1, "iss": issuer.public, "name": kind, "sub": subject}
    nats = {"type": kind, "version": 2, **more}
    head = encode(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    signed = f"{head}.{encode(json.dumps({**claims, 'nats': nats}).encode())}"
    return f"{signed}.{encode(issuer.sign(signed.encode()))}"


async def test_a_creds_file_logs_in_until_its_user_is_revoked(tmp_path: Path) -> None:
    operator, account, system, user = NKey(14), NKey(0), NKey(0), NKey()
    limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)

    def text(**more: object) -> str:
        tokens = {
            each.public: jwt(operator, each.public, "account", limits={**limits, "wildcards": True}, **settings)
            for each, settings in ((account, more), (system, {}))
        }
        return (
            f"operator: {jwt(operator, operator.public, 'operator')}\nresolver: MEMORY\n"
            f"system_account: {system.public}\nresolver_preload: {json.dumps(tokens)}"
        )

    of_user = jwt(account, user.public, "user", **dict.fromkeys(("subs", "data", "payload"), -1))
    creds = private(
        tmp_path / "user.creds",
        f"-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n",
    )
    server, security = OwnServer(tmp_path / "data", text()), NatsSecurity(creds=str(creds))
    async with server:
        async with compose.connection(server.url, name="test", security=security) as made:
            await made.nc.flush()
            server.reload(text(revocations={user.public: 2_000_000_000}))
            await eventually(lambda: made.made > 1)
        with pytest.raises(Unauthorized, match="refuses these credentials"):
            async with compose.connection(server.url, name="late", patience=60, security=security):
                pass


async def test_users_have_nkeys_where_the_guide_puts_them_in_the_place_of_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (command,) = re.findall("^(sed .*) > accounts-nkeys.conf$", (ROOT / "docs/keys.md").read_text(), re.MULTILINE)
    shutil.copy(ROOT / "infra/nats/accounts.conf", tmp_path)
    made = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "PASSWORD" not in re.sub("#.*", "", made)
    keys = {name: NKey() for name in re.findall(r"nkey: \$(\w+)", made)}
    for name, key in keys.items():
        monkeypatch.setenv(name, key.public)

    def seed(name: str) -> NatsSecurity:
        return NatsSecurity(nkey=str(private(tmp_path / name, keys[name].seed)))

    server = OwnServer(tmp_path / "data", made.replace('include "single.conf"', ""))
    async with server:
        async with compose.connection(server.url, name="init", security=seed("CLEW_OPERATOR_NKEY")) as operator:
            await provision.init(operator.js, shards=1, max_msg_size=operator.nc.max_payload)

        def asking(role: str):
            security = seed(f"ACME_{role.upper()}_NKEY")
            return client.connect(
                server.url, tenant="acme", inbox_prefix=f"_INBOX_{role}", timeout=60, security=security
            )

        async with (
            all_of_clew(server.url, seed("CLEW_NKEY")),
            asking("publisher") as publisher,
            asking("auditor") as auditor,
        ):
            thread = (await publisher.create_thread()).thread.id
            (entry,) = (await auditor.history(thread)).commits
            assert entry.commit.by == f"nats:acme/{keys['ACME_PUBLISHER_NKEY'].public}"
            assert (await auditor.history(thread)).commits == (entry,)
        server.reload(server.text.replace("nkey: $ACME_AUDITOR_NKEY", f"nkey: {NKey().public}"))

        async def is_revoked() -> bool:
            try:
                async with asking("auditor"):
                    return False
            except Unauthorized:
                return True

        await eventually(is_revoked)


async def health_check(url: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """What the image runs to know whether its API answers."""
    (words,) = re.findall(r"^HEALTHCHECK .*? CMD (\[.*\])$", (ROOT / "infra/Dockerfile").read_text(), re.MULTILINE)
    program, *arguments = json.loads(words)
    assert program == "python"
    env = {"CLEW_HTTP": url.partition("://")[2], **settings}
    command = [sys.executable, *arguments]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, env=env)


async def test_the_image_knows_whether_its_api_answers(clew: compose.Clew) -> None:
    async with api.served(clew) as url:
        assert (await health_check(url)).returncode == 0
    assert (await health_check(url)).returncode == 1


def trusting(authority: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority))
    if b"X509 CRL" in authority.read_bytes():
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def presented_in(folder: Path) -> tuple[Path, Path, Callable[[tuple[Path, Path]], None]]:
    """The files of a certificate and its key, and what replaces both."""
    cert, key = folder / "cert.pem", folder / "key.pem"

    def present(files: tuple[Path, Path]) -> None:
        for source, file in zip(files, (cert, key), strict=True):
            shutil.copy(source, file)

    return cert, key, present


async def test_the_api_presents_its_certificate_and_the_next_one_as_soon_as_the_files_change(
    clew: compose.Clew, ours: Authority, theirs: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "LOOK", 0.05)
    cert, key, present = presented_in(tmp_path)
    first = ours.issue("first", "127.0.0.1")
    present(first)
    async with api.served(clew, Settings(http_cert=str(cert), http_key=str(key))) as url:

        async def ask(authority: Path) -> str:
            async with httpx2.AsyncClient(base_url=url, verify=trusting(authority), timeout=60) as http:
                try:
                    return str((await http.get("/healthz")).status_code)
                except httpx2.ConnectError as fault:
                    return str(fault)

        async def presented(authority: Path, words: str) -> None:
            async def is_so() -> bool:
                return words in await ask(authority)

            await eventually(is_so)

        assert url.startswith("https://")
        assert (await health_check(url, CLEW_HTTP_CERT=str(cert))).returncode == 0
        assert (await health_check(url)).returncode != 0
        await until_ready(Settings(http=url.removeprefix("https://")).http_address, tls=True)
        assert await ask(ours.file) == "200"
        assert "unable to get local issuer certificate" in await ask(theirs.file)
        assert "certificate revoked" in await ask(ours.revoking(first[0]))
        async with httpx2.AsyncClient(base_url=url.replace("https", "http"), timeout=60) as http:
            with pytest.raises(httpx2.TransportError):
                await http.get("/healthz")
        present(ours.issue("second", "127.0.0.1"))
        await presented(ours.revoking(first[0]), "200")
        present(ours.issue("old", "127.0.0.1", expired=True))
        await presented(ours.file, "certificate has expired")
        present(ours.issue("elsewhere", "clew.example"))
        await presented(ours.file, "IP address mismatch")
        cert.write_text("nothing")  # what cannot be used is not taken
        await presented(ours.file, "IP address mismatch")
        present(theirs.issue("server", "127.0.0.1"))
        await presented(theirs.file, "200")


async def test_metrics_of_their_own_address_present_the_certificate_of_the_api_and_its_next(
    clew: compose.Clew, ours: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_certificate, "LOOK", 0.05)
    cert, key, present = presented_in(tmp_path)
    first = ours.issue("first", "127.0.0.1")
    present(first)
    port = free_port()
    with socket.socket() as silent:
        settings = Settings(metrics=f"127.0.0.1:{port}", http_cert=str(cert), http_key=str(key))
        async with metrics_source(clew, Instruments(), settings, None, api=True):
            silent.connect(("127.0.0.1", port))  # who says nothing keeps nobody waiting

            async def ask(authority: Path) -> str:
                trusted = trusting(authority)
                async with httpx2.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=trusted, timeout=60) as http:
                    try:
                        return (await http.get("/")).text
                    except httpx2.ConnectError as fault:
                        return str(fault)

            assert "clew_" in await ask(ours.file)
            revoked = ours.revoking(first[0])
            assert "certificate revoked" in await ask(revoked)
            present(ours.issue("second", "127.0.0.1"))

            async def is_renewed() -> bool:
                return "clew_" in await ask(revoked)

            await eventually(is_renewed)
