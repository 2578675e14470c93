"""OpenAI's contract about threads, row by row: calls, the object, creating, modifying, metadata."""

from __future__ import annotations

import pytest

from support.rows import HELLO, MESSAGES, THREAD, THREADS, Row, Service, error, rows, shaped

pytestmark = pytest.mark.asyncio(loop_scope="module")

EMPTY = {"id": shaped("thread_[A-Za-z0-9]{24}"), "object": "thread", "metadata": {}, "tool_resources": {}}
SEARCH = "tool_resources.file_search"
STORE = f"{SEARCH}.vector_stores[0]"
STATIC = f"{STORE}.chunking_strategy.static"


def full(count: int) -> dict[str, str]:
    return {f"k{number}": "v" for number in range(count)}


def stores(**store: object) -> dict[str, object]:
    return {"tool_resources": {"file_search": {"vector_stores": [store]}}}


def chunking(most: int, overlap: int) -> dict[str, object]:
    chunks = {"max_chunk_size_tokens": most, "chunk_overlap_tokens": overlap}
    return stores(chunking_strategy={"type": "static", "static": chunks})


@rows(
    Row(cites="1.1 create is a POST and answers 200, not 201", answer=EMPTY),
    Row(cites="1.1 retrieve is a GET", method="GET", path=THREAD, answer={"id": "{thread}"}),
    Row(
        cites="1.1 modify is a POST, not a PATCH",
        path=THREAD, body={"metadata": {"a": "1"}}, answer={"id": "{thread}", "metadata": {"a": "1"}},
    ),
    Row(
        cites="1.1 delete answers id, object and deleted",
        method="DELETE", path=THREAD, answer={"id": "{thread}", "object": "thread.deleted", "deleted": True},
    ),
    Row(
        cites="1.1 creating and running does not modify a thread called runs",
        path="/v1/threads/runs", body={}, status=404, answer=error("Invalid URL (POST /v1/threads/runs)"),
    ),
)  # fmt: skip
async def test_calls(service: Service, row: Row):
    await service.hold(row)


async def test_the_object_has_its_five_keys_in_order_and_two_spaces_to_a_level(service: Service):
    """1.2: key order, pretty-printed, Content-Type and the length of an empty thread."""
    answer = await service.ask("POST", THREADS)
    assert list(answer.json()) == ["id", "object", "created_at", "metadata", "tool_resources"]
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["content-length"], answer.text[:10]) == ("137", '{\n  "id": ')


async def test_every_answer_has_the_headers_of_the_live_service(service: Service):
    """1.2: response headers."""
    for method in ("POST", "GET"):
        headers = (await service.ask(method, THREADS)).headers
        assert headers["openai-version"] == "2020-10-01"
        assert headers["openai-processing-ms"].isdigit()
        assert {"x-request-id", "openai-organization", "openai-project"} <= set(headers)


async def test_created_at_is_in_whole_seconds_and_stays(service: Service):
    """1.2: created_at."""
    made = await service.make()
    assert type(made["created_at"]) is int
    modified = (await service.ask("POST", f"{THREADS}/{made['id']}", {"metadata": {"a": "1"}})).json()
    assert modified["created_at"] == made["created_at"]


async def test_an_empty_thread_is_retrieved_with_an_empty_list_of_files(service: Service):
    """1.2: create and modify answer {}, GET of the same thread does not; nor does a thread embed its messages."""
    made = await service.make(messages=[HELLO])
    path = f"{THREADS}/{made['id']}"
    assert made["tool_resources"] == {}
    assert (await service.ask("POST", path, {})).json()["tool_resources"] == {}
    found = (await service.ask("GET", path)).json()
    assert found == {**made, "tool_resources": {"code_interpreter": {"file_ids": []}}}


