"""The report of the background verification: one value in the bucket of leases."""

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
    "Stop all writers, and keep everything as it is: neither 'clew rebuild' nor '--repair' restores commits, and "
    "views and index may be their last trace. 'clew verify --all' names what was done; see docs/operating.md"
)
KEPT: Final = 20
"""Findings of each kind that are kept."""


class Newest(Struct, frozen=True):
    """The newest checkpoint that was seen, by which a chain of checkpoints that was begun again is noticed."""

    number: int
    hash: str
    reason: str | None = None


class Report(Struct, frozen=True, kw_only=True):
    """The progress of the verification, and its findings.

    ``by`` is the process that verifies, or empty. The pass began at ``began_at``, compares the log with checkpoint
    ``checkpoint``, if there was one, and has read ``commits``. The log as of ``since`` was verified completely.
    ``newest`` is the newest checkpoint that was seen. ``lost`` are the losses that show in the streams' sequences, as
    of the last check; ``found`` are the findings of this pass, and ``before`` those of the last complete one.
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
        """All findings, each once, even if it was found in several ways."""
        by_key = {(one.code, one.shard, one.thread): one for one in (*self.before, *self.found, *self.lost)}
        return tuple(by_key.values())

    @property
    def age(self) -> float | None:
        """Seconds since the last complete pass began; ``None`` until there was one."""
        if self.since is None:
            return None
        return round(max(0.0, (datetime.now(UTC) - self.since).total_seconds()), 3)

    @property
    def verdict(self) -> str | None:
        """One line that says that the log was altered or damaged; ``None`` if there are no findings."""
        findings = self.findings
        if not findings:
            return None
        against = self.newest.number if self.newest is not None else self.checkpoint
        verdict = f"the log is not what checkpoint {against} says" if against is not None else "the log is damaged"
        more = f", and {len(findings) - 1} findings more" if len(findings) > 1 else ""
        return f"{verdict}: {findings[0].what}{more}"


_DECODER: Final = msgspec.json.Decoder(Report)


async def report(js: JetStream) -> Report | None:
    """The report on the log's integrity; ``None`` if no process has verified it yet.

    Raises:
        Unavailable: the bucket does not answer.
    """
    return decode(await Bucket(js, LEASES).latest(KEY))


def decode(value: Value | None) -> Report | None:
    """Decode the value in the bucket; ``None`` if there is none or it cannot be read."""
    if value is None or not value.body:
        return None
    try:
        return _DECODER.decode(value.body)
    except UNREADABLE:
        return None  # verification begins again
