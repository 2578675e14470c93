"""Messages of streams, acks and errors of JetStream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

from msgspec import Struct

from clew_events.errors import Unavailable
from clew_projections.nats.headers import (
    DeliveredHeaders,
    Headers,
    description_of,
    read_appended,
    read_batch,
    status_of,
)
from clew_projections.nats.request_mux import Reply

MSG_ID: Final = "Nats-Msg-Id"
EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
TRACE: Final = "traceparent"
DIGEST: Final = "Clew-Digest"
"""The salted digest of the command behind a commit, until contents of the commit are erased."""
ERASED_ID: Final = "Clew-Msg-Id"
"""The message id that a commit had in the log, in its copy without erased contents."""
ERASED_GUARD: Final = "Clew-Guard"
"""The guard that a commit had in the log, in its copy without erased contents."""
ERASED_STORED_AT: Final = "Clew-Stored-At"
"""When the log stored a commit, in its copy without erased contents."""
BATCH_ID: Final = "Nats-Batch-Id"
BATCH_SEQUENCE: Final = "Nats-Batch-Sequence"
BATCH_COMMIT: Final = "Nats-Batch-Commit"
BATCH_COMPLETED: Final = "Batch Completed"
"""The server has sent all that was asked for. A consumer with replicas says so before it delivers the last messages."""
STORED_AT: Final = "Nats-Time-Stamp"
"""When the server stored a message. The server adds this header to reads; a publisher cannot set it."""


class StoredMessage(Struct, frozen=True, gc=False):
    """A message as a stream holds it."""

    seq: int
    subject: str
    body: bytes
    headers: Mapping[str, str]


class Newest(Struct, frozen=True):
    """The last messages found on some subjects, by subject.

    ``up_to`` is the end of the stream at the time of the read, or 0 if it has nothing on any of the subjects.
    """

    found: Mapping[str, StoredMessage]
    up_to: int


class DeliveredAs(NamedTuple):
    """What the reply subject of a message that a consumer delivers says of it.

    ``number`` counts the consumer's deliveries from 1, ``at`` is when the message was stored, in nanoseconds since
    1970, and ``pending`` is how many wait after it.
    """

    seq: int
    number: int
    at: int
    pending: int

    @classmethod
    def parse(cls, reply: bytes) -> DeliveredAs:
        """Parse ``$JS.ACK.<stream>.<consumer>.<deliveries>.<seq>.<number>.<at>.<pending>``, with any domain before."""
        _, seq, number, at, pending = reply.rsplit(b".", 4)
        return cls(int(seq), int(number), int(at), int(pending))


class OutgoingMessage(Struct, frozen=True):
    """A message to publish into a stream."""

    subject: str
    body: bytes
    headers: Mapping[str, str]


def encode_guard(seq: int) -> bytes:
    """Return the headers of a message that is stored only if the last one on its subject is at ``seq``; 0 for none."""
    return b"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: %d\r\n\r\n" % seq


class ApiError(Struct, frozen=True):
    """A JetStream error; ``err_code`` is the precise code."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class Ack(Struct, frozen=True, gc=False):
    """The server's reply to a publish: stored at ``seq``, stored there before (``duplicate``), or ``error``."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: ApiError | None = None


class ApiRefusal(Unavailable):
    """The server answered a call with an error."""

    def __init__(self, error: ApiError, what: str) -> None:
        super().__init__(f"{what}: {error.description} ({error.err_code})", code=f"jetstream_{error.err_code}")
        self.error = error


class StreamState(Struct, frozen=True):
    """The state of a stream. ``messages`` is less than the sequences from first to last if any were removed.

    ``subjects`` has those of the filter that was asked for, and how many messages each has.
    """

    messages: int = 0
    bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0
    num_subjects: int = 0
    subjects: dict[str, int] | None = None
    first_ts: datetime | None = None


class StreamReplica(Struct, frozen=True):
    """Another server's copy of a stream, and by how many operations it is behind the leader's."""

    current: bool = False
    lag: int = 0


class StreamCluster(Struct, frozen=True):
    """The replicas of a stream, without its leader."""

    replicas: tuple[StreamReplica, ...] = ()


class StreamInfo(Struct, frozen=True):
    """The answer about a stream: its configuration as the server sends it, its state, and ``ts``, the server's time."""

    config: dict[str, object] = {}
    state: StreamState = StreamState()
    created: str = ""
    cluster: StreamCluster = StreamCluster()
    ts: datetime | None = None

    def limit(self, setting: str) -> int:
        """A limit in the configuration, such as ``max_msgs``; -1 if there is none."""
        limit = self.config.get(setting)
        return limit if isinstance(limit, int) else -1


