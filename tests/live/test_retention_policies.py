"""Policies of retention, from every door: set, listed and removed, with what they are about, by tenant."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clew_events import client
from clew_events.client.sync import connect as connect_blocking
from clew_events.commands import PlaceHold, RemoveRetention, SetRetention
from clew_events.errors import Conflict, IdReused, Invalid, NotFound
from clew_events.events import RetentionRemoved, RetentionSet
from clew_events.list_query import Condition
from clew_events.list_reply import Count
from clew_events.queries import GetHistory
from clew_services.compose import Clew
from support.asgi import IN, Answered, call
from support.indexes import caught_up, fed
from support.nats_services import served
from support.writers import Writer

ACME = "acme"
GLOBEX = {**IN, "Authorization": "Bearer a-key-for-globex"}
TRIALS = {
    "name": "trials",
    "after_days": 90,
    "since": "changed",
    "where": {"metadata": {"key": "plan", "eq": "trial"}},
    "then": "delete",
    "erase_after_days": 30,
}
SHOWN = {"object": "retention", **TRIALS}


@pytest.fixture
async def clew(clew: Clew, tmp_path: Path) -> AsyncIterator[Clew]:
    """A deployment with an index: a tenant with two trials, of which one is held, and a thread that is none."""
    writer = Writer(clew.handler, ACME)
    for thread, plan in (("thread_a", "trial"), ("thread_b", "trial"), ("thread_c", "gold")):
        await writer.create(thread, metadata={"plan": plan})
    await clew.handler.handle(ACME, PlaceHold(thread_id="thread_b", hold="case-7"))
    await clew.handler.handle(ACME, PlaceHold(thread_id="thread_c", hold="case-8"))
    async with fed(clew, tmp_path / "index"):
        await caught_up(clew, tmp_path / "index")
        clew.open_index(tmp_path / "index")
        yield clew


async def post(clew: Clew, body: object, **headers: str) -> Answered:
    return await call(clew, "POST", "/v1/retention", json.dumps(body).encode(), {**IN, **headers})


async def get(clew: Clew, headers: dict[str, str] = IN) -> list[dict]:
    answer = await call(clew, "GET", "/v1/retention", headers=headers)
    assert answer.status == 200
    return json.loads(answer.body)["data"]


async def test_over_http_a_policy_is_set_listed_and_removed_and_is_its_tenants_alone(clew: Clew) -> None:
    assert await get(clew) == []
    named = {"Idempotency-Key": "set-1", "Clew-Actor": "dpo", "Clew-Reason": "trials are short"}
    for _ in range(2):
        answer = await post(clew, TRIALS, **named)
        assert (answer.status, answer.headers["etag"]) == (200, '"1"')
        counts = {"threads": {"threads": 2, "exact": True}, "due": {"threads": 0, "exact": True}}
        assert json.loads(answer.body) == {**SHOWN, **counts, "held_by": ["case-7"]}
    assert (await post(clew, TRIALS)).headers["etag"] == '"1"', "no commit for what is so already"
    assert await get(clew) == [SHOWN]
    assert await get(clew, GLOBEX) == []
    history = await clew.reader.history(ACME, GetHistory())
    (entry,) = history.commits
    (event,) = entry.commit.events
    assert isinstance(event, RetentionSet)
    assert (entry.commit.actor, entry.commit.reason, entry.commit.command) == (
        "dpo",
        "trials are short",
        "SetRetention",
    )

    stale = await call(clew, "DELETE", "/v1/retention/trials", headers={**IN, "If-Match": '"7"'})
    assert (stale.status, stale.error["param"]) == (412, "If-Match")
    assert "the tenant's own history is at version 1, not 7" in str(stale.error["message"])
    assert (await call(clew, "DELETE", "/v1/retention/trials", headers=GLOBEX)).status == 404
    gone = await call(clew, "DELETE", "/v1/retention/trials", headers={**IN, "If-Match": '"1"'})
    assert json.loads(gone.body) == {"id": "trials", "object": "retention.deleted", "deleted": True}
    assert (await call(clew, "DELETE", "/v1/retention/trials")).status == 404
    assert await get(clew) == []


async def test_a_policy_that_is_none_is_refused_with_the_field_at_fault(clew: Clew) -> None:
    for changed, param in (
        ({"after_days": 0}, "after_days"),
        ({"after_days": 36_501}, "after_days"),
        ({"after_days": "90d"}, "after_days"),
        ({"erase_after_days": -1}, "erase_after_days"),
        ({"then": "erase"}, "erase_after_days"),
        ({"then": "burn"}, "then"),
        ({"since": "yesterday"}, "since"),
        ({"name": "by mail"}, "name"),
        ({"where": {"plan": "trial"}}, "where.plan"),
        ({"where": {"metadata": {"key": "plan"}}}, "where.metadata"),
    ):
        answer = await post(clew, {**TRIALS, **changed})
        assert (answer.status, answer.error["param"]) == (400, param)
    assert (await clew.tenant_histories.state(ACME)).n == 0


async def test_a_policy_for_all_threads_is_refused_with_their_number_until_it_is_confirmed(clew: Clew) -> None:
    for number, where in enumerate((None, {}, {"messages": {"gte": 0}}), start=1):
        answer = await post(clew, {**TRIALS, "where": where})
        assert (answer.status, answer.error["param"]) == (400, "confirm")
        said = "is for all 3 threads of the tenant, and would delete 0 of them now. Confirm it with 'confirm'."
        assert said in str(answer.error["message"])
        confirmed = await post(clew, {**TRIALS, "where": where, "confirm": True})
        assert (confirmed.status, confirmed.headers["etag"]) == (200, f'"{number}"')
        assert json.loads(confirmed.body)["held_by"] == ["case-7", "case-8"]


async def test_the_clients_set_list_and_remove_policies(clew: Clew, deployment) -> None:
    def blocking() -> list[str]:
        with connect_blocking(deployment.url, tenant="globex") as asked:
            asked.set_retention("all", after_days=1, since="created", then="erase", confirm=True)
            return [each.name for each in asked.list_retention().data]

    async with served(clew), client.connect(deployment.url, tenant=ACME, actor="dpo") as asked:
        gold = Condition.equal("plan", "gold")
        done = await asked.set_retention(
            "gold", after_days=7, since="created", then="erase", where=gold, command_id="set-1", reason="a contract"
        )
        assert (done.n, done.retention.where, done.retention.threads) == (1, gold, Count(1, exact=True))
        assert done.retention.held_by == ("case-8",)
        with pytest.raises(IdReused):
            await asked.remove_retention("gold", command_id="set-1")
        with pytest.raises(Conflict):
            await asked.remove_retention("gold", expected_version=3)
        with pytest.raises(NotFound) as missing:
            await asked.remove_retention("trials")
        assert missing.value.code == "retention_not_found"
        with pytest.raises(Invalid) as refused:
            await asked.set_retention("all", after_days=7, since="created", then="erase")
        assert (refused.value.code, refused.value.param) == ("removes_all", "confirm")
        plain = {"metadata": {"key": "plan", "eq": "trial"}}
        await asked.set_retention("trials", after_days=7, since="changed", then="delete", where=plain)
        assert [each.name for each in (await asked.list_retention()).data] == ["gold", "trials"]
        assert (await asked.remove_retention("gold")).deleted.id == "gold"
        assert await asyncio.to_thread(blocking) == ["all"]
        assert [each.name for each in (await asked.list_retention()).data] == ["trials"]


async def test_orders_in_the_inbox_are_carried_out_in_their_order(clew: Clew, deployment) -> None:
    async with served(clew), client.connect(deployment.url, tenant=ACME, actor="dpo") as asked:
        outcome = await asked.nc.subscribe("clew.outcome.acme.archivist")
        for number in range(10):
            policy = SetRetention(name=f"p-{number}", after_days=7, since="created", then="delete", confirm=True)
            await asked.enqueue(policy)
            await asked.enqueue(RemoveRetention(name=f"p-{number}", reply_to="clew.outcome.acme.archivist"))
        replies = [json.loads((await outcome.next_msg(timeout=60)).data) for _ in range(10)]
        assert [each["ok"]["n"] for each in replies] == list(range(2, 21, 2))
        history = await asked.history()
        assert [type(each.commit.events[0]) for each in history.commits] == [RetentionSet, RetentionRemoved] * 10


async def test_without_an_index_any_policy_has_to_be_confirmed(clew: Clew) -> None:
    clew.lists.index = None
    answer = await post(clew, TRIALS)
    assert (answer.status, answer.error["param"]) == (400, "confirm")
    confirmed = await post(clew, {**TRIALS, "confirm": True})
    unknown = {"threads": None, "due": None, "held_by": None}
    assert json.loads(confirmed.body) == {**SHOWN, **unknown}
