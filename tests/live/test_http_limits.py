"""Limits that an operator sets, as callers meet them: over HTTP and over NATS alike."""

from __future__ import annotations

from pathlib import Path

import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from clew_events.client import connect
from clew_events.errors import Invalid, TooLarge
from clew_services import compose
from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from clew_services.settings import Settings
from clew_services.threads.limits import Limits
from support.api import ACME, served
from support.up import running_up

pytestmark = pytest.mark.filterwarnings("ignore:The Assistants API is deprecated:DeprecationWarning")

IN = {"Authorization": f"Bearer {ACME}", "OpenAI-Beta": "assistants=v2"}


async def test_a_full_thread_says_so_and_takes_one_more_when_one_is_gone(deployment: EmbeddedServer):
    limits = Limits(messages=3, message=1024, create=2)
    async with (
        compose.connect(deployment.url, name="test", limits=limits) as clew,
        served(clew) as url,
        AsyncOpenAI(api_key=ACME, base_url=f"{url}/v1", max_retries=0) as client,
    ):
        hello = {"role": "user", "content": "hi"}
        with pytest.raises(openai.BadRequestError) as refused:
            await client.beta.threads.create(messages=[hello] * 3)  # type: ignore[list-item]
        assert (refused.value.code, refused.value.param) == ("array_above_max_length", "messages")
        thread = (await client.beta.threads.create(messages=[hello] * 2)).id  # type: ignore[list-item]
        messages = client.beta.threads.messages
        with pytest.raises(openai.APIStatusError) as large:
            await messages.create(thread, role="user", content="x" * 1025)
        assert (large.value.status_code, large.value.code) == (413, "too_large")
        last = await messages.create(thread, role="user", content="x" * 1024)
        with pytest.raises(openai.BadRequestError) as refused:
            await messages.create(thread, role="user", content="one more")
        assert (refused.value.code, refused.value.param) == ("thread_full", None)
        assert refused.value.body["message"] == f"Thread '{thread}' has 3 messages, and cannot have more than 3."  # type: ignore[index]
        await messages.delete(last.id, thread_id=thread)
        assert (await messages.create(thread, role="user", content="now")).id


async def test_a_key_used_too_fast_is_told_when_to_come_back_and_others_are_served(clew: Clew):
    async with (
        served(clew, Settings(rate=1, burst=1)) as url,
        httpx2.AsyncClient(base_url=url, headers=IN, timeout=60) as http,
    ):
        for _ in range(50):
            refused = await http.get("/v1/threads/thread_x")
            if refused.status_code == 429:
                break
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["x-request-id"].startswith("req_")
        assert refused.json()["error"] == {
            "message": "Rate limit reached for requests of this API key. Please try again in 1s.",
            "type": "requests",
            "param": None,
            "code": "rate_limit_exceeded",
        }
        other = await http.get("/v1/threads/thread_x", headers={"Authorization": "Bearer sk-test-of-globex"})
        assert other.status_code == 404
        assert (await http.get("/healthz")).status_code == 200


async def test_the_client_waits_and_comes_back_by_itself(clew: Clew):
    async with (
        served(clew, Settings(rate=2, burst=1)) as url,
        AsyncOpenAI(api_key=ACME, base_url=f"{url}/v1", max_retries=5) as client,
    ):
        made = [(await client.beta.threads.create()).id for _ in range(3)]
        assert len(set(made)) == 3


async def test_limits_reach_every_part_of_a_running_clew(tmp_path: Path):
    env = {"CLEW_MAX_MESSAGES": "1", "CLEW_MAX_MESSAGE": "1024", "CLEW_RATE": "1", "CLEW_BURST": "5"}
    with running_up(tmp_path / "data", env=env) as up:
        headers = {"Authorization": f"Bearer {up.api_key}", "OpenAI-Beta": "assistants=v2"}
        async with connect(up.nats_url) as nats, httpx2.AsyncClient(headers=headers, timeout=60) as http:
            thread = (await nats.create_thread(messages=["hi"])).thread.id
            with pytest.raises(Invalid, match="cannot have more than 1") as full:
                await nats.add_message(thread, "again")
            assert full.value.code == "thread_full"
            with pytest.raises(TooLarge):
                await nats.create_thread(messages=["x" * 1025])
            path = f"{up.base_url}/threads/{thread}/messages"
            refused = await http.post(path, json={"role": "user", "content": "again"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "thread_full")
            statuses = [(await http.get(path)).status_code for _ in range(30)]
            assert statuses[:4] == [200] * 4
            assert 429 in statuses