class ConsumerSequence(Struct, frozen=True):
    """One of a consumer's two ends, as a sequence of its stream, and when it last moved."""

    stream_seq: int = 0
    last_active: datetime | None = None


class ConsumerInfo(Struct, frozen=True):
    """The answer about a consumer: its configuration as the server sends it, its state, and its time as ``ts``."""

    config: dict[str, object] = {}
    delivered: ConsumerSequence = ConsumerSequence()
    ack_floor: ConsumerSequence = ConsumerSequence()
    num_pending: int = 0
    num_ack_pending: int = 0
    num_waiting: int = 0
    ts: datetime | None = None


def decode_stored(reply: Reply, subject: str) -> StoredMessage | None:
    """Decode the reply to a direct get; ``None`` if there is no message. ``subject`` is used where the reply has none.

    Raises:
        Unavailable: the server refused the read.
    """
    head = reply.head
    status = status_of(head)
    if status == "404":
        return None
    if status is not None:
        raise Unavailable(f"the server refused the read: {status} {description_of(head)}")
    known = read_appended(head)
    headers = Headers(head, known)
    if known is not None:
        return StoredMessage(int(known[1]), known[0].decode(errors="replace"), reply.data, headers)
    return StoredMessage(int(headers["Nats-Sequence"]), headers.get("Nats-Subject") or subject, reply.data, headers)


def decode_page(replies: Sequence[Reply], subject: str) -> list[StoredMessage] | None:
    """Decode the replies of a batched read; ``None`` if one of them was lost on the way.

    Raises:
        Unavailable: the server refused the read.
    """
    known = read_batch([reply.head for reply in replies])
    if known is None:
        return _decode_one_by_one(replies, subject)
    if [each[4] for each in known] != [b"0", *(each[1] for each in known)][:-1]:
        return None
    return [
        StoredMessage(int(each[1]), each[0].decode(), reply.data, Headers(reply.head, each))
        for each, reply in zip(known, replies, strict=True)
    ]


def _decode_one_by_one(replies: Sequence[Reply], subject: str) -> list[StoredMessage] | None:
    page: list[StoredMessage] = []
    before = "0"
    for reply in replies:
        if (each := decode_stored(reply, subject)) is None:
            break
        if each.headers.get("Nats-Last-Sequence") != before:
            return None
        page.append(each)
        before = str(each.seq)
    return page


def parse_headers(raw: bytes) -> dict[str, str]:
    """Parse the headers of a stored message."""
    lines = (line.partition(":") for line in raw.decode(errors="replace").split("\r\n")[1:] if line)
    return {name.strip(): value.strip() for name, _, value in lines}


def stored_at(stored: StoredMessage) -> int:
    """Return when a message was stored, in microseconds since 1970."""
    headers = stored.headers
    if isinstance(headers, DeliveredHeaders):
        return headers.nanoseconds // 1000
    return microseconds(headers[STORED_AT])


def microseconds(stamp: str) -> int:
    """Convert a timestamp of the server (RFC 3339 in UTC, up to nine decimals) to microseconds since 1970."""
    fraction = stamp[20:26] if len(stamp) > 26 else stamp[20:-1].ljust(6, "0")
    return _second(stamp[:19]) * 1_000_000 + int(fraction)


@lru_cache(1024)
def _second(text: str) -> int:
    return int(datetime.fromisoformat(text + "+00:00").timestamp())