@rows(
    Row(cites="1.3 no body, no content type", answer=EMPTY),
    Row(cites="1.3 an empty body with a content type", headers={"Content-Type": "application/json"}, body=b""),
    Row(cites="1.3 the body {}", body={}, answer=EMPTY),
    Row(cites="1.3 messages: []", body={"messages": []}, answer=EMPTY),
    Row(cites="1.3 messages: null", body={"messages": None}, answer=EMPTY),
    Row(cites="1.3 more than 32 messages, which the live service refused", body={"messages": [HELLO] * 100}),
    Row(
        cites="1.3 more than 100 messages", body={"messages": [HELLO] * 101}, status=400,
        answer=error(
            "Invalid 'messages': array too long. Expected an array with maximum length 100, but got an array with "
            "length 101 instead.",
            "array_above_max_length", "messages",
        ),
    ),
    Row(cites="1.3 metadata: null", body={"metadata": None}, answer=EMPTY),
    Row(
        cites="1.3 code_interpreter.file_ids, 20 of them",
        body={"tool_resources": {"code_interpreter": {"file_ids": ["file_1"] * 20}}},
        answer={"tool_resources": {"code_interpreter": {"file_ids": ["file_1"] * 20}}},
    ),
    Row(
        cites="1.3 code_interpreter.file_ids, 21 of them", status=400,
        body={"tool_resources": {"code_interpreter": {"file_ids": ["file_1"] * 21}}},
        answer=error(
            "Invalid 'tool_resources.code_interpreter.file_ids': array too long. Expected an array with maximum "
            "length 20, but got an array with length 21 instead.",
            "array_above_max_length", "tool_resources.code_interpreter.file_ids",
        ),
    ),
    Row(
        cites="1.3 file_search.vector_store_ids",
        body={"tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}}},
        answer={"tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}}},
    ),
    Row(
        cites="1.3 file_search.vector_store_ids, two of them", status=400,
        body={"tool_resources": {"file_search": {"vector_store_ids": ["vs_1", "vs_2"]}}},
        answer={"error": {"code": "array_above_max_length", "param": f"{SEARCH}.vector_store_ids"}},
    ),
    Row(
        cites="1.3 file_search.vector_stores, two of them", status=400,
        body={"tool_resources": {"file_search": {"vector_stores": [{}, {}]}}},
        answer={"error": {"code": "array_above_max_length", "param": f"{SEARCH}.vector_stores"}},
    ),
    Row(
        cites="1.3 file_search with both ids and stores", status=400,
        body={"tool_resources": {"file_search": {"vector_store_ids": ["vs_1"], "vector_stores": [{}]}}},
        answer={"error": {"code": "invalid_value", "param": SEARCH}},
    ),
    Row(
        cites="1.2 vector_stores is not echoed: the answer has vector_store_ids",
        body=stores(file_ids=["file_1"], metadata={"k": "v"}),
        answer={"tool_resources": {"file_search": {"vector_store_ids": lambda found: len(found) == 1}}},
    ),
    Row(cites="1.3 vector_stores[].file_ids, many of them", body=stores(file_ids=["file_1"] * 10_000)),
    Row(cites="1.3 chunking_strategy auto", body=stores(chunking_strategy={"type": "auto"})),
    Row(cites="1.3 chunking_strategy static", body=chunking(800, 400)),
    Row(
        cites="1.3 max_chunk_size_tokens below 100", body=chunking(99, 0), status=400,
        answer={"error": {"code": "integer_below_min_value", "param": f"{STATIC}.max_chunk_size_tokens"}},
    ),
    Row(
        cites="1.3 max_chunk_size_tokens above 4096", body=chunking(4097, 0), status=400,
        answer={"error": {"code": "integer_above_max_value", "param": f"{STATIC}.max_chunk_size_tokens"}},
    ),
    Row(
        cites="1.3 chunk_overlap_tokens above half", body=chunking(800, 401), status=400,
        answer={"error": {"code": "integer_above_max_value", "param": f"{STATIC}.chunk_overlap_tokens"}},
    ),
    Row(
        cites="1.3 static without chunk_overlap_tokens", status=400,
        body=stores(chunking_strategy={"type": "static", "static": {"max_chunk_size_tokens": 800}}),
        answer=error(
            f"Missing required parameter: '{STATIC}.chunk_overlap_tokens'.",
            "missing_required_parameter", f"{STATIC}.chunk_overlap_tokens",
        ),
    ),
    Row(
        cites="1.3 static with more than it takes", status=400,
        body=stores(chunking_strategy={
            "type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400, "x": 1}
        }),
        answer=error(f"Unknown parameter: '{STATIC}.x'.", "unknown_parameter", f"{STATIC}.x"),
    ),
    Row(
        cites="1.3 vector_stores[].metadata keeps to the rules of metadata", status=400,
        body=stores(metadata={"k": 1}),
        answer=error(
            f"Invalid type for '{STORE}.metadata.k': expected a string, but got an integer instead.",
            "invalid_type", f"{STORE}.metadata.k",
        ),
    ),
)  # fmt: skip
async def test_creating(service: Service, row: Row):
    await service.hold(row)


@rows(
    Row(
        cites="1.5 the body is required", path=THREAD, status=400,
        answer={"error": {"code": "invalid_json", "param": None}},
    ),
    Row(cites="1.5 the body {} changes nothing", path=THREAD, body={}, answered={"etag": '"1"'}),
    Row(
        cites="1.5 tool_resources can be modified",
        path=THREAD, body={"tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}}},
        answer={"tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}}},
    ),
    Row(
        cites="Clew: expires_after is shown only where it is set",
        path=THREAD, body={"expires_after": {"anchor": "created_at", "days": 36_500}},
        answer={"expires_after": {"anchor": "created_at", "days": 36_500}},
    ),
    Row(
        cites="Clew: expires_after has days from 1 on", path=THREAD, status=400,
        body={"expires_after": {"anchor": "created_at", "days": 0}},
        answer={"error": {"code": "integer_below_min_value", "param": "expires_after.days"}},
    ),
    Row(
        cites="Clew: expires_after has days up to a hundred years", path=THREAD, status=400,
        body={"expires_after": {"anchor": "created_at", "days": 36_501}},
        answer={"error": {"code": "integer_above_max_value", "param": "expires_after.days"}},
    ),
    Row(
        cites="Clew: expires_after has whole days", path=THREAD, status=400,
        body={"expires_after": {"anchor": "created_at", "days": 1.5}},
        answer={"error": {"code": "invalid_type", "param": "expires_after.days"}},
    ),
    Row(
        cites="Clew: expires_after has one of two anchors", path=THREAD, status=400,
        body={"expires_after": {"anchor": "updated_at", "days": 1}},
        answer=error(
            "Invalid value: 'updated_at'. Supported values are: 'created_at' and 'last_active_at'.", "invalid_value",
            "expires_after.anchor",
        ),
    ),
    Row(
        cites="Clew: expires_after names both", path=THREAD, body={"expires_after": {"days": 1}}, status=400,
        answer={"error": {"code": "missing_required_parameter", "param": "expires_after.anchor"}},
    ),
    Row(
        cites="1.5 vector_stores is for creating", path=THREAD, status=400,
        body={"tool_resources": {"file_search": {"vector_stores": [{}]}}},
        answer=error(f"Unknown parameter: '{SEARCH}.vector_stores'.", "unknown_parameter", f"{SEARCH}.vector_stores"),
    ),
    Row(
        cites="1.5 no messages", path=THREAD, body={"messages": [HELLO]}, status=400,
        answer=error("Unknown parameter: 'messages'.", "unknown_parameter", "messages"),
    ),
    Row(
        cites='1.5 {"k": null} is a wrong type, and removes nothing', path=THREAD, body={"metadata": {"k": None}},
        status=400,
        answer=error(
            "Invalid type for 'metadata.k': expected a string, but got null instead.", "invalid_type", "metadata.k"
        ),
    ),
)  # fmt: skip
async def test_modifying(service: Service, row: Row):
    await service.hold(row)


async def test_metadata_is_replaced_whole_and_what_is_left_out_stays(service: Service):
    """1.5: omitted is unchanged; metadata replaces; null and {} clear."""
    made = await service.make(metadata={"a": "1", "b": "2"})
    path = f"{THREADS}/{made['id']}"
    resources = {"tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}}}
    assert (await service.ask("POST", path, resources)).json()["metadata"] == {"a": "1", "b": "2"}
    changed = (await service.ask("POST", path, {"metadata": {"b": "3"}})).json()
    assert (changed["metadata"], changed["tool_resources"]) == ({"b": "3"}, resources["tool_resources"])
    for nothing in (None, {}):
        await service.ask("POST", path, {"metadata": {"a": "1"}})
        assert (await service.ask("POST", path, {"metadata": nothing})).json()["metadata"] == {}
    assert (await service.ask("GET", path)).json()["tool_resources"] == resources["tool_resources"]


@rows(
    Row(cites="1.6 16 pairs", body={"metadata": full(16)}, answer={"metadata": full(16)}),
    Row(cites="1.6 a key of 64", body={"metadata": {"k" * 64: "v"}}, answer={"metadata": {"k" * 64: "v"}}),
    Row(cites="1.6 a value of 512", body={"metadata": {"k": "v" * 512}}, answer={"metadata": {"k": "v" * 512}}),
    Row(cites="1.6 a key of 64 emoji", body={"metadata": {"🧵" * 64: "v"}}, answer={"metadata": {"🧵" * 64: "v"}}),
    Row(cites="1.6 a value of 512 ideographs", body={"metadata": {"k": "線" * 512}}),
    Row(cites="1.6 an empty value", body={"metadata": {"k": ""}}, answer={"metadata": {"k": ""}}),
    Row(
        cites="1.6 a value that is no string is refused, not turned into one", body={"metadata": {"k": True}},
        status=400,
        answer=error(
            "Invalid type for 'metadata.k': expected a string, but got a boolean instead.", "invalid_type", "metadata.k"
        ),
    ),
)  # fmt: skip
async def test_metadata(service: Service, row: Row):
    await service.hold(row)


@rows(
    Row(
        cites="1.3 additionalProperties: false", body={"foo": 1}, status=400,
        answer=error("Unknown parameter: 'foo'.", "unknown_parameter", "foo"),
    ),
    Row(
        cites="1.4 additionalProperties: false, of a message within", body={"messages": [{**HELLO, "mood": 1}]},
        status=400, answer=error("Unknown parameter: 'messages[0].mood'.", "unknown_parameter", "messages[0].mood"),
    ),
    Row(
        cites="1.4 additionalProperties: false, of a message", path=MESSAGES, body={**HELLO, "file_ids": []},
        status=400, answer=error("Unknown parameter: 'file_ids'.", "unknown_parameter", "file_ids"),
    ),
)  # fmt: skip
async def test_what_nobody_knows_is_refused(service: Service, row: Row):
    await service.hold(row)
