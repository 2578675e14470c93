"""Which request goes under the command id of an earlier one, and which never does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
from starlette.types import ASGIApp

from clew_events.commands import Command
from clew_events.errors import Corrupt, Invalid, Unavailable
from clew_services.api_keys import Holder
from clew_services.http.app import create_app
from clew_services.http.retries import Attempts, likeness, retry_count
from clew_services.settings import Settings
from clew_services.threads.result import Outcome
from support.asgi import ID, IN, KEYS, MESSAGE_ID, Parts

AGAIN = {"X-Stainless-Retry-Count": "1"}
FIRST = {"X-Stainless-Retry-Count": "0"}


class Held(Parts):
    """Parts that carry commands out when they are allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()
        self.free.set()
        self.began: asyncio.Queue[Command] = asyncio.Queue()

    async def handle(
        self, tenant: str, command: Command, *, actor: str = "", by: str = "", trace: str | None = None, **_: object
    ) -> Outcome:
        self.began.put_nowait(command)
        await self.free.wait()
        return await super().handle(tenant, command, actor=actor, by=by, trace=trace)

    @property
    def ids(self) -> list[str | None]:
        """Under which ids commands were asked for, in the order in which they were done."""
        return [command.id for _, command in self.asked]  # type: ignore[attr-defined]


