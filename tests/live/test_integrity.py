"""The log verified in the background: a loss is found, said once and seen wherever one looks, and serving goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from clew_events.commands import UpdateThread
from clew_events.errors import Corrupt
from clew_events.requests import MetadataPatch
from clew_events.subjects import CHECKPOINT_STREAM, Address, event_stream
from clew_projections.consistency import watch as watching
from clew_projections.integrity.heads_file import HeadsFile
from clew_services.checkpoints.log_heads import Heads
from clew_services.checkpoints.maker import Maker
from clew_services.checkpoints.note import SigningKey
from clew_services.checkpoints.signed_checkpoint import SignedNote
from clew_services.compose import Clew
from clew_services.compose.roles import compose_readiness
from clew_services.eventstore import provision
from clew_services.integrity import background_audit as auditing
from clew_services.integrity.background_audit import Audit
from clew_services.integrity.integrity_report import report
from clew_services.metrics import catalogue
from clew_services.metrics.deployment import DeploymentMetrics
from clew_services.settings import Settings
from clew_services.status.derived_state import read_derived_state
from support.forging import bodies, delete, five_commits, publish, rechained, remove, rewrite, stored
from support.indexes import caught_up, fed
from support.parts import audit_of
from support.truth import projecting

VICTIM = Address("default", "thread_victim")
OTHER = Address("default", "thread_other")
KEY = SigningKey(bytes(range(32)))
DAY = 86_400.0


async def sign(clew: Clew, reason: str | None = None) -> SignedNote | None:
    heads = Heads(clew.js, clew.deployment.shards, HeadsFile())
    try:
        return await Maker(clew.js, clew.ledger, heads, KEY).make(reason=reason)
    finally:
        await heads.close()


async def through(audit: Audit) -> None:
    """Look once, and go through one pass to its end."""
    await audit.look()
    while await audit.step():
        pass
    await audit.look()


async def codes(clew: Clew) -> set[str]:
    found = await report(clew.js)
    assert found is not None
    return {each.code for each in found.findings}


async def tail_removed(clew: Clew) -> None:
    history = await stored(clew, VICTIM)
    await delete(clew, VICTIM, history[-1].seq)


async def all_removed(clew: Clew) -> None:
    await remove(clew, VICTIM)


async def altered(clew: Clew) -> None:
    history = await bodies(clew, VICTIM)
    await rewrite(clew, VICTIM, [*history[:2], history[2].replace(b"billing", b"nobody!"), *history[3:]])


async def shard_gone(clew: Clew) -> None:
    await clew.js.api(f"STREAM.DELETE.{event_stream(clew.histories.shard(VICTIM))}")


async def checkpoints_gone(clew: Clew) -> None:
    await clew.js.api(f"STREAM.DELETE.{CHECKPOINT_STREAM}")


async def checkpoints_begun_anew(clew: Clew) -> None:
    await checkpoints_gone(clew)
    await provision.init(clew.js, shards=2, max_msg_size=clew.nc.max_payload, accept_loss=(CHECKPOINT_STREAM,))
    await sign(clew)


LOSSES: dict[Callable[[Clew], Awaitable[None]], set[str]] = {
    tail_removed: {"removed"},
    all_removed: {"removed"},
    altered: {"removed"},
    shard_gone: {"missing_stream"},
    checkpoints_gone: {"missing_stream"},
    checkpoints_begun_anew: {"checkpoint_changed"},
}


@pytest.mark.parametrize(("lose", "expected"), LOSSES.items(), ids=[each.__name__ for each in LOSSES])
async def test_what_the_streams_say_of_themselves_is_found_at_the_next_look(
    clew: Clew, lose: Callable[[Clew], Awaitable[None]], expected: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    await five_commits(clew, VICTIM)
    await five_commits(clew, OTHER)
    await sign(clew)
    audit = audit_of(clew, DAY)
    await through(audit)
    assert await codes(clew) == set()

    await lose(clew)
    for _ in range(3):
        await audit.look()

    assert await codes(clew) == expected
    said = [record.getMessage() for record in caplog.records if record.name == "clew.integrity"]
    assert len(said) == 2
    assert said[0].startswith("the log differs from checkpoint 1: ")
    assert "'clew verify --all'" in said[0]
    assert "neither 'clew rebuild' nor '--repair'" in said[0]


async def test_a_log_that_was_never_signed_is_verified_by_its_chains_and_its_numbers(clew: Clew) -> None:
    await five_commits(clew, VICTIM)
    audit = audit_of(clew, DAY)
    await through(audit)
    assert await codes(clew) == set()
    await tail_removed(clew)
    await audit.look()
    found = await report(clew.js)
    assert found is not None
    assert found.verdict is not None
    assert found.verdict.startswith("the log is damaged: ")


async def test_a_pass_finds_what_no_number_tells_and_names_the_thread(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "PAGE", 4)
    await five_commits(clew, VICTIM)
    await five_commits(clew, OTHER)
    await sign(clew)
    # A commit that nobody signed yet and that continues nothing.
    await publish(clew, VICTIM, (await bodies(clew, VICTIM))[1])
    await through(audit_of(clew, DAY))
    found = await report(clew.js)
    assert found is not None
    assert [(each.thread, each.shard) for each in found.findings] == [(VICTIM.thread, clew.histories.shard(VICTIM))]
    assert found.commits == 11


async def test_a_whole_log_that_is_another_than_was_signed_is_found_by_the_checkpoint(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    await five_commits(clew, VICTIM)
    shard, stream = clew.histories.shard(VICTIM), event_stream(clew.histories.shard(VICTIM))
    forged = rechained(await bodies(clew, VICTIM), b"billing", b"nobody!")
    await sign(clew)
    config = (await clew.js.api(f"STREAM.INFO.{stream}"))["config"]
    await clew.js.api(f"STREAM.DELETE.{stream}")
    await clew.js.api(f"STREAM.CREATE.{stream}", config)
    await publish(clew, VICTIM, *forged)
    audit = audit_of(clew, DAY)
    await audit.look()
    assert await codes(clew) == set()
    await through(audit)
    found = await report(clew.js)
    assert found is not None
    assert [(each.code, each.shard) for each in found.findings] == [("history_changed", shard)]
    # It is not forgotten by the next pass, nor by another process that goes on.
    monkeypatch.setattr(audit, "_every", 0.000_001)
    await audit.step()
    assert await codes(clew) == {"history_changed"}


async def test_a_loss_that_an_operator_has_had_signed_with_a_reason_is_none_any_more(clew: Clew) -> None:
    await five_commits(clew, VICTIM)
    await five_commits(clew, OTHER)
    await sign(clew)
    audit = audit_of(clew, DAY)
    await all_removed(clew)
    await through(audit)
    assert await codes(clew) == {"removed", "history_changed"}
    with pytest.raises(Corrupt):
        await sign(clew)
    await sign(clew, reason="the disk lost them, and there is no backup")
    await through(audit)
    assert await codes(clew) == set()
    assert await sign(clew) is None


async def test_what_was_removed_before_it_was_signed_is_not_signed_as_if_it_had_never_been_there(clew: Clew) -> None:
    await five_commits(clew, OTHER)
    await sign(clew)
    await five_commits(clew, VICTIM)
    await tail_removed(clew)
    with pytest.raises(Corrupt, match="has lost 1 messages since checkpoint 1") as refused:
        await sign(clew)
    assert refused.value.code == "removed"


async def test_checkpoints_that_are_gone_are_not_begun_anew_without_a_reason(clew: Clew) -> None:
    await five_commits(clew, VICTIM)
    heads = Heads(clew.js, clew.deployment.shards, HeadsFile())
    maker = Maker(clew.js, clew.ledger, heads, KEY)
    try:
        await maker.make()
        await checkpoints_gone(clew)
        await provision.init(clew.js, shards=2, max_msg_size=clew.nc.max_payload, accept_loss=(CHECKPOINT_STREAM,))
        with pytest.raises(Corrupt, match="the deployment has none") as refused:
            await maker.make()
        assert refused.value.code == "checkpoint_missing"
        begun = await sign(clew, reason="their stream was deleted")
        assert begun is not None
        await five_commits(clew, OTHER)
        after = await maker.make()
        assert after is not None
        assert (after.checkpoint.number, after.checkpoint.reason) == (2, None)
    finally:
        await heads.close()


async def test_a_pass_goes_on_where_it_was_and_one_process_does_it_at_a_time(
    clew: Clew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "PAGE", 1)
    await five_commits(clew, VICTIM)
    first = audit_of(clew, DAY, tmp_path / "verified.sqlite")
    await first.look()
    assert await first.step()
    assert await first.step()
    await first.look()
    before = await report(clew.js)
    second = audit_of(clew, DAY)
    await second.look()
    assert not await second.step()
    assert await report(clew.js) == before

    stop = asyncio.Event()
    stop.set()
    await first.run(stop)
    third = audit_of(clew, DAY, tmp_path / "verified.sqlite")
    await through(third)
    after = await report(clew.js)
    assert before is not None
    assert after is not None
    assert (before.commits, after.commits, after.since) == (2, 5, before.began_at)


async def test_who_verifies_and_is_gone_is_followed_by_another(clew: Clew) -> None:
    await five_commits(clew, VICTIM)
    gone, stands_by = audit_of(clew, DAY), audit_of(clew, DAY)
    await gone.look()
    for _ in range(auditing.GONE):
        await stands_by.look()
        assert not await stands_by.step()
    await stands_by.look()
    assert await stands_by.step()
    await gone.look()
    assert not await gone.step()


@pytest.mark.parametrize("worked", [0.000_1, 0.02, 5.0])
def test_a_pass_takes_no_more_than_a_fiftieth_of_the_time(worked: float) -> None:
    assert worked / (worked + auditing.rest_after(worked)) == pytest.approx(0.02)


async def test_never_is_never(clew: Clew) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(audit_of(clew, 0).run(stop))
    await clew.js.api("INFO")
    stop.set()
    await running
    assert await report(clew.js) is None
    assert Settings(verify_every="0").verify_seconds == 0
    assert Settings().verify_seconds == DAY


async def test_a_loss_is_seen_wherever_one_looks_and_serving_goes_on(clew: Clew, tmp_path: Path) -> None:
    await five_commits(clew, VICTIM)
    await five_commits(clew, OTHER)
    await sign(clew)
    async with projecting(clew):
        pass
    audit, readiness = audit_of(clew, DAY), compose_readiness(clew, 30)
    metrics = DeploymentMetrics(clew.opened, clew.live, readiness, None)
    await through(audit)
    quiet = await read_derived_state(clew.opened, clew.generations, clew.index_in(tmp_path))
    assert quiet.integrity is not None
    assert (quiet.integrity.verdict, quiet.integrity.checkpoint) == (None, 1)
    assert (await metrics.look())[catalogue.LOG_FINDINGS] == {"": 0}
    assert catalogue.LOG_VERIFIED_AGE in await metrics.look()
    assert json.loads((await readiness.show()).body)["notes"] == []

    await tail_removed(clew)
    await audit.look()

    loud = await read_derived_state(clew.opened, clew.generations, clew.index_in(tmp_path))
    assert loud.integrity is not None
    assert loud.integrity.verdict is not None
    assert loud.integrity.verdict.startswith("the log differs from checkpoint 1: ")
    assert (await metrics.look())[catalogue.LOG_FINDINGS] == {"": 1}
    shown = await readiness.show()
    assert shown.status == 200
    (note,) = json.loads(shown.body)["notes"]
    assert note.startswith("the log differs from checkpoint 1: ")
    assert "neither 'clew rebuild' nor '--repair'" in note


async def test_whoever_compares_views_or_index_with_the_log_advises_nothing_that_destroys_the_last_trace(
    clew: Clew, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "ROUND", 0.0)
    monkeypatch.setattr("clew_projections.consistency.index_watch.ROUND", 0.0)
    await five_commits(clew, VICTIM)
    await five_commits(clew, OTHER)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(projecting(clew))
        feeder = await stack.enter_async_context(fed(clew, tmp_path))
        await caught_up(clew, tmp_path)
        await tail_removed(clew)
        await remove(clew, OTHER)
        views, index = clew.watch(1_000), clew.index_watch(tmp_path, 1_000, feeder)
        for _ in range(6):
            for shard in range(2):
                await views.step(clew.live.current, shard)
            await index.step()
    said = [each.getMessage() for each in caplog.records if "thread_" in each.getMessage()]
    assert len(said) == 3  # by the views' proof of one thread, and by the index' of both, once
    assert not [each for each in said if "clew rebuild" in each or "--repair" in each]
    assert [each for each in said if each.startswith("log_cut_off: thread thread_victim")]
    assert len([each for each in said if "may be their last trace" in each]) == 2
    assert views.drift == 0


async def test_a_pass_reads_every_commit_however_few_of_them_fit_into_a_page(clew: Clew) -> None:
    await five_commits(clew, VICTIM)
    for step in range(300):
        patch = MetadataPatch(set={f"key_{number}": f"{step} {'x' * 500}" for number in range(14)})
        await clew.handler.handle("default", UpdateThread(thread_id=VICTIM.thread, patch=patch), actor="test")
    assert await sign(clew) is not None
    await through(audit_of(clew, every=DAY))
    found = await report(clew.js)
    assert found is not None
    assert (found.findings, found.commits) == ((), 305)
