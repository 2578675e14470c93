"""Connections as strangers use them: what is held of them, for how long, and how many there can be."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from clew_events.commands import Command
from clew_events.objects import TextPart, TextValue
from clew_events.queries import GetMessage
from clew_events.replies import Found
from clew_services.api_keys import Holder, Keys
from clew_services.api_keys.holders import digest
from clew_services.host import resources
from clew_services.http.protocol import HEAD_BYTES, HEAD_FIELDS, LINGER_BYTES, PIPELINED, Patience
from clew_services.settings import Settings
from clew_services.threads.result import Outcome
from support.api import ACME, served
from support.asgi import ID, MESSAGE, MESSAGE_ID, Parts
from support.callers import calling
from support.up import ROOT

SHORT = Settings(request_timeout="200ms")
IN = {"Authorization": f"Bearer {ACME}", "OpenAI-Beta": "assistants=v2"}
KEY = "".join(f"{name}: {value}\r\n" for name, value in IN.items()).encode()
GET = b"GET /healthz HTTP/1.1\r\nHost: clew\r\n\r\n"
POST = b"POST /v1/threads HTTP/1.1\r\nHost: clew\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


class Waiting(Parts):
    """An API that carries commands out when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def handle(
        self, tenant: str, command: Command, *, actor: str = "", by: str = "", trace: str | None = None, **_: object
    ) -> Outcome:
        self.reached.set()
        await self.go_on.wait()
        return await super().handle(tenant, command, actor=actor, by=by, trace=trace)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that waits for nothing longer than for a request."""

    def of(request: float) -> Patience:
        return Patience(request=request, head=request, idle=request, linger=request, answer=request)

    monkeypatch.setattr(Patience, "of", of)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with served(Parts()) as address:
        yield address


# What is held


@pytest.mark.parametrize("apart", [False, True])
async def test_a_key_in_a_trailer_opens_nothing(url: str, apart: bool):
    async with calling(url) as caller:
        await caller.send(POST, CHUNKED, *(() if apart else (b"2\r\n{}\r\n0\r\n", KEY, b"\r\n")))
        status, body = await caller.answer()
        assert (status, json.loads(body)["error"]["code"]) == (401, None)
        if apart:
            await caller.send(b"2\r\n{}\r\n0\r\n", KEY, b"\r\n", GET)
            assert await caller.rest() == b""
        else:
            await caller.send(GET)
            assert (await caller.answer())[0] == 200


async def test_trailers_change_nothing_about_a_request_and_the_connection_goes_on():
    parts = Parts()
    async with served(parts) as url, calling(url) as caller:
        body = b"2\r\n{}\r\n0\r\nIdempotency-Key: other\r\nExpect: 100-continue\r\n\r\n"
        await caller.send(POST, KEY, b"Idempotency-Key: mine\r\n", CHUNKED, body)
        assert (await caller.answer())[0] == 200
        assert [command.id for _, command in parts.asked] == ["mine"]  # type: ignore[attr-defined]
        await caller.send(GET)
        assert (await caller.answer())[0] == 200


@pytest.mark.parametrize("key", [KEY, b""], ids=["with a key", "without"])
async def test_no_request_is_swallowed_after_a_trailer_that_ends_the_connection(url: str, key: bytes):
    async with calling(url) as caller:
        await caller.send(POST, key, CHUNKED, b"2\r\n{}\r\n0\r\nConnection: close\r\n\r\n")
        assert (await caller.answer())[0] in {200, 401}
        assert await caller.rest() == b""


@pytest.mark.parametrize(
    ("version", "expectation", "told"),
    [
        (b"1.1", b"Expect: 100-continue\r\n", True),
        (b"1.1", b"Expect: 100-Continue\r\nExpect: 100-continue\r\n", True),
        (b"1.1", b"Expect: nothing, 100-continue\r\n", True),
        (b"1.1", b"Expect: nothing\r\n", False),
        (b"1.0", b"Expect: 100-continue\r\n", False),
    ],
    ids=["once", "twice", "in a list", "something else", "of HTTP/1.0"],
)
async def test_who_waits_to_be_told_to_go_on_is_told_so_by_http_1_1(
    url: str, version: bytes, expectation: bytes, told: bool
):
    async with calling(url) as caller, calling(url) as other:
        await caller.send(POST.replace(b"1.1", version), KEY, expectation, b"Content-Length: 2\r\n\r\n")
        if told:
            assert await caller.reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        await other.send(GET)
        await other.answer()  # so the head has been read, and who is to be told has been
        await caller.send(b"{}")
        assert (await caller.answer())[0] == 200


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
SAID = b'{"metadata":{"sent":"whole"}}'
WITH_LENGTH = (POST + KEY + UPGRADE + b"Content-Length: %d\r\n\r\n" % len(SAID), SAID)
IN_CHUNKS = (POST + KEY + UPGRADE + CHUNKED, b"%x\r\n%b\r\n0\r\n\r\n" % (len(SAID), SAID))
BODILESS = (GET.replace(b"\r\n\r\n", b"\r\n" + UPGRADE + b"\r\n"), b"")


@pytest.mark.parametrize("cut", ["nowhere", "before the body", "in the body", "in the next request"])
@pytest.mark.parametrize("asked", [WITH_LENGTH, IN_CHUNKS, BODILESS], ids=["a length", "chunks", "no body"])
async def test_who_asks_for_another_protocol_is_heard_in_this_one(asked: tuple[bytes, bytes], cut: str):
    """Java's client does so in the first request of each connection without TLS, and sends its body behind it."""
    head, body = asked
    places = {
        "nowhere": 0,
        "before the body": len(head),
        "in the body": len(head) + len(body) // 2,
        "in the next request": len(head) + len(body) + 5,
    }
    everything = (head + body + GET) * 2
    parts = Parts()
    async with served(parts) as url, calling(url) as caller, calling(url) as other:
        await caller.send(everything[: places[cut]])
        await other.send(GET)
        await other.answer()  # so what came first has been read
        await caller.send(everything[places[cut] :])
        assert [(await caller.answer())[0] for _ in range(4)] == [200] * 4
    assert [command.metadata for _, command in parts.asked] == [{"sent": "whole"}] * (2 if body else 0)  # type: ignore[attr-defined]