class Caller:
    """One request to the API, of a caller who may leave."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str], method: str, path: str, body: bytes) -> None:
        self._left = asyncio.Event()
        self._body = body
        self.status = 0
        self.closed_receiving = asyncio.Event()
        scope = {
            "type": "http",
            "method": method,
            "path": "",
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in {**IN, **headers}.items()],
        }
        self._arriving = self._messages()
        self._task = asyncio.create_task(app(scope, self._arriving.__anext__, self._send))  # type: ignore[arg-type]

    async def _messages(self) -> AsyncIterator[dict[str, object]]:
        yield {"type": "http.request", "body": self._body, "more_body": False}
        await self._left.wait()
        while True:
            yield {"type": "http.disconnect"}

    async def _send(self, message: Mapping[str, object]) -> None:
        self.status = int(str(message.get("status", self.status)))

    async def answered(self) -> int:
        """The status of the answer."""
        await self._task
        return self.status

    async def leave(self) -> None:
        """Go, and be noticed."""
        self._left.set()
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
def clew() -> Held:
    return Held()


class Api:
    """One process that serves the API."""

    def __init__(self, clew: Held) -> None:
        self._app = create_app(clew, KEYS, Settings())

    def call(
        self, headers: Mapping[str, str] = FIRST, method: str = "POST", path: str = "/v1/threads", body: bytes = b"{}"
    ) -> Caller:
        return Caller(self._app, headers, method, path, body)


@pytest.fixture
def api(clew: Held) -> Api:
    return Api(clew)


async def left_meanwhile(api: Api, clew: Held, headers: Mapping[str, str] = FIRST) -> Caller:
    """A caller who left while the command was being carried out, which it still is."""
    clew.free.clear()
    caller = api.call(headers)
    await clew.began.get()
    await caller.leave()
    return caller


async def test_a_retry_finds_what_was_carried_out_for_a_caller_who_left(api: Api, clew: Held):
    gone = await left_meanwhile(api, clew)
    clew.free.set()
    await gone.answered()
    assert await api.call(AGAIN).answered() == 200
    first, again = clew.ids
    assert first == again
    assert first is not None


async def test_a_retry_finds_what_is_still_being_carried_out(api: Api, clew: Held):
    gone = await left_meanwhile(api, clew)
    retry = api.call(AGAIN)
    assert (await clew.began.get()).id is not None
    clew.free.set()
    await asyncio.gather(gone.answered(), retry.answered())
    assert len(set(clew.ids)) == 1


@pytest.mark.parametrize(
    "fault",
    [Unavailable("perhaps", outcome_unknown=True), Unavailable("later"), Corrupt("broken"), RuntimeError("bug")],
)
async def test_a_retry_finds_an_attempt_that_ended_in_doubt(api: Api, clew: Held, fault: Exception):
    clew.fails = fault
    assert await api.call().answered() >= 500
    clew.fails = None
    assert await api.call(AGAIN).answered() == 200
    assert len(set(clew.ids)) == 1


async def test_what_somebody_was_told_is_told_to_nobody_else(api: Api, clew: Held):
    assert await api.call().answered() == 200
    assert await api.call(AGAIN).answered() == 200
    assert len(set(clew.ids)) == 2


async def test_a_refusal_that_was_told_is_not_found_again(api: Api, clew: Held):
    clew.fails = Invalid("no")
    assert await api.call().answered() == 400
    clew.fails = None
    await api.call(AGAIN).answered()
    assert len(set(clew.ids)) == 2


async def test_what_somebody_still_waits_for_is_not_found(api: Api, clew: Held):
    clew.free.clear()
    waiting = api.call()
    await clew.began.get()
    retry = api.call(AGAIN)
    await clew.began.get()
    clew.free.set()
    assert await asyncio.gather(waiting.answered(), retry.answered()) == [200, 200]
    assert len(set(clew.ids)) == 2


async def test_of_fifty_retries_of_fifty_equal_requests_none_shares_an_answer(api: Api, clew: Held):
    assert set(await asyncio.gather(*(api.call().answered() for _ in range(50)))) == {200}
    assert set(await asyncio.gather(*(api.call(AGAIN).answered() for _ in range(50)))) == {200}
    assert len(set(clew.ids)) == 100


async def test_one_lost_attempt_serves_one_retry(api: Api, clew: Held):
    gone = await left_meanwhile(api, clew)
    clew.free.set()
    await gone.answered()
    await asyncio.gather(*(api.call(AGAIN).answered() for _ in range(3)))
    assert len(set(clew.ids)) == 3


async def test_a_retry_that_is_lost_too_can_be_found_by_the_next(api: Api, clew: Held):
    gone = await left_meanwhile(api, clew)
    again = await left_meanwhile(api, clew, AGAIN)
    clew.free.set()
    await asyncio.gather(gone.answered(), again.answered())
    await api.call({"X-Stainless-Retry-Count": "2"}).answered()
    assert len(clew.ids) == 3
    assert len(set(clew.ids)) == 1


async def test_a_retry_takes_no_attempt_as_late_in_its_row_as_itself(api: Api, clew: Held):
    gone = await left_meanwhile(api, clew, AGAIN)
    clew.free.set()
    await gone.answered()
    await api.call(AGAIN).answered()
    assert len(set(clew.ids)) == 2


async def test_a_first_attempt_finds_nothing(api: Api, clew: Held):
    gone = await left_meanwhile(api, clew)
    clew.free.set()
    await gone.answered()
    await api.call().answered()
    assert len(set(clew.ids)) == 2


@pytest.mark.parametrize(
    ("headers", "path", "body"),
    [
        ({"If-Match": '"3"'}, "/v1/threads", b"{}"),
        ({"Authorization": "Bearer a-key-for-globex"}, "/v1/threads", b"{}"),
        ({"User-Agent": "OpenAI/Python 1.0"}, "/v1/threads", b"{}"),
        ({"X-Stainless-Lang": "js"}, "/v1/threads", b"{}"),
        ({}, f"/v1/threads/{ID}", b"{}"),
        ({}, "/v1/threads", b'{"metadata": {}}'),
    ],
)
async def test_a_retry_of_something_else_finds_nothing(
    api: Api, clew: Held, headers: Mapping[str, str], path: str, body: bytes
):
    gone = await left_meanwhile(api, clew)
    clew.free.set()
    await gone.answered()
    assert await api.call({**AGAIN, **headers}, path=path, body=body).answered() == 200
    assert len(set(clew.ids)) == 2


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"/v1/threads/{ID}", b"{}"),
        ("PATCH", f"/v1/threads/{ID}", b'{"metadata": {}}'),
        ("DELETE", f"/v1/threads/{ID}", b""),
        ("DELETE", f"/v1/threads/{ID}", b"{}"),
        ("POST", f"/v1/threads/{ID}/messages", b'{"role": "user", "content": "hi"}'),
        ("POST", f"/v1/threads/{ID}/messages/{MESSAGE_ID}", b"{}"),
        ("DELETE", f"/v1/threads/{ID}/messages/{MESSAGE_ID}", b""),
    ],
)
async def test_every_change_can_be_found(api: Api, clew: Held, method: str, path: str, body: bytes):
    clew.fails = Unavailable("perhaps", outcome_unknown=True)
    refused = api.call(FIRST, method, path, body)
    assert await refused.answered() == 503
    clew.fails = None
    assert await api.call(AGAIN, method, path, body).answered() == 200
    assert len(set(clew.ids)) == 1


async def test_an_id_of_the_callers_own_is_the_id(api: Api, clew: Held):
    clew.fails = Unavailable("perhaps", outcome_unknown=True)
    await api.call({**FIRST, "Idempotency-Key": "order-7"}).answered()
    clew.fails = None
    await api.call({**AGAIN, "Idempotency-Key": "order-8"}).answered()
    await api.call(AGAIN).answered()
    assert clew.ids[:2] == ["order-7", "order-8"]
    assert clew.ids[2] not in {"order-7", None}


@pytest.mark.parametrize("said", [None, "", "-1", "x", "1.5", "٣", "1" * 50])
async def test_who_does_not_count_repetitions_gets_no_id_made(api: Api, clew: Held, said: str | None):
    assert await api.call({} if said is None else {"X-Stainless-Retry-Count": said}).answered() == 200
    assert clew.ids == [None]


async def test_clients_are_told_to_retry_what_they_would_find():
    clew = Held()
    clew.fails = Unavailable("perhaps", outcome_unknown=True)
    from support.asgi import call

    assert "x-should-retry" not in (await call(clew, "POST", "/v1/threads", b"", {**IN, **FIRST})).headers
    assert (await call(clew, "POST", "/v1/threads", b"", IN)).headers["x-should-retry"] == "false"


def test_attempts_are_kept_for_a_while_and_not_without_end():
    now = 0.0
    kept = Attempts(window=60, most=3, clock=lambda: now)
    lost = [kept.begin(lambda: b"alike", 0) for _ in range(5)]
    for attempt in lost:
        attempt.lost()
        attempt.lost()
    assert len(kept) == 3
    assert kept.begin(lambda: b"alike", 1).id == lost[4].id
    assert len(kept) == 2
    now = 59.9
    assert kept.begin(lambda: b"other", 1).id not in {attempt.id for attempt in lost}
    assert kept.begin(lambda: b"alike", 1).id == lost[3].id
    now = 60.0
    assert kept.begin(lambda: b"alike", 1).id != lost[2].id
    assert len(kept) == 0


def test_what_a_proxy_adds_changes_no_likeness():
    holder = Holder("acme", "key_1")
    bare = likeness(holder, "POST", b"/v1/threads", {b"user-agent": b"x"}, b"{}")
    seen = {b"x-stainless-retry-count": b"1", b"x-request-id": b"7", b"traceparent": b"00-", b"user-agent": b"x"}
    assert likeness(holder, "POST", b"/v1/threads", seen, b"{}") == bare
    assert likeness(Holder("acme", "key_2"), "POST", b"/v1/threads", seen, b"{}") != bare


def test_a_count_is_a_plain_number():
    assert retry_count({b"x-stainless-retry-count": b"2"}) == 2
    assert retry_count({b"x-stainless-retry-count": b"2a"}) is None
    assert retry_count({}) is None
