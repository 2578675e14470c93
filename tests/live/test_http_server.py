"""The server around the API: connections, methods, limits, stopping, and what happens without NATS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator
from datetime import datetime
from email.utils import parsedate_to_datetime

import httpx2
import pytest

from clew_events.commands import Command
from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from clew_services.host import CannotStart
from clew_services.http.http_server import serve_http
from clew_services.http.protocol import HEAD_BYTES
from clew_services.settings import Settings
from clew_services.threads.result import Outcome
from support.api import ACME, KEYS, raw, served
from support.asgi import Parts
from support.callers import calling
from support.waiting import eventually

IN = {"Authorization": f"Bearer {ACME}", "OpenAI-Beta": "assistants=v2"}
HEAD = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "clew", **IN}.items()).encode()


@pytest.fixture
async def url(clew: Clew) -> AsyncIterator[str]:
    async with served(clew) as address:
        yield address


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=url, headers=IN, timeout=60) as client:
        yield client


async def test_a_connection_is_kept_and_every_answer_says_how_long_it_is(url: str):
    request = b"POST /v1/threads HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\n\r\n{}"
    last = b"GET /healthz HTTP/1.1\r\nHost: clew\r\nConnection: close\r\n\r\n"
    answered = await raw(url, request * 3 + last)
    assert answered.count(b"HTTP/1.1 200 OK\r\n") == 4
    for answer in answered.split(b"HTTP/1.1 200 OK\r\n")[1:]:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert f"content-length: {len(body)}".encode() in head.lower()


async def test_head_answers_as_get_does_without_the_body(http: httpx2.AsyncClient):
    thread = (await http.post("/v1/threads")).json()["id"]
    for path in (f"/v1/threads/{thread}", "/healthz", "/openapi.json"):
        got, headed = await http.get(path), await http.head(path)
        assert (headed.status_code, headed.content) == (200, b"")
        for name in ("content-length", "content-type", "etag"):
            assert headed.headers.get(name) == got.headers.get(name)


async def test_head_says_no_length_of_what_has_no_end(http: httpx2.AsyncClient):
    headed = await http.head("/v1/events?stream=true")
    assert (headed.status_code, headed.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert "content-length" not in headed.headers
    assert (await http.get("/healthz")).status_code == 200


async def test_the_date_of_an_answer_goes_on(http: httpx2.AsyncClient):
    async def date() -> datetime:
        return parsedate_to_datetime((await http.get("/healthz")).headers["date"])

    first = await date()

    async def is_later() -> bool:
        return await date() > first

    await eventually(is_later)


async def test_http_1_0_has_no_chunks(url: str):
    streamed = b"GET /v1/events?stream=true HTTP/1.0\r\n" + HEAD + b"\r\n"
    async with calling(url) as caller:
        await caller.send(streamed)
        head = await caller.reader.readuntil(b"\r\n\r\n")
        assert b"\r\nconnection: close\r\n" in head
        assert b"\r\ntransfer-encoding:" not in head
        assert await caller.reader.readuntil(b"\n\n") == b"retry: 1000\n\n"


async def test_not_modified_has_no_body(http: httpx2.AsyncClient):
    created = await http.post("/v1/threads")
    path, tag = f"/v1/threads/{created.json()['id']}", created.headers["etag"]
    known = await http.get(path, headers={"If-None-Match": tag})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
    assert "content-length" not in known.headers  # it would be that of a 200
    await http.post(path, json={"metadata": {"a": "1"}})
    assert (await http.get(path, headers={"If-None-Match": tag})).status_code == 200


async def test_patches_of_different_keys_do_not_undo_each_other(http: httpx2.AsyncClient):
    path = f"/v1/threads/{(await http.post('/v1/threads', json={'metadata': {'old': '1'}})).json()['id']}"
    patches = [{"metadata": {"set": {str(number): "x"}, "unset": ["old"]}} for number in range(8)]
    answers = await asyncio.gather(*(http.patch(path, json=patch) for patch in patches))
    assert {answer.status_code for answer in answers} == {200}
    assert (await http.get(path)).json()["metadata"] == {str(number): "x" for number in range(8)}


async def test_a_chunked_body_is_taken_and_a_long_one_refused(http: httpx2.AsyncClient):
    async def pieces(count: int) -> AsyncIterator[bytes]:
        yield b'{"metadata": {"k": "'
        for _ in range(count):
            yield b"x" * 65536
        yield b'"}}'

    assert (await http.post("/v1/threads", content=pieces(0))).status_code == 200
    refused = await http.post("/v1/threads", content=pieces(200))
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")


async def test_who_has_no_key_is_told_so_even_with_a_long_body(url: str):
    async with httpx2.AsyncClient(timeout=60) as stranger:
        refused = await stranger.post(f"{url}/v1/threads", content=b"x" * 6_000_000)
        assert refused.status_code == 401
        missing = await stranger.post(f"{url}/nothing", content=b"x" * 6_000_000)
        assert missing.status_code == 404


async def test_what_is_no_http_is_refused_and_the_service_goes_on(url: str, http: httpx2.AsyncClient):
    for garbage in (
        b"\x00\xff\x16\x03\x01 what\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /v1/threads/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/threads/a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/threads HTTP/1.1\r\n" + HEAD + b"Content-Length: -1\r\n\r\n",
        b"POST /v1/threads HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    ):
        answered = await raw(url, garbage)
        assert not answered.startswith(b"HTTP/1.1 5")
        assert not answered.startswith(b"HTTP/1.1 2")
    assert (await http.get("/healthz")).status_code == 200


async def test_what_is_no_http_is_answered_with_the_envelope(url: str):
    head, _, body = (await raw(url, b"what is this\r\n\r\n")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


async def test_headers_are_not_taken_without_end(url: str, http: httpx2.AsyncClient):
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /healthz HTTP/1.1\r\n" + HEAD)
    with contextlib.suppress(ConnectionError):
        for number in range(1_000):
            writer.write(b"x-%d: " % number + b"x" * 8192 + b"\r\n")
            await writer.drain()
        assert await reader.read(12) in {b"HTTP/1.1 431", b""}  # which is lost where the rest was still on its way
    writer.close()
    assert (await http.get("/healthz")).status_code == 200
    answered = await raw(
        url, b"GET /healthz HTTP/1.1\r\n" + HEAD + b"x: " + b"x" * HEAD_BYTES + b"\r\nConnection: close"
    )
    assert answered.startswith(b"HTTP/1.1 431 ")


async def test_what_outlasts_the_grace_is_given_up_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("clew_services.http.http_server.GRACE", 0.2)
    reached, never = asyncio.Event(), asyncio.Event()

    class Stuck(Parts):
        async def handle(
            self, tenant: str, command: Command, *, actor: str = "", by: str = "", trace: str | None = None, **_: object
        ) -> Outcome:
            reached.set()
            await never.wait()
            raise AssertionError

    async with asyncio.timeout(60), httpx2.AsyncClient(headers=IN, timeout=60) as client:
        async with served(Stuck()) as address:
            asked = asyncio.create_task(client.post(f"{address}/v1/threads"))
            await reached.wait()
        refused = await asked
        assert refused.status_code == 503
        assert (refused.json()["error"]["code"], refused.headers["x-should-retry"]) == ("stopping", "false")
    assert [(each.levelname, each.exc_info) for each in caplog.records if each.name == "uvicorn.error"] == [
        ("ERROR", None)
    ]


async def test_a_caller_who_leaves_in_the_middle_changes_nothing(url: str, http: httpx2.AsyncClient):
    host, _, port = url.removeprefix("http://").rpartition(":")
    for _ in range(20):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v1/threads HTTP/1.1\r\n" + HEAD + b"Content-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    assert (await http.post("/v1/threads")).status_code == 200


async def test_requests_under_way_are_answered_before_the_server_stops():
    reached, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Parts):
        async def handle(
            self, tenant: str, command: Command, *, actor: str = "", by: str = "", trace: str | None = None, **_: object
        ) -> Outcome:
            reached.set()
            await go_on.wait()
            return await super().handle(tenant, command, actor=actor, by=by, trace=trace)

    async with asyncio.timeout(60), httpx2.AsyncClient(headers=IN, timeout=60) as client:
        async with asyncio.TaskGroup() as group, served(Slow()) as address:
            asked = group.create_task(client.post(f"{address}/v1/threads"))
            await reached.wait()
            asyncio.get_running_loop().call_later(0.2, go_on.set)
        assert asked.result().status_code == 200
        with pytest.raises(httpx2.ConnectError):
            await client.get(f"{address}/healthz")


async def test_a_port_that_is_taken_is_refused_also_when_it_could_be_shared():
    async with served(Parts()) as address:
        port = int(address.rpartition(":")[2])
        with pytest.raises(CannotStart, match=f"cannot listen on 127.0.0.1:{port} for the HTTP API"):
            await serve_http(Parts(), KEYS, "127.0.0.1", port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(CannotStart):
            await serve_http(Parts(), KEYS, *taken.getsockname())


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.mark.parametrize("host", ["localhost", pytest.param("::1", marks=needs_ipv6)])
async def test_it_listens_by_name_and_on_ipv6(host: str):
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve_http(Parts(), KEYS, host, 0, ready=ready.set_result))
    async with asyncio.timeout(60), httpx2.AsyncClient(timeout=60) as client:
        assert (await client.get(f"{await ready}/healthz")).status_code == 200
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_the_server_leaves_the_processs_logging_alone():
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    async with served(Parts()):
        assert (root.level, list(root.handlers)) == before
        assert logging.getLogger("uvicorn.error").handlers == []


async def test_without_nats_it_lives_is_not_ready_and_says_so(
    url: str, http: httpx2.AsyncClient, deployment: EmbeddedServer
):
    thread = (await http.post("/v1/threads")).json()["id"]
    assert (await http.get("/readyz")).status_code == 200
    os.kill(deployment.pid, signal.SIGKILL)
    await deployment.wait()

    ready, alive, got, created = await asyncio.gather(
        http.get("/readyz"),
        http.get("/healthz"),
        http.get(f"/v1/threads/{thread}"),
        http.post("/v1/threads", json={"metadata": {"k": "v"}}),
    )
    assert alive.status_code == 200
    assert ready.status_code == 503
    assert len(json.loads(ready.content)["reasons"]) == 6
    for refused in (got, created):
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["type"] == "server_error"

    await deployment.start()
    async with asyncio.timeout(60):
        while (await http.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.05)
        assert (await http.get(f"/v1/threads/{thread}")).status_code == 200


async def test_a_stream_that_is_gone_is_named_by_readiness(http: httpx2.AsyncClient, clew: Clew):
    await clew.js.api("STREAM.DELETE.CLEW_EVT_01")
    ready = await http.get("/readyz")
    assert ready.status_code == 503
    first, second = ready.json()["reasons"]
    assert first.startswith("stream CLEW_EVT_01: ")
    assert second.startswith("consumer CLEW_EVT_01/")


async def test_the_limit_of_a_body_is_a_setting(clew: Clew):
    async with served(clew, Settings(max_body=1024)) as address, httpx2.AsyncClient(headers=IN, timeout=60) as client:
        assert (await client.post(f"{address}/v1/threads", content=b"{" + b" " * 1022 + b"}")).status_code == 200
        assert (await client.post(f"{address}/v1/threads", content=b"{" + b" " * 1023 + b"}")).status_code == 413
