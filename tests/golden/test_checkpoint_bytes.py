"""A checkpoint as it is stored and signed: bytes that never change, or what was signed could be checked no more."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from clew_events.errors import Corrupt, Invalid
from clew_projections.integrity.checkpoint import Checkpoint, ShardHeads, encode
from clew_services.checkpoints.note import SigningKey, VerifierKey
from clew_services.checkpoints.signed_checkpoint import SignedNote, read, verify_note

SECRET = "PRIVATE+KEY+clew+4189154e+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
PUBLIC = "clew+4189154e+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
CHECKPOINT = Checkpoint(
    v=1,
    log="00112233445566778899aabbccddeeff",
    number=2,
    at=datetime(2026, 11, 22, 22, 0, 0, 123456, tzinfo=UTC),
    prev="aa" * 32,
    shards=(
        ShardHeads(seq=7, threads=2, commits=6, misfits=1, root="bb" * 32),
        ShardHeads(seq=0, threads=0, commits=0, misfits=0, root="00" * 32),
    ),
)
LINE = (
    b'{"v":1,"log":"00112233445566778899aabbccddeeff","number":2,"at":"2026-11-22T22:00:00.123456Z",'
    b'"prev":"'
    + b"aa" * 32
    + b'","shards":[{"seq":7,"threads":2,"commits":6,"misfits":1,"root":"'
    + b"bb" * 32
    + b'"},'
    b'{"seq":0,"threads":0,"commits":0,"misfits":0,"root":"' + b"00" * 32 + b'"}],"reason":null}\n'
)
SIGNATURE = "QYkVToqPBKHLJO3YWx5cPfmlpEJnxCKXRqsd5zTv09G9i+6iji7KWX+61vKV6jAilNoj3j80J6z+6PU4eySEZOkmeg4="


def note() -> bytes:
    return LINE + f"\n— clew {SIGNATURE}\n".encode()


def test_the_line_that_is_signed_is_what_it_always_was() -> None:
    assert encode(CHECKPOINT) == LINE


def test_the_same_key_signs_it_as_it_always_did() -> None:
    key = SigningKey.parse(SECRET)
    assert key.line() == SECRET
    assert str(key.verifier) == PUBLIC
    assert key.sign(LINE) == note()


def test_what_was_signed_once_can_be_checked() -> None:
    assert verify_note(note(), VerifierKey.parse(PUBLIC)) == SignedNote(CHECKPOINT, note()) == read(note())
    assert read(note()).key_ids == ("4189154e",)


def test_no_byte_of_it_can_be_altered() -> None:
    key, whole = VerifierKey.parse(PUBLIC), note()
    for place in range(len(whole)):
        forged = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        with pytest.raises(Corrupt):
            verify_note(forged, key)


def test_another_key_is_told_from_a_wrong_signature() -> None:
    with pytest.raises(Corrupt, match="signed with key 4189154e, and not with") as refused:
        verify_note(note(), SigningKey.new().verifier)
    assert refused.value.code == "unknown_key"
    forged = note().replace(b'"n', b'"N', 1)
    with pytest.raises(Corrupt, match="altered after it was signed") as refused:
        verify_note(forged, VerifierKey.parse(PUBLIC))
    assert refused.value.code == "altered_checkpoint"


def test_a_checkpoint_of_a_newer_clew_is_told_so() -> None:
    key = SigningKey.parse(SECRET)
    with pytest.raises(Corrupt, match="has format 2, expected 1") as refused:
        verify_note(key.sign(LINE.replace(b'{"v":1', b'{"v":2')), key.verifier)
    assert refused.value.code == "unknown_format"


@pytest.mark.parametrize("line", ["", "clew", "clew+00000000+AQ==", PUBLIC.replace("4189", "4180"), PUBLIC[:-4], "é"])
def test_what_is_no_key_is_refused(line: str) -> None:
    with pytest.raises(Invalid, match="no public key"):
        VerifierKey.parse(line)
    with pytest.raises(Invalid, match="no signing key"):
        SigningKey.parse("PRIVATE+KEY+" + line)


@pytest.mark.parametrize(
    "raw", [b"", b"x", b"{}\n\n\n", b"{}\n\n\xff\n", LINE, LINE + b"\n\xe2\x80\x94 clew !\n", b"\n\n"]
)
def test_what_is_no_checkpoint_is_refused(raw: bytes) -> None:
    with pytest.raises(Corrupt) as refused:
        read(raw)
    assert refused.value.code == "unreadable_checkpoint"
