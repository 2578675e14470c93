"""OpenAI's contract about conversations: the wire, and its own clients on it, lenient and strict, waiting or not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI
from openai.types.conversations import Message
from openai.types.responses import ResponseInputItemParam

from support.api import ACME, served
from support.feeding import fed_by_hand
from support.rows import HELLO, Row, Service, error, rows, shaped

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONVERSATIONS = "/v1/conversations"
NONE = f"{CONVERSATIONS}/conv_nonexistent123"
TURN: list[ResponseInputItemParam] = [
    {"role": "user", "content": "Where is my parcel?"},
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"},
    {"type": "function_call", "call_id": "call_1", "name": "track", "arguments": '{"id": 81}'},
    {"type": "function_call_output", "call_id": "call_1", "output": "On its way."},
    {"role": "assistant", "content": "It is on its way."},
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(service: Service) -> AsyncIterator[str]:
    async with served(service.clew) as address:
        yield f"{address}/v1"


@pytest_asyncio.fixture(params=[False, True], ids=["lenient", "strict"], scope="module", loop_scope="module")
async def client(request: pytest.FixtureRequest, url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        api_key=ACME, base_url=url, max_retries=0, _strict_response_validation=request.param
    ) as made:
        yield made


async def made(service: Service, *items: object) -> str:
    answer = await service.ask("POST", CONVERSATIONS, {"items": list(items)})
    assert answer.status_code == 200, answer.text
    return f"{CONVERSATIONS}/{answer.json()['id']}"


EMPTY = {"id": shaped("conv_[0-9a-f]{48}"), "object": "conversation", "metadata": {}}


@rows(
    Row(cites="10.2 no body", path=CONVERSATIONS, answer=EMPTY),
    Row(cites="10.2 {}", path=CONVERSATIONS, body={}, answer=EMPTY),
    Row(cites="10.2 nulls", path=CONVERSATIONS, body={"items": None, "metadata": None}, answer=EMPTY),
    Row(cites="10.2 no items", path=CONVERSATIONS, body={"items": []}, answer=EMPTY),
    Row(cites="4 more than 20 items at once", path=CONVERSATIONS, body={"items": [HELLO] * 21}, answer=EMPTY),
    *(
        Row(
            cites=f"5 an unknown conversation, {method} {path}", method=method, path=NONE + path, body=body,
            status=404, answer=error("Conversation with id 'conv_nonexistent123' not found."),
        )
        for method, path, body in [
            ("GET", "", None), ("POST", "", {"metadata": {}}), ("DELETE", "", None), ("GET", "/items", None),
            ("POST", "/items", {"items": [HELLO]}), ("GET", "/items/msg_1", None), ("DELETE", "/items/msg_1", None),
        ]
    ),
    Row(
        cites="5 no id of a conversation", method="GET", path=f"{CONVERSATIONS}/wa_10", status=400,
        answer=error(
            "Invalid 'conversation_id': 'wa_10'. Expected an ID that begins with 'conv'.", "invalid_value",
            "conversation_id",
        ),
    ),
    Row(
        cites="a thread is no conversation", method="GET", path=CONVERSATIONS + "/{thread}", status=400,
        answer={"error": {"code": "invalid_value", "param": "conversation_id"}},
    ),
    Row(
        cites="a conversation is no thread", path="/v1/threads/conv_1/messages", body=HELLO, status=400,
        answer=error("Invalid 'thread_id': 'conv_1'. Expected an ID that begins with 'thread'.", "invalid_value",
                     "thread_id"),
    ),
    Row(
        cites="5 bad JSON", path=CONVERSATIONS, body=b'{"items": [{"a": "\\ud800"}]}', status=400,
        answer={"error": {"code": "invalid_json"}},
    ),
    Row(
        cites="5 update without metadata", path=NONE, body={}, status=400,
        answer=error("Missing required parameter: 'metadata'.", "missing_required_parameter", "metadata"),
    ),
)  # fmt: skip
async def test_calls(service: Service, row: Row):
    await service.hold(row)


async def test_the_wire_is_that_of_the_recordings(service: Service):
    """2.1, 2.2: two spaces to a level, and the order of keys."""
    created = await service.ask("POST", CONVERSATIONS)
    assert list(created.json()) == ["id", "object", "created_at", "metadata"]
    assert (created.headers["content-length"], created.text[:10]) == ("141", '{\n  "id": ')
    path = f"{CONVERSATIONS}/{created.json()['id']}"
    added = (await service.ask("POST", f"{path}/items", {"items": [HELLO]})).json()
    assert list(added) == ["object", "data", "first_id", "has_more", "last_id"]
    nothing = (await service.ask("POST", f"{path}/items", {"items": []})).json()
    assert nothing == {"object": "list", "data": [], "first_id": "", "has_more": False, "last_id": ""}
    deleted = await service.ask("DELETE", path)
    assert (deleted.json()["object"], deleted.headers["content-length"]) == ("conversation.deleted", "122")
    for method in ("GET", "DELETE"):
        assert (await service.ask(method, path)).status_code == 404


async def test_what_was_given_comes_back_key_for_key_and_digit_for_digit(service: Service):
    """10.8: unknown types and fields, and numbers beyond 2^53."""
    item = '{"type":"of_tomorrow","id":"own:1","n":[1.10,1e400,12345678901234567890],"z":{"b":"\\u00e9","a":[]}}'
    path = await made(service)
    added = await service.ask("POST", f"{path}/items", b'{"items": [%b]}' % item.encode())
    assert added.status_code == 200
    answer = await service.ask("GET", f"{path}/items/own:1")
    assert "".join(answer.text.split()) == item


@pytest.mark.parametrize(
    ("items", "message", "param"),
    [
        ([{"type": "message", "content": "x"}], "Invalid value: ''. Supported values are:", "items[1]"),
        ([{"content": "x"}], "Invalid value: ''. Supported values are:", "items[1]"),
        ([{"type": "x", "id": "twice"}, {"type": "x", "id": "twice"}], "Duplicate item found with id twice", None),
        ([{"type": "reasoning", "id": "x"}], "Expected an ID that begins with 'rs'.", "items[1].id"),
        ([{"a": 1}], "Missing required parameter: 'items[1].type'.", "items[1].type"),
        ([1], "Invalid type for 'items[1]'", "items[1]"),
    ],
)
async def test_a_bad_item_is_named_and_nothing_is_added(
    service: Service, items: list[object], message: str, param: str | None
):
    path = await made(service)
    refused = await service.ask("POST", f"{path}/items", {"items": [HELLO, *items]})
    assert refused.status_code == 400
    assert message in refused.json()["error"]["message"]
    assert param is None or refused.json()["error"]["param"] == param
    assert (await service.ask("GET", f"{path}/items")).json()["data"] == []


async def test_an_id_that_exists_and_a_foreign_cursor_are_refused(service: Service):
    path = await made(service, {"type": "x", "id": "own"})
    again = await service.ask("POST", f"{path}/items", {"items": [HELLO, {"type": "x", "id": "own"}]})
    assert (again.status_code, again.json()["error"]["param"]) == (409, "items[1].id")
    foreign = await service.ask("GET", f"{path}/items?after=msg_of_another")
    assert foreign.status_code == 404
    assert "'after': item with id 'msg_of_another' not found" in foreign.json()["error"]["message"]
    for limit, code in (("0", "integer_below_min_value"), ("101", "integer_above_max_value"), ("x", "invalid_type")):
        refused = await service.ask("GET", f"{path}/items?limit={limit}")
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)
    assert len((await service.ask("GET", f"{path}/items")).json()["data"]) == 1


async def test_what_is_left_out_is_shown_on_request(service: Service):
    """10.12: `include[]`, with brackets or not, encoded or not."""
    path = await made(service, *TURN)
    for query, shown in (("", False), ("?include%5B%5D=reasoning.encrypted_content", True),
                         ("?include[]=message.output_text.logprobs&include[]=reasoning.encrypted_content", True),
                         ("?include=reasoning.encrypted_content", True)):  # fmt: skip
        one = (await service.ask("GET", f"{path}/items/rs_1{query}")).json()
        page = (await service.ask("GET", f"{path}/items{query}")).json()["data"]
        assert ("encrypted_content" in one, "encrypted_content" in page[3]) == (shown, shown)
    refused = await service.ask("GET", f"{path}/items?include[]=everything")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_value")


async def test_an_auditor_asks_about_a_conversation_as_about_a_thread(service: Service):
    path = await made(service, *TURN)
    thread = path.replace(CONVERSATIONS, "/v1/threads")
    item = (await service.ask("GET", f"{path}/items?limit=1")).json()["last_id"]
    assert (await service.ask("DELETE", f"{path}/items/{item}")).json()["object"] == "conversation"
    assert (await service.ask("GET", f"{path}/items/{item}")).status_code == 404
    assert (await service.ask("GET", f"{path}/items/{item}?as_of=1")).json()["id"] == item
    assert len((await service.ask("GET", f"{path}/items?as_of=1")).json()["data"]) == 5
    assert (await service.ask("GET", f"{path}?as_of=1")).json()["object"] == "conversation"
    for part in ("/events", "/diff", "/blame", "/export", "?as_of=1", "/messages?as_of=1"):
        assert (await service.ask("GET", thread + part)).status_code == 200, part
    assert (await service.ask("GET", thread)).status_code == 400
    assert (await service.ask("POST", f"{thread}/holds", {"hold": "case-7"})).json()["holds"] == ["case-7"]
    assert (await service.ask("DELETE", f"{thread}/holds/case-7")).status_code == 200
    erased = await service.ask("POST", f"{path}/items/rs_1/erase", {"reason": "asked"})
    assert (erased.status_code, erased.json()["message_id"]) == (202, "rs_1")
    assert (await service.ask("DELETE", path)).status_code == 200
    assert (await service.ask("POST", f"{thread}/restore")).json()["id"] == path.rpartition("/")[2]
    assert (await service.ask("GET", path)).status_code == 200
    erased = await service.ask("POST", f"{thread}/erase", {"reason": "asked"})
    assert (erased.status_code, erased.json()["message_id"]) == (202, None)


async def test_a_key_makes_it_happen_once(service: Service):
    """10.13."""
    once = {"Idempotency-Key": "conversation-81"}
    first, again = [(await service.ask("POST", CONVERSATIONS, {"items": TURN}, headers=once)).json() for _ in range(2)]
    assert first == again
    path = f"{CONVERSATIONS}/{first['id']}/items"
    once = {"Idempotency-Key": "hello-81"}
    added = [(await service.ask("POST", path, {"items": [HELLO]}, headers=once)).json() for _ in range(2)]
    assert added[0] == added[1]
    assert len(added[0]["data"]) == 1
    assert len((await service.ask("GET", path)).json()["data"]) == 6


async def test_a_conversation_can_be_sent_back(service: Service):
    found = (await service.ask("POST", CONVERSATIONS, {"metadata": {"a": "1"}})).json()
    path = f"{CONVERSATIONS}/{found['id']}"
    assert (await service.ask("POST", path, found)).json() == found
    assert (await service.ask("POST", CONVERSATIONS, found)).json()["metadata"] == {"a": "1"}
    other = await service.ask("POST", path, {**found, "id": "conv_other"})
    assert (other.status_code, other.json()["error"]["param"]) == (400, "id")


async def test_when_a_conversation_expires_is_set_shown_and_taken_away(service: Service):
    rule = {"anchor": "created_at", "days": 30}
    found = (await service.ask("POST", CONVERSATIONS, {"expires_after": rule})).json()
    assert (found["expires_after"], found["expires_at"]) == (rule, found["created_at"] + 30 * 86_400)
    path = f"{CONVERSATIONS}/{found['id']}"
    assert (await service.ask("POST", path, found)).json() == (await service.ask("GET", path)).json() == found
    assert (await service.ask("POST", path, {"metadata": {}})).json() == found
    never = (await service.ask("POST", path, {"metadata": {}, "expires_after": None})).json()
    assert never.keys() == {"id", "object", "created_at", "metadata"}


async def test_conversations_are_listed_as_threads_are_and_threads_without_them(
    service: Service, tmp_path_factory: pytest.TempPathFactory
):
    path = await made(service, {"role": "user", "content": "okapi"})
    await service.make(messages=[{"role": "user", "content": "okapi"}])
    with fed_by_hand(service.clew, tmp_path_factory.mktemp("index")) as fed:
        await fed.feed()
        (listed,) = (await service.ask("GET", f"{CONVERSATIONS}?search=okapi")).json()["data"]
        assert (listed["id"], listed["object"], listed["item_count"]) == (path.rpartition("/")[2], "conversation", 1)
        (thread,) = (await service.ask("GET", "/v1/threads?search=okapi")).json()["data"]
        assert thread["object"] == "thread"
        refused = await service.ask("GET", f"{CONVERSATIONS}?query={json.dumps({'kind': 'thread'})}")
        assert refused.status_code == 400


async def test_a_conversation_lives_with_openais_client(client: AsyncOpenAI):
    conversations = client.conversations
    created = await conversations.create(items=TURN[:1], metadata={"customer": "c-81"})
    assert (created.object, created.metadata) == ("conversation", {"customer": "c-81"})
    assert (await conversations.retrieve(created.id)).created_at == created.created_at
    assert (await conversations.update(created.id, metadata={"state": "open"})).metadata == {"state": "open"}
    assert (await conversations.update(created.id, metadata=None)).metadata == {}

    added = await conversations.items.create(created.id, items=TURN[1:])
    assert [item.type for item in added.data] == ["reasoning", "function_call", "function_call_output", "message"]
    assert (added.first_id, added.last_id, added.has_more) == ("rs_1", added.data[-1].id, False)
    message = added.data[-1]
    assert isinstance(message, Message)
    assert (message.role, message.status, message.content[0].type) == ("assistant", "completed", "output_text")

    newest = [item.id async for item in conversations.items.list(created.id, limit=2)]
    oldest = [item.id async for item in conversations.items.list(created.id, order="asc")]
    assert (newest[::-1], len(oldest)) == (oldest, 5)
    found = await conversations.items.retrieve(
        "rs_1", conversation_id=created.id, include=["reasoning.encrypted_content"]
    )
    assert found.to_dict()["encrypted_content"] == "sealed"
    assert (await conversations.items.delete("rs_1", conversation_id=created.id)).id == created.id
    with pytest.raises(openai.NotFoundError, match="Item with id 'rs_1' not found in conversation"):
        await conversations.items.retrieve("rs_1", conversation_id=created.id)
    assert (await conversations.delete(created.id)).deleted
    with pytest.raises(openai.NotFoundError) as gone:
        await conversations.items.create(created.id, items=TURN[:1])
    assert gone.value.body == {
        "message": f"Conversation with id '{created.id}' not found.", "type": "invalid_request_error", "param": None,
        "code": None,
    }  # fmt: skip


async def test_a_list_walks_every_item_once_while_another_client_adds(client: AsyncOpenAI):
    """10.6, 10.7."""
    conversation = (
        await client.conversations.create(items=[{"role": "user", "content": str(n)} for n in range(50)])
    ).id
    seen = []
    async for item in client.conversations.items.list(conversation, order="desc", limit=20):
        seen.append(item.id)
        if len(seen) in {20, 40}:
            await client.conversations.items.create(conversation, items=[{"role": "user", "content": "more"}])
            await client.conversations.items.delete(item.id, conversation_id=conversation)
    assert len(seen) == len(set(seen)) == 50


async def test_the_client_that_waits_works_as_well(url: str):
    def live() -> None:
        for strict in (False, True):
            with OpenAI(api_key=ACME, base_url=url, max_retries=0, _strict_response_validation=strict) as client:
                conversation = client.conversations.create(items=TURN)
                kinds = [item.type for item in client.conversations.items.list(conversation.id, order="asc")]
                assert kinds == ["message", "reasoning", "function_call", "function_call_output", "message"]
                assert client.conversations.delete(conversation.id).deleted

    await asyncio.to_thread(live)


async def test_every_error_calls_a_conversation_one(service: Service) -> None:
    path = await made(service, HELLO)
    name = f"onversation '{path.rpartition('/')[2]}'"
    thread = path.replace("conversations", "threads")
    hold = ("POST", f"{thread}/holds", {"hold": "case-7"})
    asked = [
        ("POST", path, {"metadata": {}}, {"If-Match": '"9"'}, 412),
        ("GET", f"{path}?as_of=2000-01-01T00:00:00Z", None, {}, 404),
        ("GET", f"{path}?as_of=9", None, {}, 400),
        (*hold, {}, 200),
        ("POST", f"{thread}/erase", {}, {}, 409),
        ("DELETE", f"{thread}/holds/case-8", None, {}, 404),
    ]
    for method, address, body, headers, status in asked:
        answer = await service.ask(method, address, body, headers=headers)
        named = status == 200 or name in answer.json()["error"]["message"]
        assert (answer.status_code, named) == (status, True), answer.text
