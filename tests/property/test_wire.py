"""The short way in and out says and hears what nats-py's own does, however the network cuts it up."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nats import errors
from nats.aio.client import Client
from nats.protocol.parser import Parser

from clew_events.errors import TooLarge
from clew_projections.nats.headers import Headers, description_of, encode_headers, fields, status_of
from clew_projections.nats.lean_client import LEANED_ON, LeanClient
from clew_projections.nats.parser import LeanParser
from clew_projections.nats.request_mux import PendingRequest, Reply
from clew_projections.nats.stream_messages import decode_page
from support.waiting import PATIENCE, eventually

Message = tuple[bytes, bytes, bytes, bytes]
BODIES = st.one_of(st.binary(max_size=40), st.sampled_from([b"\r\n", b"MSG a 1 1\r\nx\r\n", b"PING\r\n", b"x" * 9000]))
BLOCKS = st.sampled_from(
    [b"", b"NATS/1.0\r\na: b\r\n\r\n", b"NATS/1.0 404\r\n\r\n", b"NATS/1.0\r\nx: HMSG a 1 2\r\n\r\n"]
)
MESSAGES = st.lists(
    st.tuples(st.sampled_from([b"a", b"a.b", b"9"]), st.sampled_from([b"", b"r", b"7"]), BLOCKS, BODIES), max_size=6
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def announced(message: Message, sid: int) -> bytes:
    subject, reply, head, body = message
    words = [subject, b"%d" % sid, *([reply] if reply else [])]
    sizes = [b"%d" % len(head), b"%d" % (len(head) + len(body))] if head else [b"%d" % len(body)]
    return (b"HMSG " if head else b"MSG ") + b" ".join([*words, *sizes]) + b"\r\n" + head + body + b"\r\n"


class Noted(LeanClient):
    """Notes what reaches it by nats-py's way."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Message] = []
        self.pings = 0

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self.got.append((subject, reply, headers or b"", data))

    async def _process_ping(self) -> None:
        self.pings += 1


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    places = sorted({min(place, len(data)) for place in at})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(MESSAGES, st.lists(st.integers(0, 600), max_size=8))
def test_messages_are_read_as_nats_py_reads_them_however_they_are_cut(messages: list[Message], at: list[int]) -> None:
    async def read() -> tuple[Noted, Noted, list[Message]]:
        lean, own, heard = Noted(), Noted(), list[Message]()
        theirs = Parser(own)
        lean._parser.receivers[b"2"] = lambda *message: heard.append(message)
        stream = b"".join(announced(each, 1) + b"PING\r\n" + announced(each, 2) + b"+OK\r\n" for each in messages)
        for piece in cut(stream, at):
            await lean._parser.parse(piece)
            await theirs.parse(piece)
        return lean, own, heard

    lean, own, heard = asyncio.run(read())
    assert lean.got == messages == heard
    assert [each for each in messages for _ in range(2)] == own.got
    assert lean.pings == own.pings == len(messages)


async def test_a_message_of_many_pieces_is_joined_once() -> None:
    client = Noted()
    body = bytes(3_000_000)
    whole = announced((b"a", b"", b"", body), 1)
    for start in range(0, len(whole), 1000):
        await client._parser.parse(whole[start : start + 1000])
    assert client.got == [(b"a", b"", b"", body)]


@pytest.mark.parametrize(
    "line", [b"MSG a\r\n", b"MSG a 1 x\r\n", b"HMSG a 1 5\r\n", b"MSG a 1 r 5 5 5\r\n", b"NOISE\r\n"]
)
async def test_what_is_no_nats_is_refused(line: bytes) -> None:
    with pytest.raises(errors.ProtocolError):
        await Noted()._parser.parse(line)


async def test_nothing_of_a_lost_connection_is_left_on_the_next() -> None:
    client = Noted()
    await client._parser.parse(b"MSG a 1 100\r\nhalf")
    client._ps.reset()
    await client._parser.parse(announced((b"a", b"", b"", b"whole"), 1))
    assert client.got == [(b"a", b"", b"", b"whole")]


