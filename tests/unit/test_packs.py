"""Packs made by hand, right and wrong: whatever was done to one, it is told."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
import zstandard

from clew_events.codec import decode, redact
from clew_events.commit import record_hash
from clew_events.errors import ClewError, Corrupt, Invalid
from clew_events.events import MetadataUpdated
from clew_events.subjects import Address, event_subject
from clew_projections.integrity.erasure_check import missing_contents
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.packs import frames, layout
from clew_projections.packs.check import check
from clew_projections.packs.layout import ErasedContents, PackHeader, Scope
from clew_projections.packs.pack import Pack
from clew_projections.packs.pack_writer import Writer
from clew_services.packs.offline import PackedStreams
from support.commits import CREATED, SALT, added, body_of, chain, reworded
from support.packing import as_stored, contents, written

GOLDEN = Path(__file__).parent.parent / "golden" / "pack.clew"
T = TypeVar("T", bound=msgspec.Struct)
ONE = "thread_one"
TWO = "thread_two"


def history(thread: str, *, seq: int, length: int = 4) -> list[StoredMessage]:
    changes = [(MetadataUpdated(set={"step": str(step)}, unset=()),) for step in range(length - 2)]
    return as_stored(chain((CREATED,), (added(1, f"hello from {thread}"),), *changes, thread=thread, first_seq=seq))


@pytest.fixture
def commits() -> list[StoredMessage]:
    return [*history(ONE, seq=1), *history(TWO, seq=5)]


def codes(file: Path) -> list[str]:
    return [finding.code for finding in check(Pack(file)).findings]


def changed(stored: T, **fields: object) -> T:
    return msgspec.structs.replace(stored, **fields)


def test_a_pack_made_by_hand_is_whole(tmp_path: Path, commits: list[StoredMessage]) -> None:
    found = check(Pack(written(tmp_path / "pack", [commits])))
    assert (found.threads, found.commits, found.findings) == (2, 8, ())


def test_what_was_erased_in_a_pack_is_counted_in_its_manifest(tmp_path: Path, commits: list[StoredMessage]) -> None:
    assert Pack(written(tmp_path / "whole", [commits])).erased is None
    erased = [changed(each, body=redact(each.body, range(2))) for each in commits]
    gone = sum(len(missing_contents(decode(each.body))) for each in erased)
    pack = Pack(written(tmp_path / "pack", [erased]))
    assert pack.erased == ErasedContents(commits=8, contents=gone)
    assert {finding.code for finding in check(pack).findings} == {"missing_content"}
    pack.manifest = changed(pack.manifest, erased=ErasedContents(commits=8, contents=gone - 1))
    with pytest.raises(Corrupt, match="erased contents"):
        check(pack)


def test_the_bytes_of_a_pack_are_what_they_always_were(tmp_path: Path, commits: list[StoredMessage]) -> None:
    traced = changed(commits[0], headers={"traceparent": "00-" + "4b" * 16 + "-" + "00f067aa0ba902b7" + "-01"})
    made = written(tmp_path / "pack", [[traced, *commits[1:]]])
    assert codes(GOLDEN) == []
    # What the compressor makes of it may differ from version to version; what comes out of it never does.
    unpacked = [
        zstandard.ZstdDecompressor().stream_reader(file.read_bytes(), read_across_frames=True).read()
        for file in (made, GOLDEN)
    ]
    for name in ("README.txt", "manifest.json"):
        assert name.encode() in unpacked[1]
    assert contents(made) == contents(GOLDEN)
    assert unpacked[0].partition(b"manifest.json")[0] == unpacked[1].partition(b"manifest.json")[0]


def test_a_byte_changed_anywhere_is_found(tmp_path: Path, commits: list[StoredMessage]) -> None:
    whole = written(tmp_path / "pack", [commits]).read_bytes()
    chance = random.Random(20261123)
    bad = tmp_path / "bad"
    for place in {*range(40), *range(len(whole) - 60, len(whole)), *(chance.randrange(len(whole)) for _ in range(600))}:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << chance.randrange(8)
        bad.write_bytes(flipped)
        with pytest.raises(ClewError) as told:
            check(Pack(bad))
        assert told.value.code in {"altered_pack", "truncated_pack", "not_a_pack", "unknown_format"}, place


def test_a_pack_that_was_cut_short_or_added_to_says_so(tmp_path: Path, commits: list[StoredMessage]) -> None:
    whole = written(tmp_path / "pack", [commits]).read_bytes()
    bad = tmp_path / "bad"
    for length in range(12, len(whole), 37):
        bad.write_bytes(whole[:length])
        with pytest.raises(Corrupt, match="cut short"):
            Pack(bad)
    bad.write_bytes(whole + b"\0")
    with pytest.raises(Corrupt):
        Pack(bad)
    bad.write_bytes(whole[: -frames.BEHIND] + whole[-frames.BEHIND - 40 :])
    with pytest.raises(Corrupt):
        check(Pack(bad))


def bomb(size: int, said: int) -> bytes:
    """A frame of so many bytes, all zero, that says that it has others."""
    packer = zstandard.ZstdCompressor(level=1, write_content_size=True).compressobj(size=size)
    chunk = bytes(1 << 20)
    packed = b"".join([*(packer.compress(chunk) for _ in range(size >> 20)), packer.flush()])
    return packed[:16].replace(struct.pack("<I", size), struct.pack("<I", said)) + packed[16:]


@pytest.mark.parametrize("said", [300 << 20, 1000, 0])
def test_a_frame_that_unpacks_to_more_than_clew_writes_is_refused_and_not_unpacked(said: int) -> None:
    packed = bomb(300 << 20, said)
    assert len(packed) < 40_000
    tracemalloc.start()
    try:
        with pytest.raises(Corrupt) as refusal:
            frames.unframe(packed)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert refusal.value.code == "altered_pack"


def test_a_frame_as_large_as_the_longest_commit_is_read() -> None:
    content = frames.block("commits/00/000001.jsonl", bytes(68 << 20))
    name, found = frames.unblock(frames.unframe(frames.frame(content)))
    assert (name, len(found)) == ("commits/00/000001.jsonl", 68 << 20)


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/x", "commits/../../x", "heads/./x", "a//b", "a\\b", "commits/00/.x", "", "a/", "\x1b[2J"]
)
def test_a_name_that_leads_out_of_the_pack_is_refused(
    tmp_path: Path, commits: list[StoredMessage], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "SCHEMAS", "")
    whole = Writer.add
    monkeypatch.setattr(
        Writer,
        "add",
        lambda self, said, *rest, **about: whole(self, name if said == "events.json" else said, *rest, **about),
    )
    with pytest.raises(Corrupt, match="altered or damaged"):
        check(Pack(written(tmp_path / "pack", [commits])))


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04" + bytes(100), b'{"clew":"checkpoint"}'])
def test_another_file_is_no_pack(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(Invalid, match="not an audit pack") as told:
        Pack(tmp_path / "file")
    assert told.value.code == "not_a_pack"
    with pytest.raises(Invalid):
        Pack(tmp_path / "nothing")


def test_a_pack_of_a_newer_clew_is_told_by_its_beginning(
    tmp_path: Path, commits: list[StoredMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr("support.packing.PackHeader", lambda **said: PackHeader(**said, v=2))
        written(tmp_path / "pack", [commits])
    with pytest.raises(Invalid, match="newer Clew") as told:
        Pack(tmp_path / "pack")
    assert told.value.code == "unknown_format"


def rechained(commits: list[StoredMessage], place: int, old: bytes, new: bytes) -> list[StoredMessage]:
    """A history with a word replaced at some place, and every hash from there on computed anew."""
    forged: list[StoredMessage] = []
    for number, each in enumerate(commits):
        body = reworded(each.body, old, new) if number == place else each.body
        commit = decode(body)
        if forged and commit.n > 1:
            body = body_of(msgspec.structs.replace(commit, prev=record_hash(forged[-1].body)))
        forged.append(changed(each, body=body))
    return forged


def transplanted(commits: list[StoredMessage]) -> list[StoredMessage]:
    return [*commits[:3], changed(commits[3], subject=commits[4].subject), *commits[4:]]


def swapped(commits: list[StoredMessage]) -> list[StoredMessage]:
    one, two = commits[1], commits[2]
    return [commits[0], changed(two, seq=one.seq), changed(one, seq=two.seq), *commits[3:]]


def inserted(commits: list[StoredMessage]) -> list[StoredMessage]:
    false = changed(commits[1], body=reworded(commits[1].body, b"hello", b"howdy"))
    return [*commits[:2], changed(false, seq=3), *(changed(each, seq=each.seq + 1) for each in commits[2:])]


FORGERIES: dict[str, tuple[Callable[[list[StoredMessage]], list[StoredMessage]], set[str]]] = {
    "altered": (lambda c: [c[0], changed(c[1], body=reworded(c[1].body, b"hello", b"hallo")), *c[2:]], {"altered"}),
    "content altered": (
        lambda c: [c[0], changed(c[1], body=c[1].body.replace(b"hello", b"hallo")), *c[2:]],
        {"broken_seal"},
    ),
    "salt altered": (
        lambda c: [c[0], changed(c[1], body=c[1].body.replace(SALT.encode(), b"x" * len(SALT))), *c[2:]],
        {"broken_seal"},
    ),
    "key doubled": (
        lambda c: [*c[:3], changed(c[3], body=c[3].body.replace(b'"v":2', b'"v":2,"v":2')), *c[4:]],
        {"unreadable_commit"},
    ),
    "dropped": (lambda c: [c[0], *c[2:]], {"missing", "removed"}),
    "swapped": (swapped, {"reordered"}),
    "inserted": (inserted, {"inserted"}),
    "transplanted": (transplanted, {"moved"}),
    "unknown event": (
        lambda c: [*c[:3], changed(c[3], body=c[3].body.replace(b"MetadataUpd", b"MetadataOut")), *c[4:]],
        {"unknown_event"},
    ),
    "unknown format": (
        lambda c: [*c[:3], changed(c[3], body=c[3].body.replace(b'"v":2', b'"v":9')), *c[4:]],
        {"unknown_format"},
    ),
    "no commit": (lambda c: [*c[:3], changed(c[3], body=b"\xff\n{"), *c[4:]], {"unreadable_commit"}),
    "last one gone": (lambda c: c[:-1], {"removed"}),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_commits_that_were_tampered_with_are_named_though_every_hash_in_the_manifest_is_right(
    tmp_path: Path, commits: list[StoredMessage], name: str
) -> None:
    forge, told = FORGERIES[name]
    assert set(codes(written(tmp_path / "pack", [forge(commits)], ends=[9]))) >= told - {"removed"}
    assert set(codes(written(tmp_path / "pack", [forge(commits)], ends=[8 if name != "inserted" else 9]))) >= told


def test_heads_that_are_not_those_of_the_commits_are_named(tmp_path: Path, commits: list[StoredMessage]) -> None:
    scope = Scope(tenant="default")
    assert codes(written(tmp_path / "pack", [commits[:-1]], scope=scope, heads=[commits])) == ["shortened"]
    assert codes(written(tmp_path / "pack", [commits], scope=scope, heads=[commits[:-1]])) == ["lengthened"]
    forged = [*commits[:4], *rechained(commits[4:], 1, b"hello", b"hallo")]
    assert codes(written(tmp_path / "pack", [forged], scope=scope, heads=[commits])) == ["rewritten"]
    assert codes(written(tmp_path / "pack", [commits[:4]], scope=scope, heads=[commits])) == ["shortened"]


OUTSIDE: list[tuple[Scope, str]] = [
    (Scope(tenant="acme"), "default"),
    (Scope(tenant="default", thread=ONE), TWO),
]


@pytest.mark.parametrize(("scope", "which"), OUTSIDE)
def test_commits_that_were_not_asked_for_do_not_belong_in_a_pack(
    tmp_path: Path, commits: list[StoredMessage], scope: Scope, which: str
) -> None:
    with pytest.raises(Corrupt, match=which):
        check(Pack(written(tmp_path / "pack", [commits], scope=scope)))


def test_commits_are_in_the_order_and_in_the_shard_in_which_the_log_had_them(
    tmp_path: Path, commits: list[StoredMessage]
) -> None:
    for wrong in (
        [*commits[4:], *commits[:4]],
        [commits[0], *commits],
        [changed(commits[0], subject=event_subject(1, Address("default", ONE))), *commits[1:]],
        [changed(commits[0], subject="clew.evt.00.default.thread.one"), *commits[1:]],
    ):
        try:
            written(tmp_path / "pack", [wrong], ends=[8])
        except ValueError:
            continue
        with pytest.raises(Corrupt):
            check(Pack(tmp_path / "pack"))
    with pytest.raises(Corrupt):
        check(Pack(written(tmp_path / "pack", [commits], ends=[7])))


async def test_bodies_with_line_ends_in_them_come_out_as_they_went_in(
    tmp_path: Path, commits: list[StoredMessage]
) -> None:
    odd = [*commits[:2], changed(commits[2], body=b'{\n\n"v":1}\n'), changed(commits[3], body=b"")]
    streams = PackedStreams(Pack(written(tmp_path / "pack", [odd])))
    page, more = await streams.after("CLEW_EVT_00", commits[0].subject, 2, 2)
    assert ([each.body for each in page], more) == ([odd[1].body, odd[2].body], True)
    assert [each and each.body for each in await streams.at("CLEW_EVT_00", [4, 9])] == [b"", None]
    newest = await streams.newest("CLEW_EVT_00", commits[0].subject, 0)
    assert newest is not None
    assert newest.seq == 4
    assert await streams.newest("CLEW_EVT_00", commits[0].subject, 4) is None


def test_a_frame_that_claims_to_be_huge_is_refused_before_it_is_unpacked() -> None:
    bomb = zstandard.ZstdCompressor(level=1).compress(bytes(frames.LARGEST + 1))
    with pytest.raises(Corrupt, match="larger"):
        frames.unframe(bomb)


def test_the_whole_is_a_hash_that_ordinary_tools_compute(tmp_path: Path, commits: list[StoredMessage]) -> None:
    manifest = Pack(written(tmp_path / "pack", [commits])).manifest
    assert manifest.whole == layout.whole_of(manifest.members)
