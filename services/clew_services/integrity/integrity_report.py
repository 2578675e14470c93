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
    "Stop all writers, and change nothing: neither 'clew rebuild' nor '--repair' recovers commits, and views and index "
    "may be their last trace. 'clew verify --all' names what was changed; see docs/operating/alerts.md"
)
KEPT: Final = 20
"""The most findings of each kind in a report."""


class Newest(Struct, frozen=True):
    """The newest checkpoint that was seen. It reveals when the checkpoints were removed or replaced."""

    number: int
    hash: str
    reason: str | None = None


class Report(Struct, frozen=True, kw_only=True):
    """The progress and the findings of the verification.

    ``by`` is the process that verifies; empty if none does. This pass began at ``began_at``, compares the log with
    checkpoint ``checkpoint``, if there was one, and has read ``commits``. Everything that was stored at ``since`` was
    verified. ``newest`` is the newest checkpoint that was seen. ``lost`` are the losses that the streams' numbers show,
    as of the last check; ``found`` are the findings of this pass, and ``before`` those of the last complete one.
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
        each = {(one.code, one.shard, one.thread): one for one in (*self.before, *self.found, *self.lost)}
        return tuple(each.values())

    @property
    def age(self) -> float | None:
        """Seconds since the last complete pass began; ``None`` until there is one."""
        if self.since is None:
            return None
        return round(max(0.0, (datetime.now(UTC) - self.since).total_seconds()), 3)

    @property
    def verdict(self) -> str | None:
        """One line on the damage of the log; ``None`` if none is known."""
        findings = self.findings
        if not findings:
            return None
        against = self.newest.number if self.newest is not None else self.checkpoint
        said = f"the log differs from checkpoint {against}" if against is not None else "the log is damaged"
        more = f", and {len(findings) - 1} more findings" if len(findings) > 1 else ""
        return f"{said}: {findings[0].what}{more}"


_DECODER: Final = msgspec.json.Decoder(Report)


async def report(js: JetStream) -> Report | None:
    """Read the report on the log's integrity; ``None`` until the log is verified.

    Raises:
        Unavailable: the bucket does not answer.
    """
    return decode(await Bucket(js, LEASES).latest(KEY))


def decode(value: Value | None) -> Report | None:
    """The report in a value of the bucket; ``None`` if there is none, or it is unreadable."""
    if value is None or not value.body:
        return None
    try:
        return _DECODER.decode(value.body)
    except UNREADABLE:
        return None  # verification begins again
