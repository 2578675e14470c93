"""Nothing that somebody with all rights on the server does to the record stays silent: forgeries against commands.

Each forgery is done to a copy of one deployment, which has been projected and indexed, and whose checkpoint 2 was
exported to an auditor. The table says how each command that looks at the record ends.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec import Struct

from clew_events.subjects import CHECKPOINT_STREAM, Address, event_stream, shard_of
from clew_projections.kv.key_names import thread_key
from clew_services.checkpoints.note import SigningKey
from clew_services.cli import main
from clew_services.compose import Clew, connect
from clew_services.embedded.server import EmbeddedServer
from support.deployments import FAST, deployed
from support.forging import bodies, delete, five_commits, held, publish, put_back, rechained, remove, rewrite, stored
from support.indexes import caught_up, fed
from support.parts import sign
from support.ports import free_port
from support.truth import buckets_equal_the_log, checkpointed, projecting
from support.writers import Writer

KEY = SigningKey(bytes(range(32)))
STRANGER = SigningKey(bytes(32))
VICTIM = Address("default", "thread_victim")
SHARD = shard_of(VICTIM.thread, 2)
LOG = event_stream(SHARD)


def _in_shard(shard: int, word: str) -> Address:
    names = (f"thread_{word}{number}" for number in range(100))
    return Address("default", next(each for each in names if shard_of(each, 2) == shard))


NEIGHBOUR = _in_shard(SHARD, "neighbour")
BYSTANDER = _in_shard(1 - SHARD, "bystander")


async def run(data: Path, url: str, *words: str) -> Result:
    """A command of the command line, with the index that is in a folder."""
    env = {"CLEW_NATS": url, "CLEW_DATA": str(data)}
    return await asyncio.to_thread(CliRunner().invoke, main, words, env=env)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all of a deployment: two checkpoints, of which the second was kept, and commits after it."""
    folder = tmp_path_factory.mktemp("whole")
    asyncio.run(_lived(folder))
    return folder


async def _lived(folder: Path) -> None:
    async with deployed(folder / "data") as server, connect(server.url, name="test") as clew:
        for address in (VICTIM, NEIGHBOUR, BYSTANDER):
            await five_commits(clew, address)
        await sign(clew, KEY)
        for address in (VICTIM, NEIGHBOUR, BYSTANDER):
            await Writer(clew.handler).set(address.thread, "plan", "paid")
        await sign(clew, KEY)
        kept = await run(
            folder,
            server.url,
            "checkpoint",
            "export",
            str(folder / "kept"),
            "--with-heads",
            "--key",
            str(KEY.verifier),
        )
        assert kept.exit_code == 0, kept.output
        async with fed(clew, folder / "index"), projecting(clew):
            await caught_up(clew, folder / "index")
            await buckets_equal_the_log(clew)
            await checkpointed(clew)


@asynccontextmanager
async def copied(whole: Path, folder: Path) -> AsyncIterator[Clew]:
    """The deployment on a server of its own, which nobody else uses."""
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    server = EmbeddedServer(folder / "data", port=free_port(), sync=FAST)
    async with server, connect(server.url, name="forger") as clew:
        yield clew


async def nothing(clew: Clew) -> None:
    """The record as it is."""


async def the_first_commit_deleted(clew: Clew) -> None:
    await delete(clew, VICTIM, (await stored(clew, VICTIM))[0].seq)


async def a_commit_in_the_middle_deleted(clew: Clew) -> None:
    await delete(clew, VICTIM, (await stored(clew, VICTIM))[3].seq)


async def the_last_commits_deleted(clew: Clew) -> None:
    await delete(clew, VICTIM, *(each.seq for each in (await stored(clew, VICTIM))[4:]))


async def the_thread_purged(clew: Clew) -> None:
    await remove(clew, VICTIM)


async def the_thread_purged_with_its_view(clew: Clew) -> None:
    await remove(clew, VICTIM)
    await _forget_view(clew)


