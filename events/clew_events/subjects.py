"""Where everything is on NATS: subjects, streams, buckets and shards. Stored formats: they never change incompatibly.

============================================  =====================================================================
``clew.evt.<shard>.<tenant>.<thread>``        commits, one exact subject per thread, in stream ``CLEW_EVT_<shard>``
``clew.live.evt.<shard>.<tenant>.<thread>``   the same, republished over core NATS as they happen
``clew.cmd.<tenant>.<command>``               commands, request and reply
``clew.query.<tenant>.<query>``               queries, request and reply
``clew.inbox.<tenant>.<command>``             commands to be carried out when a handler is there, in ``CLEW_INBOX``
``clew.rejected.<tenant>.<command>.<place>``  what the inbox refused and why, in ``CLEW_REJECTED``
``clew.outcome.<tenant>.<anything>``          what became of inbox commands that name such a subject as ``reply_to``
``$KV.clew_threads_v1.<tenant>.<thread>``     the view of a thread
``$KV.clew_messages_v1.<tenant>.<thread>.<ordinal>``  the view of a message
``$KV.clew_commands_v1.<tenant>.<thread>.<hash>``  a command id of a caller's, kept for a day
``$KV.clew_keys_v1.<id>``                     an API key, of which all is kept but the key
``clew.checkpoint.<number>``                  signed checkpoints of the log, in ``CLEW_CHECKPOINTS``
``clew.live.checkpoint.<number>``             the same, republished over core NATS as they are made
``clew.live.keys.<id>``                       says over core NATS that an API key has changed
``$KV.clew_generations.threads``              which generation of the three buckets of views is live: ``v1``, ``v2``, …
``clew.live.generations.threads``             says over core NATS that this has changed
============================================  =====================================================================
"""

from __future__ import annotations

from typing import Final, NamedTuple
from zlib import crc32

EVENTS: Final = "clew.evt"
LIVE: Final = "clew.live"
COMMANDS: Final = "clew.cmd"
QUERIES: Final = "clew.query"
INBOX: Final = "clew.inbox"
REJECTED: Final = "clew.rejected"
OUTCOME: Final = "clew.outcome"
CHECKPOINT: Final = "clew.checkpoint"

INBOX_STREAM: Final = "CLEW_INBOX"
REJECTED_STREAM: Final = "CLEW_REJECTED"
CHECKPOINT_STREAM: Final = "CLEW_CHECKPOINTS"
MAX_SHARDS: Final = 64
LONGEST_TENANT: Final = 64
LONGEST_THREAD: Final = 128


class Address(NamedTuple):
    """Whose thread, and which."""

    tenant: str
    thread: str


def is_addressable(address: Address) -> bool:
    """Whether an address is short enough for the keys and subjects that follow from it; all that Clew makes are."""
    return len(address.tenant) <= LONGEST_TENANT and len(address.thread) <= LONGEST_THREAD


def shard_of(thread: str, shards: int) -> int:
    """The shard that holds a thread's history: the same for ever, which is why ``shards`` is fixed at first init."""
    return crc32(thread.encode()) % shards


def event_stream(shard: int) -> str:
    """The stream of one shard."""
    return f"CLEW_EVT_{shard:02d}"


def event_subject(shard: int, address: Address) -> str:
    """The one exact subject of a thread's commits; guards hold only on exact subjects."""
    return f"{EVENTS}.{shard:02d}.{address.tenant}.{address.thread}"


def shard_subjects(shard: int) -> str:
    """Everything one shard's stream takes in."""
    return f"{EVENTS}.{shard:02d}.*.*"


def address_of(event_subject: str) -> Address:
    """Whose commits these are, from the subject they were found on."""
    _, _, _, tenant, thread = event_subject.split(".")
    return Address(tenant, thread)


def command_subject(tenant: str, command: str) -> str:
    """Where a command is requested."""
    return f"{COMMANDS}.{tenant}.{command}"


def query_subject(tenant: str, query: str) -> str:
    """Where a query is requested."""
    return f"{QUERIES}.{tenant}.{query}"


def inbox_subject(tenant: str, command: str) -> str:
    """Where a command is left to be carried out later."""
    return f"{INBOX}.{tenant}.{command}"


def rejected_subject(tenant: str, command: str, place: str) -> str:
    """Where the refusal of an inbox command is recorded: one exact subject for each message that was in the inbox."""
    return f"{REJECTED}.{tenant}.{command}.{place}"


def checkpoint_subject(number: int) -> str:
    """The one exact subject of a signed checkpoint, so that no number is given twice."""
    return f"{CHECKPOINT}.{number}"
