"""What administrators of a tenant do over HTTP: API keys, rejected commands, and the deployment's status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from clew_services.api_keys import Keys
from clew_services.api_keys.key_bucket import issue_key
from clew_services.compose import Clew
from clew_services.compose.roles import serve_inbox
from support import nats_services
from support.api import ACME, GLOBEX, served
from support.waiting import eventually

AUDITOR, AUDITORS_KEY = issue_key("acme", "auditor", ["audit"])
WRITER, WRITERS_KEY = issue_key("acme", "writer", ["read", "write", "erase", "hold", "retention"])


@pytest.fixture
async def api(clew: Clew, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    keys = Keys.parse(f"{ACME}:acme,{GLOBEX}:globex")
    for record in (AUDITORS_KEY, WRITERS_KEY):
        keys.admit(record.digest, record.holder)
    clew.open_index(tmp_path)
    async with (
        clew.follow_keys(keys),
        served(clew, keys=keys) as url,
        httpx2.AsyncClient(base_url=f"{url}/v1/", timeout=60) as http,
    ):
        yield http


def by(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_an_administrator_issues_and_revokes_the_keys_of_the_tenant_alone(api: httpx2.AsyncClient) -> None:
    made = await api.post("keys", headers=by(ACME), json={"name": "billing", "scopes": ["audit", "read", "read"]})
    assert made.status_code == 200, made.text
    issued = made.json()
    key = issued.pop("key")
    assert (issued["name"], issued["scopes"], issued["revoked_at"]) == ("billing", ["read", "audit"], None)

    async def passes() -> bool:
        return (await api.get("events", headers=by(key))).status_code == 200

    await eventually(passes)
    listed = await api.get("keys", headers=by(ACME))
    assert key not in listed.text
    mine, configured = listed.json()["data"]
    assert (mine["id"], mine["configured"]) == (issued["id"], False)
    assert (configured["configured"], configured["created_at"]) == (True, None)
    assert "admin" in configured["scopes"]

    # To another tenant it is not there, and none of its keys are.
    (others,) = (await api.get("keys", headers=by(GLOBEX))).json()["data"]
    assert others["configured"]
    foreign = await api.delete(f"keys/{issued['id']}", headers=by(GLOBEX))
    unknown = await api.delete(f"keys/{'0' * 16}", headers=by(GLOBEX))
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.text.replace(issued["id"], "0" * 16) == unknown.text
    assert await passes()

    revoked = (await api.delete(f"keys/{issued['id']}", headers=by(ACME))).json()
    assert revoked["revoked_at"] is not None

    async def is_shut_out() -> bool:
        return (await api.get("events", headers=by(key))).status_code == 401

    await eventually(is_shut_out)
    assert (await api.delete(f"keys/{issued['id']}", headers=by(ACME))).json() == revoked | {
        "last_used_at": revoked["last_used_at"]
    }
    refused = await api.delete(f"keys/{configured['id']}", headers=by(ACME))
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "configured_key")


async def test_a_key_that_cannot_be_is_not_issued(api: httpx2.AsyncClient) -> None:
    for wrong in ({"name": ""}, {"name": "a b"}, {"scopes": []}, {"scopes": ["root"]}, {"tenant": "globex"}):
        body = {"name": "billing", "scopes": ["read"], **wrong}
        refused = await api.post("keys", headers=by(ACME), json=body)
        assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error"), wrong
    assert [key["configured"] for key in (await api.get("keys", headers=by(ACME))).json()["data"]] == [True]


async def test_rejected_commands_are_paged_and_retried_by_their_tenant_alone(
    clew: Clew, api: httpx2.AsyncClient
) -> None:
    async def leave(tenant: str, command: str, body: bytes, command_id: str) -> None:
        headers = {"Nats-Msg-Id": command_id}
        await clew.nc.jetstream().publish(f"clew.inbox.{tenant}.{command}", body, headers=headers)

    async def rejected(key: str, **form: int) -> dict[str, Any]:
        return (await api.get("rejections", headers=by(key), params=form)).json()

    async with nats_services.served(clew, (serve_inbox,)):
        for number in (1, 2, 3):
            await leave("acme", "update_thread", b'{"thread_id": "thread_a", "metadata": {"a": "1"}}', f"acme-{number}")
        await leave("globex", "update_thread", b'{"thread_id": "thread_b", "metadata": {}}', "globex-1")
        await leave("acme", "update_thread", b"no JSON", "acme-4")

        async def all_are_on_record() -> bool:
            return len((await rejected(ACME))["data"]) == 4 and len((await rejected(GLOBEX))["data"]) == 1

        await eventually(all_are_on_record)
        first = await rejected(ACME, limit=3)
        second = await rejected(ACME, limit=3, after=first["next"])
        assert (len(first["data"]), first["has_more"], second["has_more"], second["next"]) == (3, True, False, None)
        both = [*first["data"], *second["data"]]
        assert sorted(both, key=lambda each: each["number"]) == both
        told = {each["command_id"]: each for each in both}
        assert set(told) == {"acme-1", "acme-2", "acme-3", None}
        assert {told[f"acme-{n}"]["error"]["code"] for n in (1, 2, 3)} == {"thread_not_found"}
        assert all(told[f"acme-{n}"]["final"] is None for n in (1, 2, 3))
        final = told[None]
        assert final["body"] == "no JSON"
        assert "send a valid one" in final["final"]

        (foreign,) = (await rejected(GLOBEX))["data"]
        for number in (foreign["number"], 10**15, "0", "x"):
            assert (await api.post(f"rejections/{number}/retry", headers=by(ACME))).status_code == 404
        assert (await rejected(GLOBEX))["data"] == [foreign]
        refused = await api.post(f"rejections/{final['number']}/retry", headers=by(ACME))
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "refusal_final")

        await leave("acme", "create_thread", b'{"thread_id": "thread_a"}', "acme-5")
        number = told["acme-1"]["number"]

        async def the_thread_is_there() -> bool:
            return (await api.get("threads/thread_a", headers=by(ACME))).status_code == 200

        await eventually(the_thread_is_there)
        assert (await api.post(f"rejections/{number}/retry", headers=by(ACME))).json()["number"] == number

        async def it_was_carried_out() -> bool:
            commits = await api.get("threads/thread_a/events", headers=by(ACME))
            return [each["command_id"] for each in commits.json()["data"]][1:] == ["acme-1"]

        await eventually(it_was_carried_out)
        assert number not in {each["number"] for each in (await rejected(ACME))["data"]}


async def test_the_status_is_for_administrators_and_auditors_and_names_no_tenant(api: httpx2.AsyncClient) -> None:
    await api.post("threads", headers=by(GLOBEX), json={"metadata": {"secret": "plan"}})
    for key in (ACME, AUDITOR):
        answered = await api.get("status", headers=by(key))
        assert answered.status_code == 200, answered.text
        status = answered.json()
        assert (status["threads"], status["commits"], len(status["shards"])) == (1, 1, 2)
        assert (status["parked"], status["rejected"]) == (0, 0)
        assert status["derived"]["trouble"] == []
        assert not any(word in answered.text for word in ("globex", "secret", "thread_"))


async def test_who_is_no_administrator_does_none_of_it(api: httpx2.AsyncClient) -> None:
    asked = [
        *(("GET", "keys"), ("POST", "keys"), ("DELETE", f"keys/{WRITERS_KEY.id}")),
        *(("GET", "rejections"), ("POST", "rejections/1/retry")),
    ]
    for key in (AUDITOR, WRITER):
        for method, path in asked:
            refused = await api.request(method, path, headers=by(key))
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "missing_scope")
            assert refused.json()["error"]["message"].endswith("Missing scopes: admin.")
    refused = await api.get("status", headers=by(WRITER))
    assert refused.json()["error"]["message"].endswith("Missing scopes: admin or audit.")
