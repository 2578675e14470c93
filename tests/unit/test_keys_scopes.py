"""What a key may do over HTTP, and that nothing is done with one that may not."""

from __future__ import annotations

import hashlib
import json
from itertools import combinations

import pytest

from clew_events import operations
from clew_events.operations import OPERATIONS, http_routes
from clew_services.api_keys import SCOPES, Keys, KeyScope
from clew_services.api_keys.key_bucket import issue_key
from support import asgi
from support.asgi import ID, IN, NAMED, Parts, call

BODIES = {
    "modify_thread": b'{"metadata": {}}',
    "patch_thread": b'{"metadata": {"set": {}}}',
    "create_message": b'{"role": "user", "content": "hi"}',
    "modify_message": b'{"metadata": {}}',
    "patch_message": b'{"metadata": {"set": {}}}',
    "update_conversation": b'{"metadata": {}}',
    "create_conversation_items": b'{"items": []}',
    "place_hold": b'{"hold": "case-7"}',
    "place_standing_hold": b'{"hold": "case-8", "where": {}}',
    "set_retention": b'{"name": "all", "after_days": 90, "since": "created", "then": "delete"}',
}


def requests(*scopes: str) -> list[tuple[str, str, bytes, str]]:
    """A request for every route whose operation needs one of ``scopes``, and the scope it needs."""
    return [
        (
            route.method,
            route.path.format(**NAMED),
            BODIES.get(route.name, b""),
            " or ".join(operation.scopes),
        )
        for operation, route in http_routes()
        # Rendering asks nobody, and sessions are for all of them.
        if operation.scope in scopes and not operation.anyone and route.name != "render_items"
    ]


REQUESTS = [*requests("read", "write"), ("HEAD", f"/v1/threads/{ID}", b"", "read")]
ORDINARY = tuple(scope for scope in SCOPES if scope != "admin")
GRANTS = [*combinations(SCOPES, 1), *combinations(ORDINARY, len(ORDINARY) - 1), SCOPES]
"""Each scope alone, all but one of those that allow one kind of thing, and all of them."""


@pytest.fixture
def granted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, tuple[KeyScope, ...]]:
    """A key with the scopes that the test is given."""
    scopes: tuple[KeyScope, ...] = request.param
    key, issued = issue_key("acme", "tester", scopes)
    keys = Keys()
    keys.admit(hashlib.sha256(key.encode()).digest(), issued.holder)
    monkeypatch.setattr(asgi, "KEYS", keys)
    return key, scopes


@pytest.mark.parametrize("granted", GRANTS, ids="+".join, indirect=True)
@pytest.mark.parametrize(
    ("method", "path", "body", "needed"), REQUESTS, ids=lambda part: part if isinstance(part, str) else ""
)
async def test_a_key_does_what_its_scopes_say_and_nothing_else(
    granted: tuple[str, tuple[KeyScope, ...]], method: str, path: str, body: bytes, needed: str
) -> None:
    key, scopes = granted
    parts = Parts()
    answered = await call(parts, method, path, body, {**IN, "Authorization": f"Bearer {key}"})
    if needed in scopes or "admin" in scopes:
        assert answered.status == 200
        assert len(parts.asked) == 1
    else:
        assert answered.status == 403
        assert answered.error == {
            "message": f"You have insufficient permissions for this operation. Missing scopes: {needed}.",
            "type": "invalid_request_error",
            "param": None,
            "code": "missing_scope",
        }
        assert parts.asked == []
        assert answered.headers["openai-organization"] == "acme"


@pytest.mark.parametrize("granted", [("read",), ("audit",), ("write",)], ids="+".join, indirect=True)
async def test_who_may_read_threads_or_their_past_may_have_items_rendered(
    granted: tuple[str, tuple[KeyScope, ...]],
) -> None:
    key, scopes = granted
    body = b'{"items": [{"role": "user", "content": "**bold**"}]}'
    answered = await call(Parts(), "POST", "/v1/rendered_items", body, {**IN, "Authorization": f"Bearer {key}"})
    if "write" in scopes:
        assert (answered.status, answered.error["code"]) == (403, "missing_scope")
    else:
        bold = {"tag": "strong", "children": ["bold"]}
        assert (answered.status, json.loads(answered.body)["data"]) == (200, [[{"tag": "p", "children": [bold]}, "\n"]])


@pytest.mark.parametrize("granted", [("write",)], indirect=True)
async def test_a_key_without_the_scope_learns_nothing_about_what_there_is(
    granted: tuple[str, tuple[KeyScope, ...]],
) -> None:
    for path in (f"/v1/threads/{ID}", "/v1/threads/thread_that_is_not_there", "/v1/threads/no-id", "/v1/threads"):
        parts = Parts()
        answered = await call(parts, "GET", path, headers={"Authorization": f"Bearer {granted[0]}"})
        assert (answered.status, answered.error["code"]) == (403, "missing_scope")
        assert parts.asked == []


async def test_a_configured_key_does_everything() -> None:
    for method, path, body, _ in REQUESTS:
        assert (await call(Parts(), method, path, body)).status == 200


@pytest.mark.parametrize("granted", [("read", "write")], indirect=True)
@pytest.mark.parametrize(
    ("method", "path", "body", "needed"), requests("audit"), ids=lambda part: part if isinstance(part, str) else ""
)
async def test_how_things_came_about_is_for_auditors(
    granted: tuple[str, tuple[KeyScope, ...]], method: str, path: str, body: bytes, needed: str
) -> None:
    parts = Parts()
    answered = await call(parts, method, path, body, {**IN, "Authorization": f"Bearer {granted[0]}"})
    assert (answered.status, answered.error["code"]) == (403, "missing_scope")
    assert str(answered.error["message"]).endswith(f"Missing scopes: {needed}.")
    assert parts.asked == []


@pytest.mark.parametrize("granted", [("read", "write"), ("write", "audit")], ids="+".join, indirect=True)
async def test_a_fork_shows_the_past_to_auditors_alone(granted: tuple[str, tuple[KeyScope, ...]]) -> None:
    key, scopes = granted
    for body in (b"", b"{}", b'{"at": "msg_0123456789abcdefghijABCD"}', b'{"at": 1}'):
        parts = Parts()
        answered = await call(parts, "POST", f"/v1/threads/{ID}/fork", body, {**IN, "Authorization": f"Bearer {key}"})
        if body == b'{"at": 1}' and "audit" not in scopes:
            assert (answered.status, answered.error["code"]) == (403, "missing_scope")
            assert str(answered.error["message"]).endswith("Missing scopes: audit.")
            assert parts.asked == []
        else:
            assert (answered.status, len(parts.asked)) == (200, 1)


def test_every_operation_needs_a_scope_that_a_key_can_have() -> None:
    assert {operation.scope for operation in OPERATIONS} == set(operations.SCOPES) == set(SCOPES)
    for operation in OPERATIONS:
        assert operation.command is None or operation.scope in {"write", "erase", "hold", "retention"}
        assert operation.scope != "write" or operation.command is not None
