"""The stream of checkpoints: each is appended once, under its number; and how much of the log the latest one covers."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from clew_events.errors import NotFound, Unavailable
from clew_events.subjects import CHECKPOINT, CHECKPOINT_STREAM, checkpoint_subject
from clew_projections.index.notes import ends
from clew_projections.kv.bucket import WRONG_REVISION
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.stream_messages import EXPECTED
from clew_projections.projector.lag import lag_seconds
from clew_services.checkpoints.signed_checkpoint import SignedNote, read


class Ledger:
    """Reads and appends the checkpoints of a deployment. Signatures are not verified."""

    def __init__(self, js: JetStream) -> None:
        self._js = js

    async def latest(self) -> SignedNote | None:
        """The last checkpoint, if there is any.

        Raises:
            Corrupt: the message is no checkpoint.
            Unavailable: JetStream does not answer.
        """
        stored = await self._js.newest_at_leader(CHECKPOINT_STREAM, f"{CHECKPOINT}.*", 0)
        return read(stored.body) if stored is not None else None

    async def get(self, number: int) -> SignedNote | None:
        """The checkpoint with a number, if there is one.

        Raises:
            Corrupt: the message is no checkpoint.
            Unavailable: JetStream does not answer.
        """
        stored = await self._js.newest_at_leader(CHECKPOINT_STREAM, checkpoint_subject(number), 0)
        return read(stored.body) if stored is not None else None

    async def chosen(self, number: int | None) -> SignedNote:
        """The checkpoint with a number, or the last.

        Raises:
            NotFound: there is none.
            Corrupt: the message is no checkpoint.
            Unavailable: JetStream does not answer.
        """
        signed = await (self.latest() if number is None else self.get(number))
        if signed is None:
            what = "There is no checkpoint yet." if number is None else f"There is no checkpoint {number}."
            raise NotFound(what, code="checkpoint_not_found")
        return signed

    async def before(self, number: int | None, limit: int) -> list[SignedNote]:
        """At most ``limit`` checkpoints, the newest first, before a number if one is given.

        Raises:
            Corrupt: the message is no checkpoint.
            Unavailable: JetStream does not answer.
        """
        if number is None:
            latest = await self.latest()
            number = latest.checkpoint.number + 1 if latest is not None else 1
        numbers = range(number - 1, max(0, number - 1 - limit), -1)
        subjects = [checkpoint_subject(n) for n in numbers]
        stored = await self._js.lasts(CHECKPOINT_STREAM, subjects)
        # Checkpoints never change, but a replica may lag behind.
        missing = [subject for subject in subjects if subject not in stored]
        stored |= await self._js.lasts_at_leader(CHECKPOINT_STREAM, missing)
        notes = [stored.get(subject) for subject in subjects]
        return [read(note.body) for note in notes if note is not None]

    async def append(self, signed: SignedNote) -> bool:
        """Append a checkpoint; whether its number was free.

        Raises:
            Unavailable: it is unknown whether it was stored.
        """
        ack = await self._js.publish(checkpoint_subject(signed.checkpoint.number), signed.note, {EXPECTED: "0"})
        if ack.error is None:
            return True
        if ack.error.err_code in WRONG_REVISION:
            return False
        raise Unavailable(f"{CHECKPOINT_STREAM} refused a checkpoint: {ack.error.description}")


class CheckpointCoverage(Struct, frozen=True, kw_only=True):
    """The latest checkpoint and its coverage.

    ``number`` and ``at`` are the checkpoint's, ``age`` is its age in seconds; ``ahead`` is by how many seconds it is
    from the future, as this machine's clock has it. ``waiting`` is the age in seconds of the oldest commit that no
    checkpoint covers; 0 if all are covered.
    """

    number: int
    at: datetime
    age: float
    waiting: float
    ahead: float = 0.0


async def checkpoint_coverage(js: JetStream, shards: int, ledger: Ledger) -> CheckpointCoverage | None:
    """The coverage of the latest checkpoint; ``None`` if none was ever signed.

    Raises:
        Corrupt: the checkpoint cannot be read.
        Unavailable: JetStream does not answer.
    """
    latest = await ledger.latest()
    if latest is None:
        return None
    reached = {shard: heads.seq for shard, heads in enumerate(latest.checkpoint.shards)}
    at = latest.checkpoint.at
    age = (datetime.now(UTC) - at).total_seconds()
    return CheckpointCoverage(
        number=latest.checkpoint.number,
        at=at,
        age=round(max(0.0, age), 3),
        ahead=round(max(0.0, -age), 3),
        waiting=round(await lag_seconds(js, reached, await ends(js, shards)), 3),
    )
