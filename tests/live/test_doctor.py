"""``clew doctor`` on deployments that something is wrong with: it says what, and changes nothing."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import ANY

import pytest

from clew_events.commands import CreateThread
from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from clew_services.erasure.copy_records import CopyRecord, record_copy
from clew_services.process import deployment_check
from clew_services.settings import Settings
from support import api
from support.accounts import everything
from support.certificates import Authority
from support.cli import clew as run
from support.deployments import deployed
from support.waiting import eventually

UNWATCHED = {"proof_old", "verification_old", "checkpoint_late", "backup_old"}
"""What is said of a deployment in which nothing runs."""


async def examine(url: str, folder: Path, *options: str) -> tuple[int, set[str], dict]:
    data = ("--data", str(folder / "none"))
    ran = await asyncio.to_thread(run, "doctor", "--nats", url, *data, *options, "--json")
    assert ran.stderr == ""
    said = json.loads(ran.stdout)
    return ran.returncode, {problem["code"] for problem in said["problems"]}, said


async def test_a_deployment_that_nobody_watches_or_keeps_a_copy_of_has_warnings(
    deployment: EmbeddedServer, clew: Clew, tmp_path: Path
) -> None:
    before = await everything(clew.connection)
    assert (await examine(deployment.url, tmp_path))[:2] == (1, UNWATCHED)
    assert await everything(clew.connection) == before
    ends = (0,) * clew.opened.shards
    await record_copy(clew.js, CopyRecord(kind="backup", place="here", made_at=datetime.now(UTC), ends=ends))
    assert (await examine(deployment.url, tmp_path))[1] == UNWATCHED - {"backup_old"}
    ran = await asyncio.to_thread(run, "doctor", "--nats", deployment.url, "--data", str(tmp_path / "none"))
    assert ran.stdout.startswith("warning  proof_old: all views were never compared\n         Run a projector with")


async def test_commits_and_commands_that_nobody_takes_are_named(
    deployment: EmbeddedServer, clew: Clew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment_check, "UNASKED", 0.0)
    await clew.handler.handle("acme", CreateThread())
    await clew.nc.request("clew.inbox.acme.create_thread", b"{}")

    async def is_named() -> bool:
        code, codes, _ = await examine(deployment.url, tmp_path)
        return code == 4 and codes >= {"no_projector", "inbox_unserved"}

    await eventually(is_named)


async def test_what_was_changed_or_removed_is_named_all_at_once(
    deployment: EmbeddedServer, clew: Clew, tmp_path: Path
) -> None:
    js = clew.connection.js
    info = await js.api("STREAM.INFO.CLEW_EVT_01")
    await js.api(
        "STREAM.UPDATE.CLEW_EVT_01", {**info["config"], "max_age": 3_600_000_000_000, "duplicate_window": 1_000_000_000}
    )
    await js.api(f"CONSUMER.DELETE.CLEW_EVT_00.{clew.live.current.consumer}")
    await js.api("STREAM.DELETE.KV_clew_leases")
    code, codes, said = await examine(deployment.url, tmp_path)
    assert code == 5
    assert codes >= {"changed_stream", "missing_consumer", "missing_stream"}
    assert any("CLEW_EVT_01 was changed: its '" in problem["what"] for problem in said["problems"])
    assert said["problems"][0]["severity"] == "damage"
    await js.api("STREAM.DELETE.CLEW_CHECKPOINTS")
    code, codes, said = await examine(deployment.url, tmp_path)
    assert code == 5
    assert "lost_stream" in codes
    assert "CLEW_CHECKPOINTS" in said["problems"][0]["what"]


async def test_a_server_that_is_away_or_empty_is_named_and_what_is_behind_it(
    nats_server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, codes, said = await examine(nats_server.url, tmp_path)
    assert (code, codes, said["unknown"]) == (4, {"not_initialised"}, [])
    monkeypatch.setattr(deployment_check, "PATIENCE", 0.5)
    code, codes, said = await examine("nats://127.0.0.1:1", tmp_path)
    assert (code, codes) == (4, {"no_nats"})
    assert said["unknown"] == ["the deployment: there is no connection to NATS"]


async def test_an_api_is_asked_as_its_callers_reach_it(
    clew: Clew, deployment: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Authority(tmp_path / "ours")
    cert, key = map(str, ours.issue("api", "127.0.0.1"))

    async def problems_of(url: str) -> dict[str, str]:
        _, _, said = await examine(deployment.url, tmp_path, "--api", url)
        return {each["code"]: each["what"] for each in said["problems"] if each["code"] not in UNWATCHED}

    async with api.served(clew, Settings(http_cert=cert, http_key=key)) as url:
        untrusted = f"{url}: its certificate is not trusted: unable to get local issuer certificate"
        assert await problems_of(url) == {"api_down": untrusted}
        monkeypatch.setenv("SSL_CERT_FILE", str(ours.file))
        assert await problems_of(f"{url}/v1") == {}
        await clew.connection.js.api("STREAM.DELETE.CLEW_EVT_00")
        assert (await problems_of(url))["api_not_ready"].startswith(f"{url}: consumer CLEW_EVT_00/")
    assert await problems_of(url) == {"lost_stream": ANY, "api_down": f"{url}: Connection refused"}
    ran = await asyncio.to_thread(run, "doctor", "--api", "clew.example")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "'clew.example' is no URL of an API: one is https://clew.example" in ran.stderr


async def test_what_a_user_may_not_read_is_unknown_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    async with deployed(tmp_path / "data", shards=1, password="secretsecretsecret") as server:
        code, codes, said = await examine(server.open_url, tmp_path)
    assert code == 4
    (unknown,) = said["unknown"]
    assert "may not publish to $JS.API.STREAM.INFO.CLEW_EVT_00. Connect as the operator" in unknown
    assert codes <= UNWATCHED
