"""The files that say who a client is and whom it trusts: read, and refused in words that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from clew_events.errors import Invalid
from clew_events.nats_security import NatsSecurity
from clew_services.settings import Settings
from support.certificates import Authority, NKey, private
from support.cli import clew


def refusal(**files: object) -> str:
    with pytest.raises(Invalid) as refused:
        NatsSecurity(**{name: str(file) for name, file in files.items()}).check(["nats://127.0.0.1:4222"])
    return refused.value.message


def test_an_nkey_and_a_creds_file_are_read_with_or_without_a_line_s_end(tmp_path: Path) -> None:
    key = NKey()
    for text in (key.seed, f"{key.seed}\n"):
        identity = NatsSecurity(nkey=str(private(tmp_path / "seed", text))).identity()
        assert identity is not None
        assert (identity.public, identity.jwt) == (key.public, "")
    creds = private(tmp_path / "creds", creds_of("a.b.c-_", key.seed))
    identity = NatsSecurity(creds=str(creds)).identity()
    assert identity is not None
    assert (identity.public, identity.jwt) == (key.public, "a.b.c-_")


def creds_of(jwt: str, seed: str) -> str:
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"************************* IMPORTANT *************************\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o660, 0o666, 0o777])
def test_a_file_that_others_can_read_is_refused_with_the_mode_to_set(tmp_path: Path, mode: int) -> None:
    file = private(tmp_path / "secret", NKey().seed)
    file.chmod(mode)
    for named in ({"nkey": file}, {"creds": file}, {"user": "clew", "password_file": file}):
        assert f"its mode is {mode:04o}. Set it with 'chmod 0600 {file}'" in refusal(**named)
    for allowed in (0o600, 0o400, 0o440, 0o640):
        file.chmod(allowed)
        NatsSecurity(nkey=str(file)).check()


def test_what_is_no_nkey_is_refused(tmp_path: Path) -> None:
    seed = NKey().seed
    changed = seed[:20] + ("B" if seed[20] == "A" else "A") + seed[21:]
    for text in ("", "secret", seed[:-1], changed, NKey(0).seed, NKey().public):
        assert "holds no seed of a user's NKey" in refusal(nkey=private(tmp_path / "seed", text))
    assert "holds no seed of a user's NKey" in refusal(creds=private(tmp_path / "creds", creds_of("a.b.c", changed)))
    assert "is not a creds file" in refusal(creds=private(tmp_path / "creds", seed))
    assert "holds no password" in refusal(user="clew", password_file=private(tmp_path / "password", "\n"))
    assert "No such file or directory" in refusal(nkey=tmp_path / "nothing")


def test_certificates_and_keys_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    ours = Authority(tmp_path / "ours")
    (cert, key), (_, other) = ours.issue("one", "clew"), ours.issue("two", "clew")
    assert refusal(cert=cert, key=other) == f"{other} is not the key of {cert}"
    assert "are not a key and its certificate in PEM" in refusal(cert=key, key=key)
    assert "holds no certificates of authorities" in refusal(ca=key)
    locked = tmp_path / "locked.key"
    private(locked, "")
    locked.write_bytes(
        load_pem_private_key(key.read_bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
    )
    assert "has a passphrase" in refusal(cert=cert, key=locked)
    key.chmod(0o644)
    assert f"chmod 0600 {key}" in refusal(cert=cert, key=key)


def test_what_belongs_together_is_named_together_and_what_does_not_is_not(tmp_path: Path) -> None:
    seed = private(tmp_path / "seed", NKey().seed)
    assert "name both" in refusal(user="clew")
    assert "name both" in refusal(cert=seed)
    assert "name one of" in refusal(nkey=seed, creds=seed)
    with pytest.raises(Invalid, match="in the URL and in a file"):
        NatsSecurity(nkey=str(seed)).check(["nats://clew:secret@127.0.0.1:4222"])


def test_settings_name_the_files_and_refuse_them_for_the_embedded_server() -> None:
    security = NatsSecurity(user="clew", password_file="/p", ca="/ca", cert="/c", key="/k")
    named = {f"nats_{name}": getattr(security, name) for name in security.__struct_fields__ if name != "tls_first"}
    assert Settings(nats="tls://nats.example:4222", **named).nats_security == security
    with pytest.raises(Invalid, match=r"--nats-ca \(CLEW_NATS_CA\) is '/ca', and should be left out"):
        Settings(nats_ca="/ca")
    first = Settings(nats="tls://nats.example:4222", nats_tls_first="yes")
    assert first.nats_security == NatsSecurity(tls_first=True)
    with pytest.raises(Invalid, match=r"--nats-tls-first \(CLEW_NATS_TLS_FIRST\) is 'yes', and should be left out"):
        Settings(nats_tls_first="yes")
    with pytest.raises(Invalid, match=r"--nats-tls-first.* is 'first', and should be 'no' or 'yes'"):
        Settings(nats_tls_first="first")
    with pytest.raises(Invalid, match=r"--http-key \(CLEW_HTTP_KEY\).* a certificate and its key go together"):
        Settings(http_cert="/c")


@pytest.mark.parametrize("words", [("init",), ("status",), ("thread", "get", "thread_a"), ("keys", "list")])
def test_every_command_that_connects_takes_the_files(tmp_path: Path, words: tuple[str, ...]) -> None:
    file = private(tmp_path / "seed", "nothing")
    file.chmod(0o644)
    for how, env in ((("--nats-nkey", str(file)), {}), ((), {"CLEW_NATS_NKEY": str(file)})):
        ran = clew(*words, "--nats", "nats://127.0.0.1:1", *how, env=env)
        assert (ran.returncode, ran.stdout) == (1, ""), ran.stderr
        assert ran.stderr == (
            f"clew: others can read {file}, or its group can write it: its mode is 0644. Set it with 'chmod 0600 "
            f"{file}', or 0640 for a group that is to read it [open_file]\n"
        )