async def rewritten_from_the_fourth_commit_on(clew: Clew) -> None:
    history = await stored(clew, VICTIM)
    forged = rechained([each.body for each in history], b'"step":"2"', b'"step":"9"')
    await delete(clew, VICTIM, *(each.seq for each in history[3:]))
    await publish(clew, VICTIM, *forged[3:])


async def rewritten_whole(clew: Clew) -> None:
    await rewrite(clew, VICTIM, rechained(await bodies(clew, VICTIM), b"billing", b"nobody!"))


async def the_shard_made_anew_without_the_thread(clew: Clew) -> None:
    await put_back(clew, LOG, [each for each in await held(clew, LOG) if not each[0].endswith(VICTIM.thread)])
    await _forget_view(clew)


async def the_shard_made_anew_with_another_history(clew: Clew) -> None:
    forged = iter(rechained(await bodies(clew, VICTIM), b"billing", b"nobody!"))
    held_now = await held(clew, LOG)
    await put_back(clew, LOG, [(s, next(forged) if s.endswith(VICTIM.thread) else body) for s, body in held_now])
    await _forget_view(clew)


async def the_shard_put_back_to_an_older_backup(clew: Clew) -> None:
    await put_back(clew, LOG, (await held(clew, LOG))[:-2])


async def the_shard_emptied(clew: Clew) -> None:
    await put_back(clew, LOG, [])


async def the_checkpoints_emptied(clew: Clew) -> None:
    await put_back(clew, CHECKPOINT_STREAM, [])


async def the_thread_dropped_with_the_checkpoints(clew: Clew) -> None:
    await the_shard_made_anew_without_the_thread(clew)
    await the_checkpoints_emptied(clew)


async def the_first_checkpoint_removed(clew: Clew) -> None:
    await put_back(clew, CHECKPOINT_STREAM, (await held(clew, CHECKPOINT_STREAM))[1:])


async def log_and_checkpoints_put_back_to_an_older_backup(clew: Clew) -> None:
    for stream in (event_stream(0), event_stream(1)):
        here = await held(clew, stream)
        await put_back(clew, stream, [each for each in here if b'"plan":"paid"' not in each[1]])
    await put_back(clew, CHECKPOINT_STREAM, (await held(clew, CHECKPOINT_STREAM))[:1])


async def log_and_checkpoints_and_views_put_back(clew: Clew) -> None:
    await log_and_checkpoints_put_back_to_an_older_backup(clew)
    for bucket in clew.live.current.buckets:
        await put_back(clew, bucket.stream, [])


async def rewritten_and_signed_with_another_key(clew: Clew) -> None:
    await the_shard_made_anew_with_another_history(clew)
    await the_checkpoints_emptied(clew)
    await sign(clew, STRANGER)


async def _forget_view(clew: Clew) -> None:
    view = await clew.live.current.threads.latest(thread_key(VICTIM))
    assert view is not None
    await clew.live.current.threads.delete(thread_key(VICTIM), view.revision)


async def the_last_checkpoint_removed(clew: Clew) -> None:
    await put_back(clew, CHECKPOINT_STREAM, (await held(clew, CHECKPOINT_STREAM))[:1])


KEYED = ("--key", str(KEY.verifier))
COMMANDS = {
    "thread": ("verify", VICTIM.thread),
    "thread keyed": ("verify", VICTIM.thread, *KEYED),
    "neighbour": ("verify", NEIGHBOUR.thread),
    "bystander": ("verify", BYSTANDER.thread),
    "tenant": ("verify",),
    "all": ("verify", "--all"),
    "all keyed": ("verify", "--all", *KEYED),
    "against": ("verify", "--against", "kept", *KEYED),
    "prove": ("prove", VICTIM.thread),
    "prove all": ("prove", "--all"),
    "history": ("history", VICTIM.thread),
    "reverse": ("history", VICTIM.thread, "--reverse"),
    "state": ("state", VICTIM.thread),
    "export": ("export", "--thread", VICTIM.thread, "--out", "pack"),
}
DAMAGED, UNKNOWN = 5, 6


class Told(Struct, frozen=True):
    """What is told of a forgery.

    ``victim`` is the finding about the thread by ``verify``, ``beside`` are those about its shard and about checkpoints
    by ``verify --all --key``. ``others`` are the commands that do not end with the exit code of a damaged record.
    """

    victim: str | None
    beside: frozenset[str]
    others: dict[str, int]