FIELD = b"x-%d: " % 1 + b"x" * 1024 + b"\r\n"


@pytest.mark.parametrize(
    ("begun", "piece"),
    [
        (b"2\r\n{}\r\n0\r\n", FIELD),
        (b"2\r\n{}\r\n0\r\nx: ", b"x" * 1024),
        (b"2\r\n{}\r\n0\r\n", b"a:b\r\n" * 1024),
        (b"2;", b"x" * 1024),
    ],
    ids=["trailers", "one trailer", "small trailers", "chunk extension"],
)
@pytest.mark.parametrize("key", [KEY, b""], ids=["with a key", "without"])
async def test_what_is_no_body_is_not_taken_without_end(key: bytes, begun: bytes, piece: bytes):
    parts = Parts()
    async with served(parts) as url, calling(url) as caller:
        taken = 0
        with contextlib.suppress(ConnectionError):
            await caller.send(POST, key, CHUNKED, begun)
            while taken < 2 * LINGER_BYTES:
                await caller.send(piece * 64)
                taken += len(piece) * 64
        assert taken < LINGER_BYTES + 32 * 1024 * 1024  # which is what the system may hold on both sides
        assert parts.asked == []


@pytest.mark.parametrize("fields", [b"a:b\r\n" * (HEAD_FIELDS + 1), b"x: " + b"x" * HEAD_BYTES + b"\r\n"])
async def test_a_head_that_comes_whole_is_held_to_its_bounds_too(url: str, fields: bytes):
    async with calling(url) as caller:
        await caller.send(b"GET /healthz HTTP/1.1\r\nHost: clew\r\n" + fields + b"\r\n")
        assert (await caller.answer())[0] == 431
        assert await caller.rest() == b""


