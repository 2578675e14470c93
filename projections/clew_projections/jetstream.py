"""JetStream as Clew needs it: guarded publishes, direct reads, and plain API calls, each with typed answers.

nats-py offers a single direct get, no batch and no ``multi_last``; the wire format of these is that of NATS ADR-31.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from secrets import token_hex
from typing import Final, TypeVar

import msgspec
from msgspec import Struct
from nats.aio.msg import Msg

from clew_events.codec import UNREADABLE
from clew_events.errors import Unavailable
from clew_projections.exchange import STATUS, Disconnected, Exchange, Timeout

T = TypeVar("T")

MSG_ID: Final = "Nats-Msg-Id"
EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
TRACE: Final = "traceparent"
BATCH_ID: Final = "Nats-Batch-Id"
BATCH_SEQUENCE: Final = "Nats-Batch-Sequence"
BATCH_COMMIT: Final = "Nats-Batch-Commit"

PAGE: Final = 256
PAGE_BYTES: Final = 2 * 1024 * 1024
"""Where a page ends that would have more bytes; it has one message at least."""
MULTI_LAST: Final = 1024
"""The most subjects that one ``multi_last`` request may match."""


class Stored(Struct, frozen=True):
    """A message as a stream holds it."""

    seq: int
    subject: str
    body: bytes
    headers: Mapping[str, str]


class Outgoing(Struct, frozen=True):
    """A message on its way into a stream."""

    subject: str
    body: bytes
    headers: Mapping[str, str]


class ApiError(Struct, frozen=True):
    """An error as the server puts it; ``err_code`` is the precise one."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class Ack(Struct, frozen=True):
    """The server's answer to a publish: stored at ``seq``, or stored there before, or refused."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: ApiError | None = None


class Refused(Unavailable):
    """The server answered a call with an error; ``error`` has its precise code."""

    def __init__(self, error: ApiError, what: str) -> None:
        super().__init__(f"{what}: {error.description} ({error.err_code})", code=f"jetstream_{error.err_code}")
        self.error = error


class _GetReply(Struct, frozen=True):
    class Message(Struct, frozen=True):
        subject: str
        seq: int
        data: bytes = b""
        hdrs: bytes = b""

    message: Message | None = None
    error: ApiError | None = None


class _SubjectPage(Struct, frozen=True):
    class State(Struct, frozen=True):
        subjects: dict[str, int] = {}

    state: State
    total: int = 0


class _NamesPage(Struct, frozen=True):
    streams: tuple[str, ...] | None = None
    total: int = 0


class StreamState(Struct, frozen=True):
    """What a stream holds."""

    messages: int = 0
    bytes: int = 0
    last_seq: int = 0
    num_subjects: int = 0


_ACK: Final = msgspec.json.Decoder(Ack)
_GET_REPLY: Final = msgspec.json.Decoder(_GetReply)
_JSON: Final = msgspec.json.Encoder()
_NO_MESSAGE: Final = 10037
_NO_LEADER: Final = 10008
LEADER_SILENT: Final = 1.0
"""Seconds after which a leader that says nothing is taken for gone, and whoever leads by then is asked."""
ELECTION: Final = 0.05
"""Seconds between questions while the servers of a cluster elect a leader."""


class JetStream:
    """What a connection can ask of JetStream. All calls raise ``Unavailable`` when no answer comes."""

    def __init__(self, exchange: Exchange, timeout: float = 5.0) -> None:
        self._exchange = exchange
        self._timeout = timeout

    async def publish(
        self,
        subject: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Ack:
        """Publish and return the server's answer, which may be a refusal."""
        reply = await self._exchange.one(subject, body, headers, timeout or self._timeout)
        try:
            return _ACK.decode(reply.data)
        except UNREADABLE as fault:
            raise Unavailable(f"no stream took the message on {subject}: {fault}", code="no_stream") from fault

    async def publish_batch(self, messages: Sequence[Outgoing], timeout: float | None = None) -> list[Ack]:
        """Store messages of one stream together or not at all (NATS ADR-50); an ack for each, or none if refused.

        Each may be guarded; no two may have the same subject. At most 1,000.

        Raises:
            Timeout: whether they were stored is not known.
            Unavailable: the connection is down.
        """
        batch = token_hex(8)
        *others, last = (
            Outgoing(each.subject, each.body, {**each.headers, BATCH_ID: batch, BATCH_SEQUENCE: str(place)})
            for place, each in enumerate(messages, start=1)
        )
        for each in others:
            await self._exchange.send(each.subject, each.body, each.headers)
        ack = await self.publish(last.subject, last.body, {**last.headers, BATCH_COMMIT: "1"}, timeout)
        if ack.error is not None:
            return []
        first = ack.seq - len(messages) + 1
        return [Ack(stream=ack.stream, seq=seq) for seq in range(first, ack.seq + 1)]

    async def api(self, call: str, request: object = None) -> dict[str, object]:
        """Call ``$JS.API.<call>``. While a leader is elected, who did nothing is asked again.

        Raises:
            Refused: the server answered with an error.
        """
        body = b"" if request is None else _JSON.encode(request)
        until = _now() + self._timeout
        while True:
            reply = await self._exchange.one(f"$JS.API.{call}", body, timeout=self._timeout)
            answer = msgspec.json.decode(reply.data, type=dict[str, object])
            if (found := answer.get("error")) is None:
                return answer
            error = msgspec.convert(found, ApiError)
            if error.err_code != _NO_LEADER or _now() >= until:
                raise Refused(error, call)
            await asyncio.sleep(ELECTION)

    async def last(self, stream: str, subject: str) -> Stored | None:
        """The last message on an exact subject."""
        call = f"$JS.API.DIRECT.GET.{stream}.{subject}"
        reply = await self._reading(lambda: self._exchange.one(call, timeout=LEADER_SILENT))
        return _stored(reply, subject)

    async def subjects(self, stream: str, pattern: str) -> list[str]:
        """All subjects of a stream that match a pattern and hold a message."""
        found: list[str] = []
        while True:
            request = {"subjects_filter": pattern, "offset": len(found)}
            page = msgspec.convert(await self.api(f"STREAM.INFO.{stream}", request), _SubjectPage)
            found += page.state.subjects
            if not page.state.subjects or len(found) >= page.total:
                return found

    async def streams(self) -> list[str]:
        """The names of all streams there are."""
        found: list[str] = []
        while True:
            page = msgspec.convert(await self.api("STREAM.NAMES", {"offset": len(found)}), _NamesPage)
            found += page.streams or ()
            if not page.streams or len(found) >= page.total:
                return found

    async def lasts(self, stream: str, subjects: Sequence[str], after: int = 0) -> dict[str, Stored]:
        """The last messages on many exact subjects, of those that have one that stands after a sequence."""
        found: dict[str, Stored] = {}
        for start in range(0, len(subjects), MULTI_LAST):
            wanted = subjects[start : start + MULTI_LAST]
            if len(wanted) == 1 and not after:
                only = await self.last(stream, wanted[0])
                found |= {only.subject: only} if only is not None else {}
                continue
            found |= await self._multi_last(stream, wanted, after)
        return found

    async def lasts_at_once(self, stream: str, subjects: Sequence[str]) -> dict[str, Stored] | None:
        """The same from a single answer, for at most :data:`MULTI_LAST`; nothing if they do not fit into one."""
        page = await self._direct(stream, {"multi_last": subjects}, subjects[0])
        whole = not page or page[-1].headers.get("Nats-Num-Pending") == "0"
        return {stored.subject: stored for stored in page} if whole else None

    async def _multi_last(self, stream: str, subjects: Sequence[str], after: int) -> dict[str, Stored]:
        found: dict[str, Stored] = {}
        start = {"seq": after + 1} if after else {}
        while subjects:
            page = await self._direct(stream, {"multi_last": subjects, **start}, subjects[0])
            found |= {stored.subject: stored for stored in page}
            if not page or page[-1].headers.get("Nats-Num-Pending") == "0":
                break
            # The server ends an answer that grows too large for a connection, and says how many are left.
            subjects = [subject for subject in subjects if subject not in found]
        return found

    async def after(self, stream: str, subject: str, seq: int, limit: int = PAGE) -> tuple[list[Stored], bool]:
        """Messages on a subject from a sequence on, at most ``limit``, and whether there are more.

        Any replica may answer, so on a replicated stream the newest may be missing.
        """
        request = {"seq": max(seq, 1), "next_by_subj": subject, "batch": limit}
        found = await self._direct(stream, request, subject)
        return found, bool(found) and found[-1].headers.get("Nats-Num-Pending") != "0"

    async def first_since(self, stream: str, subject: str, moment: int) -> Stored | None:
        """The first message on a subject that was stored at a moment (microseconds since 1970) or later."""
        when = datetime.fromtimestamp(moment // 1_000_000, UTC).replace(microsecond=moment % 1_000_000)
        request = {"start_time": when, "next_by_subj": subject}
        reply = await self._exchange.one(f"$JS.API.DIRECT.GET.{stream}", _JSON.encode(request), timeout=self._timeout)
        return _stored(reply, subject)

    async def newest(self, stream: str, subject: str, after: int) -> Stored | None:
        """The last message on an exact subject if it stands after a sequence. Costs the same however long the log is.

        Asked as ``multi_last`` with a start, because a search forward from ``after`` looks into every block of the
        stream behind it. Any replica may answer.
        """
        request = {"multi_last": [subject], "seq": after + 1}
        found = await self._direct(stream, request, subject)
        return found[0] if found else None

    async def newest_at_leader(self, stream: str, subject: str, after: int) -> Stored | None:
        """The same, as the stream's leader knows it."""
        found = await self.from_leader(stream, {"last_by_subj": subject})
        return found if found is not None and found.seq > after else None

    async def next_at_leader(self, stream: str, seq: int) -> Stored | None:
        """The first message from a sequence on, whatever its subject, as the stream's leader knows it."""
        return await self.from_leader(stream, {"seq": seq, "next_by_subj": ">"})

    async def from_leader(self, stream: str, request: Mapping[str, object]) -> Stored | None:
        """What the stream's leader gives for a request of ``STREAM.MSG.GET``, whoever leads by the time it answers.

        Raises:
            Timeout: nobody led for as long as there was time.
            Refused: the leader answered with an error.
        """
        body, until = _JSON.encode(request), _now() + self._timeout
        call = f"$JS.API.STREAM.MSG.GET.{stream}"
        while True:
            last_try = _now() + LEADER_SILENT >= until
            try:
                raw = await self._reading(lambda: self._exchange.one(call, body, timeout=LEADER_SILENT))
            except Timeout:
                if last_try:
                    raise
                continue
            reply = _GET_REPLY.decode(raw.data)
            if (found := reply.message) is not None:
                return Stored(found.seq, found.subject, found.data, _parse_headers(found.hdrs))
            if reply.error is None or reply.error.err_code == _NO_MESSAGE:
                return None
            if reply.error.err_code != _NO_LEADER or last_try:
                raise Refused(reply.error, f"reading {stream}")
            await asyncio.sleep(ELECTION)

    async def _reading(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask again what a connection or a server that was lost took along: a read changes nothing."""
        until = _now() + self._timeout
        while True:
            try:
                return await ask()
            except (Disconnected, Timeout):
                if _now() >= until:
                    raise
                await asyncio.sleep(ELECTION)

    async def newest_until(self, stream: str, subject: str, seq: int) -> Stored | None:
        """The last message on an exact subject that stands at a sequence or before it. Any replica may answer."""
        found = await self._direct(stream, {"multi_last": [subject], "up_to_seq": seq}, subject) if seq > 0 else []
        return found[0] if found else None

    async def at(self, stream: str, seqs: Sequence[int]) -> list[Stored | None]:
        """The messages at some sequences, each ``None`` if there is none.

        All are asked for at once: ten times as fast as searching for those of a subject that has few of very many.
        """
        call = f"$JS.API.DIRECT.GET.{stream}"

        async def one(seq: int) -> Stored | None:
            reply = await self._reading(lambda: self._exchange.one(call, b'{"seq":%d}' % seq, timeout=self._timeout))
            # A replica that is behind has not got it yet.
            return _stored(reply, "") or await self.from_leader(stream, {"seq": seq})

        return list(await asyncio.gather(*(one(seq) for seq in seqs)))

    async def _direct(self, stream: str, request: Mapping[str, object], subject: str) -> list[Stored]:
        # Without a bound the server sends so much at once that it takes the client for too slow and disconnects it.
        body = _JSON.encode({**request, "max_bytes": PAGE_BYTES})
        call = f"$JS.API.DIRECT.GET.{stream}"
        replies = await self._reading(lambda: self._exchange.many(call, body, timeout=self._timeout))
        found: list[Stored] = []
        for reply in replies:
            stored = _stored(reply, subject)
            if stored is None:
                break
            if stored.headers.get("Nats-Last-Sequence") != str(found[-1].seq if found else 0):
                raise Unavailable(f"a reply was lost while reading {stream}", code="reply_lost")
            found.append(stored)
        return found


async def stream_state(js: JetStream, stream: str) -> StreamState:
    """What a stream holds, now.

    Raises:
        Refused: there is no such stream.
        Unavailable: JetStream does not answer.
    """
    return msgspec.convert((await js.api(f"STREAM.INFO.{stream}"))["state"], StreamState)


def _stored(reply: Msg, subject: str) -> Stored | None:
    headers = reply.headers or {}
    status = headers.get(STATUS)
    if status == "404":
        return None
    if status is not None:
        raise Unavailable(f"the server refused to read: {status} {headers.get('Description', '')}")
    return Stored(int(headers["Nats-Sequence"]), headers.get("Nats-Subject", subject), reply.data, headers)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _parse_headers(raw: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in raw.decode(errors="replace").split("\r\n")[1:] if line)
    return {name.strip(): value.strip() for name, _, value in lines}
