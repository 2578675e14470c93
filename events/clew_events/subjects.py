"""Names on NATS: subjects, streams, buckets and shards. Stored formats: they never change incompatibly.

============================================  =====================================================================
``clew.evt.<shard>.<tenant>.<thread>``        commits, one subject per thread, in stream ``CLEW_EVT_<shard>``
``clew.evt.<shard>.<tenant>.tenant``          the commits of a tenant's own history, in one shard for all tenants
``clew.live.evt.<shard>.<tenant>.<thread>``   the same commits, republished over core NATS
``clew.cmd.<tenant>.<command>``               commands, request and reply
``clew.imported.<tenant>.<command>``          commands that another account imports, request and reply
``clew.query.<tenant>.<query>``               queries, request and reply
``clew.inbox.<tenant>.<command>``             commands to execute later, in stream ``CLEW_INBOX``
``clew.rejected.<tenant>.<command>.<place>``  rejected inbox commands, in stream ``CLEW_REJECTED``
``clew.outcome.<tenant>.<anything>``          replies to inbox commands with such a ``reply_to``
``$KV.clew_threads_v1.<tenant>.<thread>``     the view of a thread, and where its latest items are in the log
``$KV.clew_threads_v1.<tenant>.<thread>.<number>``  where 256 older items are
``$KV.clew_commands_v1.<tenant>.<thread>.<hash>``  a command id that a caller used, kept for a day
``$KV.clew_keys_v1.<id>``                     the record of an API key, without the key
``$KV.clew_keys_v1.session-<key>-<slot>``     until when a browser's session is good, without its token
``clew.checkpoint.<number>``                  signed checkpoints of the log, in stream ``CLEW_CHECKPOINTS``
``clew.live.checkpoint.<number>``             the same checkpoints, republished over core NATS
``clew.erased.<shard>.<block>.<seq>.<tenant>.<thread>.<n>``  commits that were erased or swept, in ``CLEW_ERASED``
``clew.erased.swept.<shard>``                 up to where a shard was swept, in ``CLEW_ERASED``
``clew.erased.erasure.<tenant>.<id>``         the state of an erasure, in ``CLEW_ERASED``
``clew.erased.certificate.<id>``              the signed certificate of an erasure, in ``CLEW_ERASED``
``clew.erased.floor``                         from where on ``CLEW_ERASED`` has all of pending erasures
``clew.erased.copy.<id>``                     a backup or a pack that was made, in ``CLEW_ERASED``
``clew.erased.fork.<tenant>.<parent>.<fork>``  that a thread was forked from another, in ``CLEW_ERASED``
``clew.live.erased.erasure.<tenant>.<id>``    announces over core NATS that the state of an erasure has changed
``clew.live.keys.<id>``                       announces over core NATS that an API key has changed
``$KV.clew_generations.threads``              the live generation of the two buckets of views: ``v1``, ``v2``, …
``clew.live.generations.threads``             announces over core NATS that this has changed
============================================  =====================================================================
"""

from __future__ import annotations

from typing import Final, NamedTuple
from zlib import crc32

EVENTS: Final = "clew.evt"
LIVE: Final = "clew.live"
COMMANDS: Final = "clew.cmd"
IMPORTED: Final = "clew.imported"
QUERIES: Final = "clew.query"
INBOX: Final = "clew.inbox"
REJECTED: Final = "clew.rejected"
OUTCOME: Final = "clew.outcome"
CHECKPOINT: Final = "clew.checkpoint"
ERASED: Final = "clew.erased"
ERASURES: Final = f"{ERASED}.erasure"
COPIES: Final = f"{ERASED}.copy"
FORKS: Final = f"{ERASED}.fork"
ERASURE_FLOOR: Final = f"{ERASED}.floor"
ERASED_BLOCK: Final = 100_000
"""Sequences of the log whose copies have one token in common: as many subjects as the server lists in one answer."""
LIVE_ERASURES: Final = f"{LIVE}.erased.erasure"

INBOX_STREAM: Final = "CLEW_INBOX"
REJECTED_STREAM: Final = "CLEW_REJECTED"
CHECKPOINT_STREAM: Final = "CLEW_CHECKPOINTS"
ERASED_STREAM: Final = "CLEW_ERASED"
MAX_SHARDS: Final = 64
LONGEST_TENANT: Final = 64
LONGEST_THREAD: Final = 128
TENANT: Final = "tenant"
"""What stands in place of a thread's id where a tenant's own history is. No thread can have this id."""