async def test_a_request_that_comes_with_the_end_of_a_long_body_is_not_counted_with_it(url: str):
    async with calling(url) as caller:
        body = b"{" + b" " * 200_000 + b"}"
        await caller.send(POST, KEY, b"Content-Length: %d\r\n\r\n" % len(body) + body + GET[:-2])
        assert (await caller.answer())[0] == 200
        await caller.send(b"\r\n")
        assert (await caller.answer())[0] == 200


async def test_of_many_requests_at_once_no_more_wait_than_may_and_these_are_answered():
    waiting = Waiting()
    async with served(waiting) as url, calling(url) as caller:
        await caller.send(POST, KEY, b"Content-Length: 2\r\n\r\n{}", GET * 5_000)
        await waiting.reached.wait()
        waiting.go_on.set()
        assert (await caller.rest()).count(b"HTTP/1.1 200 OK") == 1 + PIPELINED


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: clew\r\nHost: clew\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: clew\r\nhost: other\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n", 400),
    ],
)
async def test_a_request_names_one_host_and_no_coding_but_chunks(url: str, head: bytes, status: int):
    async with calling(url) as caller:
        await caller.send(head)
        answer = await caller.rest()
        assert answer[9:12] == b"%d" % status
        assert b"cache-control: no-store\r\n" in answer
        if status != 200:
            assert {"message", "type", "param", "code"} == set(json.loads(answer.partition(b"\r\n\r\n")[2])["error"])


# What the guide says of odd HTTP

