"""The chain of a deployment's checkpoints: each is signed, and holds the hash of the one before it."""

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
    """The result of verifying the chain: the number of checkpoints, the ids of their keys, and the findings.

    A finding's ``seq`` is the number of its checkpoint. ``newest`` is the last valid checkpoint, with which the log can
    be compared. ``accepted`` lists the checkpoints with which an operator accepted another history, and the reasons.
    """

    checkpoints: int
    key_ids: tuple[str, ...]
    findings: tuple[Finding, ...]
    newest: SignedNote | None = None
    accepted: tuple[tuple[int, str], ...] = ()


async def walk_chain(js: JetStream, keys: Mapping[str, VerifierKey]) -> CheckpointChain:
    """Verify all checkpoints in order: each against the one before it, and its signature with ``keys``, given by id.

    Without ``keys`` signatures are not verified. With keys, the absence of checkpoints is a finding.

    Raises:
        Unavailable: JetStream does not answer.
    """
    end = (await stream_state(js, CHECKPOINT_STREAM)).last_seq
    last = await js.newest_at_leader(CHECKPOINT_STREAM, EVERY, 0)
    findings: list[Finding] = []
    key_ids: dict[str, None] = {}
    previous: SignedNote | None = None
    newest: SignedNote | None = None
    accepted: list[tuple[int, str]] = []
    count = expected = 0
    async for stored in until(js, CHECKPOINT_STREAM, EVERY, 1, last.seq if last is not None else 0):
        count += 1
        expected += 1
        try:
            signed = _read_stored(stored, keys)
        except Corrupt as fault:
            findings.append(_finding(expected, fault.code, fault.message))
            previous = None
            continue
        number = signed.checkpoint.number
        if number != expected:
            missing = f"checkpoint {expected} is missing before checkpoint {number}"
            findings.append(_finding(expected, "checkpoint_missing", missing))
        elif (what := _broken(previous, signed, first=number == 1)) is not None:
            findings.append(_finding(number, "checkpoint_changed", what))
        key_ids |= dict.fromkeys(signed.key_ids)
        if signed.checkpoint.reason is not None:
            accepted.append((number, signed.checkpoint.reason))
        previous, newest, expected = signed, signed, number
    findings += _cut_off(last, end, expected + 1, keys)
    return CheckpointChain(
        checkpoints=count,
        key_ids=tuple(key_ids),
        findings=tuple(findings),
        newest=newest,
        accepted=tuple(accepted),
    )


async def read_newest(js: JetStream, keys: Mapping[str, VerifierKey]) -> CheckpointChain:
    """Verify the last checkpoint alone, as :func:`walk_chain`, regardless of those before it.

    Raises:
        Unavailable: JetStream does not answer.
    """
    end = (await stream_state(js, CHECKPOINT_STREAM)).last_seq
    last = await js.newest_at_leader(CHECKPOINT_STREAM, EVERY, 0)
    if last is None:
        return CheckpointChain(checkpoints=0, key_ids=(), findings=tuple(_cut_off(last, end, 1, keys)))
    try:
        newest = _read_stored(last, keys)
    except Corrupt as fault:
        findings = (_finding(last.seq, fault.code, fault.message), *_cut_off(last, end, last.seq + 1, keys))
        return CheckpointChain(checkpoints=1, key_ids=(), findings=findings)
    cut_off = tuple(_cut_off(last, end, newest.checkpoint.number + 1, keys))
    return CheckpointChain(checkpoints=1, key_ids=newest.key_ids, findings=cut_off, newest=newest)


def _cut_off(last: StoredMessage | None, end: int, number: int, keys: Mapping[str, VerifierKey]) -> Iterator[Finding]:
    """Findings that the last checkpoints were removed, or that there is none although keys are given.

    ``end`` is the stream's last sequence, read before its ``last`` message.
    """
    if end > (last.seq if last is not None else 0):
        yield _finding(
            number, "checkpoint_missing", f"checkpoint {number} was the last one or before it, and was removed"
        )
    elif last is None and keys:
        what = "there is no checkpoint, so nothing that is signed with this key covers the log"
        yield _finding(0, "no_checkpoint", what)


def _read_stored(stored: StoredMessage, keys: Mapping[str, VerifierKey]) -> SignedNote:
    """The checkpoint in a message of the stream.

    Raises:
        Corrupt: it is none, its subject has another number, or it is not signed with any of the keys.
    """
    signed = read(stored.body)
    if stored.subject != checkpoint_subject(signed.checkpoint.number):
        raise Corrupt(
            f"checkpoint {signed.checkpoint.number} stands on {stored.subject}, the subject of another",
            code="checkpoint_changed",
        )
    if keys:
        known = [keys[key_id] for key_id in signed.key_ids if key_id in keys]
        (known or [next(iter(keys.values()))])[0].text(stored.body)
    return signed


def _broken(previous: SignedNote | None, signed: SignedNote, *, first: bool) -> str | None:
    """How a checkpoint contradicts the one before it, if that could be read; ``None`` if it does not."""
    number = signed.checkpoint.number
    if first:
        return None if signed.checkpoint.prev is None else "checkpoint 1 names one before it"
    if previous is None:
        return None
    was, now = previous.checkpoint, signed.checkpoint
    if now.prev != previous.hash:
        return f"checkpoint {number} names as the one before it {now.prev}, and that one is {previous.hash}"
    if now.log != was.log or len(now.shards) != len(was.shards):
        return f"checkpoint {number} is of the log {now.log} in {len(now.shards)} shards, and the one before of another"
    shorter = any(after.seq < earlier.seq for earlier, after in zip(was.shards, now.shards, strict=True))
    if shorter and now.reason is None:
        return f"checkpoint {number} says that a shard became shorter, and gives no reason"
    return None


def _finding(number: int, code: str, what: str) -> Finding:
    return Finding(tenant="", thread="", code=code, what=what, shard=0, seq=number)
