"""When threads expire: said from every door, shown wherever a thread is, and found by the index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clew_events import client
from clew_events.commands import RestoreThread
from clew_events.errors import Invalid
from clew_events.list_query import Condition, ListThreads, TimeTest
from clew_events.requests import ExpiresAfterIn
from clew_projections.index.index import CurrentIndex
from clew_services.compose import Clew
from support.asgi import IN, call
from support.indexes import caught_up, drift, fed
from support.nats_services import served
from support.truth import buckets_equal_the_log, projecting

ACME = "acme"
MONTH = {"anchor": "created_at", "days": 30}
IDLE = {"anchor": "last_active_at", "days": 1}
DAY = 86_400


async def ask(clew: Clew, path: str, body: object = None) -> dict[str, Any]:
    """The answer to a GET, or with a body to a POST."""
    answer = await call(clew, "GET" if body is None else "POST", f"/v1{path}", json.dumps(body or {}).encode(), IN)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = json.loads(answer.body)
    return found


async def test_over_http_an_expiry_is_set_changed_and_taken_away_and_its_past_is_known(clew: Clew) -> None:
    made = await ask(clew, "/threads", {"expires_after": MONTH, "messages": [{"role": "user", "content": "hello"}]})
    thread = f"/threads/{made['id']}"
    assert (made["expires_after"], made["expires_at"]) == (MONTH, made["created_at"] + 30 * DAY)
    changed = await ask(clew, thread, {"expires_after": IDLE, "metadata": {"a": "1"}})
    assert changed["expires_after"] == IDLE
    assert made["created_at"] + DAY <= changed["expires_at"] < made["created_at"] + 30 * DAY
    await ask(clew, thread, {"metadata": {"a": "2"}})
    assert (await ask(clew, thread))["expires_after"] == IDLE
    never = await ask(clew, thread, {"expires_after": None})
    assert not {"expires_after", "expires_at"} & never.keys()

    assert await ask(clew, f"{thread}?as_of=1") == made | {"tool_resources": {"code_interpreter": {"file_ids": []}}}
    assert (await ask(clew, f"{thread}/diff?from=1&to=2"))["expires_after"] == {"before": MONTH, "after": IDLE}
    assert "expires_after" not in await ask(clew, f"{thread}/diff?from=2&to=3")
    for as_of, value, n in ((1, MONTH, 1), (3, IDLE, 2), (4, None, 4)):
        blamed = (await ask(clew, f"{thread}/blame?as_of={as_of}"))["expires_after"]
        assert (blamed["value"], blamed["by"]["n"]) == (value, n)
    kinds = [[event["type"] for event in each["events"]] for each in (await ask(clew, f"{thread}/events"))["data"]]
    assert kinds == [
        ["ThreadCreated", "ExpiryUpdated", "ItemAdded"],
        ["MetadataUpdated", "ExpiryUpdated"],
        ["MetadataUpdated"],
        ["ExpiryUpdated"],
    ]


async def test_over_nats_a_thread_expires_and_lists_find_it_by_when(clew: Clew, deployment, tmp_path: Path) -> None:
    root = tmp_path / "index"
    index = CurrentIndex(clew.index_in(root))

    async def listed(**bounds: int) -> list[str]:
        where = Condition(expires_at=TimeTest(**bounds))
        return [each.id for each in (await index.list(ACME, ListThreads(where=where, order="asc"))).data]

    async with served(clew), fed(clew, root), projecting(clew), client.connect(deployment.url, tenant=ACME) as asked:
        month, idle = ExpiresAfterIn(anchor="created_at", days=30), ExpiresAfterIn(anchor="last_active_at", days=1)
        for name, expiry in (("thread_a", month), ("thread_b", idle), ("thread_c", None), ("thread_d", idle)):
            await asked.create_thread(thread_id=name, expires_after=expiry)
        with pytest.raises(Invalid) as refused:
            await asked.update_thread("thread_c", expires_after=ExpiresAfterIn(anchor="created_at", days=0))
        assert refused.value.param == "expires_after.days"
        await asked.update_thread("thread_c", expires_after=month)
        await asked.update_thread("thread_d", expires_after=None)
        shown = (await asked.get_thread("thread_b")).thread
        assert isinstance(shown.expires_at, int)
        await caught_up(clew, root)
        assert await listed(gte=0) == ["thread_a", "thread_b", "thread_c"]
        assert await listed(lte=shown.expires_at + DAY) == ["thread_b"]
        found = {each.id: each for each in (await index.list(ACME, ListThreads())).data}["thread_b"]
        assert (found.expires_after, found.expires_at) == (shown.expires_after, shown.expires_at)

        await asked.delete_thread("thread_b")
        await caught_up(clew, root)
        assert await listed(lte=shown.expires_at + DAY) == []
        await clew.handler.handle(ACME, RestoreThread(thread_id="thread_b"))
        await caught_up(clew, root)
        assert await listed(lte=shown.expires_at + DAY) == ["thread_b"]
        assert await drift(clew, root) == []
        await buckets_equal_the_log(clew)
    await index.close()
