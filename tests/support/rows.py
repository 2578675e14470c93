"""Rows of the contract with OpenAI's clients, each asked of a live Clew."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx2
import pytest
from msgspec import Struct

from clew_services.compose import Clew, connect
from clew_services.compose.roles import compose_api
from clew_services.http.app import create_app
from clew_services.settings import Settings
from support.api import ACME, KEYS
from support.deployments import deployed

IN: Final = {"Authorization": f"Bearer {ACME}"}
HELLO: Final = {"role": "user", "content": "hi"}
THREADS: Final = "/v1/threads"
THREAD: Final = "/v1/threads/{thread}"
MESSAGES: Final = "/v1/threads/{thread}/messages"
MESSAGE: Final = "/v1/threads/{thread}/messages/{message}"

Holds = Callable[[object], bool]


class Row(Struct, frozen=True, kw_only=True):
    """One row: what is asked, and what has to come back.

    ``path`` and ``answer`` may name ``{thread}``, a thread with one message; ``{message}``, that message; and
    ``{gone}``, a thread that was deleted. ``body`` is JSON, or bytes as they are. ``answer`` lists what the answer has
    to say at least. A function in it says whether what is there will do.
    """

    cites: str
    method: str = "POST"
    path: str = THREADS
    body: object = None
    headers: Mapping[str, str] = {}
    without: tuple[str, ...] = ()
    status: int = 200
    answer: Mapping[str, object] = {}
    answered: Mapping[str, str] = {}


def error(
    message: str | Holds, code: str | None = None, param: str | None = None, kind: str = "invalid_request_error"
) -> Mapping[str, object]:
    """The envelope of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def begins(text: str) -> Holds:
    """Something that begins with a text."""

    def held(value: object) -> bool:
        return str(value).startswith(text)

    return held


def shaped(pattern: str) -> Holds:
    """Something that has a shape."""

    def held(value: object) -> bool:
        return re.fullmatch(pattern, str(value)) is not None

    return held


def rows(*given: Row) -> pytest.MarkDecorator:
    """A test for each row, named by what it cites."""
    return pytest.mark.parametrize("row", given, ids=[row.cites for row in given])


class Service:
    """A live Clew, and what there is in it."""

    def __init__(self, clew: Clew, http: httpx2.AsyncClient) -> None:
        self.clew = clew
        self.http = http

    async def hold(self, row: Row) -> httpx2.Response:
        """Ask what a row asks, and hold the answer against it."""
        there = await self.there() if "{" in row.path + str(row.answer) else {}
        answer = await self.ask(
            row.method, row.path.format(**there), row.body, headers=row.headers, without=row.without
        )
        assert answer.status_code == row.status, answer.text
        found = answer.json() if answer.content else {}
        if row.status >= 400:
            assert set(found["error"]) == {"message", "type", "param", "code"}
        for name, wanted in row.answer.items():
            hold(found[name], _filled(wanted, there))
        assert re.fullmatch("req_[0-9a-f]{32}", answer.headers["x-request-id"])
        for name, value in row.answered.items():
            assert answer.headers[name] == value.format(**there)
        return answer

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = {},
        without: tuple[str, ...] = (),
    ) -> httpx2.Response:
        """One request. A header may be given more than once."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        lines = [*headers.items()] if isinstance(headers, Mapping) else [*headers]
        absent = {*without, *(name for name, _ in lines)}
        said = [*((name, value) for name, value in IN.items() if name not in absent), *lines]
        return await self.http.request(method, path, content=content, headers=said)

    async def make(self, **body: object) -> dict[str, object]:
        """A new thread."""
        return dict((await self.ask("POST", THREADS, body)).json())

    async def there(self) -> dict[str, str]:
        """A thread with one message, that message, and a thread that is gone."""
        thread, gone = str((await self.make(messages=[HELLO]))["id"]), str((await self.make())["id"])
        await self.ask("DELETE", f"{THREADS}/{gone}")
        message = (await self.ask("GET", f"{THREADS}/{thread}/messages")).json()["first_id"]
        return {"thread": thread, "message": message, "gone": gone}


def hold(found: object, wanted: object) -> None:
    """What was found says at least what is wanted."""
    if callable(wanted):
        assert wanted(found), found
    elif isinstance(wanted, Mapping) and wanted:
        assert isinstance(found, Mapping), found
        for name, value in wanted.items():
            assert name in found
            hold(found[name], value)
    else:
        assert found == wanted


def _filled(wanted: object, there: Mapping[str, str]) -> object:
    if isinstance(wanted, str) and there:
        return wanted.format(**there)
    if isinstance(wanted, Mapping):
        return {name: _filled(value, there) for name, value in wanted.items()}
    return wanted


@asynccontextmanager
async def live(data: Path, settings: Settings | None = None) -> AsyncIterator[Service]:
    """A Clew of its own on a real NATS server, reached as a web server reaches it."""
    async with deployed(data) as server, connect(server.url, name="contract") as clew:
        transport = httpx2.ASGITransport(app=create_app(compose_api(clew, 0), KEYS, settings or Settings()))
        async with httpx2.AsyncClient(transport=transport, base_url="http://clew", timeout=60) as http:
            yield Service(clew, http)
