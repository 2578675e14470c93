"""Nothing that somebody with all rights on the server does to the record stays silent: forgeries against commands.

Each forgery is done to a copy of one deployment, which has been projected and indexed, and whose checkpoint 2 was
exported to an auditor. The table says how each command that looks at the record ends.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clew_events.subjects import CHECKPOINT_STREAM, Address, event_stream, shard_of
from clew_projections.buckets.keys import thread_key
from clew_projections.proof.kept import Kept
from clew_services.checkpoints.heads import Heads
from clew_services.checkpoints.making import Maker
from clew_services.checkpoints.note import SigningKey
from clew_services.cli import main
from clew_services.compose import Clew, connected
from clew_services.embedded.server import EmbeddedServer
from support.deployments import FAST, deployed
from support.forging import bodies, delete, five_commits, held, publish, purge, put_back, rechained, rewrite, stored
from support.indexes import caught_up, fed
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


async def sign(clew: Clew, key: SigningKey = KEY) -> None:
    heads = Heads(clew.js, clew.deployment.shards, Kept())
    try:
        assert await Maker(clew.js, clew.ledger, heads, key).make() is not None
    finally:
        await heads.close()


async def run(data: Path, url: str, *words: str) -> Result:
    """A command of the command line, with the index that is in a folder."""
    env = {"CLEW_NATS": url, "CLEW_DATA": str(data.parent)}
    return await asyncio.to_thread(CliRunner().invoke, main, words, env=env)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all of a deployment: two checkpoints, of which the second was kept, and commits after it."""
    folder = tmp_path_factory.mktemp("whole")
    asyncio.run(_lived(folder))
    return folder


async def _lived(folder: Path) -> None:
    async with deployed(folder / "data") as server, connected(server.url, name="test") as clew:
        for address in (VICTIM, NEIGHBOUR, BYSTANDER):
            await five_commits(clew, address)
        await sign(clew)
        for address in (VICTIM, NEIGHBOUR, BYSTANDER):
            await Writer(clew.handler).set(address.thread, "plan", "paid")
        await sign(clew)
        kept = await run(
            folder / "data",
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
    async with EmbeddedServer(folder / "data", port=free_port(), sync=FAST) as server:
        async with connected(server.url, name="forger") as clew:
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
    await purge(clew, VICTIM)


async def the_thread_purged_with_its_view(clew: Clew) -> None:
    await purge(clew, VICTIM)
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


async def rewritten_and_signed_with_another_key(clew: Clew) -> None:
    await the_shard_made_anew_with_another_history(clew)
    await the_checkpoints_emptied(clew)
    await sign(clew, STRANGER)


async def _forget_view(clew: Clew) -> None:
    view = await clew.threads.latest(thread_key(VICTIM))
    assert view is not None
    await clew.threads.delete(thread_key(VICTIM), view.revision)


ASKED = {
    "thread": ("verify", VICTIM.thread),
    "thread with key": ("verify", VICTIM.thread, "--key", str(KEY.verifier)),
    "neighbour": ("verify", NEIGHBOUR.thread),
    "bystander": ("verify", BYSTANDER.thread),
    "all": ("verify", "--all"),
    "all with key": ("verify", "--all", "--key", str(KEY.verifier)),
    "against": ("verify", "--against", "kept", "--key", str(KEY.verifier)),
    "prove": ("prove", VICTIM.thread),
    "prove all": ("prove", "--all"),
    "history": ("history", VICTIM.thread),
    "reverse": ("history", VICTIM.thread, "--reverse"),
    "state": ("state", VICTIM.thread),
}
FORGERIES = [
    v
    for v in dict(globals()).values()
    if asyncio.iscoroutinefunction(v)
    and v.__module__ == __name__
    and v.__name__ not in {"sign", "run", "_lived", "_forget_view"}
]


@pytest.mark.parametrize("forge", FORGERIES, ids=[each.__name__ for each in FORGERIES])
async def test_print(whole: Path, tmp_path: Path, forge) -> None:
    async with copied(whole, tmp_path) as clew:
        await forge(clew)
        url = clew.nc.connected_url.geturl()
        out = [f"\n## {forge.__name__}"]
        for name, words in ASKED.items():
            words = [str(tmp_path / "kept") if each == "kept" else each for each in words]
            got = await run(tmp_path / "data", url, *words, *(["--json"] if words[0] == "verify" else []))
            codes = ""
            if words[0] == "verify" and got.stdout.startswith("{"):
                codes = [
                    (each["code"], each["thread"][:13] or each["shard"]) for each in json.loads(got.stdout)["findings"]
                ]
            out.append(f"{name:16} {got.exit_code} {codes} {got.stderr.strip()[:150] if got.exit_code else ''}")
            if got.exception and not isinstance(got.exception, SystemExit):
                out.append(repr(got.exception))
        with open("/tmp/forgeries.txt", "a") as f:
            f.write("\n".join(out) + "\n")
