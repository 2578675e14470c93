"""The index is compared with the log, and so is whatever stands in the buckets that follows from nothing."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from clew_events.commands import EraseThread
from clew_events.subjects import Address
from clew_projections import places
from clew_projections.consistency import index_watch
from clew_projections.indexer.freshness import freshness
from clew_projections.kv.key_names import page_key, thread_key
from clew_projections.places import Places
from clew_projections.views import encode
from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from support.cli import clew as run
from support.indexes import caught_up, fed, findings, names, newest_file
from support.truth import buckets_equal_the_log, checkpointed, projecting
from support.writers import Writer, message_id


async def lived(clew: Clew, root: Path) -> Path:
    """Three threads, one of them deleted, projected and indexed; the file."""
    writer = Writer(clew.handler)
    for thread in ("thread_a", "thread_b", "thread_c"):
        await writer.create(thread, metadata={"plan": "free", "of": thread})
        await writer.add(thread, "the first")
        gone = message_id(await writer.add(thread, "a second"))
        await writer.set(thread, "plan", "paid", actor="billing")
        await writer.remove(thread, gone)
        await writer.add(thread, " ")
    await writer.delete("thread_c")
    async with fed(clew, root), projecting(clew):
        await caught_up(clew, root)
        await buckets_equal_the_log(clew)
        await checkpointed(clew)
    return newest_file(clew, root)


HARM = {
    "UPDATE thread SET hash = 'x' WHERE id = 'thread_a'": "'hash' is 'x'",
    "UPDATE thread SET n = n - 1 WHERE id = 'thread_a'": "'n' is 5 and should be 6",
    "UPDATE thread SET messages = 7 WHERE id = 'thread_a'": "'messages' is 7",
    "UPDATE thread SET updated_by = 'eve' WHERE id = 'thread_a'": "'updated_by' is 'eve'",
    "UPDATE thread SET updated = updated + 1 WHERE id = 'thread_a'": "'updated'",
    "UPDATE thread SET deleted = 0 WHERE id = 'thread_c'": "'deleted' is 0",
    "DELETE FROM thread WHERE id = 'thread_a'": "has no such thread",
    "UPDATE thread SET id = 'thread_x' WHERE id = 'thread_a'": "the log has nothing of it",
    "UPDATE term SET value = 'gold' WHERE value = 'paid'": "wrong under plan",
    "DELETE FROM pair WHERE term = (SELECT no FROM term WHERE value = 'thread_a')": "wrong under of",
    "UPDATE message SET text = 'another' WHERE ordinal = 1": "messages number 1",
    "INSERT INTO words (rowid, said) VALUES (7, 'h1')": "is left from others",
    "DELETE FROM message": "is not what they say",
    "UPDATE term SET threads = 9 WHERE value = 'paid'": "with the value paid is 9 and should be 2",
    "UPDATE key SET threads = 9 WHERE name = 'plan'": "with the key plan is 9 and should be 2",
    "UPDATE tenant SET threads = 9": "of tenant default is 9 and should be 2",
}


async def test_whatever_is_wrong_with_an_index_is_found(clew: Clew, tmp_path: Path) -> None:
    file = await lived(clew, tmp_path / "index")
    assert await findings(clew, file) == []
    for harm, said in HARM.items():
        harmed = tmp_path / "harmed.db"
        with closing(sqlite3.connect(file)) as whole, closing(sqlite3.connect(harmed)) as db:
            whole.backup(db)
            assert db.execute(harm).rowcount > 0, harm
            db.commit()
        assert any(said in what for what in await findings(clew, harmed)), (harm, await findings(clew, harmed))
        harmed.unlink()


async def test_an_index_that_lags_is_right_and_one_that_has_missed_something_is_not(clew: Clew, tmp_path: Path) -> None:
    file = await lived(clew, tmp_path / "index")
    shard = clew.histories.shard(Address("default", "thread_a"))
    late = next(each for each in names(100) if clew.histories.shard(Address("default", each)) == shard)
    await Writer(clew.handler).set("thread_a", "mood", "wild")
    await Writer(clew.handler).create(late)
    assert await findings(clew, file) == []
    with closing(sqlite3.connect(file)) as db:
        db.execute("UPDATE mark SET seq = seq + 100")
        db.commit()
    first, second = sorted(await findings(clew, file))
    assert first.startswith("index: 'seq' is ")
    assert second == "index: it has no such thread, though it has come past its first commit"


async def test_what_an_index_that_lags_still_has_of_what_is_erased_is_no_drift(clew: Clew, tmp_path: Path) -> None:
    file = await lived(clew, tmp_path / "index")
    await clew.handler.handle("default", EraseThread(thread_id="thread_a"), actor="dpo", by="test")
    assert await findings(clew, file) == []
    with closing(sqlite3.connect(file)) as db:
        db.execute("UPDATE mark SET seq = seq + 100")
        db.commit()
    assert any("'deleted' is" in what for what in await findings(clew, file))


async def test_views_that_follow_from_nothing_are_found(
    clew: Clew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "PAGE", 1)
    file = await lived(clew, tmp_path / "index")
    stray, home = Address("default", "thread_stray"), Address("default", "thread_a")
    threads = clew.live.current.threads
    value, page = await threads.get(thread_key(home)), await threads.get(page_key(home, 0))
    assert value is not None
    assert page is not None
    await threads.put(thread_key(stray), value.body, 0)
    for address, number in ((stray, 0), (home, 44)):
        await threads.put(page_key(address, number), page.body, 0)
    assert sorted(await findings(clew, file)) == [
        "page 0 of its places: the bucket has it, and by the log the thread never had so many items",
        "page 44 of its places: the bucket has it, and by the log the thread never had so many items",
        "thread: the bucket has a view of it, and the log has nothing of it",
    ]
    # A page that is there before its thread's view tells of it is none.
    seq = (await Writer(clew.handler).add("thread_b", "a fourth")).position.seq
    ahead = Places(first=4, added=(seq,), seq=seq)
    await threads.put(page_key(Address("default", "thread_b"), 3), encode(ahead), 0)
    assert len(await findings(clew, file)) == 3


async def test_the_command_proves_the_index_of_this_machine_and_says_what_to_do(
    clew: Clew, deployment: EmbeddedServer, tmp_path: Path
) -> None:
    root = tmp_path / "index"
    file = await lived(clew, root)
    env = {"CLEW_NATS": deployment.url}
    right = await asyncio.to_thread(run, "prove", "--all", "--index", str(root), env=env)
    assert right.returncode == 0, right.stderr
    assert "the buckets and the index are consistent with the log" in right.stdout
    with closing(sqlite3.connect(file)) as db:
        db.execute("UPDATE thread SET n = n - 1 WHERE id = 'thread_a'")
        db.commit()
    wrong = await asyncio.to_thread(run, "prove", "--all", "--index", str(root), env=env)
    assert wrong.returncode == 5, wrong.stderr
    assert "clew rebuild index" in wrong.stdout
    said = await asyncio.to_thread(run, "prove", "thread_a", "--index", str(root), "--json", env=env)
    assert [each["code"] for each in json.loads(said.stdout)["findings"]] == ["index_drift"]


async def test_the_watch_over_an_index_comes_round_tells_of_drift_and_is_quiet_after_a_rebuild(
    clew: Clew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(index_watch, "ROUND", 0.0)
    root = tmp_path / "index"
    file = await lived(clew, root)
    folder, shards = clew.index_in(root), clew.deployment.shards

    async def drift(watching: index_watch.IndexWatch) -> int | None:
        """What is known after two whole rounds."""
        for _ in range(4):
            await watching.step()
        fresh = await freshness(clew.js, shards, folder)
        assert fresh.since is not None
        return fresh.drift

    nobody = index_watch.IndexWatch(folder, clew.histories, 1, lambda: False)
    assert await nobody.step() == 0
    assert (await freshness(clew.js, shards, folder)).drift is None
    watching = index_watch.IndexWatch(folder, clew.histories, 1, lambda: True)
    assert await drift(watching) == 0
    with closing(sqlite3.connect(file)) as db:
        db.execute("UPDATE thread SET hash = 'x' WHERE id = 'thread_a'")
        db.execute("UPDATE key SET threads = 9 WHERE name = 'plan'")
        db.commit()
    assert await drift(watching) == 2
    assert "thread thread_a of tenant default: index: 'hash' is 'x'" in caplog.text
    assert "clew rebuild index" in caplog.text
    async with fed(clew, root):
        await clew.index_rebuild(root, lambda _: None).run()
        assert (await freshness(clew.js, shards, folder)).drift is None
        assert await drift(watching) == 0
