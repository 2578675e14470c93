"""Objects that HTTP shows to administrators of a tenant: API keys, rejected commands, the deployment's status."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from clew_events.errors import Fault

KeyScope = Literal["read", "write", "audit", "erase", "hold", "retention", "admin"]
"""The scopes of a key: read current state, write commands, audit history, erase, hold, retention, or everything."""


class ApiKey(Struct, frozen=True, kw_only=True):
    """An API key, without the key. All times are Unix seconds.

    A ``configured`` key stands in the configuration of the servers: it has no times, and is not revoked here.
    ``last_used_at`` is up to a minute late.
    """

    id: str
    object: Literal["api_key"] = "api_key"
    name: str
    scopes: tuple[KeyScope, ...]
    configured: bool = False
    created_at: int | None = None
    last_used_at: int | None = None
    revoked_at: int | None = None


class NewApiKey(ApiKey, frozen=True, kw_only=True):
    """A key that was just issued. ``key`` is the key itself, which is shown this once."""

    key: str


class ApiKeyList(Struct, frozen=True, kw_only=True):
    """All API keys of a tenant, revoked ones too, by name and age."""

    object: Literal["list"] = "list"
    data: tuple[ApiKey, ...]


class RejectedCommand(Struct, frozen=True, kw_only=True):
    """An inbox command that was rejected: its number on record, its body, and the error.

    ``final`` says why it cannot be retried; null if it can. ``body`` is only its beginning where it is ``shortened``,
    and empty if what it is about was erased.
    """

    number: int
    object: Literal["rejected_command"] = "rejected_command"
    at: datetime
    command: str
    command_id: str | None
    error: Fault
    final: str | None
    body: str
    shortened: bool


class RejectedCommandPage(Struct, frozen=True, kw_only=True):
    """A page of rejected commands, the oldest first. ``next`` is the ``after`` of the next page, and null on the last.

    Retry them in this order.
    """

    object: Literal["list"] = "list"
    data: tuple[RejectedCommand, ...]
    has_more: bool
    next: int | None


class RetriedCommand(Struct, frozen=True, kw_only=True):
    """A rejected command that is in the inbox again, and off the record. It is rejected anew under a new number."""

    number: int
    object: Literal["rejected_command.retried"] = "rejected_command.retried"
    retried: Literal[True] = True


class ShardStatus(Struct, frozen=True, kw_only=True):
    """One stream of the log. ``behind`` counts the commits that are not projected yet, ``lag`` is in seconds."""

    stream: str
    threads: int
    commits: int
    bytes: int
    behind: int
    lag: float


class IntegrityStatus(Struct, frozen=True, kw_only=True):
    """In what the log, as of ``since``, is not what it was: null if nothing was found."""

    verdict: str | None
    since: datetime | None


class ConsistencyStatus(Struct, frozen=True, kw_only=True):
    """How many threads have a view, as of ``since``, that differs from the log."""

    drift: int
    since: datetime | None


class IndexStatus(Struct, frozen=True, kw_only=True):
    """The index of the machine that answers. ``behind`` counts the commits that it lacks."""

    ready: bool
    behind: int


class CheckpointStatus(Struct, frozen=True, kw_only=True):
    """The last checkpoint, and the age in seconds of the oldest commit that it does not cover; 0 if it covers all."""

    number: int
    at: datetime
    waiting: float


class DerivedStatus(Struct, frozen=True, kw_only=True):
    """What is derived from the log, and what was checked of it.

    ``clock`` is by how many seconds the clock of the machine that answers is ahead of that of NATS, if by a minute or
    more. What is not known is null, and ``trouble`` says what could not be read.
    """

    proof: ConsistencyStatus | None
    integrity: IntegrityStatus | None
    index: IndexStatus | None
    checkpoint: CheckpointStatus | None
    clock: float | None
    trouble: tuple[str, ...]


class DeploymentStatus(Struct, frozen=True, kw_only=True):
    """The status of the whole deployment. It counts what all its tenants have, and names none of them.

    ``behind`` counts the commits that are not projected yet, ``inbox`` the commands that wait, ``rejected`` those on
    record, ``parked`` the threads that cannot be projected.
    """

    object: Literal["deployment.status"] = "deployment.status"
    version: str
    nats_server: str
    replicas: int
    threads: int
    commits: int
    behind: int
    inbox: int
    rejected: int
    parked: int
    shards: tuple[ShardStatus, ...]
    derived: DerivedStatus | None
