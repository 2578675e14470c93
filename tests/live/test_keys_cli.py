"""``clew keys``, and what it means to running processes that ask for a key."""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from click.testing import CliRunner, Result

from clew_projections.kv.watcher import ANEW
from clew_services.cli import main
from clew_services.embedded.server import EmbeddedServer
from support.up import CLEW, environment
from support.waiting import PATIENCE, wait_until


class Cli:
    """``clew keys`` on one deployment."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, *arguments: str, **env: str) -> Result:
        return CliRunner().invoke(main, ["keys", *arguments], env={"CLEW_NATS": self.url, **env})

    def json(self, *arguments: str, **env: str) -> dict:
        result = self(*arguments, "--json", **env)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def cli(deployment: EmbeddedServer) -> Cli:
    return Cli(deployment.url)


@contextmanager
def serving_api(nats: str, **env: str) -> Iterator[tuple[str, int]]:
    """``clew serve api`` in a process of its own; where it listens."""
    with (
        tempfile.TemporaryDirectory() as index,
        subprocess.Popen(
            [*CLEW, "serve", "api"],
            env=environment(CLEW_NATS=nats, CLEW_HTTP="127.0.0.1:0", CLEW_INDEX=index, **env),
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                if "ready http " in line:
                    host, _, port = line.split()[-1].rpartition(":")
                    yield host, int(port)
                    break
            else:
                raise AssertionError("".join(lines))
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


def status(api: tuple[str, int], key: str, method: str = "GET", path: str = "/v1/threads/thread_of_nobody") -> int:
    connection = http.client.HTTPConnection(*api, timeout=PATIENCE)
    try:
        headers = {"Authorization": f"Bearer {key}", "OpenAI-Beta": "assistants=v2"}
        connection.request(method, path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def await_status(expected: int, api: tuple[str, int], key: str) -> None:
    """Wait until a key is answered so, which it is before all keys are read again."""
    wait_until(lambda: status(api, key) == expected, within=ANEW - 2)


def test_a_key_is_shown_once_and_listed_without_itself(cli: Cli) -> None:
    made = cli("create", "--tenant", "acme", "--name", "billing", "--scope", "write", "--scope", "read")
    assert made.exit_code == 0, made.output
    shown = dict(line.split(maxsplit=1) for line in made.stdout.splitlines())
    key = shown.pop("key")
    key_id = hashlib.sha256(key.encode()).hexdigest()[:16]
    assert shown == {"id": key_id, "tenant": "acme", "name": "billing", "scopes": "read, write"}
    listed = cli("list")
    assert f"{key_id}  acme    billing  read, write" in listed.stdout
    assert key not in listed.output + json.dumps(cli.json("list"))


def test_keys_are_listed_with_all_that_is_known_of_them(cli: Cli) -> None:
    made = cli.json("create", "--tenant", "acme", "--name", "billing", "--scope", "admin")
    cli.json("create", "--tenant", "globex", "--name", "desk", "--scope", "read")
    assert made.pop("key").startswith("clew_")
    assert made["actor"] == f"key:billing/{made['id']}"
    everything = cli.json("list", CLEW_API_KEYS="first-key-of-ours:acme")
    assert [each["tenant"] for each in everything["keys"]] == ["acme", "globex"]
    (configured,) = everything["configured"]
    assert configured["tenant"] == "acme"
    assert cli.json("list", "--tenant", "acme") == {"keys": [made], "configured": []}
    revoked = cli.json("revoke", made["id"])
    assert revoked["revoked_at"] is not None
    assert cli.json("list", "--tenant", "acme")["keys"] == [revoked]


def test_a_configured_key_is_listed_as_one_that_no_command_revokes(cli: Cli) -> None:
    listed = cli("list", "--api-keys", "first-key-of-ours:acme,second-key-of-ours:globex")
    fingerprint = f"key_{hashlib.sha256(b'first-key-of-ours').hexdigest()[:8]}"
    assert f"{fingerprint}  acme" in listed.stdout
    assert listed.stdout.count("no: it is configured") == 2
    assert "remove it from CLEW_API_KEYS" in listed.stderr
    refused = cli("revoke", fingerprint)
    assert refused.exit_code == 1
    assert "remove it from CLEW_API_KEYS [configured_key]" in refused.stderr


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (2, ("create", "--name", "x"), "--scope"),
        (2, ("create", "--name", "x", "--scope", "root"), "'root' is not one of"),
        (2, ("create", "--scope", "read"), "--name"),
        (2, ("create", "--tenant", "A", "--name", "x", "--scope", "read"), "a tenant is"),
        (1, ("create", "--name", "a/b", "--scope", "read"), "a key's name is"),
        (6, ("revoke", "0000000000000000"), "[key_not_found]"),
        (6, ("revoke", "*"), "[key_not_found]"),
        (2, ("revoke",), "ID"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_clear_line(
    cli: Cli, code: int, words: tuple[str, ...], said: str
) -> None:
    refused = cli(*words)
    assert refused.exit_code == code
    assert said in refused.stderr
    assert refused.stdout == ""
    assert cli.json("list")["keys"] == []


def test_keys_hold_at_once_and_no_longer_at_once_in_every_process(cli: Cli) -> None:
    with ExitStack() as stack:
        apis = [stack.enter_context(serving_api(cli.url)) for _ in range(2)]
        made = cli.json("create", "--name", "billing", "--scope", "read")
        for api in apis:
            await_status(404, api, made["key"])
            assert status(api, made["key"], "DELETE") == 403
            assert status(api, "clew_" + "0" * 40) == 401
        cli.json("revoke", made["id"])
        for api in apis:
            await_status(401, api, made["key"])
    (listed,) = cli.json("list")["keys"]
    assert listed["last_used_at"] is not None
    assert listed["last_used_at"] <= listed["revoked_at"]


def test_an_api_that_nobody_has_a_key_to_says_so_and_lets_nobody_in(cli: Cli) -> None:
    with serving_api(cli.url) as api:
        assert status(api, "clew_" + "0" * 40) == 401
        assert status(api, "") == 401
