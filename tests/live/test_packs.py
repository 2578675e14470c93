"""Audit packs of a running deployment: exported, gone on with, asked offline, and checked against what was signed."""

from __future__ import annotations

import asyncio
import json
import random
import tarfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner, Result

from clew_events.errors import Corrupt, Invalid
from clew_events.subjects import Address, event_stream, shard_of
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.packs import pack_writer
from clew_projections.packs.layout import Scope
from clew_projections.packs.pack import Pack
from clew_services import compose
from clew_services.checkpoints.maker import Maker
from clew_services.checkpoints.note import SigningKey
from clew_services.checkpoints.signed_checkpoint import KeptCheckpoint
from clew_services.checkpoints.thread_proofs import temporary_heads
from clew_services.cli import main
from clew_services.compose import Clew
from clew_services.packs.check_pack import PackCheck, check_pack
from clew_services.packs.exporter import Exporter, ExportResult
from clew_services.packs.importer import Importer
from clew_services.packs.pack_files import export
from support import forging
from support.asgi import downloaded
from support.packing import contents, written
from support.writers import Writer, message_id

KEY = SigningKey(bytes(range(32)))
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
THREADS = [f"thread_{number}" for number in range(12)]


@pytest.fixture
async def clew(clew: Clew) -> Clew:
    """A deployment with twelve threads of two tenants, a checkpoint, and some commits after it."""
    for number, thread in enumerate(THREADS):
        writer = Writer(clew.handler, "acme" if number % 3 else "other")
        await writer.create(thread, metadata={"plan": "free", "number": str(number)}, actor="shop")
        done = await writer.add(thread, f"hello from {thread}\n\u2028 ü", actor="shop")
        await writer.set(thread, "plan", "paid", actor="sales")
        await writer.change(thread, message_id(done), metadata={"mood": "fine"})
    await Writer(clew.handler, "acme").delete(THREADS[1], actor="gdpr")
    async with temporary_heads(clew.js, clew.deployment.shards) as heads:
        assert await Maker(clew.js, clew.ledger, heads, KEY).make() is not None
    await Writer(clew.handler, "acme").set(THREADS[2], "late", "yes")
    return clew


async def exported(clew: Clew, file: Path, scope: Scope | None = None, **options: object) -> ExportResult:
    exporter = Exporter(clew.js, clew.ledger, clew.deployment, **{"key": KEY.verifier, **options})  # type: ignore[arg-type]
    return await export(exporter, scope or Scope(), file)


def check(file: Path, kept: KeptCheckpoint | None = None) -> PackCheck:
    return check_pack(Pack(file), key=KEY.verifier, kept=kept, progress=lambda _: None)


def codes(file: Path, kept: KeptCheckpoint | None = None) -> set[str]:
    return {finding.code for finding in check(file, kept).verified.findings}


async def kept_now(clew: Clew, *, heads: bool) -> KeptCheckpoint:
    signed = await clew.ledger.chosen(None)
    async with temporary_heads(clew.js, clew.deployment.shards) as each:
        every = [await each.agreeing_heads(shard, signed.checkpoint) for shard in range(each.shards)] if heads else None
    return KeptCheckpoint(
        checkpoint=signed.note.decode(), key=str(KEY.verifier), heads=tuple(every) if every is not None else None
    )


SCOPES = {
    "all": (Scope(), 12),
    "tenant": (Scope(tenant="acme"), 8),
    "thread": (Scope(tenant="acme", thread=THREADS[2]), 1),
    "window": (Scope(since=datetime(2000, 1, 1, tzinfo=UTC)), 12),
}


@pytest.mark.parametrize(("scope", "threads"), SCOPES.values(), ids=SCOPES)
async def test_a_pack_holds_what_the_log_holds_byte_for_byte_and_is_whole(
    clew: Clew, tmp_path: Path, scope: Scope, threads: int
) -> None:
    made = await exported(clew, tmp_path / "pack", scope)
    assert made.threads == threads
    found = check(tmp_path / "pack")
    assert found.verified.findings == ()
    assert (found.verified.threads, found.verified.commits) == (made.threads, made.commits)
    assert (found.checkpoints, found.key_id) == ((1,), KEY.verifier.id)
    pack = Pack(tmp_path / "pack")
    for shard, segments in enumerate(pack.segments):
        for segment in segments:
            for stored in pack.stored(segment):
                (there,) = await clew.js.at(event_stream(shard), [stored.seq])
                assert there is not None
                assert (there.subject, there.body) == (stored.subject, stored.body)