class Address(NamedTuple):
    """A thread's tenant and id."""

    tenant: str
    thread: str


def is_thread(address: Address) -> bool:
    """Whether an address is that of a thread, and not of a tenant's own history."""
    return address.thread != TENANT


def is_addressable(address: Address) -> bool:
    """Whether an address is short enough for its keys and subjects. All that Clew makes are."""
    return len(address.tenant) <= LONGEST_TENANT and len(address.thread) <= LONGEST_THREAD


def shard_of(thread: str, shards: int) -> int:
    """The shard that holds a thread's history. It never changes, so ``shards`` is fixed when Clew is initialised."""
    return crc32(thread.encode()) % shards


def event_stream(shard: int) -> str:
    """The stream of one shard."""
    return f"CLEW_EVT_{shard:02d}"


def event_subject(shard: int, address: Address) -> str:
    """The subject of a thread's commits: exact, as JetStream checks an expected sequence only on an exact subject."""
    return f"{EVENTS}.{shard:02d}.{address.tenant}.{address.thread}"


def own_subjects(shards: int) -> tuple[int, str]:
    """The shard with the own histories of all tenants, and their subjects."""
    shard = shard_of(TENANT, shards)
    return shard, event_subject(shard, Address("*", TENANT))


def shard_subjects(shard: int) -> str:
    """The subjects of a shard's stream."""
    return f"{EVENTS}.{shard:02d}.*.*"


def address_of(event_subject: str) -> Address:
    """The thread whose commits have this subject."""
    _, _, _, tenant, thread = event_subject.split(".")
    return Address(tenant, thread)


def command_subject(tenant: str, command: str) -> str:
    """The subject at which a command is requested."""
    return f"{COMMANDS}.{tenant}.{command}"


def query_subject(tenant: str, query: str) -> str:
    """The subject at which a query is requested."""
    return f"{QUERIES}.{tenant}.{query}"


def inbox_subject(tenant: str, command: str) -> str:
    """The subject at which a command is put into the inbox."""
    return f"{INBOX}.{tenant}.{command}"


def rejected_subject(tenant: str, command: str, place: str) -> str:
    """The subject of a rejected inbox command: one for each message that was in the inbox."""
    return f"{REJECTED}.{tenant}.{command}.{place}"


def checkpoint_subject(number: int) -> str:
    """The subject of a signed checkpoint: exact, so that no number is used twice."""
    return f"{CHECKPOINT}.{number}"


def erased_subject(shard: int, seq: int, address: Address, n: int) -> str:
    """The subject of a commit that was erased or swept: its position in the log, its thread, and its number there."""
    return f"{ERASED}.{shard:02d}.{seq // ERASED_BLOCK}.{seq}.{address.tenant}.{address.thread}.{n}"


def erased_subjects(
    shard: int, seq: int | None = None, *, block: int | None = None, tenant: str = "*", thread: str = "*"
) -> str:
    """The subjects of a shard's commits that were erased or swept: all, of one sequence, block, tenant or thread."""
    if seq is not None:
        block = seq // ERASED_BLOCK
    place = f"{'*' if block is None else block}.{'*' if seq is None else seq}"
    return f"{ERASED}.{shard:02d}.{place}.{tenant}.{thread}.*"


def swept_subject(shard: int) -> str:
    """The subject that says up to where a shard was swept."""
    return f"{ERASED}.swept.{shard:02d}"


def erasure_subject(tenant: str, erasure: str) -> str:
    """The subject of the state of an erasure."""
    return f"{ERASURES}.{tenant}.{erasure}"


def copy_subject(copy: str) -> str:
    """The subject of the record of a backup or a pack."""
    return f"{COPIES}.{copy}"


def fork_subject(parent: Address, fork: str = "*") -> str:
    """The subject of the record that a thread was forked from a parent; by default, of all that were."""
    return f"{FORKS}.{parent.tenant}.{parent.thread}.{fork}"


def certificate_subject(erasure: str) -> str:
    """The subject of the certificate of an erasure."""
    return f"{ERASED}.certificate.{erasure}"