async def test_of_a_server_that_takes_connections_and_says_nothing_no_more_than_one_is_held_open() -> None:
    seen, silent = Counter[str](), asyncio.Event()

    async def falls_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen["made"] += 1
        if not silent.is_set():
            writer.write(b'INFO {"max_payload":1024}\r\n')
            await reader.readuntil(b"PING\r\n")
            writer.write(b"PONG\r\n")
            await silent.wait()
        else:
            await reader.read()
        seen["closed"] += 1
        writer.close()

    async def ignore(_: Exception) -> None:
        pass

    async def tried() -> bool:
        return seen["made"] >= 5 and seen["made"] - seen["closed"] <= 1

    client = LeanClient()
    server = await asyncio.start_server(falls_silent, "127.0.0.1", 0)
    where = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await client.connect(
        where, connect_timeout=PATIENCE, reconnect_time_wait=0, max_reconnect_attempts=-1, error_cb=ignore
    )
    client.options["connect_timeout"] = 0.05
    silent.set()
    await eventually(tried)
    await client.close()
    server.close()
    gc.collect()  # a socket that was left to the collector is heard of here


async def test_a_receiver_that_fails_is_told_of_and_the_others_go_on() -> None:
    client, faults = Noted(), list[Exception]()

    async def note(fault: Exception) -> None:
        faults.append(fault)

    def fails(*_: bytes) -> None:
        raise KeyError("x")

    client._error_cb = note
    client._parser.receivers[b"2"] = fails
    await client._parser.parse(announced((b"a", b"", b"", b""), 2) + announced((b"b", b"", b"", b""), 1))
    assert [type(fault) for fault in faults] == [KeyError]
    assert client.got == [(b"b", b"", b"", b"")]