GUIDE = (ROOT / "docs/operating/running.md").read_text().partition("\n### Odd HTTP\n")[2].partition("\n####")[0]
ROWS = {
    what: (answer, connection)
    for what, answer, connection in (line[2:-2].split(" | ") for line in GUIDE.splitlines() if line.startswith("| "))
}
BODY = b"Content-Length: 2\r\n\r\n{}"
TOLD: dict[str, tuple[bytes, ...]] = {
    "no `Host`": (b"GET /healthz HTTP/1.1\r\n\r\n",),
    "two `Host`": (b"GET /healthz HTTP/1.1\r\nHost: clew\r\nhost: other\r\n\r\n",),
    "two `Content-Length`, or one beside `Transfer-Encoding`": (
        POST + KEY + b"Content-Length: 2\r\n" + BODY,
        POST + KEY + b"Content-Length: 2\r\n" + CHUNKED,
    ),
    "a `Transfer-Encoding` other than `chunked`": (POST + KEY + b"Transfer-Encoding: gzip, chunked\r\n\r\n",),
    "what is no HTTP/1.1: a folded header, a line without a carriage return, an unknown method, a path beyond 64 KiB": (
        b"GET /healthz HTTP/1.1\r\nHost: clew\r\nA: b\r\n c\r\n\r\n",
        b"GET /healthz HTTP/1.1\nHost: clew\n\n",
        b"BREW /healthz HTTP/1.1\r\nHost: clew\r\n\r\n",
        b"GET /" + b"a" * 64 * 1024 + b" HTTP/1.1\r\nHost: clew\r\n\r\n",
    ),
    "two `Authorization`, `Clew-Actor`, `Clew-Reason` or `Idempotency-Key`; `param` names it": (
        POST + KEY + KEY + BODY,
        *(POST + KEY + b"%b: a\r\n" % name * 2 + BODY for name in (b"Clew-Actor", b"Clew-Reason")),
        POST + KEY + b"Idempotency-Key: a\r\nidempotency-key: b\r\n" + BODY,
    ),
    "other headers several times": (POST + KEY + b"OpenAI-Beta: assistants=v2\r\nX: a\r\nX: b\r\n" + BODY,),
    "a head of more than 64 KiB, or of more than 256 fields": (
        GET[:-2] + b"x: " + b"x" * 64 * 1024 + b"\r\n\r\n",
        GET[:-2] + b"a:b\r\n" * 256 + b"\r\n",
    ),
    "a body beyond `--max-body`": (POST + KEY + b"Content-Length: 10000000\r\n\r\n" + b" " * 10_000_000,),
    "trailer fields": (POST + KEY + CHUNKED + b"2\r\n{}\r\n0\r\nHost: other\r\n\r\n",),
    "another `Expect`, and any of HTTP/1.0": (GET[:-2] + b"Expect: nothing\r\n\r\n",),
    "`Upgrade`": (GET[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",),
    "HTTP/1.0, with or without `Host`": (
        b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\nHost: clew\r\n\r\n",
    ),
}
OTHERWISE_TESTED = {
    "a head that is not whole after 30 seconds, or `--request-timeout` if that is less",
    "a body that is not whole `--request-timeout` after the first byte",
    "more than 64 KiB of trailers or chunk extensions, with nothing between them",
    "more than 64 requests that wait for the answer to the one before (pipelining)",
    "`Expect: 100-continue`",
    "one connection of an address more than `--max-connections-per-address`",
    "one connection more than there are descriptors for",
}


def test_the_guide_tells_of_all_that_is_tested_and_its_bounds_are_those_of_the_code():
    rows = ROWS.keys() - {"what comes"}
    assert rows == TOLD.keys() | OTHERWISE_TESTED
    default, settings = Patience.of(Settings().request_seconds), Settings()
    assert (HEAD_BYTES, HEAD_FIELDS, PIPELINED, LINGER_BYTES) == (64 * 1024, 256, 64, 64 * 1024 * 1024)
    assert (default.head, default.idle, default.linger, default.answer) == (30.0, 75.0, 5.0, 60.0)
    assert (settings.request_timeout, Patience.of(10.0).head) == ("60s", 10.0)


@pytest.mark.parametrize(("what", "request_"), [(what, each) for what, some in TOLD.items() for each in some])
async def test_odd_http_is_answered_as_the_guide_says(url: str, what: str, request_: bytes):
    answer, connection = ROWS[what]
    async with calling(url) as caller:
        sending = asyncio.create_task(caller.send(request_))
        status, body = await caller.answer()
        assert status == (int(answer[:3]) if answer[:3].isdigit() else 200)
        if status >= 400:
            error = json.loads(body)["error"]
            assert error["message"]
            assert (error["param"] is not None) == ("`param`" in what)
        if "closed" in connection:
            assert await caller.rest() == b""
        else:
            await sending
            await caller.send(GET)
            assert (await caller.answer())[0] == 200
        await asyncio.wait({sending})


async def test_a_request_goes_on_that_has_begun_when_its_key_is_revoked_and_the_next_one_is_refused():
    keys = Keys.parse(f"{ACME}:acme")
    keys.admit(digest("clew_soon-gone"), Holder("acme", "soon-gone", frozenset({"write"})))
    parts = Parts()
    head = POST + b"Authorization: Bearer clew_soon-gone\r\nContent-Length: 2\r\n"
    async with served(parts, keys=keys) as url, calling(url) as caller:
        await caller.send(head, b"Expect: 100-continue\r\n\r\n")
        assert await caller.reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        keys.shut_out(digest("clew_soon-gone"))
        await caller.send(b"{}")
        assert (await caller.answer())[0] == 200
        await caller.send(head, b"\r\n{}")
        assert (await caller.answer())[0] == 401
        assert len(parts.asked) == 1


async def test_who_waits_to_be_told_to_go_on_and_sends_nonsense_is_told_only_that(
    url: str, caplog: pytest.LogCaptureFixture
):
    async with calling(url) as caller:
        await caller.send(POST, KEY, b"Expect: 100-continue\r\n", CHUNKED, b"nonsense\r\n")
        assert (await caller.answer())[0] == 400
        assert await caller.rest() == b""
    assert caplog.messages == []


async def test_what_comes_before_nonsense_is_answered_before_it():
    waiting = Waiting()
    async with served(waiting) as url, calling(url) as caller:
        await caller.send(POST, KEY, b"Content-Length: 2\r\n\r\n{}", b"what is this\r\n\r\n")
        await waiting.reached.wait()
        waiting.go_on.set()
        assert (await caller.answer())[0] == 200
        assert await caller.rest() == b""
        assert len(waiting.asked) == 1


# For how long


SLOW = {
    "nothing": (b"", b""),
    "empty lines": (b"\r\n", b"\r\n"),
    "a head": (b"GET /healthz HTTP/1.1\r\nx: ", b"x"),
    "small fields": (b"GET /healthz HTTP/1.1\r\n", b"a:b\r\n"),
    "an upgrade": (
        b"GET /healthz HTTP/1.1\r\nHost: clew\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"\r\n",
    ),
    "a head of HTTP/1.0": (b"GET /healthz HTTP/1.0\r\nx: ", b"x"),
}
SLOW_BODIES = {
    "a body": (b"Content-Length: 1000000\r\n\r\n{", b" "),
    "no body": (b"Content-Length: 1000000\r\n\r\n", b""),
    "chunks": (CHUNKED, b"1\r\n \r\n"),
    "one chunk": (CHUNKED + b"ffffff\r\n{", b" "),
    "a chunk extension": (CHUNKED + b"2;", b"x"),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"a:b\r\n"),
    "one trailer": (CHUNKED + b"2\r\n{}\r\n0\r\nx:", b"x"),
    "what was continued": (b"Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n", b" "),
}


@pytest.mark.parametrize(("begun", "piece"), SLOW.values(), ids=SLOW)
@pytest.mark.parametrize("before", [b"", GET], ids=["at first", "after another"])
@pytest.mark.usefixtures("impatient")
async def test_who_takes_for_ever_to_ask_is_left(before: bytes, begun: bytes, piece: bytes):
    async with served(Parts(), SHORT) as url, calling(url) as caller:
        said = await caller.drip(before + begun, piece)
        assert said.count(b"HTTP/1.1 ") == before.count(b"GET") + begun.count(b"websocket")


@pytest.mark.parametrize(("begun", "piece"), SLOW_BODIES.values(), ids=SLOW_BODIES)
@pytest.mark.parametrize("key", [KEY, b""], ids=["with a key", "without"])
@pytest.mark.usefixtures("impatient")
async def test_who_takes_for_ever_to_send_a_body_is_answered_and_left(key: bytes, begun: bytes, piece: bytes):
    parts = Parts()
    async with served(parts, SHORT) as url, calling(url) as caller:
        said = (await caller.drip(POST + key + begun, piece)).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 408 " if key else b"HTTP/1.1 401 ")
        assert said.count(b"HTTP/1.1 ") == 1
        assert parts.asked == []


@pytest.mark.usefixtures("impatient")
async def test_an_answer_that_takes_its_time_is_waited_for_whoever_begins_the_next_request_meanwhile():
    waiting = Waiting()
    async with served(waiting, SHORT) as url, calling(url) as caller, calling(url) as other:
        await caller.send(POST, KEY, b"Content-Length: 2\r\n\r\n{}", b"GET /heal")
        await waiting.reached.wait()
        assert await other.rest() == b""  # so the time for a head is over
        waiting.go_on.set()
        assert (await caller.answer())[0] == 200
        assert await caller.rest() == b""


UNWANTED = {
    "no key": b"",
    "no key, and to be closed": b"Connection: close\r\n",
    "no HTTP/1.1": b"Host: other\r\n",
}


@pytest.mark.parametrize("fields", UNWANTED.values(), ids=UNWANTED)
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_a_body_that_is_not_wanted_is_taken_in_so_that_the_answer_is_not_lost(
    url: str, fields: bytes, version: bytes
):
    """A reset would have nginx, which speaks HTTP/1.0 unless told otherwise, answer 502."""
    async with calling(url) as caller:
        size = 16 * 1024 * 1024
        await caller.send(POST.replace(b"1.1", version), fields, b"Content-Length: %d\r\n\r\n" % size)
        head = await caller.reader.readuntil(b"\r\n\r\n")
        assert head[9:12] == (b"400" if b"Host" in fields else b"401")
        assert b"\r\nconnection: close\r\n" in head
        for _ in range(16):
            await caller.send(b"x" * 1024 * 1024)
        assert b'"error"' in await caller.rest()


@pytest.mark.parametrize("expects", [b"", b"Expect: 100-continue\r\n"], ids=["no expectation", "an expectation"])
async def test_no_request_is_taken_for_the_body_of_the_one_before(url: str, expects: bytes):
    """HAProxy 2.6 sends one on such a connection when its caller has left without sending the body."""
    async with calling(url) as caller:
        await caller.send(POST, expects, b"Content-Length: %d\r\n\r\n" % len(GET))
        head = await caller.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401 ")
        assert b"\r\nconnection: close\r\n" in head
        await caller.send(GET, GET)
        assert b"HTTP/1.1" not in await caller.rest()


class Large(Parts):
    """An API whose messages are larger than what the system keeps of an answer."""

    async def message(self, tenant: str, query: GetMessage) -> Found:
        found = await super().message(tenant, query)
        return replace(found, message=replace(MESSAGE, content=(TextPart(TextValue("x" * 16_000_000)),)))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("head", [b"", b"Connection: close\r\n"], ids=["kept", "closed"])
@pytest.mark.parametrize("count", [1, 2])
async def test_who_takes_nothing_of_an_answer_is_left(count: int, head: bytes):
    only = Settings(request_timeout="200ms", max_connections_per_address=1)
    request = b"GET /v1/threads/%b/messages/%b HTTP/1.1\r\nHost: clew\r\n" % (ID.encode(), MESSAGE_ID.encode())
    async with served(Large(), only) as url, calling(url) as deaf:
        await deaf.send((request + KEY + head + b"\r\n") * count)
        while await refused(url):
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("impatient")
async def test_who_takes_an_answer_slowly_gets_all_of_it():
    request = b"GET /v1/threads/%b/messages/%b HTTP/1.0\r\nHost: clew\r\n" % (ID.encode(), MESSAGE_ID.encode())
    # In all it takes longer than may pass without a byte, and no pause of a busy machine does.
    async with served(Large(), Settings(request_timeout="1s")) as url, calling(url) as slow:
        await slow.send(request + KEY + b"\r\n")
        taken = 0
        while some := await slow.reader.read(128 * 1024):
            taken += len(some)
            await asyncio.sleep(0.01)
        assert taken > 16_000_000


# How many


async def refused(url: str, local: str = "127.0.0.1") -> int:
    """With which status a connection is refused, if it is."""
    async with calling(url, local) as caller:
        await caller.send(GET)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            status, _ = await caller.answer()
            return 0 if status == 200 else status
        return -1  # the refusal was lost


async def test_of_one_address_there_are_no_more_connections_than_may_be(caplog: pytest.LogCaptureFixture):
    async with served(Parts(), Settings(max_connections_per_address=2)) as url:
        async with calling(url) as first, calling(url) as second:
            for caller in (first, second):
                await caller.send(GET)
                assert (await caller.answer())[0] == 200
            async with calling(url) as third:
                status, body = await third.answer()
                assert (status, json.loads(body)["error"]["code"]) == (429, "too_many_connections")
                assert await third.rest() == b""
            assert await refused(url)
            assert not await refused(url, "127.0.0.2")
            await first.send(GET)
            assert (await first.answer())[0] == 200
        while await refused(url):
            await asyncio.sleep(0.02)
    said = [each.getMessage() for each in caplog.records if each.name == "clew.http"]
    assert said == [
        "connections from 127.0.0.1 are refused: it has 2; if it is a proxy, --max-connections-per-address 0 lets it in"
    ]


async def test_a_ceiling_of_0_is_none():
    async with served(Parts(), Settings(max_connections_per_address=0)) as url, contextlib.AsyncExitStack() as stack:
        for _ in range(20):
            caller = await stack.enter_async_context(calling(url))
            await caller.send(GET)
            assert (await caller.answer())[0] == 200


async def test_connections_leave_descriptors_for_what_the_api_needs_itself(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resources, "connections", lambda: 1)
    async with served(Parts()) as url, calling(url) as first:
        await first.send(GET)
        assert (await first.answer())[0] == 200
        async with calling(url, "127.0.0.2") as second:
            status, body = await second.answer()
            assert (status, json.loads(body)["error"]["code"]) == (503, "too_many_connections")
