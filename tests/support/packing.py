"""Packs made by hand, with whatever commits a test wants in them, and every hash in the manifest right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from clew_events.commit import FORMAT, Recorded
from clew_events.subjects import Address, event_subject
from clew_projections.fold import FOLD
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.packs import layout
from clew_projections.packs.layout import CheckpointCoverage, PackHeader, Scope
from clew_projections.packs.pack import Pack
from clew_projections.packs.pack_writer import Ends, Segment, Totals, Writer
from support.commits import body_of


def as_stored(records: Iterable[Recorded]) -> list[StoredMessage]:
    """Commits as a stream would hold them."""
    return [
        StoredMessage(
            each.position.seq,
            event_subject(each.position.shard, Address(each.commit.tenant, each.commit.thread)),
            body_of(each.commit),
            {"traceparent": each.trace} if each.trace else {},
        )
        for each in records
    ]


def written(
    file: Path,
    shards: Sequence[Sequence[StoredMessage]],
    *,
    scope: Scope | None = None,
    ends: Sequence[int] | None = None,
    covering: CheckpointCoverage | None = None,
    checkpoint: int | None = None,
    heads: Sequence[Sequence[StoredMessage]] | None = None,
    at_once: int = 2,
) -> Path:
    """Write a pack with these commits; its heads are those of other commits, if these are given."""
    opening = PackHeader(
        scope=scope or Scope(),
        deployment="20261123",
        ends=tuple(ends or [commits[-1].seq if commits else 0 for commits in shards]),
        commit_format=FORMAT,
        fold=FOLD,
        checkpoint=checkpoint,
    )
    writer, totals = Writer(), Totals()
    out = [writer.add(layout.README, layout.README_TEXT), writer.add(layout.OPENING, layout.as_json(opening))]
    out.append(writer.add(f"{layout.SCHEMAS}events.json", b"{}\n"))
    for shard, commits in enumerate(shards):
        ends_of, headed = Ends(), Ends()
        for number, start in enumerate(range(0, len(commits), at_once), start=1):
            segment = Segment(shard, number)
            for stored in commits[start : start + at_once]:
                segment.add(stored)
                ends_of.take(stored.subject, stored.body)
            out.append(segment.pack(writer))
        for stored in (heads or shards)[shard]:
            headed.take(stored.subject, stored.body)
        if headed.tips:
            out.append(headed.pack(writer, shard))
        totals.count(ends_of)
    if covering is not None:
        out.append(writer.add(layout.COVERING, layout.as_json(covering)))
    out.append(writer.end(totals))
    file.write_bytes(b"".join(out))
    return file


def contents(file: Path) -> dict[str, bytes]:
    """Every member of a pack but the manifest."""
    pack = Pack(file)
    return {name: pack.content(name) for name in pack.members}