async def test_the_same_log_gives_the_same_bytes_and_a_killed_export_ends_as_if_it_had_not_been(
    clew: Clew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_writer, "SEGMENT_COMMITS", 3)
    await exported(clew, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    chance = random.Random(7)
    for cut in [0, 5, len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(12))]:
        (tmp_path / "again.part").write_bytes(whole[:cut] + (b"\0\0\0" if cut % 2 else b""))
        await exported(clew, tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == whole
        (tmp_path / "again").unlink()
    # It goes on to where it was meant to end, whatever happened since.
    (tmp_path / "again.part").write_bytes(whole[: len(whole) // 2])
    await Writer(clew.handler, "acme").set(THREADS[4], "later", "yes")
    await exported(clew, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == whole
    (tmp_path / "again.part").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Invalid, match="already"):
        await exported(clew, tmp_path / "again")
    (tmp_path / "again").unlink()
    with pytest.raises(Invalid, match="the beginning of another export"):
        await exported(clew, tmp_path / "again", Scope(tenant="acme"))


async def test_a_window_takes_whole_histories_of_the_threads_that_have_a_commit_in_it(
    clew: Clew, tmp_path: Path
) -> None:
    history = [each async for each in clew.histories.after(Address("acme", THREADS[2]), 0)]
    late = history[-1].commit.at
    made = await exported(clew, tmp_path / "late", Scope(tenant="acme", since=late))
    assert (made.threads, made.commits) == (1, len(history))
    assert codes(tmp_path / "late") == set()
    assert (await exported(clew, tmp_path / "none", Scope(tenant="other", since=late))).threads == 0
    assert codes(tmp_path / "none") == set()


async def test_an_empty_log_makes_a_pack_too(tmp_path: Path, deployment) -> None:
    async with compose.connect(deployment.url, name="empty") as empty:
        made = await exported(empty, tmp_path / "pack")
    assert (made.threads, made.commits, made.checkpoint) == (0, 0, None)
    assert codes(tmp_path / "pack") == set()


class Cli:
    """``clew`` beside a running deployment."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __call__(self, *arguments: str) -> Result:
        env = {"CLEW_NATS": self._url, "CLEW_TENANT": "acme", "CLEW_DATA": "/nowhere"}
        return await asyncio.to_thread(CliRunner().invoke, main, arguments, env=env)


QUESTIONS = [
    ("history", "THREAD"),
    ("history", "THREAD", "-p"),
    ("history", "THREAD", "--reverse", "-n", "2"),
    ("history", "THREAD", "--type", "ItemAdded", "--actor", "sh*"),
    ("state", "THREAD"),
    ("state", "THREAD", "--as-of", "2"),
    ("state", "THREAD", "--as-of", "99"),
    ("diff", "THREAD", "0"),
    ("diff", "THREAD", "1", "3"),
    ("diff", "THREAD", "3", "1"),
    ("blame", "THREAD"),
    ("blame", "THREAD", "--as-of", "2"),
    ("replay", "THREAD"),
    ("replay", "THREAD", "--as-of", "3"),
    ("replay", "THREAD", "--at", "2000-01-01"),
]
SOME = [("history", "THREAD"), ("diff", "THREAD", "0"), ("replay", "THREAD")]


async def test_a_pack_answers_byte_for_byte_as_the_server_does(clew: Clew, deployment, tmp_path: Path) -> None:
    await exported(clew, tmp_path / "pack")
    cli = Cli(deployment.url)
    # An open thread, a deleted one, one of another tenant, and none at all.
    for thread, questions in (
        (THREADS[2], QUESTIONS),
        (THREADS[1], QUESTIONS[4:6]),
        (THREADS[0], SOME),
        ("thread_nobody", SOME),
    ):
        for question in questions:
            asked = [thread if word == "THREAD" else word for word in question]
            for form in ((), ("--json",)):
                server, pack = await cli(*asked, *form), await cli(*asked, *form, "--pack", str(tmp_path / "pack"))
                assert (pack.exit_code, pack.stdout, pack.stderr) == (server.exit_code, server.stdout, server.stderr)
    assert (await cli("replay", "--follow", "--pack", str(tmp_path / "pack"))).exit_code == 2


async def test_the_command_line_exports_and_verifies(clew: Clew, deployment, tmp_path: Path) -> None:
    cli, pack = Cli(deployment.url), str(tmp_path / "pack")
    made = await cli("export", "--all", "--out", pack, "--key", str(KEY.verifier))
    assert made.exit_code == 0, made.stderr
    assert "12 threads" in made.stdout
    assert "covered by checkpoint 1" in made.stdout
    good = await cli("verify", "--pack", pack)
    assert good.exit_code == 0, good.stderr
    assert "that the pack itself names" in good.stdout
    trusted = await cli("verify", "--pack", pack, "--key", str(KEY.verifier))
    assert f"49 of 50 commits are what checkpoint 1 says, signed with the key {KEY.verifier.id};" in trusted.stdout
    as_server = await cli("verify", "--all", "--json")
    assert (await cli("verify", "--pack", pack, "--json")).stdout == as_server.stdout
    other = await cli("verify", "--pack", pack, "--key", str(SigningKey(bytes(32)).verifier))
    assert (other.exit_code, "unknown_key" in other.stderr) == (5, True)
    (tmp_path / "kept").write_bytes(json.dumps({}).encode())
    assert (await cli("verify", "--pack", pack, "--against", str(tmp_path / "kept"))).exit_code == 1
    refused = {
        ("--all", "--thread", THREADS[0]): 2,
        ("--thread", THREADS[2], "--since", "2026-01-01"): 2,
        ("--thread", "thread_nobody"): 6,
        ("--out", "/nowhere/at/all"): 1,
    }
    for arguments, code in refused.items():
        result = await cli("export", "--out", str(tmp_path / "new"), *arguments)
        assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert not list(tmp_path.glob("new*"))


async def test_ordinary_tools_unpack_it_and_check_the_whole(clew: Clew, tmp_path: Path) -> None:
    made = await exported(clew, tmp_path / "pack")
    with (tmp_path / "pack").open("rb") as file:
        archive = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        with tarfile.open(fileobj=archive, mode="r|") as tar:
            tar.extractall(tmp_path, filter="data")
    lines = [
        f"{sha256((tmp_path / name).read_bytes()).hexdigest()}  {name}\n" for name in Pack(tmp_path / "pack").members
    ]
    assert sha256("".join(lines).encode()).hexdigest() == made.whole
    for name, content in contents(tmp_path / "pack").items():
        assert (tmp_path / name).read_bytes() == content


async def test_a_log_that_was_tampered_with_is_told_from_its_pack_as_from_the_server(
    clew: Clew, deployment, tmp_path: Path
) -> None:
    cli = Cli(deployment.url)
    kept = await kept_now(clew, heads=True)
    address = Address("acme", THREADS[4])
    history = await forging.bodies(clew, address)
    await forging.rewrite(clew, address, [history[0], history[2]])
    await forging.rewrite(clew, Address("acme", THREADS[5]), forging.rechained(
        await forging.bodies(clew, Address("acme", THREADS[5])), b"free", b"gold"))  # fmt: skip
    with pytest.raises(Corrupt, match="without-checkpoint"):
        await exported(clew, tmp_path / "part", Scope(tenant="acme"))
    made = await exported(clew, tmp_path / "pack", checkpoint=False)
    assert made.misfits == 1
    again = await cli("export", "--all", "--without-checkpoint", "--out", str(tmp_path / "again"))
    assert (again.exit_code, "1 messages continue no thread's chain" in again.stderr) == (5, True)
    shown = [
        await cli("history", address.thread, "--tenant", "acme", *said)
        for said in ((), ("--pack", str(tmp_path / "pack")))
    ]
    assert [each.exit_code for each in shown] == [5, 5]
    assert shown[0].stdout == shown[1].stdout
    assert [line.split()[:2] for line in shown[0].stdout.splitlines()][1] == ["2", "missing"]
    server = await cli("verify", "--all", "--json")
    pack = await cli("verify", "--pack", str(tmp_path / "pack"), "--json")
    # Besides, the server has its checkpoint at hand, and this pack was told to take none along.
    without = {**json.loads(server.stdout), "checkpoints": 0, "checkpoint": None, "covered": 0}
    without["findings"] = [each for each in without["findings"] if each["code"] != "history_changed"]
    assert len(without["findings"]) < len(json.loads(server.stdout)["findings"])
    assert (pack.exit_code, json.loads(pack.stdout)) == (5, without)
    assert {"missing", "removed", "history_changed", "rewritten"} <= codes(tmp_path / "pack", kept)
    # With its own checkpoint it says so itself, and a tenant's pack is held against heads that were kept.
    await exported(clew, tmp_path / "own")
    assert "history_changed" in codes(tmp_path / "own")
    await exported(clew, tmp_path / "acme", Scope(tenant="acme"), checkpoint=False)
    named = {finding.thread for finding in check(tmp_path / "acme", kept).verified.findings}
    assert named == {THREADS[4], THREADS[5]}


async def test_a_pack_that_nothing_signed_speaks_for_does_not_pass_with_a_key(
    clew: Clew, deployment, tmp_path: Path
) -> None:
    cli, key, kept = Cli(deployment.url), str(KEY.verifier), await kept_now(clew, heads=True)
    address = Address("acme", THREADS[2])
    late = (await forging.stored(clew, Address("acme", THREADS[2])))[-1].seq
    for name, scope in (("thread", Scope(tenant="acme", thread=address.thread)), ("all", Scope())):
        await exported(clew, tmp_path / name, scope, checkpoint=False)
        assert codes(tmp_path / name) == {"no_checkpoint"}
        assert codes(tmp_path / name, kept) == set()
        refused = await cli("verify", "--pack", str(tmp_path / name), "--key", key)
        assert (refused.exit_code, "no_checkpoint" in refused.stdout) == (5, True)
        without = await cli("verify", "--pack", str(tmp_path / name))
        assert (without.exit_code, "no checkpoint covers them" in without.stdout) == (0, True)
    with pytest.raises(Corrupt, match="no_checkpoint"):
        await Importer(clew.connection, clew.histories).plan(
            Pack(tmp_path / "all"), key=KEY.verifier, checking=print, comparing=print
        )

    # Written anew from the first commit, with the checkpoint left out.
    forged = forging.rechained(await forging.bodies(clew, address), b"sales", b"nobod")
    rewritten = [
        StoredMessage(each.seq, each.subject, body, {})
        for each, body in zip(await forging.stored(clew, address), forged, strict=True)
    ]
    shards: list[list[StoredMessage]] = [[], []]
    shards[shard_of(address.thread, 2)] = rewritten
    scope = Scope(tenant="acme", thread=address.thread)
    written(tmp_path / "forged", shards, scope=scope, ends=[late, late])
    assert codes(tmp_path / "forged") == {"no_checkpoint"}
    assert "rewritten" in codes(tmp_path / "forged", kept)

    # A checkpoint that is older than all of it is signed rightly, and says nothing.
    made = await Writer(clew.handler, "acme").create("thread_young")
    assert made.n == 1
    await exported(clew, tmp_path / "young", Scope(tenant="acme", thread="thread_young"))
    assert codes(tmp_path / "young") == {"not_covered"}
    unkeyed = await cli("verify", "--pack", str(tmp_path / "young"))
    assert (unkeyed.exit_code, "0 of 1 commits are what checkpoint 1 says" in unkeyed.stdout) == (0, True)


async def test_a_pack_is_held_against_a_checkpoint_that_was_kept(clew: Clew, tmp_path: Path) -> None:
    kept, bare = await kept_now(clew, heads=True), await kept_now(clew, heads=False)
    for name, (scope, _) in SCOPES.items():
        await exported(clew, tmp_path / name, scope)
        assert codes(tmp_path / name, kept) == set()
        assert codes(tmp_path / name, bare) == set()
    await exported(clew, tmp_path / "early", Scope(tenant="acme"), checkpoint=False)
    with pytest.raises(Invalid, match="--with-heads"):
        check(tmp_path / "early", bare)
    async with temporary_heads(clew.js, clew.deployment.shards) as heads:
        assert await Maker(clew.js, clew.ledger, heads, KEY).make() is not None
    assert "log_cut_off" not in codes(tmp_path / "all", await kept_now(clew, heads=False))
    await Writer(clew.handler, "acme").set(THREADS[2], "later", "still")
    async with temporary_heads(clew.js, clew.deployment.shards) as heads:
        assert await Maker(clew.js, clew.ledger, heads, KEY).make() is not None
    assert "log_cut_off" in codes(tmp_path / "all", await kept_now(clew, heads=False))


async def test_a_thread_is_downloaded_over_http_with_its_proof(clew: Clew, tmp_path: Path) -> None:
    status, headers, body = await downloaded(clew, f"/v1/threads/{THREADS[1]}/export")
    assert (status, headers["content-type"]) == (200, "application/zstd")
    assert headers["content-disposition"] == f'attachment; filename="{THREADS[1]}.clew.tar.zst"'
    (tmp_path / "download").write_bytes(body)
    found = check(tmp_path / "download")
    assert (found.verified.threads, found.verified.commits, found.verified.findings) == (1, 5, ())
    assert found.checkpoints == (1,)
    # It is what the command line would have written, less the key, which an API has no say in.
    await exported(clew, tmp_path / "pack", Scope(tenant="acme", thread=THREADS[1]), key=None)
    assert contents(tmp_path / "pack") == contents(tmp_path / "download")
    await Writer(clew.handler, "acme").create("thread_since")
    status, _, body = await downloaded(clew, "/v1/threads/thread_since/export")
    (tmp_path / "since").write_bytes(body)
    assert (status, check(tmp_path / "since").checkpoints) == (200, ())
    assert (await downloaded(clew, "/v1/threads/thread_nobody/export"))[0] == 404
    assert (await downloaded(clew, f"/v1/threads/{THREADS[0]}/export"))[0] == 404
