"""What a key may do over HTTP, and that nothing is done with one that may not."""

from __future__ import annotations

import hashlib
from itertools import combinations

import pytest

from clew_services.api_keys import SCOPES, Keys, KeyScope
from clew_services.api_keys.issued_key import issue_key
from clew_services.http.auth import scope_of
from support import asgi
from support.asgi import ID, IN, MESSAGE_ID, Parts, call

REQUESTS = [
    ("GET", f"/v1/threads/{ID}", b""),
    ("HEAD", f"/v1/threads/{ID}", b""),
    ("GET", f"/v1/threads/{ID}/messages", b""),
    ("GET", f"/v1/threads/{ID}/messages/{MESSAGE_ID}", b""),
    ("POST", "/v1/threads", b"{}"),
    ("POST", f"/v1/threads/{ID}", b'{"metadata": {}}'),
    ("PATCH", f"/v1/threads/{ID}", b'{"metadata": {"set": {}}}'),
    ("DELETE", f"/v1/threads/{ID}", b""),
    ("POST", f"/v1/threads/{ID}/messages", b'{"role": "user", "content": "hi"}'),
    ("POST", f"/v1/threads/{ID}/messages/{MESSAGE_ID}", b'{"metadata": {}}'),
    ("PATCH", f"/v1/threads/{ID}/messages/{MESSAGE_ID}", b'{"metadata": {"set": {}}}'),
    ("DELETE", f"/v1/threads/{ID}/messages/{MESSAGE_ID}", b""),
]
GRANTS = [each for n in range(1, len(SCOPES) + 1) for each in combinations(SCOPES, n)]


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
@pytest.mark.parametrize(("method", "path", "body"), REQUESTS, ids=lambda part: part if isinstance(part, str) else "")
async def test_a_key_does_what_its_scopes_say_and_nothing_else(
    granted: tuple[str, tuple[KeyScope, ...]], method: str, path: str, body: bytes
) -> None:
    key, scopes = granted
    needed = "read" if method in {"GET", "HEAD"} else "write"
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
    for method, path, body in REQUESTS:
        assert (await call(Parts(), method, path, body)).status == 200


def test_paths_that_show_how_things_came_about_are_read_by_auditors() -> None:
    assert scope_of("GET") == scope_of("HEAD") == "read"
    assert scope_of("GET", "audit") == scope_of("HEAD", "audit") == "audit"
    assert {scope_of(method, "audit") for method in ("POST", "PATCH", "PUT", "DELETE")} == {"write"}
