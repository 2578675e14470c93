"""The eraser: takes contents of commits out of the log, so that no byte of them stays in a block of the server.

For each commit, what is left of it is stored in ``CLEW_ERASED``, and then its original is deleted, which overwrites it
on the disk of every replica. If the commit had lost other contents before, its older copy is deleted in the same way.
Every step can be repeated, so whoever was killed between two of them begins the commit again.

Where JetStream encrypts its files it deletes without overwriting, and no reply tells.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final

from msgspec import Struct

from clew_events.codec import redact
from clew_events.commit import Position, record_of
from clew_events.errors import Corrupt, Unavailable
from clew_events.subjects import ERASED_STREAM, erased_subjects, event_stream
from clew_projections.history.erased_commits import copy_of
from clew_projections.integrity.links import place_of
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.stream_messages import DIGEST, EXPECTED, ApiRefusal, OutgoingMessage, StoredMessage
from clew_services.eventstore.write_probe import STALE

RATE: Final = 4.0
"""Deletions a second in each stream: one rewrites a block of up to 8 MB, and holds up the stream meanwhile."""
NOT_DELETED: Final = "not_deleted"
"""The error code of a deletion that failed, as on a full disk: the server writes a block anew beside the old one."""
NOT_OVERWRITTEN: Final = "not_overwritten"
"""The error code of a deletion that failed half way: no read finds the message, and its bytes are in its block."""
BEFORE: Final = "Clew-Before"
"""The sequence of the copy that a copy replaces, in a copy of a commit that lost contents more than once."""
_NOT_FOUND: Final = 10043
_NO_MESSAGE: Final = "no message found"
"""By which JetStream says that there is no such message."""

Sleep = Callable[[float], Awaitable[object]]


class Loss(Struct, frozen=True):
    """The contents that a commit loses: 0 is that of the command, ``i`` that of event ``i``.

    A commit that loses none is only moved out of the log.
    """

    position: Position
    numbers: Collection[int]


class Budget:
    """Spaces deletions: at most ``rate`` a second in each stream."""

    def __init__(
        self, rate: float = RATE, *, clock: Callable[[], float] = time.monotonic, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._spacing = 1 / rate
        self._clock = clock
        self._sleep = sleep
        self._due: dict[str, float] = {}

    async def wait(self, stream: str) -> None:
        """Wait until the next deletion in a stream is due."""
        now = self._clock()
        due = max(self._due.get(stream, now), now)
        self._due[stream] = due + self._spacing
        if due > now:
            await self._sleep(due - now)


class Eraser:
    """Erases contents of commits. ``js`` reads what the streams hold, not what the log was."""

    def __init__(self, js: JetStream, budget: Budget) -> None:
        self._js = js
        self._budget = budget

    async def erase(self, losses: Iterable[Loss], tell: Callable[[int], None] = lambda _: None) -> None:
        """Erase contents of commits, of which none may be the last of its thread; ``tell`` gets the number done.

        Raises:
            Corrupt: a commit is missing, or its copy is of another commit. Those before it are erased.
            Unavailable: JetStream does not answer, or refused. Call this again. After :data:`NOT_OVERWRITTEN` that
                finds nothing left to do, and the bytes stay until the stream's files are made anew.
        """
        for number, loss in enumerate(losses, start=1):
            while not await self._erase(loss.position, loss.numbers):
                pass
            tell(number)

    async def _erase(self, at: Position, numbers: Collection[int]) -> bool:
        """Erase contents of a commit; false if another eraser stored a copy of it meanwhile."""
        stream = event_stream(at.shard)
        original = await self._js.from_leader(stream, {"seq": at.seq})
        copied = await self._js.from_leader(ERASED_STREAM, {"last_by_subj": erased_subjects(at.shard, at.seq)})
        left = _left_of(at, original, copied, numbers)
        if original is not None:
            await self._check_followed(stream, original)
        if copied is not None and BEFORE in copied.headers:
            await self._delete(ERASED_STREAM, int(copied.headers[BEFORE]))
        if copied is None or copied.body != left.body:
            last = copied.seq if copied is not None else 0
            headers = {**left.headers, EXPECTED: str(last), **({BEFORE: str(last)} if last else {})}
            ack = await self._js.publish(left.subject, left.body, headers)
            if ack.error is not None and ack.error.err_code in STALE:
                return False
            if ack.error is not None:
                raise ApiRefusal(ack.error, f"storing what is left of sequence {at.seq} of shard {at.shard}")
            if last:
                await self._delete(ERASED_STREAM, last)
        await self._delete(stream, at.seq)
        return True

    async def _check_followed(self, stream: str, original: StoredMessage) -> None:
        """Check that a commit is not the last of its thread, by which readers know where the thread ends."""
        last = await self._js.newest_at_leader(stream, original.subject, original.seq)
        if last is None:
            raise Corrupt(f"sequence {original.seq} of {stream} is the last commit of its thread", code="last_commit")

    async def _delete(self, stream: str, seq: int) -> None:
        """Delete a message and overwrite its bytes; nothing if there is none."""
        if await self._js.from_leader(stream, {"seq": seq}) is None:
            return
        await self._budget.wait(stream)
        try:
            await self._js.api(f"STREAM.MSG.DELETE.{stream}", {"seq": seq})
        except ApiRefusal as refusal:
            if refusal.error.err_code == _NOT_FOUND or _NO_MESSAGE in refusal.error.description:
                return  # deleted by another eraser
            gone = await self._js.from_leader(stream, {"seq": seq}) is None
            raise Unavailable(
                f"sequence {seq} of {stream} was {'removed, and not overwritten' if gone else 'not deleted'}: "
                f"{refusal.error.description}",
                code=NOT_OVERWRITTEN if gone else NOT_DELETED,
            ) from refusal


def _left_of(
    at: Position, original: StoredMessage | None, copied: StoredMessage | None, numbers: Collection[int]
) -> OutgoingMessage:
    """Return the copy to store: what is left of a commit, whatever of it was erased before."""
    where = f"sequence {at.seq} of shard {at.shard}"
    if copied is None:
        if original is None:
            raise Corrupt(f"{where}: no commit is in the log, and none was erased", code="missing_commit")
        return copy_of(original, at.shard, place_of(original.body), redact(original.body, numbers))
    if original is not None and record_of(original.body) != record_of(copied.body):
        raise Corrupt(f"{where}: what is kept of its commit is of another one", code="altered")
    body, dropped = redact(copied.body, numbers), {BEFORE}
    if body != copied.body:
        dropped.add(DIGEST)
    kept = {name: value for name, value in copied.headers.items() if not (name.startswith("Nats-") or name in dropped)}
    return OutgoingMessage(copied.subject, body, kept)
