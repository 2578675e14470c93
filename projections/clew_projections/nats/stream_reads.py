"""Reads of streams: single messages and pages, from any replica or from the leader.

nats-py offers a single direct get, no batch and no ``multi_last``; their wire format is that of NATS ADR-31.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol, TypeVar

import msgspec
from msgspec import Struct

from clew_events.errors import Unavailable
from clew_projections.nats.headers import status_of
from clew_projections.nats.newest_reads import NewestReads
from clew_projections.nats.request_mux import (
    END_OF_BATCH,
    NO_RESPONDERS_CODE,
    Disconnected,
    Reply,
    Request,
    RequestMux,
    Timeout,
)
from clew_projections.nats.stream_messages import (
    STORED_AT,
    ApiError,
    ApiRefusal,
    Newest,
    StoredMessage,
    decode_page,
    decode_stored,
    parse_headers,
)

T = TypeVar("T")

PAGE: Final = 256
PAGE_BYTES: Final = 2 * 1024 * 1024
"""The most bytes in a page; it has at least one message."""
MULTI_LAST: Final = 1024
"""The most subjects that one ``multi_last`` request may match."""
SILENT: Final = 1.0
"""Seconds without a reply after which a request is retried."""
PATIENCE: Final = (SILENT, 2 * SILENT, 4 * SILENT)
"""Seconds before each retry of a slow request. Within this time servers notice that one of them has died."""
ELECTION: Final = 0.05
"""Seconds between retries while the servers of a cluster elect a leader."""
RELOAD: Final = 1.0
"""Seconds in which a server answers calls of its API again that reloads its configuration; until then nobody does."""
_NO_MESSAGE: Final = 10037
IN_FLIGHT_BYTES: Final = 48 * 1024 * 1024
"""The most bytes of replies to bulk reads on the way to one client. With 64 MiB, nats-server closes its connection."""
IN_FLIGHT: Final = 64
"""The most bulk reads that wait for a reply, however small messages are."""
SMALL_AT_ONCE: Final = 64
"""Small messages that are asked for in one write."""
SMALL_BYTES: Final = 8 * 1024 * 1024
"""The most bytes of small messages on the way to one client, besides those of bulk reads."""
SMALL: Final = 64 * 1024
"""The most bytes of a small message."""
READS_A_PAGE: Final = 4
"""Reads by sequence that cost as much as a page, besides its messages."""
SKIPPED: Final = 200
"""Messages on other subjects that the server passes over at the cost of a read by sequence."""
NO_LEADER: Final = 10008
"""The error code for a stream without a leader."""
_UP_TO: Final = re.compile(rb"\r\nNats-UpTo-Sequence: (\d+)\r\n")
_JSON: Final = msgspec.json.Encoder()


class _GetReply(Struct, frozen=True):
    class Message(Struct, frozen=True):
        subject: str
        seq: int
        time: str
        data: bytes = b""
        hdrs: bytes = b""

    message: Message | None = None
    error: ApiError | None = None


_GET_REPLY: Final = msgspec.json.Decoder(_GetReply)


class StreamReader:
    """Reads of streams over one connection. All of them raise ``Unavailable`` when no reply comes.

    Bulk reads (pages, and lists of sequences or subjects) wait for one another, so that their replies together have at
    most :data:`IN_FLIGHT_BYTES`, however many ask at once.
    """

    def __init__(self, exchange: RequestMux, timeout: float = 5.0) -> None:
        self._exchange = exchange
        self._timeout = timeout
        # A page has at most ``PAGE_BYTES``, or one message.
        largest = max(PAGE_BYTES, exchange.max_payload)
        self._bulk = asyncio.Semaphore(max(1, min(IN_FLIGHT, IN_FLIGHT_BYTES // largest)))
        self._small = asyncio.Semaphore(SMALL_BYTES // (SMALL * SMALL_AT_ONCE))
        self._together: dict[str, NewestReads] = {}

    @property
    def max_payload(self) -> int:
        """The most bytes of a message that the server takes, headers included."""
        return self._exchange.max_payload

    async def last(self, stream: str, subject: str) -> StoredMessage | None:
        """Read the last message on an exact subject."""
        call = f"$JS.API.DIRECT.GET.{stream}.{subject}"
        reply = await self._retry_read(lambda: self._exchange.one(call, timeout=SILENT))
        return decode_stored(reply, subject)

    async def lasts(self, stream: str, subjects: Sequence[str], after: int = 0) -> dict[str, StoredMessage]:
        """Read the last messages on exact subjects; subjects without one after a sequence are left out."""
        found: dict[str, StoredMessage] = {}
        for start in range(0, len(subjects), MULTI_LAST):
            wanted = subjects[start : start + MULTI_LAST]
            if len(wanted) == 1 and not after:
                only = await self.last(stream, wanted[0])
                found |= {only.subject: only} if only is not None else {}
                continue
            found |= (await self._multi_last(stream, wanted, after, bulk=True)).found
        return found

    async def lasts_at_once(self, stream: str, subjects: Sequence[str]) -> dict[str, StoredMessage] | None:
        """Read the last messages on at most :data:`MULTI_LAST` subjects in one reply; ``None`` if they do not fit."""
        page = await self._direct(stream, {"multi_last": subjects}, subjects[0])
        whole = not page or page[-1].headers.get("Nats-Num-Pending") == "0"
        return {each.subject: each for each in page} if whole else None

    async def _multi_last(self, stream: str, subjects: Sequence[str], after: int, *, bulk: bool) -> Newest:
        found: dict[str, StoredMessage] = {}
        start = {"seq": after + 1} if after else {}
        up_to: int | None = None
        while subjects:
            page, ended = await self._read_page(stream, {"multi_last": subjects, **start}, subjects[0], bulk=bulk)
            found |= {each.subject: each for each in page}
            # Messages stored after the first page are not searched in later pages.
            up_to = ended if up_to is None else min(up_to, ended)
            if not page or page[-1].headers.get("Nats-Num-Pending") == "0":
                break
            # The server ends a reply that grows too large, and says how many messages are left.
            subjects = [subject for subject in subjects if subject not in found]
        return Newest(found, up_to or 0)

    async def after(self, stream: str, subject: str, seq: int, limit: int = PAGE) -> tuple[list[StoredMessage], bool]:
        """Read messages on a subject from a sequence on, at most ``limit``, and whether there are more.

        Any replica may answer, so on a replicated stream the newest may be missing.
        """
        request = {"seq": max(seq, 1), "next_by_subj": subject, "batch": limit}
        found = await self._direct(stream, request, subject)
        return found, bool(found) and found[-1].headers.get("Nats-Num-Pending") != "0"

    async def first_since(self, stream: str, subject: str, moment: int) -> StoredMessage | None:
        """Read the first message on a subject that was stored at a time (microseconds since 1970) or later."""
        when = datetime.fromtimestamp(moment // 1_000_000, UTC).replace(microsecond=moment % 1_000_000)
        request = {"start_time": when, "next_by_subj": subject}
        call, body = f"$JS.API.DIRECT.GET.{stream}", _JSON.encode(request)
        reply = await self._retry_patiently(lambda silence: self._exchange.one(call, body, timeout=silence))
        # A lagging replica may not have it yet.
        return decode_stored(reply, subject) or await self._from_leader(stream, request)

    async def newest(self, stream: str, subject: str, after: int) -> StoredMessage | None:
        """Read the last message on an exact subject if it is after a sequence. The cost does not depend on the log.

        Uses ``multi_last`` with a start, because a search forward from ``after`` reads every later block of the stream;
        concurrent reads share a request. Any replica may answer.
        """
        together = self._together.get(stream)
        if together is None:
            look = partial(self._multi_last, stream, bulk=False)
            together = self._together[stream] = NewestReads(look, lambda: self._exchange.lost)
        return await together.newest(subject, after)

    async def newest_at_leader(self, stream: str, subject: str, after: int) -> StoredMessage | None:
        """Read the last message on an exact subject from the stream's leader; ``None`` if not after a sequence."""
        found = await self._from_leader(stream, {"last_by_subj": subject})
        return found if found is not None and found.seq > after else None

    async def lasts_at_leader(self, stream: str, subjects: Sequence[str], after: int = 0) -> dict[str, StoredMessage]:
        """Read the last messages on exact subjects from the leader; subjects without one after a sequence are left out.

        Takes a request for each subject, unlike ``lasts``.
        """

        async def one(subject: str) -> StoredMessage | None:
            async with self._bulk:
                return await self.newest_at_leader(stream, subject, after)

        last = await asyncio.gather(*map(one, subjects))
        return {each.subject: each for each in last if each is not None}

    async def next_at_leader(self, stream: str, seq: int) -> StoredMessage | None:
        """Read the first message from a sequence on, on any subject, from the stream's leader."""
        return await self.from_leader(stream, {"seq": seq, "next_by_subj": ">"})

    async def newest_until(self, stream: str, subject: str, seq: int) -> StoredMessage | None:
        """Read the last message on an exact subject at or before a sequence. Any replica may answer."""
        found = await self._direct(stream, {"multi_last": [subject], "up_to_seq": seq}, subject) if seq > 0 else []
        return found[0] if found else None

    async def at(
        self, stream: str, seqs: Sequence[int], *, small: bool = False, first_on: str | None = None
    ) -> list[StoredMessage | None]:
        """Read the messages at sequences; ``None`` for each that is missing. ``small`` if none has more than 64 KiB.

        Requests are concurrent: ten times as fast as a search for a subject that has few of very many messages. If
        these are the first ones ``first_on`` a subject, they are searched for where that costs less.
        """
        call = f"$JS.API.DIRECT.GET.{stream}"
        if small:
            return await self._small_at(stream, [Request(call, b'{"seq":%d}' % seq) for seq in seqs], seqs)

        async def one(seq: int) -> StoredMessage | None:
            async with self._bulk:
                reply = await self._retry_read(lambda: self._exchange.one(call, b'{"seq":%d}' % seq, timeout=SILENT))
                # A lagging replica may not have it yet.
                return decode_stored(reply, "") or await self._from_leader(stream, {"seq": seq})

        found: dict[int, StoredMessage | None] = {}
        if first_on is not None and _is_page_cheaper(seqs):
            # From the start of the stream: from anywhere else on, the server goes through blocks of the stream to say
            # how many messages follow.
            request = {"seq": 1, "next_by_subj": first_on, "batch": len(seqs)}
            found = {each.seq: each for each in await self._direct(stream, request, first_on)}
        left = [seq for seq in seqs if seq not in found]
        found.update(zip(left, await asyncio.gather(*map(one, left)), strict=True))
        return [found[seq] for seq in seqs]

    async def _small_at(
        self, stream: str, requests: Sequence[Request], seqs: Sequence[int]
    ) -> list[StoredMessage | None]:
        found: list[StoredMessage | None] = []
        for start in range(0, len(requests), SMALL_AT_ONCE):
            some = requests[start : start + SMALL_AT_ONCE]
            async with self._small:
                replies = await self._retry_patiently(partial(self._exchange.each, some))
            for seq, reply in zip(seqs[start : start + SMALL_AT_ONCE], replies, strict=True):
                # A lagging replica may not have it yet.
                found.append(decode_stored(reply, "") or await self.from_leader(stream, {"seq": seq}))
        return found

    async def from_leader(self, stream: str, request: Mapping[str, object]) -> StoredMessage | None:
        """Send a ``STREAM.MSG.GET`` request to the stream's leader. Retries while no leader is elected (10008).

        Raises:
            Timeout: no leader answered in time.
            ApiRefusal: the leader answered with an error.
        """
        return await self._from_leader(stream, request)

    async def _from_leader(self, stream: str, request: Mapping[str, object]) -> StoredMessage | None:
        body, until = _JSON.encode(request), now() + self._timeout
        call = f"$JS.API.STREAM.MSG.GET.{stream}"
        while True:
            last_try = now() + SILENT >= until
            try:
                raw = await self._retry_read(lambda: self._ask_api(call, body, SILENT))
            except Timeout:
                if last_try:
                    raise
                continue
            reply = _GET_REPLY.decode(raw.data)
            if (found := reply.message) is not None:
                headers = parse_headers(found.hdrs) | {STORED_AT: found.time}
                return StoredMessage(found.seq, found.subject, found.data, headers)
            if reply.error is None or reply.error.err_code == _NO_MESSAGE:
                return None
            if reply.error.err_code != NO_LEADER or last_try:
                raise ApiRefusal(reply.error, f"reading {stream}")
            await asyncio.sleep(ELECTION)

    async def _direct(self, stream: str, request: Mapping[str, object], subject: str) -> list[StoredMessage]:
        found, _ = await self._read_page(stream, request, subject)
        return found

    async def _read_page(
        self, stream: str, request: Mapping[str, object], subject: str, *, bulk: bool = True
    ) -> tuple[list[StoredMessage], int]:
        """Read a page, and the end of the stream at the time; 0 if the reply has none, as when nothing matches."""
        # Without ``max_bytes`` the server sends so much at once that it treats the client as a slow consumer.
        body = _JSON.encode({**request, "max_bytes": PAGE_BYTES})
        call = f"$JS.API.DIRECT.GET.{stream}"
        async with self._bulk if bulk else nullcontext():
            *replies, end = await self._retry_patiently(
                lambda silence: self._exchange.many(call, body, timeout=silence)
            )
        found = decode_page(replies, subject)
        if found is None:
            raise Unavailable(f"a reply was lost while reading {stream}", code="reply_lost")
        if status_of(end.head) != END_OF_BATCH:
            decode_stored(end, subject)  # no message, or an error
        up_to = _UP_TO.search(end.head)
        return found, int(up_to[1]) if up_to is not None else 0

    async def _ask_api(self, subject: str, body: bytes, timeout: float) -> Reply:
        """Call the server's API. Retries for :data:`RELOAD` seconds while there are no responders."""
        until = now() + RELOAD
        while True:
            try:
                return await self._exchange.one(subject, body, timeout=timeout)
            except Unavailable as fault:
                if fault.code != NO_RESPONDERS_CODE or now() >= until:
                    raise
            await asyncio.sleep(ELECTION)

    async def _retry_read(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Retry a read after a lost connection or server, until the timeout."""
        until = now() + self._timeout
        while True:
            try:
                return await ask()
            except (Disconnected, Timeout):
                if now() >= until:
                    raise
                await asyncio.sleep(ELECTION)

    async def _retry_patiently(self, ask: Callable[[float], Awaitable[T]]) -> T:
        """Retry a read that may be slow, with a longer timeout each time, at last the full timeout of a call.

        Any replica may be asked; one whose machine has died does not answer until the others have noticed.
        """
        for silence in PATIENCE:
            try:
                return await ask(silence)
            except (Disconnected, Timeout):
                await asyncio.sleep(ELECTION)
        return await self._retry_read(lambda: ask(self._timeout))


def _is_page_cheaper(seqs: Sequence[int]) -> bool:
    """Whether a page costs less than a read of each message."""
    span = max(seqs, default=0) - min(seqs, default=0)
    return len(seqs) >= READS_A_PAGE + span // SKIPPED


def now() -> float:
    """Return the time of the running event loop, in seconds."""
    return asyncio.get_running_loop().time()


class Reads(Protocol):
    """Reads messages of streams; see :class:`clew_projections.nats.jetstream.JetStream`, which is one of these."""

    async def after(self, stream: str, subject: str, seq: int, limit: int = PAGE) -> tuple[list[StoredMessage], bool]:
        """Read messages on a subject from a sequence on, at most ``limit``, and whether there are more."""

    async def at(
        self, stream: str, seqs: Sequence[int], *, small: bool = False, first_on: str | None = None
    ) -> list[StoredMessage | None]:
        """Read the messages at sequences; ``None`` for each that is missing.

        ``small`` if none has more than 64 KiB; ``first_on`` is the subject whose first messages they are, if they are.
        """

    async def newest(self, stream: str, subject: str, after: int) -> StoredMessage | None:
        """Read the last message on an exact subject; ``None`` if it is not after a sequence."""

    async def newest_at_leader(self, stream: str, subject: str, after: int) -> StoredMessage | None:
        """Read the last message on an exact subject from the stream's leader; ``None`` if not after a sequence."""

    async def newest_until(self, stream: str, subject: str, seq: int) -> StoredMessage | None:
        """Read the last message on an exact subject at or before a sequence."""

    async def from_leader(self, stream: str, request: Mapping[str, object]) -> StoredMessage | None:
        """Send a ``STREAM.MSG.GET`` request to the stream's leader."""
