"""A tenant's own history: what it ordered for its threads, in the log beside them, read and proved, and no thread."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from clew_events import client
from clew_events.client.sync import connect as connect_blocking
from clew_events.events import (
    RetentionRemoved,
    RetentionSet,
    StandingHoldPlaced,
    StandingHoldReleased,
    type_of,
)
from clew_events.list_query import ListHolds, ListThreads
from clew_events.queries import GetFeed
from clew_events.subjects import TENANT, Address, shard_of
from clew_projections.index.index import CurrentIndex
from clew_projections.packs.layout import Scope
from clew_projections.packs.pack import Pack
from clew_services import compose
from clew_services.checkpoints.maker import Maker
from clew_services.checkpoints.note import SigningKey
from clew_services.checkpoints.signed_checkpoint import read_proof
from clew_services.checkpoints.thread_proofs import check, temporary_heads
from clew_services.cli import main
from clew_services.compose import Clew
from clew_services.packs.check_pack import check_pack
from clew_services.packs.exporter import Exporter
from clew_services.packs.importer import Importer
from clew_services.packs.pack_files import export
from clew_services.progress import Progress
from support.asgi import IN, call, downloaded
from support.commits import order
from support.deployments import deployed
from support.indexes import caught_up, fed, newest_file
from support.nats_services import served
from support.parts import verifier_of
from support.truth import buckets_equal_the_log, projecting
from support.writers import Writer

ACME = "acme"
KEY = SigningKey(bytes(range(32)))
POLICY = RetentionSet(name="trials", after_days=90, since="created", then="erase", erase_after_days=None, where="{}")
HOLD = StandingHoldPlaced(hold="case-8", where="{}")


@pytest.fixture
async def clew(clew: Clew) -> Clew:
    """A tenant with a thread and a history of its own, and one that has ordered nothing."""
    await Writer(clew.handler, ACME).create("thread_a", metadata={"plan": "trial"})
    await Writer(clew.handler, "globex").create("thread_a")
    await order(clew, ACME, POLICY)
    await order(clew, ACME, HOLD)
    return clew


async def test_each_tenant_has_what_it_ordered_and_sees_a_change_at_once(clew: Clew) -> None:
    histories = clew.tenant_histories
    state = await histories.state(ACME)
    assert (state.n, [*state.policies], [*state.holds]) == (2, ["trials"], ["case-8"])
    assert (await histories.state("globex")).n == 0
    assert await histories.tenants() == [ACME]
    await order(clew, "globex", HOLD)
    await order(clew, ACME, RetentionRemoved(name="trials"))
    assert (await histories.state("globex")).holds == state.holds
    assert (await histories.state(ACME)).policies == {}
    assert await histories.tenants() == [ACME, "globex"]
    await order(clew, ACME, StandingHoldReleased(hold="case-8"))
    assert await histories.tenants() == ["globex"]
    assert (await histories.state(ACME)).n == 4


async def test_it_is_projected_indexed_and_verified_and_is_nowhere_a_thread(clew: Clew, tmp_path: Path) -> None:
    root = tmp_path / "index"
    index = CurrentIndex(clew.index_in(root))
    async with fed(clew, root), projecting(clew):
        await caught_up(clew, root)
        await order(clew, ACME, StandingHoldReleased(hold="case-8"), HOLD)
        await caught_up(clew, root)
        page = await index.list(ACME, ListThreads(count=True))
        assert ([each.id for each in page.data], page.count.threads if page.count else None) == (["thread_a"], 1)
        assert (await index.ask(lambda reader: reader.holds(ACME, ListHolds()))).data == ()
        await buckets_equal_the_log(clew)
        prover = clew.prover(index=newest_file(clew, root))
        compared = [each async for each in prover.prove()]
        assert Address(ACME, TENANT) in {each.address for each in compared}
        assert [each for each in compared if each.finding is not None or each.index is not None] == []
        assert [each async for each in prover.rest()] == []
    verified = await verifier_of(clew).all()
    assert (verified.threads, verified.commits, verified.findings) == (2, 5, ())
    shards = await Progress(clew.js, clew.deployment.shards, lambda: clew.live.current.consumer).look()
    assert sum(shard.threads for shard in shards) == 2
    feed = await clew.reader.feed(ACME, GetFeed(types=("RetentionSet", "StandingHoldPlaced")))
    told = [[type_of(event) for event in each.commit.events] for each in feed.data if each.commit is not None]
    assert told == [["RetentionSet"], ["StandingHoldPlaced"], ["StandingHoldReleased", "StandingHoldPlaced"]]
    await index.close()


async def test_over_http_it_is_read_proved_and_taken_home_by_auditors(clew: Clew, tmp_path: Path) -> None:
    async def get(path: str) -> dict:
        answer = await call(clew, "GET", path)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    listed = await get("/v1/history?type=RetentionSet,RetentionRemoved")
    (told,) = listed["data"]
    expected = {"type": "RetentionSet", "name": "trials", "after_days": 90, "since": "created", "then": "erase"}
    assert told["events"] == [{**expected, "erase_after_days": None, "where": "{}"}]
    assert (told["thread_id"], told["actor"], told["n"]) == (TENANT, "dpo", 1)
    assert [each["n"] for each in (await get("/v1/history?order=desc"))["data"]] == [2, 1]
    async with temporary_heads(clew.js, clew.deployment.shards) as heads:
        await Maker(clew.js, clew.ledger, heads, KEY).make()
    proof = await call(clew, "GET", "/v1/history/proof")
    checked = read_proof(proof.body)
    assert check(checked, KEY.verifier).checkpoint.number == 1
    assert (checked.head.head.address, checked.head.n) == (Address(ACME, TENANT), 2)
    status, headers, packed = await downloaded(clew, "/v1/history/export")
    assert (status, headers["content-type"]) == (200, "application/zstd")
    pack = tmp_path / "tenant.clew"
    pack.write_bytes(packed)
    found = check_pack(Pack(pack), key=KEY.verifier, progress=_quiet).verified
    assert (found.threads, found.commits, found.covered, found.findings) == (0, 2, 2, ())

    globex = {**IN, "Authorization": "Bearer a-key-for-globex"}
    nothing = await call(clew, "GET", "/v1/history", headers=globex)
    assert json.loads(nothing.body)["data"] == []
    for path in ("/v1/history/proof", "/v1/history/export"):
        missing = await call(clew, "GET", path, headers=globex)
        assert missing.status == 404
        assert "no history of its own" in str(missing.error["message"])
    for path in (f"/v1/threads/{TENANT}", f"/v1/threads/{TENANT}/events"):
        assert (await call(clew, "GET", path)).status == 400


async def test_the_clients_read_it_and_prove_it(clew: Clew, deployment) -> None:
    async with temporary_heads(clew.js, clew.deployment.shards) as heads:
        await Maker(clew.js, clew.ledger, heads, KEY).make()

    def blocking() -> tuple[list[int], int]:
        with connect_blocking(deployment.url, tenant=ACME) as asked:
            return [each.commit.n for each in asked.iter_history(order="desc")], asked.proof().head.n

    async with served(clew), client.connect(deployment.url, tenant=ACME) as asked:
        page = await asked.history(limit=1)
        assert [each.commit.events for each in page.commits] == [(POLICY,)]
        assert (await asked.proof()).head.thread == TENANT
        assert await asyncio.to_thread(blocking) == ([2, 1], 2)


async def test_a_pack_of_the_tenant_has_it_and_brings_it_to_another_deployment(
    clew: Clew, deployment, tmp_path: Path
) -> None:
    file = tmp_path / "acme.clew"
    made = await export(Exporter(clew.js, clew.ledger, clew.deployment), Scope(tenant=ACME), file)
    assert (made.threads, made.commits) == (1, 3)

    def history(*arguments: str) -> str:
        ran = CliRunner().invoke(main, ["history", "--tenant", ACME, *arguments])
        assert ran.exit_code == 0, ran.output
        return ran.stdout

    said = [await asyncio.to_thread(history, *each) for each in (("--nats", deployment.url), ("--pack", str(file)))]
    assert said[0] == said[1]
    assert "retention set trials: after 90d since created erase {}" in said[0]
    assert "standing hold placed case-8 {}" in said[0]
    assert "- thread" not in await asyncio.to_thread(history, "--patch", "--pack", str(file))
    async with deployed(tmp_path / "target", shards=3) as server, compose.connect(server.url, name="target") as target:
        assert shard_of(TENANT, 3) != shard_of(TENANT, 2)
        importer = Importer(target.connection, target.histories)
        for new, complete in ((1, 0), (0, 1)):
            plan = await importer.plan(Pack(file), key=None, checking=_quiet, comparing=_quiet)
            assert (plan.new, plan.complete) == (new, complete)
            await importer.carry_out(Pack(file), plan, _quiet)
        assert await target.tenant_histories.tenants() == [ACME]
        assert await target.tenant_histories.state(ACME) == await clew.tenant_histories.state(ACME)


def _quiet(_: int) -> None:
    """Progress that nobody watches."""