class Sent(Client):
    """Nats-py's own client, which keeps what it would send."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""

    async def _send_command(self, cmd: bytes, priority: bool = False) -> None:
        self.sent += cmd


@given(st.dictionaries(st.sampled_from(["Nats-Msg-Id", " x ", "", "Trace"]), TEXT, max_size=4), st.binary(max_size=9))
@example({"a": "b\r\nEvil: 1"}, b"")
@example({"a": " \n b "}, b"x")
def test_headers_are_written_byte_for_byte_as_nats_py_writes_them(headers: dict[str, str], body: bytes) -> None:
    async def sent() -> tuple[bytes, bytes]:
        theirs, ours = Sent(), LeanClient()
        await theirs._send_publish("a.b", "r", body, len(body), headers)
        theirs._status = ours._status = Client.CONNECTED
        await ours.publish("a.b", body, "r", headers)
        return theirs.sent, b"".join(ours._pending)

    theirs, ours = asyncio.run(sent())
    assert ours == theirs


def test_a_name_that_no_header_may_have_is_refused() -> None:
    with pytest.raises(errors.BadHeaderError):
        encode_headers({"a b": "c"})


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB x 0", "a\tb"])
async def test_no_subject_can_say_more_than_itself(subject: str) -> None:
    client = LeanClient()
    client._status = Client.CONNECTED
    with pytest.raises(errors.BadSubjectError):
        client.post(subject, b"")
    with pytest.raises(errors.BadSubjectError):
        client.post("a", b"", subject or " ")


async def test_a_connection_that_is_closed_draining_or_away_refuses_as_nats_py_does() -> None:
    client = LeanClient()
    for status, refusal in (
        (Client.CLOSED, errors.ConnectionClosedError),
        (Client.DRAINING_PUBS, errors.ConnectionDrainingError),
        (Client.RECONNECTING, errors.OutboundBufferLimitError),
    ):
        client._status = status
        with pytest.raises(refusal):
            client.post("a", b"")
    client._status = Client.CONNECTED
    with pytest.raises(TooLarge):
        client.post("a", bytes(client.max_payload + 1))


def test_a_nats_py_without_what_is_leaned_on_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Client, "_flush_pending")
    with pytest.raises(RuntimeError, match=r"has no _flush_pending\. Install nats-py 2\.16"):
        LeanClient()


def test_all_that_is_leaned_on_is_checked() -> None:
    assert {name for name in LEANED_ON if not hasattr(Client(), name)} == set()
    assert isinstance(LeanClient()._ps, LeanParser)


SERVERS = (
    b"Nats-Stream: S\r\nNats-Subject: a.b\r\nNats-Sequence: 7\r\nNats-Time-Stamp: 2026-11-23T07:00:00Z\r\n"
    b"Nats-Num-Pending: 3\r\nNats-Last-Sequence: 6\r\n\r\n"
)
SHORT = b"Nats-Subject: a.b\r\nNats-Sequence: 7\r\nNats-Time-Stamp: x\r\n\r\n"
NAMES = ("Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", "Nats-Num-Pending", "Nats-Last-Sequence", "traceparent")


@given(
    st.lists(
        st.sampled_from([b"Nats-Sequence: 9", b"Nats-Subject: x", b"traceparent: t", b"Nats-Num-Pending:1", b"q"])
    ),
    st.sampled_from([SERVERS, SHORT, SERVERS[:-2] + b"Nats-Sequence: 8\r\n\r\n", b"\r\n"]),
)
def test_a_header_asked_for_alone_is_what_it_is_among_all(lines: list[bytes], end: bytes) -> None:
    block = b"NATS/1.0\r\n" + b"".join(line + b"\r\n" for line in lines) + end
    whole = fields(block)
    assert {name: Headers(block).get(name) for name in NAMES} == {name: whole.get(name) for name in NAMES}
    assert dict(Headers(block)) == whole


STORED = st.lists(
    st.tuples(
        st.lists(st.sampled_from([b"Nats-Sequence: 9", b"traceparent: t", SERVERS[:-2].strip(), b"x\ry", b""])),
        st.sampled_from([b"", b"Nats-Num-Pending: 0\r\n"]),
        BODIES,
    ),
    max_size=5,
)


@given(STORED, st.lists(st.integers(0, 2000), max_size=8))
def test_a_page_is_what_its_messages_are_one_by_one_however_it_is_cut(
    stored: list[tuple[list[bytes], bytes, bytes]], at: list[int]
) -> None:
    one_by_one = [
        Reply(
            b"NATS/1.0\r\n"
            + b"".join(line + b"\r\n" for line in lines)
            + b"Nats-Subject: a.b\r\nNats-Sequence: %d\r\nNats-Time-Stamp: 2026-11-23T07:00:00Z\r\n" % seq
            + b"Nats-Num-Pending: 3\r\nNats-Last-Sequence: %d\r\n" % (seq - 1)
            + more
            + b"\r\n",
            body,
        )
        for seq, (lines, more, body) in enumerate(stored, start=1)
    ]
    end = Reply(b"NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\n\r\n", b"")
    stream = b"".join(announced((b"inbox.7", b"", each.head, each.data), 2) for each in (*one_by_one, end))

    async def read() -> list[Reply]:
        client, asked = Noted(), PendingRequest("a", "inbox.7", asyncio.get_running_loop().create_future(), many=True)
        client._parser.receivers[b"2"] = lambda _subject, _reply, head, body: asked.take(Reply(head, body))
        client.batches[b"inbox.7"] = asked.take_stored
        for piece in cut(stream, at):
            await client._parser.parse(piece)
        return await asked.answers

    *page, last = asyncio.run(read())
    assert [(each.head, each.data) for each in (*page, last)] == [(each.head, each.data) for each in (*one_by_one, end)]
    assert decode_page(page, "a.b") == decode_page(one_by_one, "a.b")


def test_a_status_is_told_with_what_is_said_beside_it() -> None:
    block = b"NATS/1.0 404 No Messages\r\nA: b\r\n\r\n"
    assert (status_of(block), description_of(block), fields(block)) == ("404", "No Messages", {"A": "b"})
    assert status_of(b"NATS/1.0\r\nA: b\r\n\r\n") is None
    assert status_of(b"") is None
