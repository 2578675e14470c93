"""All checkpoints of a deployment, from the first to the last: each signed, and each naming the one before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct

from clew_events.errors import Corrupt
from clew_events.subjects import CHECKPOINT, CHECKPOINT_STREAM, checkpoint_subject
from clew_projections.findings import Finding
from clew_projections.nats.jetstream import JetStream, stream_state
from clew_projections.nats.replica_reads import until
from clew_projections.nats.stream_messages import StoredMessage
from clew_services.checkpoints.note import VerifierKey
from clew_services.checkpoints.signed_checkpoint import SignedNote, read

EVERY: Final = f"{CHECKPOINT}.*"


class CheckpointChain(Struct, frozen=True, kw_only=True):
    """How many checkpoints were read, the ids of the keys they name, and what is wrong with them.

    A finding's ``seq`` is the number of the checkpoint it is about. ``newest`` is the last one with which nothing is
    wrong in itself: what the log can be held against. ``accepted`` has the checkpoints with which an operator had
    another history signed, and the reason given.
    """

    checkpoints: int
    key_ids: tuple[str, ...]
    findings: tuple[Finding, ...]
    newest: SignedNote | None = None
    accepted: tuple[tuple[int, str], ...] = ()


async def walk_chain(js: JetStream, keys: Mapping[str, VerifierKey]) -> CheckpointChain:
    """Read all checkpoints in their order, and hold each against the one before it, and against the keys given by id.

    Without ``keys`` signatures are not looked at, which says nothing of who made them. With keys, that there is no
    checkpoint is a finding.

    Raises:
        Unavailable: JetStream does not answer.
    """
    end = (await stream_state(js, CHECKPOINT_STREAM)).last_seq
    last = await js.newest_at_leader(CHECKPOINT_STREAM, EVERY, 0)
    findings: list[Finding] = []
    key_ids: dict[str, None] = {}
    before: SignedNote | None = None
    newest: SignedNote | None = None
    accepted: list[tuple[int, str]] = []
    count = expected = 0
    async for stored in until(js, CHECKPOINT_STREAM, EVERY, 1, last.seq if last is not None else 0):
        count += 1
        expected += 1
        try:
            one = _one(stored, keys)
        except Corrupt as fault:
            findings.append(_finding(expected, fault.code, fault.message))
            before = None
            continue
        number = one.checkpoint.number
        if number != expected:
            missing = f"checkpoint {expected} should stand before checkpoint {number}, and does not"
            findings.append(_finding(expected, "checkpoint_missing", missing))
        elif (what := _broken(before, one, first=number == 1)) is not None:
            findings.append(_finding(number, "checkpoint_changed", what))
        key_ids |= dict.fromkeys(one.key_ids)
        if one.checkpoint.reason is not None:
            accepted.append((number, one.checkpoint.reason))
        before, newest, expected = one, one, number
    findings += _cut_off(last, end, expected + 1, keys)
    return CheckpointChain(
        checkpoints=count,
        key_ids=tuple(key_ids),
        findings=tuple(findings),
        newest=newest,
        accepted=tuple(accepted),
    )


async def read_newest(js: JetStream, keys: Mapping[str, VerifierKey]) -> CheckpointChain:
    """The same of the last checkpoint alone, whatever stands before it.

    Raises:
        Unavailable: JetStream does not answer.
    """
    end = (await stream_state(js, CHECKPOINT_STREAM)).last_seq
    last = await js.newest_at_leader(CHECKPOINT_STREAM, EVERY, 0)
    if last is None:
        return CheckpointChain(checkpoints=0, key_ids=(), findings=tuple(_cut_off(last, end, 1, keys)))
    try:
        newest = _one(last, keys)
    except Corrupt as fault:
        findings = (_finding(last.seq, fault.code, fault.message), *_cut_off(last, end, last.seq + 1, keys))
        return CheckpointChain(checkpoints=1, key_ids=(), findings=findings)
    cut_off = tuple(_cut_off(last, end, newest.checkpoint.number + 1, keys))
    return CheckpointChain(checkpoints=1, key_ids=newest.key_ids, findings=cut_off, newest=newest)


def _cut_off(last: StoredMessage | None, end: int, number: int, keys: Mapping[str, VerifierKey]) -> Iterator[Finding]:
    """That the last checkpoints were removed, or that there is none where one is demanded.

    ``end`` is where the stream ended before its ``last`` message was asked for.
    """
    if end > (last.seq if last is not None else 0):
        yield _finding(
            number, "checkpoint_missing", f"checkpoint {number} was the last one or before it, and was removed"
        )
    elif last is None and keys:
        what = "there is no checkpoint, so nothing that is signed with this key says what the log was"
        yield _finding(0, "no_checkpoint", what)


def _one(stored: StoredMessage, keys: Mapping[str, VerifierKey]) -> SignedNote:
    """The checkpoint in a message of the stream.

    Raises:
        Corrupt: it is none, stands under a number that is not its own, or is not signed with any of the keys.
    """
    one = read(stored.body)
    if stored.subject != checkpoint_subject(one.checkpoint.number):
        raise Corrupt(
            f"checkpoint {one.checkpoint.number} stands on {stored.subject}, which is another's place",
            code="checkpoint_changed",
        )
    if keys:
        known = [keys[key_id] for key_id in one.key_ids if key_id in keys]
        (known or [next(iter(keys.values()))])[0].text(stored.body)
    return one


def _broken(before: SignedNote | None, one: SignedNote, *, first: bool) -> str | None:
    """In what a checkpoint does not follow from the one before it, where that could be read."""
    number = one.checkpoint.number
    if first:
        return None if one.checkpoint.prev is None else "checkpoint 1 names one before it"
    if before is None:
        return None
    was, now = before.checkpoint, one.checkpoint
    if now.prev != before.hash:
        return f"checkpoint {number} names as the one before it {now.prev}, and that one is {before.hash}"
    if now.log != was.log or len(now.shards) != len(was.shards):
        return f"checkpoint {number} is of the log {now.log} in {len(now.shards)} shards, and the one before of another"
    shorter = any(after.seq < earlier.seq for earlier, after in zip(was.shards, now.shards, strict=True))
    if shorter and now.reason is None:
        return f"checkpoint {number} says that a shard became shorter, and gives no reason"
    return None


def _finding(number: int, code: str, what: str) -> Finding:
    return Finding(tenant="", thread="", code=code, what=what, shard=0, seq=number)