def told(victim: str | None, beside: str, others: dict[str, int]) -> Told:
    return Told(victim, frozenset(beside.split()), others)


ELSEWHERE = {"bystander": 0}
"""A thread in another shard is as whole as it was."""
WALKERS = ("history", "reverse", "state", "export")
SILENT = {each: 0 for each in COMMANDS if "keyed" not in each and each != "against"}
"""All that is given no key, and no checkpoint that somebody kept."""
KEYED_TOO = {"thread keyed": 0, "all keyed": 0}
GONE = ELSEWHERE | dict.fromkeys(WALKERS, UNKNOWN)
"""With its view, all is gone by which these know the thread."""

FORGERIES: dict[Callable[[Clew], Awaitable[None]], Told] = {
    nothing: told(None, "", dict.fromkeys(COMMANDS, 0)),
    the_first_commit_deleted: told("missing", "removed history_changed", ELSEWHERE),
    a_commit_in_the_middle_deleted: told("missing", "removed history_changed", ELSEWHERE),
    the_last_commits_deleted: told("shortened", "removed history_changed", ELSEWHERE),
    the_thread_purged: told("thread_removed", "removed history_changed", ELSEWHERE | {"export": UNKNOWN}),
    the_thread_purged_with_its_view: told("thread_removed", "removed history_changed", GONE),
    # What walks along the commits alone sees a chain that is whole in itself.
    rewritten_from_the_fourth_commit_on: told(
        "rewritten", "removed history_changed", ELSEWHERE | {"history": 0, "reverse": 0}
    ),
    rewritten_whole: told("rewritten", "removed history_changed", ELSEWHERE | {"history": 0, "reverse": 0}),
    the_shard_made_anew_with_another_history: told(
        None, "history_changed", ELSEWHERE | {"history": 0, "reverse": 0, "state": 0}
    ),
    the_shard_made_anew_without_the_thread: told(None, "history_changed log_cut_off", GONE),
    the_shard_put_back_to_an_older_backup: told("shortened", "history_changed log_cut_off", ELSEWHERE),
    the_shard_emptied: told("thread_removed", "history_changed log_cut_off", ELSEWHERE | {"export": UNKNOWN}),
    log_and_checkpoints_put_back_to_an_older_backup: told("shortened", "log_cut_off", {"export": 0}),
    the_thread_dropped_with_the_checkpoints: told(None, "log_cut_off no_checkpoint", GONE),
    the_checkpoints_emptied: told(None, "no_checkpoint", SILENT),
    the_first_checkpoint_removed: told(
        None, "checkpoint_missing", {each: code for each, code in SILENT.items() if each != "all"} | {"thread keyed": 0}
    ),
    # That it was there, only somebody who kept it can tell.
    the_last_checkpoint_removed: told(None, "", SILENT | KEYED_TOO),
    log_and_checkpoints_and_views_put_back: told(None, "", SILENT | KEYED_TOO),
    rewritten_and_signed_with_another_key: told(
        None, "unknown_key", {each: code for each, code in SILENT.items() if not each.startswith("prove")}
    ),
}


@pytest.mark.parametrize("forge", FORGERIES, ids=[each.__name__ for each in FORGERIES])
async def test_whatever_was_done_to_the_record_is_told_by_every_command_that_looks_at_it(
    whole: Path, tmp_path: Path, forge: Callable[[Clew], Awaitable[None]]
) -> None:
    expected = FORGERIES[forge]
    async with copied(whole, tmp_path) as clew:
        await forge(clew)
        assert clew.nc.connected_url is not None
        url = clew.nc.connected_url.geturl()
        ended: dict[str, int] = {}
        found: dict[str, list[dict[str, str]]] = {}
        for name, words in COMMANDS.items():
            said = [str(tmp_path / word) if word in {"kept", "pack"} else word for word in words]
            ran = await run(tmp_path, url, *said, *(["--json"] if words[0] == "verify" else []))
            ended[name] = ran.exit_code
            if ran.stdout.startswith("{"):
                found[name] = json.loads(ran.stdout)["findings"]
    assert ended == {**dict.fromkeys(COMMANDS, DAMAGED), **expected.others}
    assert [each["code"] for each in found["thread"] if each["thread"]] == (
        [expected.victim] if expected.victim else []
    )
    assert {each["code"] for each in found["all keyed"] if not each["thread"]} == expected.beside


