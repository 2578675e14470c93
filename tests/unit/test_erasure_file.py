"""A file of erasures is whole and of these erasures, or it is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from clew_events.commit import Position
from clew_events.erasures import Certificate, Erasure
from clew_events.errors import ClewError, Corrupt, Invalid
from clew_services.checkpoints.note import SigningKey
from clew_services.erasure import erasure_file
from clew_services.erasure.erasure_file import ErasuresHeader, KnownErasure, KnownErasures

NOW = datetime(2026, 11, 28, tzinfo=UTC)
KEY = SigningKey(bytes(range(32)))
THREAD = "thread_" + "a" * 24
ONE = Erasure(
    id="erasure_" + "b" * 24,
    status="requested",
    thread_id=THREAD,
    actor="dpo",
    by="test",
    n=3,
    position=Position(1, 7),
    requested_at=NOW,
)
CERTIFICATE = Certificate(
    erasure=ONE.id,
    tenant="acme",
    thread=THREAD,
    items=None,
    code=None,
    n=3,
    hash="c" * 64,
    first=1,
    last=2,
    commits=2,
    contents=2,
    seals="d" * 64,
    requested_at=NOW,
    erased_at=NOW,
    completed_at=NOW,
    done=(),
    remains=(),
)
NOTE = KEY.sign(msgspec.json.encode(CERTIFICATE) + b"\n")
DONE = replace(ONE, status="completed", certificate=sha256(NOTE).hexdigest())


def known(*erasures: KnownErasure) -> KnownErasures:
    return KnownErasures(ErasuresHeader(deployment="20261128", made_at=NOW), erasures)


def entry(erasure: Erasure = ONE, **fields: object) -> KnownErasure:
    return KnownErasure(**{"tenant": "acme", "began": "e" * 64, "erasure": erasure, **fields})  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "erasures.jsonl"


def test_what_was_written_is_read(file: Path) -> None:
    for some in (known(), known(entry(), entry(DONE, certificate=NOTE.decode()))):
        file.unlink(missing_ok=True)
        erasure_file.write(some, file)
        assert erasure_file.read(file, KEY.verifier) == erasure_file.read(file) == some
        assert file.stat().st_mode & 0o077 == 0


def test_the_bytes_of_a_file_are_what_they_always_were(file: Path) -> None:
    erasure_file.write(known(entry()), file)
    lines = [
        b'{"clew":"erasures","v":1,"deployment":"20261128","made_at":"2026-11-28T00:00:00Z"}\n',
        b'{"tenant":"acme","began":"%b","erasure":{"id":"%b","object":"erasure","status":"requested","thread_id":"%b",'
        b'"message_id":null,"code":null,"actor":"dpo","by":"test","n":3,"position":{"shard":1,"seq":7},"commits":0,'
        b'"requested_at":"2026-11-28T00:00:00Z","erased_at":null,"completed_at":null,"fault":null,"left":[],'
        b'"certificate":null},"certificate":null}\n' % (b"e" * 64, ONE.id.encode(), THREAD.encode()),
    ]
    end = b'{"erasures":1,"sha256":"%b"}\n' % sha256(b"".join(lines)).hexdigest().encode()
    assert file.read_bytes() == b"".join([*lines, end])


def test_no_file_is_replaced(file: Path) -> None:
    erasure_file.write(known(), file)
    with pytest.raises(Invalid, match="exists already"):
        erasure_file.write(known(entry()), file)
    with pytest.raises(Invalid, match="cannot be written"):
        erasure_file.write(known(), file / "below")


def _rewrite(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Alter a file and compute its SHA-256 anew, as whoever alters it on purpose does."""

    def rewrite(whole: bytes) -> bytes:
        assert old in whole
        lines = whole.replace(old, new).splitlines(keepends=True)[:-1]
        end = {"erasures": len(lines) - 1, "sha256": sha256(b"".join(lines)).hexdigest()}
        return b"".join(lines) + msgspec.json.encode(end) + b"\n"

    return rewrite


@pytest.mark.parametrize(
    ("damage", "error", "code"),
    [
        (lambda _: b"", Invalid, "not_erasures"),
        (lambda _: b"\xff\x00", Invalid, "not_erasures"),
        (lambda _: b'{"clew":"pack","v":1}\n', Invalid, "not_erasures"),
        (lambda whole: whole.replace(b'"v":1', b'"v":2'), Invalid, "unknown_format"),
        (lambda whole: whole[: whole.rindex(b'{"erasures"')], Corrupt, "altered_erasures"),
        (lambda whole: whole[: len(whole) // 2], Corrupt, "altered_erasures"),
        (lambda whole: whole[:-20], Corrupt, "altered_erasures"),
        (lambda whole: whole.replace(b"acme", b"amce"), Corrupt, "altered_erasures"),
        (_rewrite(b'"dpo"', b"7"), Corrupt, "altered_erasures"),
        (_rewrite(b'"id":"erasure_', b'"id":"erasure.'), Corrupt, "altered_erasures"),
        (_rewrite(b'"thread_id":"thread_', b'"thread_id":"thread.'), Corrupt, "altered_erasures"),
        (_rewrite(b'"tenant":"acme"', b'"tenant":"other"'), Corrupt, "wrong_certificate"),
        (_rewrite(b'\\"first\\":1', b'\\"first\\":2'), Corrupt, "wrong_certificate"),
    ],
)
def test_a_file_that_is_cut_off_altered_or_something_else_is_refused(
    file: Path, damage: Callable[[bytes], bytes], error: type[ClewError], code: str
) -> None:
    erasure_file.write(known(entry(DONE, certificate=NOTE.decode())), file)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(error) as refusal:
        erasure_file.read(file)
    assert refusal.value.code == code


def test_with_a_key_certificates_must_be_signed_with_it(file: Path) -> None:
    erasure_file.write(known(entry(DONE, certificate=NOTE.decode())), file)
    with pytest.raises(Corrupt, match="key"):
        erasure_file.read(file, SigningKey(bytes(32)).verifier)
    with pytest.raises(Invalid, match="cannot be read"):
        erasure_file.read(file.with_name("none"))
