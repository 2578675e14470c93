"""The report of the background verification: one value in the bucket of leases, which any process can read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE
from clew_projections.findings import Finding
from clew_projections.kv.bucket import Bucket, Value
from clew_projections.nats.jetstream import JetStream
from clew_services.eventstore.topology import LEASES

KEY: Final = "integrity"
ADVICE: Final = (
    "Stop what writes, and keep everything as it is: neither 'clew rebuild' nor '--repair' brings commits back, and "
    "views and index may be their last trace. 'clew verify --all' names what was done; see docs/operating/alerts.md"
)
KEPT: Final = 20
"""Findings of each kind that are kept."""


class Newest(Struct, frozen=True):
    """The newest checkpoint that was seen, by which one is noticed whose checkpoints were begun anew."""

    number: int
    hash: str
    reason: str | None = None


class Report(Struct, frozen=True, kw_only=True):
    """How far the verification is, and what it found.

    ``by`` is the process at it, or nobody. This pass began at ``began_at`` and holds the log against checkpoint
    ``checkpoint``, if there was one; it has read ``commits`` of it. Everything that was there at ``since`` was
    verified. ``newest`` is the newest checkpoint that was seen. ``lost`` is what the streams' own numbers say was lost,
    as of the last look; ``found`` is what this pass has found, and ``before`` what the last whole one did.
    """

    by: str = ""
    began_at: datetime
    since: datetime | None = None
    checkpoint: int | None = None
    newest: Newest | None = None
    commits: int = 0
    lost: tuple[Finding, ...] = ()
    found: tuple[Finding, ...] = ()
    before: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is known to be wrong: each once, though it was found in several ways."""
        each = {(one.code, one.shard, one.thread): one for one in (*self.before, *self.found, *self.lost)}
        return tuple(each.values())

    @property
    def age(self) -> float | None:
        """Seconds since the last whole pass began; nothing until there was one."""
        if self.since is None:
            return None
        return round(max(0.0, (datetime.now(UTC) - self.since).total_seconds()), 3)

    @property
    def verdict(self) -> str | None:
        """In one line, that the log is not what it was; nothing if it is, as far as is known."""
        findings = self.findings
        if not findings:
            return None
        against = self.newest.number if self.newest is not None else self.checkpoint
        said = f"the log is not what checkpoint {against} says" if against is not None else "the log is damaged"
        more = f", and {len(findings) - 1} findings more" if len(findings) > 1 else ""
        return f"{said}: {findings[0].what}{more}"


_DECODER: Final = msgspec.json.Decoder(Report)


async def report(js: JetStream) -> Report | None:
    """What is known of the log's integrity; nothing where nobody has verified it yet.

    Raises:
        Unavailable: the bucket does not answer.
    """
    return decode(await Bucket(js, LEASES).latest(KEY))


def decode(value: Value | None) -> Report | None:
    """A report from the value in the bucket; nothing if there is none that can be read."""
    if value is None or not value.body:
        return None
    try:
        return _DECODER.decode(value.body)
    except UNREADABLE:
        return None  # verification begins again