async def test_what_never_was_is_an_error_of_its_own_and_what_may_have_been_lost_is_a_finding(
    whole: Path, tmp_path: Path
) -> None:
    async with copied(whole, tmp_path) as clew:
        assert clew.nc.connected_url is not None
        url = clew.nc.connected_url.geturl()
        nobody = f"{VICTIM.thread}x"
        while shard_of(nobody, 2) != SHARD:
            nobody += "x"
        for command in ("verify", "prove"):
            for words in ((nobody,), (VICTIM.thread, "--tenant", "other"), ("--tenant", "other")):
                ran = await run(tmp_path, url, command, *words)
                assert (ran.exit_code, ran.stdout) == (UNKNOWN, ""), (command, words)
                assert ("'default' has one" in ran.stderr) == (VICTIM.thread in words)
        await delete(clew, NEIGHBOUR, (await stored(clew, NEIGHBOUR))[1].seq)
        for command in ("verify", "prove"):
            ran = await run(tmp_path, url, command, nobody)
            assert (ran.exit_code, "history_changed" in ran.stdout) == (DAMAGED, True)
        shown = await run(tmp_path, url, "history", NEIGHBOUR.thread, "-p")
        assert [line.split()[:2] for line in shown.stdout.splitlines() if "missing" in line] == [["2", "missing"]]
        assert shown.exit_code == DAMAGED
        downward = await run(tmp_path, url, "history", NEIGHBOUR.thread, "--reverse")
        assert [line.split()[0] for line in downward.stdout.splitlines()] == ["6", "5", "4", "3", "2", "1"]


async def test_a_verdict_says_how_far_it_reaches_and_what_it_was_not_given(whole: Path, tmp_path: Path) -> None:
    async with copied(whole, tmp_path) as clew:
        assert clew.nc.connected_url is not None
        url = clew.nc.connected_url.geturl()
        await Writer(clew.handler).set(VICTIM.thread, "plan", "gold")
        for words, said in (
            ((VICTIM.thread,), "7 commits"),
            ((VICTIM.thread,), "it agrees with checkpoint 2 of "),
            ((VICTIM.thread,), "1 later commit is not covered by it"),
            ((VICTIM.thread,), "were not verified: give --key"),
            ((VICTIM.thread, *KEYED), f"is signed with {KEY.verifier.id}"),
            (("--all", *KEYED), "every checkpoint follows from the one before it"),
            ((BYSTANDER.thread,), "Z; the signatures, by "),
        ):
            ran = await run(tmp_path, url, "verify", *words)
            assert (ran.exit_code, said in ran.stdout) == (0, True), ran.stdout
        await put_back(clew, CHECKPOINT_STREAM, [])
        ran = await run(tmp_path, url, "verify", "--all")
        assert (ran.exit_code, "there is no checkpoint, so a removed end" in ran.stdout) == (0, True)


async def test_a_record_that_grows_while_it_is_verified_is_whole(whole: Path, tmp_path: Path) -> None:
    async with copied(whole, tmp_path) as clew, projecting(clew):

        async def grow() -> None:
            for step in range(120):
                await Writer(clew.handler).set((VICTIM, BYSTANDER)[step % 2].thread, "plan", str(step))
                if step % 10 == 9:
                    await sign(clew, KEY)

        growing = asyncio.create_task(grow())
        rounds = 0
        while not growing.done() or not rounds:
            rounds += 1
            verifier = clew.record_verifier()
            keys = {KEY.verifier.id: KEY.verifier}
            for found in (
                await verifier.thread(VICTIM, keys),
                await verifier.whole(None, keys),
                await verifier.whole(VICTIM.tenant, keys),
            ):
                assert found.findings == ()
        await growing
