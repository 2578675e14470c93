"""Sessions: what a browser shows in place of a key, who can use it, and when it ends."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from clew_events.errors import Unauthorized
from clew_services.api_keys import Keys
from clew_services.api_keys.follower import Follower, follow_keys
from clew_services.api_keys.sessions import LASTS, SLOTS, Sessions
from clew_services.compose import Clew, connect
from clew_services.embedded.server import EmbeddedServer
from clew_services.settings import Settings
from support.api import ACME, served
from support.certificates import Authority
from support.feed_reading import until_cut
from support.waiting import eventually

OURS = {"Clew-Session": "1", "Sec-Fetch-Site": "same-origin"}


@contextlib.asynccontextmanager
async def api(clew: Clew, keys: Keys | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    keys = keys if keys is not None else Keys.parse(f"{ACME}:acme")
    async with (
        follow_keys(clew.nc, clew.keys, keys, clew.connection.reconnected),
        served(clew, keys=keys) as url,
        httpx2.AsyncClient(base_url=url, timeout=60) as http,
    ):
        yield http


async def enter(http: httpx2.AsyncClient, key: str = ACME, **headers: str) -> httpx2.Response:
    answer = await http.post("/v1/session", headers={"Authorization": f"Bearer {key}", **headers})
    assert answer.status_code == 200, answer.text
    return answer


async def test_a_session_does_what_its_key_may_and_is_recorded_as_the_key(clew: Clew) -> None:
    key, issued = await clew.keys.create("acme", "support", ["read", "write"])
    async with api(clew) as http:
        opened = (await enter(http, key)).json()
        assert (opened["tenant"], opened["key"], opened["actor"]) == ("acme", issued.id, f"key:support/{issued.id}")
        assert opened["scopes"] == ["read", "write"]
        assert (await http.get("/v1/session")).json() == opened
        thread = (await http.post("/v1/threads", headers=OURS)).json()["id"]
        assert (await http.get(f"/v1/threads/{thread}")).status_code == 200
        assert (await http.get(f"/v1/threads/{thread}/events")).json()["error"]["code"] == "missing_scope"
        history = await http.get(f"/v1/threads/{thread}/events", headers={"Authorization": f"Bearer {ACME}"})
        (commit,) = history.json()["data"]
        assert (commit["actor"], commit["by"]) == (issued.holder.actor, issued.holder.by)
        by_key = (await http.get("/v1/session", headers={"Authorization": f"Bearer {key}"})).json()
        assert by_key == {name: value for name, value in opened.items() if name != "expires_at"}


async def test_the_cookie_is_for_this_host_and_this_browser_alone_and_for_tls_where_there_is_tls(
    clew: Clew, tmp_path: Path
) -> None:
    cert, key = map(str, Authority(tmp_path / "ours").issue("api", "127.0.0.1"))
    async with api(clew) as http:
        port = http.base_url.port
        cookie = (await enter(http)).headers["set-cookie"]
        assert cookie.startswith(f"clew_session_{port}=")
        assert cookie.split("; ")[1:] == ["Path=/", "HttpOnly", "SameSite=Strict"]
        assert ACME not in cookie
        behind_a_proxy = (await enter(http, Origin="https://clew.example", Host="clew.example")).headers["set-cookie"]
        assert behind_a_proxy.startswith("__Host-clew_session=")
        assert behind_a_proxy.split("; ")[1:] == ["Path=/", "HttpOnly", "SameSite=Strict", "Secure"]
    keys = Keys.parse(f"{ACME}:acme")
    async with (
        served(clew, Settings(http_cert=cert, http_key=key), keys=keys) as url,
        httpx2.AsyncClient(base_url=url, verify=False) as http,
    ):
        cookie = (await enter(http)).headers["set-cookie"]
        assert cookie.startswith(f"__Host-clew_session_{http.base_url.port}=")
        assert cookie.endswith("; Secure")
        assert (await http.get("/v1/session")).status_code == 200
        # A site beside this one, or whoever is on the way to it, can set a cookie for it, and none with that prefix.
        named, _, token = cookie.partition(";")[0].partition("=")
        http.cookies.clear()
        for name, status in ((named, 200), (named.removeprefix("__Host-"), 401)):
            answer = await http.get("/v1/session", headers={"Cookie": f"{name}={token}"})
            assert answer.status_code == status, name


@pytest.mark.parametrize(
    "foreign", [{}, {**OURS, "Sec-Fetch-Site": "cross-site"}, {**OURS, "Sec-Fetch-Site": "same-site"}]
)
async def test_another_site_can_change_nothing_with_it(clew: Clew, foreign: dict[str, str]) -> None:
    async with api(clew) as http:
        await enter(http)
        thread = (await http.post("/v1/threads", headers=OURS)).json()["id"]
        for method, path in (("POST", "/v1/threads"), ("DELETE", f"/v1/threads/{thread}"), ("DELETE", "/v1/session")):
            answer = await http.request(method, path, headers=foreign)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_site")
        assert (await http.get(f"/v1/threads/{thread}", headers=foreign)).status_code == (403 if foreign else 200)
        assert (await http.get(f"/v1/threads/{thread}")).status_code == 200
        assert (await http.post("/v1/session", headers=OURS)).status_code == 401  # a session opens no other


async def test_it_ends_with_its_key_everywhere_at_once_and_when_it_is_signed_out(
    clew: Clew, deployment: EmbeddedServer
) -> None:
    async with connect(deployment.url, name="other") as other, api(clew) as here, api(other) as there:

        async def is_over(http: httpx2.AsyncClient) -> bool:
            answer = await http.get("/v1/session")
            return answer.status_code == 401 and answer.json()["error"]["code"] == "session_ended"

        key, issued = await clew.keys.create("acme", "support", ["read"])
        await eventually(lambda: clew.keys.value(issued.id))
        for end in ("signed out", "revoked"):
            token = (await enter(here, key)).headers["set-cookie"].partition("=")[2].partition(";")[0]
            there.cookies.set(f"clew_session_{there.base_url.port}", token, domain="127.0.0.1")
            # One process opened it, and the other knows it at once.
            assert (await there.get("/v1/session")).json() == (await here.get("/v1/session")).json()
            if end == "signed out":
                answer = await there.delete("/v1/session", headers=OURS)
                assert answer.json() == {"object": "session.closed", "closed": True}
                assert all("Max-Age=0" in cookie for cookie in answer.headers.get_list("set-cookie"))
                there.cookies.set(f"clew_session_{there.base_url.port}", token, domain="127.0.0.1")
            else:
                await clew.keys.revoke(issued.id)
            await eventually(lambda: is_over(here))
            await eventually(lambda: is_over(there))


async def test_a_stream_goes_on_when_all_keys_are_read_again_and_ends_with_its_session(clew: Clew) -> None:
    keys = Keys.parse(f"{ACME}:acme")
    by_key = {"Authorization": f"Bearer {ACME}"}
    async with api(clew, keys) as http:
        await enter(http)
        async with http.stream("GET", "/v1/events?stream=true&after=latest") as stream:
            lines = aiter(stream.aiter_lines())
            for _ in range(3):
                await Follower(clew.keys, keys).read_all()
                thread = (await http.post("/v1/threads", headers=by_key)).json()["id"]
                assert any([thread in line async for line in until(lines, "data: ")])
            assert (await http.delete("/v1/session", headers=OURS)).status_code == 200
            await http.post("/v1/threads", headers=by_key)
            assert not any(line.startswith("data: ") for line in await until_cut(lines))


async def until(lines: AsyncIterator[str], start: str) -> AsyncIterator[str]:
    """Lines up to one that begins so."""
    async for line in lines:
        yield line
        if line.startswith(start):
            return


async def test_what_is_no_session_opens_nothing(clew: Clew) -> None:
    async with api(clew) as http:
        cookie = (await enter(http)).headers["set-cookie"].partition(";")[0]
        name, _, token = cookie.partition("=")
        key, slot, secret = token.split("-", 2)
        http.cookies.clear()
        others = (
            "", "x", "\xe9", "a" * 8000, token[:-1] + "!", f"{key}-{slot}-{secret[::-1]}", f"{'0' * 16}-0-{secret}",
        )  # fmt: skip
        for other in others:
            answer = await http.get("/v1/session", headers={"Cookie": f"{name}={other}".encode("latin-1")})
            assert answer.status_code == 401, other
        # A cookie of another deployment at another port of this host is another's.
        answer = await http.get("/v1/session", headers={"Cookie": f"clew_session_1={token}"})
        assert answer.json()["error"]["message"].startswith("You didn't provide an API key.")
        answer = await http.get("/v1/session", headers={"Cookie": f"{cookie}; {name}=x"})
        assert answer.status_code == 401
        assert (await http.get("/v1/session", headers={"Cookie": f"bad/name; =; {cookie}"})).status_code == 200


async def test_half_a_day_ends_it_and_a_key_has_so_many_at_a_time(clew: Clew) -> None:
    keys = Keys.parse(f"{ACME}:acme")
    holder = keys.holder(ACME)
    assert holder is not None
    at = (await clew.keys.create("acme", "clock", ["read"]))[1].created_at
    sessions = Sessions(clew.connection.js, keys, lambda: at)
    first, expires_at = await sessions.open(holder)
    assert expires_at == at + LASTS
    at += timedelta(seconds=1)
    others = [(await sessions.open(holder))[0] for _ in range(SLOTS - 1)]
    for token in (first, *others):
        assert await sessions.find(token) == holder
    at += timedelta(seconds=1)
    newest, _ = await sessions.open(holder)
    elsewhere = Sessions(clew.connection.js, Keys.parse(f"{ACME}:acme"), lambda: at)
    known = [token for token in (first, *others, newest) if await is_known(elsewhere, token)]
    assert known == [*others, newest]  # the oldest gave way
    at += LASTS - timedelta(seconds=2)
    assert [token for token in (*others, newest) if await is_known(sessions, token)] == [*others, newest]
    at += timedelta(seconds=1)
    assert [token for token in (*others, newest) if await is_known(sessions, token)] == [newest]
    before = (await clew.connection.js.api("STREAM.INFO.KV_clew_keys_v1"))["state"]["messages"]
    await sessions.open(holder)
    assert (await clew.connection.js.api("STREAM.INFO.KV_clew_keys_v1"))["state"]["messages"] == before


async def is_known(sessions: Sessions, token: str) -> bool:
    try:
        await sessions.find(token)
    except Unauthorized:
        return False
    return True
