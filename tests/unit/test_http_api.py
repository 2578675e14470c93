"""What the HTTP API makes of a request, and of what comes of it, without a server or a log."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping

import pytest
from msgspec import UNSET

from clew_events.commands import (
    AddMessage,
    CreateThread,
    DeleteThread,
    UpdateMessage,
    UpdateThread,
)
from clew_events.errors import (
    AlreadyExists,
    ClewError,
    Conflict,
    Corrupt,
    Forbidden,
    IdReused,
    Invalid,
    NotFound,
    Rejected,
    TooLarge,
    Unavailable,
)
from clew_events.operations import http_routes
from clew_events.queries import GetMessage, GetThread, ListMessages
from clew_events.requests import MetadataPatch, NewMessage, NewText
from clew_projections.nats.stream_messages import ApiError
from clew_services.http import wrong_keys
from clew_services.http.app import create_app
from clew_services.http.request_body import BODY_DUE
from clew_services.settings import Settings
from support.asgi import CONVERSATION_ID, ID, IN, KEY, KEYS, MESSAGE_ID, NAMED, Answered, Parts, arriving, call


@pytest.fixture
def clew() -> Parts:
    return Parts()


async def test_a_body_becomes_a_command_of_the_keys_tenant_signed_with_the_key(clew: Parts):
    said = {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}], "metadata": {"k": "v"}}
    answered = await call(clew, "POST", "/v1/threads", json.dumps(said).encode())
    assert answered.status == 200
    message = NewMessage(role="user", content=(NewText(text="hi"),))
    assert clew.asked == [("acme", CreateThread(messages=(message,), metadata={"k": "v"}))]
    holder = KEYS.holder(KEY)
    assert holder is not None
    assert clew.signed == (holder.actor, None)


async def test_answers_are_laid_out_and_headed_as_openai_does_it(clew: Parts):
    answered = await call(clew, "POST", "/v1/threads")
    assert answered.body.decode() == (
        "{\n"
        f'  "id": "{ID}",\n'
        '  "object": "thread",\n'
        '  "created_at": 1795384800,\n'
        '  "metadata": {},\n'
        '  "tool_resources": {}\n'
        "}"
    )
    assert len(answered.body) == 137
    headers = answered.headers
    assert headers["content-type"] == "application/json"
    assert headers["openai-version"] == "2020-10-01"
    assert headers["openai-organization"] == "acme"
    assert headers["openai-processing-ms"].isdigit()
    assert len(headers["x-request-id"]) == len("req_") + 32
    again = await call(clew, "POST", "/v1/threads")
    assert again.headers["x-request-id"] != headers["x-request-id"]


async def test_a_thread_may_be_created_with_no_body_but_not_modified_with_none(clew: Parts):
    assert (await call(clew, "POST", "/v1/threads", b"")).status == 200
    refused = await call(clew, "POST", f"/v1/threads/{ID}", b"")
    assert (refused.status, refused.error["code"]) == (400, "invalid_json")
    assert len(clew.asked) == 1


async def test_what_a_modification_leaves_out_stays_unset(clew: Parts):
    await call(clew, "POST", f"/v1/threads/{ID}", b"{}")
    await call(clew, "POST", f"/v1/threads/{ID}", b'{"metadata": null}')
    (_, left_out), (_, cleared) = clew.asked
    assert left_out == UpdateThread(thread_id=ID)
    assert left_out.metadata is UNSET
    assert cleared == UpdateThread(thread_id=ID, metadata=None)


async def test_patch_sets_and_unsets_single_keys(clew: Parts):
    body = b'{"metadata": {"set": {"a": "1"}, "unset": ["b"]}}'
    await call(clew, "PATCH", f"/v1/threads/{ID}", body)
    await call(clew, "PATCH", f"/v1/threads/{ID}/messages/{MESSAGE_ID}", body)
    patch = MetadataPatch(set={"a": "1"}, unset=("b",))
    assert clew.asked == [
        ("acme", UpdateThread(thread_id=ID, patch=patch)),
        ("acme", UpdateMessage(thread_id=ID, message_id=MESSAGE_ID, patch=patch)),
    ]


async def test_deleting_answers_what_is_gone(clew: Parts):
    answered = await call(clew, "DELETE", f"/v1/threads/{ID}")
    assert json.loads(answered.body) == {"id": ID, "object": "thread.deleted", "deleted": True}
    answered = await call(clew, "DELETE", f"/v1/threads/{ID}/messages/{MESSAGE_ID}")
    assert json.loads(answered.body) == {"id": MESSAGE_ID, "object": "thread.message.deleted", "deleted": True}


async def test_messages_are_added_listed_retrieved_and_modified(clew: Parts):
    path = f"/v1/threads/{ID}/messages"
    assert (await call(clew, "POST", path, b'{"role": "user", "content": "hi"}')).status == 200
    listed = await call(clew, "GET", path + f"?limit=5&order=asc&after={MESSAGE_ID}&before={MESSAGE_ID}")
    assert json.loads(listed.body)["object"] == "list"
    assert (await call(clew, "GET", f"{path}/{MESSAGE_ID}")).status == 200
    assert (await call(clew, "POST", f"{path}/{MESSAGE_ID}", b'{"metadata": {"a": "1"}}')).status == 200
    asked = [what for _, what in clew.asked]
    assert asked == [
        AddMessage(thread_id=ID, message=NewMessage(role="user", content="hi")),
        ListMessages(thread_id=ID, limit=5, order="asc", after=MESSAGE_ID, before=MESSAGE_ID),
        GetMessage(thread_id=ID, message_id=MESSAGE_ID),
        UpdateMessage(thread_id=ID, message_id=MESSAGE_ID, metadata={"a": "1"}),
    ]


async def test_no_message_was_made_by_a_run_but_the_thread_has_to_be_there(clew: Parts):
    listed = await call(clew, "GET", f"/v1/threads/{ID}/messages?run_id=run_1")
    assert json.loads(listed.body)["data"] == []
    assert clew.asked == [("acme", GetThread(thread_id=ID))]


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ("limit=0", "integer_below_min_value", "limit"),
        ("limit=101", "integer_above_max_value", "limit"),
        ("limit=-1", "integer_below_min_value", "limit"),
        ("limit=ten", "invalid_type", "limit"),
        ("limit=", "invalid_type", "limit"),
        ("limit=" + "9" * 5000, "invalid_type", "limit"),
        ("limit=1&limit=2", "invalid_value", "limit"),
        ("order=up", "invalid_value", "order"),
        ("ordr=asc", "unknown_parameter", "ordr"),
        ("%ff=%00", "unknown_parameter", "\ufffd"),
    ],
)
async def test_a_query_string_is_judged_as_a_body_is(clew: Parts, query: str, code: str, param: str):
    refused = await call(clew, "GET", f"/v1/threads/{ID}/messages?{query}")
    assert (refused.status, refused.error["code"], refused.error["param"]) == (400, code, param)
    assert clew.asked == []


def paths(*methods: str) -> list[tuple[str, str]]:
    """The method and path of every route of the table, or of those with one of ``methods``."""
    return [
        (
            route.method,
            route.path.format(**NAMED),
        )
        for _, route in http_routes()
        if not methods or route.method in methods
    ]


@pytest.mark.parametrize(("method", "path"), [*paths(), ("HEAD", f"/v1/threads/{ID}")])
async def test_an_unknown_query_parameter_is_refused_on_every_route(clew: Parts, method: str, path: str):
    refused = await call(clew, method, f"{path}?surprise=1")
    assert (refused.status, refused.error) == (
        400,
        {
            "message": "Unknown parameter: 'surprise'.",
            "type": "invalid_request_error",
            "param": "surprise",
            "code": "unknown_parameter",
        },
    )
    assert clew.asked == []


@pytest.mark.parametrize(("method", "path"), paths())
async def test_the_version_that_azures_clients_name_in_every_query_string_is_let_through(
    clew: Parts, method: str, path: str
):
    body = b'{"role": "user", "content": "hi"}' if path.endswith("messages") else b'{"metadata": {}}'
    plain = await call(clew, method, path, body)
    versioned = await call(clew, method, f"{path}?api-version=2024-05-01-preview", body)
    if plain.status == 200:
        assert versioned.body == plain.body
        assert clew.asked[: len(clew.asked) // 2] == clew.asked[len(clew.asked) // 2 :]
    assert versioned.status == plain.status


@pytest.mark.parametrize(("method", "path"), paths("POST", "PATCH"))
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json-patch+json", "json", "é"]
)
async def test_a_body_that_is_said_to_be_no_json_is_refused_on_every_route(
    clew: Parts, method: str, path: str, kind: str
):
    refused = await call(clew, method, path, b"{}", {**IN, "Content-Type": kind})
    assert (refused.status, refused.error) == (
        400,
        {
            "message": (
                f"Unsupported content type: '{kind}'. This API method only accepts 'application/json' requests, but "
                f"you specified the header 'Content-Type: {kind}'. Please try again with a supported content type."
            ),
            "type": "invalid_request_error",
            "param": None,
            "code": "unsupported_content_type",
        },
    )
    assert clew.asked == []


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("Content-Encoding", "gzip", "unsupported_content_encoding"),
        ("Content-Encoding", "identity, br", "unsupported_content_encoding"),
        ("Content-Type", "application/json; charset=utf-16", "unsupported_content_type"),
        ("Content-Type", 'application/json;x=y; Charset="ISO-8859-1"', "unsupported_content_type"),
    ],
)
async def test_a_body_in_another_form_than_plain_utf_8_is_refused_on_every_route(
    clew: Parts, name: str, value: str, code: str
):
    for method, path in paths("POST", "PATCH"):
        refused = await call(clew, method, path, b"{}", {**IN, name: value})
        assert (refused.status, refused.error["code"], refused.error["param"]) == (415, code, name)
        assert value in str(refused.error["message"])
        assert refused.headers.get("accept-encoding") == ("identity" if name == "Content-Encoding" else None)
    assert clew.asked == []


@pytest.mark.parametrize("coding", ["", "identity", "Identity"])
async def test_a_body_that_is_not_coded_is_taken(clew: Parts, coding: str):
    assert (await call(clew, "POST", "/v1/threads", b"{}", {**IN, "Content-Encoding": coding})).status == 200


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "application/json",
        'application/json; charset="UTF8"',
        "Application/JSON; charset=utf-8",
        " application/json ;x=y",
    ],
)
async def test_a_body_that_is_said_to_be_json_or_nothing_is_taken(clew: Parts, kind: str):
    assert (await call(clew, "POST", "/v1/threads", b"{}", {**IN, "Content-Type": kind})).status == 200


async def test_what_takes_no_body_takes_any_content_type(clew: Parts):
    said = {**IN, "Content-Type": "text/plain"}
    for method in ("GET", "HEAD", "DELETE"):
        assert (await call(clew, method, f"/v1/threads/{ID}", headers=said)).status == 200


@pytest.mark.parametrize("name", ["id", "expected_version", "actor", "reply_to", "thread_id"])
async def test_a_field_at_fault_in_the_body_is_named_as_it_stands_there(clew: Parts, name: str):
    bodies = {
        "messages": b'{"role": "user", "content": "hi", "%s": 1}',
        "items": b'{"items": [], "%s": 1}',
        "rendered_items": b'{"items": [{}], "%s": 1}',
        "erase": b'{"reason": "asked", "%s": 1}',
        "restore": b'{"%s": 1}',
        "session": b'{"%s": 1}',
        "retry": b'{"%s": 1}',
        "keys": b'{"name": "billing", "scopes": ["read"], "%s": 1}',
        "holds": b'{"hold": "case-7", "%s": 1}',
        "/v1/holds": b'{"hold": "case-7", "where": {}, "%s": 1}',
        "retention": b'{"name": "all", "after_days": 90, "since": "created", "then": "delete", "%s": 1}',
    }
    for method, path in paths("POST", "PATCH"):
        body = bodies.get(path) or bodies.get(path.rpartition("/")[2], b'{"metadata": {}, "%s": 1}')
        body %= name.encode()
        refused = await call(clew, method, path, body)
        # By answers, which can be sent back.
        shown = path.endswith("/messages") and name in {"id", "thread_id"}
        shown |= path in {"/v1/conversations", f"/v1/conversations/{CONVERSATION_ID}"} and name == "id"
        shown |= method == "POST" and path in {"/v1/threads", f"/v1/threads/{ID}"} and name == "id"
        code = "invalid_type" if shown else "unknown_parameter"
        assert (refused.status, refused.error["code"], refused.error["param"]) == (400, code, name)
    assert clew.asked == []


async def test_what_a_command_says_in_a_header_is_named_by_the_header(clew: Parts):
    clew.fails = IdReused("spent", param="id")
    assert (await call(clew, "POST", f"/v1/threads/{ID}", b"{}")).error["param"] == "Idempotency-Key"
    clew.fails = Conflict("moved", param="expected_version")
    assert (await call(clew, "DELETE", f"/v1/threads/{ID}")).error["param"] == "If-Match"


async def test_headers_ask_for_an_id_a_version_and_a_trace(clew: Parts):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    named = {"Clew-Actor": "Ana\u00efs".encode().decode("latin-1"), "Clew-Reason": "asked by the customer"}
    said = {**IN, "Idempotency-Key": "order-7", "If-Match": '"3"', "traceparent": trace, **named}
    paths = [
        ("POST", "/v1/threads", b""),
        ("POST", f"/v1/threads/{ID}", b"{}"),
        ("PATCH", f"/v1/threads/{ID}", b'{"metadata": {}}'),
        ("DELETE", f"/v1/threads/{ID}", b""),
        ("POST", f"/v1/threads/{ID}/messages", b'{"role": "user", "content": "hi"}'),
        ("POST", f"/v1/threads/{ID}/messages/{MESSAGE_ID}", b"{}"),
        ("PATCH", f"/v1/threads/{ID}/messages/{MESSAGE_ID}", b'{"metadata": {}}'),
        ("DELETE", f"/v1/threads/{ID}/messages/{MESSAGE_ID}", b""),
    ]
    for method, path, body in paths:
        answered = await call(clew, method, path, body, said)
        assert answered.status == 200
        _, command = clew.asked[-1]
        # A list of threads has no version.
        assert (command.id, command.expected_version) == ("order-7", None if path == "/v1/threads" else 3)
        assert (command.actor, command.reason) == ("Ana\u00efs", "asked by the customer")
        assert clew.signed is not None
        assert clew.signed[1] == trace


@pytest.mark.parametrize("header", ["Clew-Actor", "Clew-Reason"])
@pytest.mark.parametrize("text", ["", "x" * 513, "a\tb", "\xff"])
async def test_who_asks_and_why_are_refused_by_their_header(clew: Parts, header: str, text: str) -> None:
    refused = await call(clew, "POST", "/v1/threads", b"", {**IN, header: text})
    assert (refused.status, refused.error["param"]) == (400, header)
    assert clew.asked == []


@pytest.mark.parametrize(
    "trace", ["", "00-0af7651916cd43dd8448eb211c80319c", "ff-" + "a" * 32 + "-" + "b" * 16 + "-01", "00-x\r\ny", "é"]
)
async def test_a_malformed_trace_is_left_out(clew: Parts, trace: str):
    assert (await call(clew, "POST", "/v1/threads", headers={**IN, "traceparent": trace})).status == 200
    assert clew.signed is not None
    assert clew.signed[1] is None


@pytest.mark.parametrize("key", ["", " ", "a b", "a" * 129, "é", "a\x00"])
async def test_an_idempotency_key_that_cannot_be_one_is_refused(clew: Parts, key: str):
    refused = await call(clew, "POST", "/v1/threads", headers={**IN, "Idempotency-Key": key})
    assert (refused.status, refused.error["param"]) == (400, "Idempotency-Key")
    assert clew.asked == []


async def test_if_match_any_asks_for_no_version(clew: Parts):
    await call(clew, "DELETE", f"/v1/threads/{ID}", headers={**IN, "If-Match": "*"})
    assert clew.asked == [("acme", DeleteThread(thread_id=ID))]


async def test_threads_are_tagged_with_their_version(clew: Parts):
    for method, path in [("POST", "/v1/threads"), ("GET", f"/v1/threads/{ID}"), ("HEAD", f"/v1/threads/{ID}")]:
        assert (await call(clew, method, path)).headers["etag"] == '"3"'
    assert (await call(clew, "POST", f"/v1/threads/{ID}", b"{}")).headers["etag"] == '"3"'


@pytest.mark.parametrize(
    ("tag", "status"), [('"3"', 304), ('W/"3"', 304), ('"1", "3"', 304), ("*", 304), ('"2"', 200), ('"3 "', 400)]
)
async def test_a_thread_the_caller_has_is_not_sent_again(clew: Parts, tag: str, status: int):
    answered = await call(clew, "GET", f"/v1/threads/{ID}", headers={**IN, "If-None-Match": tag})
    assert answered.status == status
    assert answered.headers.get("etag") == ('"3"' if status < 400 else None)
    assert bool(answered.body) == (status != 304)


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic YTpi", KEY])
async def test_without_a_key_nobody_comes_in(clew: Parts, value: str):
    refused = await call(clew, "GET", f"/v1/threads/{ID}", headers={**IN, "Authorization": value})
    assert refused.status == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert str(refused.error["message"]).startswith("You didn't provide an API key. You need to provide your API key")
    assert (refused.error["type"], refused.error["code"]) == ("invalid_request_error", None)
    assert clew.asked == []


async def test_a_wrong_key_is_masked_in_its_middle(clew: Parts):
    wrong = {**IN, "Authorization": "Bearer not-a-real-key-anonymized"}
    refused = await call(clew, "GET", f"/v1/threads/{ID}", headers=wrong)
    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
    assert str(refused.error["message"]).startswith("Incorrect API key provided: not-a-re****ized. You can find ")
    short = await call(clew, "GET", f"/v1/threads/{ID}", headers={**IN, "Authorization": "bearer 12345678"})
    assert "12****." in str(short.error["message"])
    assert clew.asked == []


@pytest.mark.parametrize("name", ["Authorization", "Clew-Actor", "Clew-Reason", "Idempotency-Key"])
async def test_who_asks_and_why_is_said_once_or_nothing_is_carried_out(clew: Parts, name: str):
    scope, sent, receive, send = arriving({"type": "http.request", "body": b"{}"})
    said = (name.lower().encode(), f"Bearer {KEY}".encode() if name == "Authorization" else b"alice")
    scope["headers"] = [each for each in scope["headers"] if each[0] != said[0]] + [said] * 2  # type: ignore[attr-defined]
    await create_app(clew, KEYS, Settings())(scope, receive, send)
    assert sent[0]["status"] == 400
    assert f"'{name}': it is given more than once".encode() in sent[1]["body"]
    assert clew.asked == []


async def test_who_guesses_keys_waits_for_the_answer_and_who_has_one_does_not(
    clew: Parts, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(wrong_keys, "PAUSE", 3600.0)
    app = create_app(clew, KEYS, Settings())

    async def ask(key: str, client: str) -> int:
        scope, sent, receive, send = arriving(
            {"type": "http.request", "body": b"{}"}, headers={"Authorization": f"Bearer {key}"}
        )
        await app({**scope, "client": (client, 1)}, receive, send)
        return int(str(sent[0]["status"]))

    for n in range(10):
        assert await ask(f"a-wrong-key-number-{n}", "10.0.0.1") == 401
    eleventh = asyncio.create_task(ask("a-wrong-key-number-10", "10.0.0.1"))
    other_place = asyncio.create_task(ask("a-wrong-key-number-11", "2001:db8::1"))
    assert await ask(KEY, "10.0.0.1") == 200
    assert await other_place == 401
    assert not eleventh.done()
    eleventh.cancel()
    assert await eleventh == 503


@pytest.mark.parametrize(
    ("method", "path"),
    [*paths(), ("HEAD", f"/v1/threads/{ID}"), ("GET", "/healthz"), ("GET", "/nothing"), ("PUT", "/v1/threads")],
)
async def test_no_answer_is_kept_by_a_cache_or_taken_for_another_type(clew: Parts, method: str, path: str):
    for headers in (IN, {}):
        answered = await call(clew, method, path, b"{}", headers)
        kept = answered.headers["cache-control"], answered.headers["x-content-type-options"]
        assert kept == ("no-store", "nosniff")


async def test_a_key_is_looked_at_before_anything_else_but_the_path(clew: Parts):
    for path in ("/v1/threads/1234", f"/v1/threads/{ID}/messages?limit=x"):
        assert (await call(clew, "GET", path, headers={})).status == 401
    assert (await call(clew, "GET", "/v1/nothing", headers={})).status == 404


@pytest.mark.parametrize(("method", "path"), paths())
async def test_the_beta_header_may_be_left_out_on_every_route(clew: Parts, method: str, path: str):
    bodies = {"messages": b'{"role": "user", "content": "hi"}', "erase": b"{}", "restore": b"{}"}
    bodies |= {"holds": b'{"hold": "case-7"}', "/v1/holds": b'{"hold": "case-7", "where": {}}'}
    bodies["retention"] = b'{"name": "all", "after_days": 90, "since": "created", "then": "delete"}'
    body = bodies.get(path) or bodies.get(path.rpartition("/")[2], b'{"metadata": {}}')
    without = {name: value for name, value in IN.items() if name != "OpenAI-Beta"}
    for said in (IN, without):
        assert b"invalid_beta" not in (await call(clew, method, path, body, said)).body
    answered = await call(clew, method, path, body, {**IN, "OpenAI-Beta": "x"})
    assert (b"invalid_beta" in answered.body) == path.startswith("/v1/threads")


async def test_a_beta_header_that_is_there_has_to_ask_for_version_2(clew: Parts):
    async def asked(value: str) -> Answered:
        return await call(clew, "GET", f"/v1/threads/{ID}", headers={**IN, "OpenAI-Beta": value})

    for value, said in (
        ("x", "Unknown beta requested: 'x'."),
        ("v1", "Invalid beta header provided: 'v1'. "),
        ("assistants=v1", "The v1 Assistants API has been deprecated. "),
        ("responses=v1, assistants=v1", "The v1 Assistants API has been deprecated. "),
    ):
        refused = await asked(value)
        assert (refused.status, refused.error["code"]) == (400, "invalid_beta")
        assert str(refused.error["message"]).startswith(said)
    assert clew.asked == []
    for value in ("", "assistants=v2", "responses=v1, assistants=v2"):
        assert (await asked(value)).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/threads/runs"),
        ("GET", "/v1/threads/runs"),
        ("GET", "/"),
        ("GET", "/v1"),
        ("POST", "/v1/threads/"),
        ("GET", f"/v1/threads/{ID}/"),
        ("GET", f"/v1/threads/{ID}/runs/run_1"),
        ("GET", "//v1/threads"),
        ("GET", "/v1/threads/a/b/c/d"),
        ("GET", f"/V1/threads/{ID}"),
    ],
)
async def test_where_nothing_is_the_url_is_called_invalid(clew: Parts, method: str, path: str):
    refused = await call(clew, method, path)
    assert (refused.status, refused.error) == (
        404,
        {
            "message": f"Invalid URL ({method} {path})",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        },
    )
    assert clew.asked == []


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", f"/v1/threads/{ID}", "DELETE, GET, HEAD, PATCH, POST"),
        ("DELETE", "/v1/threads", "GET, HEAD, POST"),
        ("OPTIONS", f"/v1/threads/{ID}/messages", "GET, HEAD, POST"),
        ("GET", f"/v1/threads/{ID}/restore", "POST"),
        ("HEAD", "/v1/rendered_items", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
    ],
)
async def test_a_method_that_leads_nowhere_is_not_allowed(clew: Parts, method: str, path: str, allow: str):
    refused = await call(clew, method, path, headers={})
    assert (refused.status, refused.headers["allow"]) == (405, allow)
    assert method == "HEAD" or refused.error["message"] == f"Invalid URL ({method} {path})"


@pytest.mark.parametrize("said", ["1234", "undefined", "a.b", "%00", "%3E", "%20", "x" * 5000, "%2e%2e%2fthread", "é"])
async def test_an_id_of_another_kind_is_told_the_prefix(clew: Parts, said: str):
    for path, param, prefix in [
        (f"/v1/threads/{said}", "thread_id", "thread"),
        (f"/v1/threads/{said}/messages", "thread_id", "thread"),
        (f"/v1/threads/{ID}/messages/{said}", "message_id", "msg"),
    ]:
        refused = await call(clew, "GET", path)
        assert refused.status == 400
        assert (refused.error["code"], refused.error["param"]) == ("invalid_value", param)
        assert str(refused.error["message"]).endswith(f"'. Expected an ID that begins with '{prefix}'.")
        assert len(refused.body) < 1000
    assert clew.asked == []


async def test_the_prefix_rule_quotes_the_id(clew: Parts):
    refused = await call(clew, "GET", "/v1/threads/1234")
    assert refused.error["message"] == "Invalid 'thread_id': '1234'. Expected an ID that begins with 'thread'."


@pytest.mark.parametrize(
    "tail", ["_a.b", "_*", "_%3E", "_a%2Fb", "_a%20b", "_%00", "_" + "a" * 5000, "_%ff", "_%zz", "_%0a", ""]
)
async def test_an_id_that_no_thread_can_have_is_not_found(clew: Parts, tail: str):
    for method, body in [("GET", b""), ("POST", b"{}"), ("DELETE", b""), ("PATCH", b"{}")]:
        missing = await call(clew, method, f"/v1/threads/thread{tail}", body)
        assert missing.status == 404
        assert str(missing.error["message"]).startswith("No thread found with id 'thr")
        assert (missing.error["param"], missing.error["code"]) == (None, None)
        missing = await call(clew, method, f"/v1/threads/{ID}/messages/msg{tail}", body)
        assert missing.status == 404
        assert str(missing.error["message"]).startswith("No message found with id 'msg")
    assert clew.asked == []


async def test_an_encoded_id_is_the_id(clew: Parts):
    await call(clew, "GET", "/v1/threads/%74hread%5Fabc")
    assert clew.asked == [("acme", GetThread(thread_id="thread_abc"))]


async def test_a_body_over_the_limit_is_refused_before_it_is_read(clew: Parts):
    announced = {**IN, "Content-Length": "2049"}
    for body, headers in [([], announced), (b"x" * 2049, IN), ([b"x" * 1024] * 100, IN), ([b"", b"x" * 5000, b""], IN)]:
        refused = await call(clew, "POST", "/v1/threads", body, headers)
        assert (refused.status, refused.error["code"]) == (413, "too_large")
    assert clew.asked == []


async def test_a_body_in_pieces_is_put_together(clew: Parts):
    body = b'{"metadata": {"k": "' + "線".encode() + b'"}}'
    pieces = [body[start : start + 1] for start in range(len(body))]
    assert (await call(clew, "POST", "/v1/threads", [*pieces, b""])).status == 200
    assert clew.asked == [("acme", CreateThread(metadata={"k": "線"}))]


@pytest.mark.parametrize(
    ("fault", "status", "kind", "code"),
    [
        (Invalid("bad", code="invalid_type", param="metadata.k"), 400, "invalid_request_error", "invalid_type"),
        (Forbidden("no"), 403, "invalid_request_error", "forbidden"),
        (NotFound("gone", code="thread_not_found", param="after"), 404, "invalid_request_error", None),
        (AlreadyExists("there"), 409, "invalid_request_error", "already_exists"),
        (IdReused("spent", param="id"), 409, "invalid_request_error", "command_id_reused"),
        (Conflict("moved", code="too_many_writers"), 409, "invalid_request_error", "too_many_writers"),
        (TooLarge("much"), 413, "invalid_request_error", "too_large"),
        (Rejected("no"), 400, "invalid_request_error", "rejected"),
        (Unavailable("later"), 503, "server_error", "unavailable"),
        (Corrupt("broken"), 500, "server_error", "corrupt"),
    ],
)
async def test_every_error_has_its_status_and_its_code(
    clew: Parts, fault: ClewError, status: int, kind: str, code: str | None
):
    clew.fails = fault
    answered = await call(clew, "POST", f"/v1/threads/{ID}", b"{}")
    assert (answered.status, answered.error["type"], answered.error["code"]) == (status, kind, code)
    assert answered.error["message"] == fault.message


async def test_what_cannot_help_or_might_happen_twice_is_not_to_be_repeated(clew: Parts):
    async def hint(fault: ClewError, headers: Mapping[str, str] = IN) -> tuple[str | None, str | None]:
        clew.fails = fault
        said = (await call(clew, "POST", f"/v1/threads/{ID}", b"{}", headers)).headers
        return said.get("x-should-retry"), said.get("retry-after")

    assert await hint(Conflict("moved")) == ("false", None)
    assert await hint(IdReused("spent")) == ("false", None)
    assert await hint(Corrupt("broken")) == ("false", None)
    assert await hint(Unavailable("later")) == (None, "1")
    assert await hint(Unavailable("perhaps", outcome_unknown=True)) == ("false", "1")
    safe = {**IN, "Idempotency-Key": "order-7"}
    assert await hint(Unavailable("perhaps", outcome_unknown=True), safe) == (None, "1")


async def test_a_failed_precondition_is_told_from_a_crowd(clew: Parts):
    asked = {**IN, "If-Match": '"2"'}
    clew.fails = Conflict("moved", param="expected_version")
    failed = await call(clew, "POST", f"/v1/threads/{ID}", b"{}", asked)
    assert (failed.status, failed.error["param"]) == (412, "If-Match")
    assert (await call(clew, "POST", f"/v1/threads/{ID}", b"{}")).status == 409
    clew.fails = Conflict("busy", code="too_many_writers")
    assert (await call(clew, "POST", f"/v1/threads/{ID}", b"{}", asked)).status == 409


async def test_a_bug_is_answered_with_an_id_and_told_only_to_the_log(clew: Parts, caplog: pytest.LogCaptureFixture):
    clew.fails = RuntimeError("the inner secret")
    with caplog.at_level(logging.ERROR, "clew.http"):
        broken = await call(clew, "GET", f"/v1/threads/{ID}")
    assert (broken.status, broken.error["type"]) == (500, "server_error")
    assert broken.headers["x-request-id"] in str(broken.error["message"])
    assert b"secret" not in broken.body
    assert broken.headers["x-request-id"] in caplog.text
    assert "the inner secret" in caplog.text


async def test_a_rule_beyond_the_type_is_held(clew: Parts):
    both = {"tool_resources": {"file_search": {"vector_store_ids": ["vs_1"], "vector_stores": [{}]}}}
    refused = await call(clew, "POST", "/v1/threads", json.dumps(both).encode())
    assert (refused.status, refused.error["param"]) == (400, "tool_resources.file_search")
    assert clew.asked == []


async def test_health_needs_no_key(clew: Parts):
    assert json.loads((await call(clew, "GET", "/healthz", headers={})).body) == {"ok": True, "reasons": []}
    assert clew.calls == []


async def test_readiness_asks_for_jetstream_every_stream_and_every_consumer(clew: Parts):
    ready = await call(clew, "GET", "/readyz", headers={})
    idle = [{"shard": 0, "state": "idle"}, {"shard": 1, "state": "idle"}]
    said = {"ok": True, "reasons": [], "notes": [], "shards": idle, "parked": 0, "damage": None}
    assert (ready.status, json.loads(ready.body)) == (200, said)
    assert sorted(clew.calls) == [
        "CONSUMER.INFO.CLEW_EVT_00.clew_threads_v1",
        "CONSUMER.INFO.CLEW_EVT_01.clew_threads_v1",
        "INFO",
        "STREAM.INFO.CLEW_EVT_00",
        "STREAM.INFO.CLEW_EVT_01",
        "STREAM.INFO.CLEW_INBOX",
        "clew.evt.00",
        "clew.evt.01",
    ]


async def test_what_is_missing_for_readiness_is_named(clew: Parts):
    clew.broken = {"STREAM.INFO.CLEW_EVT_01", "INFO"}
    ready = await call(clew, "GET", "/readyz", headers={})
    reasons = ["JetStream: no answer came", "stream CLEW_EVT_01: no answer came"]
    said = json.loads(ready.body)
    assert (ready.status, said["ok"], said["reasons"]) == (503, False, reasons)
    assert [each["shard"] for each in said["shards"]] == [0]
    assert ready.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        (10047, "no storage", "stream CLEW_EVT_01 is full: no storage"),
        (10002, "too much", "stream CLEW_EVT_01 is full: too much"),
        (10176, "incomplete", "stream CLEW_EVT_01 is full: the disk of its server is full"),
        (10109, "sealed", "stream CLEW_EVT_01 refuses commits: sealed (10109)"),
    ],
)
async def test_a_shard_that_would_not_take_a_commit_is_not_ready(clew: Parts, code: int, text: str, said: str):
    clew.refuses = {"clew.evt.01": ApiError(503, code, text)}
    ready = await call(clew, "GET", "/readyz", headers={})
    assert (ready.status, json.loads(ready.body)["reasons"]) == (503, [said])


async def test_a_shard_that_answers_no_publish_is_not_ready(clew: Parts):
    clew.broken = {"clew.evt.00"}
    ready = await call(clew, "GET", "/readyz", headers={})
    said = ["stream CLEW_EVT_00 does not answer a publish: no answer came"]
    assert (ready.status, json.loads(ready.body)["reasons"]) == (503, said)


async def test_a_shard_that_was_found_not_to_store_is_not_ready(clew: Parts):
    clew.full_shards = (1,)
    ready = await call(clew, "GET", "/readyz", headers={})
    (said,) = json.loads(ready.body)["reasons"]
    assert ready.status == 503
    assert said.startswith("stream CLEW_EVT_01 stores nothing: ")


async def test_of_a_body_that_breaks_off_nothing_is_done(clew: Parts):
    half = {"type": "http.request", "body": b"{", "more_body": True}
    scope, sent, receive, send = arriving(half, {"type": "http.disconnect"})
    await create_app(clew, KEYS, Settings())(scope, receive, send)
    assert sent[0]["status"] == 400
    assert clew.asked == []


async def test_a_body_that_does_not_come_is_not_waited_for_for_ever(clew: Parts):
    scope, sent, receive, send = arriving({"type": "http.request", "body": b"{", "more_body": True})
    scope["extensions"] = {BODY_DUE: {"at": asyncio.get_running_loop().time() + 0.01}}
    await create_app(clew, KEYS, Settings())(scope, receive, send)
    assert sent[0]["status"] == 408
    assert clew.asked == []
