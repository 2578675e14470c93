"""Whatever is thrown at the subjects of Clew, the services go on."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clew_events.operations import COMMANDS, QUERIES
from clew_services.compose import Clew
from clew_services.compose.roles import serve_commands, serve_inbox, serve_queries
from support.deployments import connected_client
from support.nats_services import served

TOKEN = st.binary(min_size=1, max_size=12).map(
    lambda raw: bytes(c for c in raw if c > 32 and c not in b".*>\x7f") or b"x"
)
NAME = st.sampled_from([name.encode() for name in (*COMMANDS, *QUERIES)]) | TOKEN
SUBJECT = st.builds(
    lambda root, tenant, name: b".".join((b"clew", root, tenant, name)),
    st.sampled_from([b"cmd", b"query", b"inbox"]),
    st.just(b"default") | TOKEN,
    NAME,
)
REPLY = st.just(b"") | st.just(b"_INBOX.nobody.listens") | TOKEN.map(lambda t: b"_INBOX." + t)
HEADERS = (
    st.just(b"")
    | st.binary(min_size=1, max_size=40)
    | st.binary(max_size=40).map(lambda raw: b"NATS/1.0" + raw.replace(b"\n", b"") + b"\r\n\r\n")
    | st.binary(max_size=20).map(lambda raw: b"NATS/1.0 503 " + raw.replace(b"\n", b"") + b"\r\n\r\n")
    | st.binary(max_size=40).map(lambda raw: b"NATS/1.0\r\ntraceparent: " + raw.replace(b"\n", b"") + b"\r\n\r\n")
    | st.binary(max_size=40).map(lambda raw: b"NATS/1.0\r\nNats-Msg-Id: " + raw.replace(b"\n", b"") + b"\r\n\r\n")
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "thread_id", "messages", "metadata", "message", "reply_to", "limit", "n", "patch"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
PAYLOAD = (
    st.binary(max_size=64)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.just(b"[" * 5000)
    | st.just(b'{"thread_id":' * 2000)
)


def frame(subject: bytes, reply: bytes, headers: bytes, payload: bytes) -> bytes:
    """A publish as it goes over the wire; no client library would let most of these pass."""
    head = b" ".join(part for part in (subject, reply) if part)
    if not headers:
        return b"PUB %s %d\r\n%s\r\n" % (head, len(payload), payload)
    return b"HPUB %s %d %d\r\n%s%s\r\n" % (head, len(headers), len(headers) + len(payload), headers, payload)


async def throw(port: int, frames: list[bytes]) -> None:
    """Send raw frames to the server, and return when it has taken them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":false}\r\n')
    writer.write(b"".join(frames) + b"PING\r\n")
    assert await reader.readline() == b"PONG\r\n"
    writer.close()
    await writer.wait_closed()


@pytest.fixture
async def victim(clew: Clew, deployment):
    """A deployment under attack: the port to send to, and somebody who wants to be served meanwhile."""
    async with served(clew), connected_client(deployment.url) as nc:
        yield deployment.port, nc


async def still_served(nc) -> None:
    made = await nc.request("clew.cmd.default.create_thread", b"{}", timeout=60)
    thread = json.loads(made.data)["ok"]["thread"]["id"]
    found = await nc.request("clew.query.default.get_thread", json.dumps({"thread_id": thread}).encode(), timeout=60)
    assert json.loads(found.data)["ok"]["thread"]["id"] == thread
    heard = await nc.subscribe("heard")
    left = json.dumps({"thread_id": thread, "metadata": {"a": "b"}, "reply_to": "heard"}).encode()
    await nc.jetstream().publish("clew.inbox.default.update_thread", left)
    assert json.loads((await heard.next_msg(timeout=60)).data)["ok"]["thread"]["metadata"] == {"a": "b"}
    await heard.unsubscribe()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.builds(frame, SUBJECT, REPLY, HEADERS, PAYLOAD), min_size=1, max_size=30))
async def test_garbage_does_not_stop_a_service(victim, frames: list[bytes]):
    port, nc = victim
    await throw(port, frames)
    await still_served(nc)


@pytest.mark.parametrize("serve", [serve_commands, serve_queries, serve_inbox])
@pytest.mark.parametrize(
    "raw",
    [
        frame(b"clew.%s.default.\xff", b"", b"", b"{}"),
        frame(b"clew.%s.default.create_thread", b"_INBOX.\xfe", b"", b"{}"),
        frame(b"clew.%s.default.create_thread", b"", b"NATS/1.0 503 \xff\xff\r\n\r\n", b"{}"),
        frame(b"clew.%s.default.create_thread", b"", b"NATS", b"{}"),
    ],
    ids=["subject", "reply subject", "status line", "half a header"],
)
async def test_bytes_that_are_no_text_do_not_deafen_a_service(clew: Clew, deployment, serve, raw: bytes):
    root = {serve_commands: b"cmd", serve_queries: b"query", serve_inbox: b"inbox"}[serve]
    async with served(clew), connected_client(deployment.url) as nc:
        await throw(deployment.port, [raw.replace(b"%s", root)])
        await still_served(nc)


async def test_the_largest_message_the_server_takes_is_answered(clew: Clew, deployment):
    async with served(clew), connected_client(deployment.url) as nc:
        full = json.dumps({"metadata": {"a": "x" * (nc.max_payload - 40)}}).encode()
        reply = await nc.request("clew.cmd.default.create_thread", full, timeout=60)
        assert reply.headers["Nats-Service-Error-Code"] == "400"
        await still_served(nc)


async def test_a_message_that_is_no_text_deafens_no_connection(clew: Clew, deployment):
    await clew.nc.subscribe("anything.*")
    await throw(deployment.port, [frame(b"anything.\xff", b"", b"", b"{}"), frame(b"anything.a", b"\xfe", b"", b"")])
    await clew.js.api("INFO")
    assert clew.connection.made == 1
