"""OpenAI's contract about errors, row by row: the envelope, its words, and which fault is told first."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew_services.settings import Settings
from support.api import ACME
from support.rows import HELLO, MESSAGE, MESSAGES, THREAD, THREADS, Row, Service, begins, error, live, rows

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_THREAD = "thread_" + "0" * 24
LONG = "k" * 70
NO_KEY = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY), "
)


def too_many(count: int) -> str:
    return (
        "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, but got an object "
        f"with {count} properties instead."
    )


def of_metadata(cites: str, metadata: object, says: dict[str, object]) -> tuple[Row, ...]:
    """The same refusal wherever metadata can be said."""
    places = {THREADS: {}, THREAD: {}, MESSAGES: HELLO, MESSAGE: {}}
    return tuple(
        Row(cites=f"2.2 {cites} at {path}", path=path, body={**body, "metadata": metadata}, status=400, answer=says)
        for path, body in places.items()
    )


@rows(
    *(
        Row(
            cites=f"2.2 unknown thread: {method} {path}", method=method,
            path=path.format(thread=NO_THREAD, message="{message}"), body=body, status=404,
            answer=error(f"No thread found with id '{NO_THREAD}'."),
        )
        for method, path, body in (
            ("GET", THREAD, None), ("POST", THREAD, {}), ("DELETE", THREAD, None), ("GET", MESSAGES, None),
            ("POST", MESSAGES, HELLO), ("GET", f"{THREAD}/runs", None),
            ("GET", MESSAGE, None), ("POST", MESSAGE, {}), ("DELETE", MESSAGE, None),
        )
    ),
    Row(
        cites="2.2 deleted thread", method="GET", path="/v1/threads/{gone}", status=404,
        answer=error("No thread found with id '{gone}'."),
    ),
    Row(
        cites="2.2 deleted thread, deleted again", method="DELETE", path="/v1/threads/{gone}", status=404,
        answer=error("No thread found with id '{gone}'."),
    ),
    *(
        Row(
            cites=f"2.2 path id lacks prefix: {method}", method=method, path="/v1/threads/1234", body=body, status=400,
            answer=error(
                "Invalid 'thread_id': '1234'. Expected an ID that begins with 'thread'.", "invalid_value", "thread_id"
            ),
        )
        for method, body in (("GET", None), ("POST", {}), ("DELETE", None))
    ),
    Row(
        cites="3.3 /threads/undefined/…, as a misused client asks", method="GET", status=400,
        path="/v1/threads/undefined/messages/msg_1",
        answer=error(
            "Invalid 'thread_id': 'undefined'. Expected an ID that begins with 'thread'.", "invalid_value", "thread_id"
        ),
    ),
    Row(
        cites="2.2 no runs can be made", path="/v1/threads/{thread}/runs", body={}, status=405,
        answer=error("Invalid URL (POST /v1/threads/{thread}/runs)"),
    ),
    Row(
        cites="2.2 wrong route", path="/v1/threads/{thread}/runs/run_1", method="GET", status=404,
        answer=error("Invalid URL (GET /v1/threads/{thread}/runs/run_1)"),
    ),
    Row(
        cites="2.2 wrong route, nowhere near", path="/v1/nothing", body={}, status=404,
        answer=error("Invalid URL (POST /v1/nothing)"),
    ),
    Row(
        cites="2.1 a wrong method has the envelope too", method="PUT", path="/v1/threads", status=405,
        answer=error("Invalid URL (PUT /v1/threads)"),
    ),
)  # fmt: skip
async def test_what_is_not_there(service: Service, row: Row):
    await service.hold(row)


@rows(
    *of_metadata(
        "metadata value not a string, a boolean", {"modified": True},
        error(
            "Invalid type for 'metadata.modified': expected a string, but got a boolean instead.", "invalid_type",
            "metadata.modified",
        ),
    ),
    *of_metadata(
        "metadata value not a string, an integer", {"modified": 7},
        error(
            "Invalid type for 'metadata.modified': expected a string, but got an integer instead.", "invalid_type",
            "metadata.modified",
        ),
    ),
    *of_metadata(
        ">16 pairs", {str(number): "v" for number in range(17)},
        error(too_many(17), "object_above_max_properties", "metadata"),
    ),
    *of_metadata(
        "value >512", {"k": "v" * 600},
        error(
            "Invalid 'metadata.k': string too long. Expected a string with maximum length 512, but got a string with "
            "length 600 instead.", "string_above_max_length", "metadata.k",
        ),
    ),
    *of_metadata(
        "key >64", {LONG: "v"},
        error(
            "Invalid property name in 'metadata': 'kkk...kkk' is too long. Expected a string with maximum length 64, "
            "but got a string with length 70 instead.", "property_name_above_max_length", f"metadata.{LONG}",
        ),
    ),
    *of_metadata(
        "metadata not an object", "text",
        error(begins("Invalid type for 'metadata': expected an object"), "invalid_type", "metadata"),
    ),
)  # fmt: skip
async def test_metadata(service: Service, row: Row):
    await service.hold(row)


def creating(cites: str, body: object, says: dict[str, object]) -> Row:
    return Row(cites=f"2.2 {cites}", body=body, status=400, answer=says)


@rows(
    creating("unknown top-level field", {"foo": 1}, error("Unknown parameter: 'foo'.", "unknown_parameter", "foo")),
    creating(
        "unknown field of a message", {"messages": [{**HELLO, "file_ids": []}]},
        error("Unknown parameter: 'messages[0].file_ids'.", "unknown_parameter", "messages[0].file_ids"),
    ),
    creating(
        "wrong types: messages", {"messages": "hi"},
        error(
            "Invalid type for 'messages': expected an array of objects, but got a string instead.", "invalid_type",
            "messages",
        ),
    ),
    creating(
        "wrong types: content", {"messages": [{"role": "user", "content": 7}]},
        error(
            "Invalid type for 'messages[0].content': expected one of a string or array of objects, but got an integer "
            "instead.", "invalid_type", "messages[0].content",
        ),
    ),
    creating(
        "bad enum", {"messages": [{"role": "bogus", "content": "hi"}]},
        error(
            "Invalid value: 'bogus'. Supported values are: 'user' and 'assistant'.", "invalid_value",
            "messages[0].role",
        ),
    ),
    creating(
        "missing field", {"messages": [{"content": "hi"}]},
        error("Missing required parameter: 'messages[0].role'.", "missing_required_parameter", "messages[0].role"),
    ),
    creating(
        "empty array", {"messages": [{"role": "user", "content": []}]},
        error(
            begins("Invalid 'messages[0].content': empty array. Expected an array with minimum length 1, "),
            "empty_array", "messages[0].content",
        ),
    ),
    creating(
        "too many items", {"messages": [HELLO] * 101},
        error(
            "Invalid 'messages': array too long. Expected an array with maximum length 100, but got an array with "
            "length 101 instead.", "array_above_max_length", "messages",
        ),
    ),
    creating(
        "bad JSON", b"{'a': 1}",
        error(
            begins("Invalid body: failed to parse JSON value. Please check the value to ensure it is valid JSON. ("),
            "invalid_json",
        ),
    ),
    Row(
        cites="2.2 number bounds: above", method="GET", path=MESSAGES + "?limit=1000", status=400,
        answer=error(
            "Invalid 'limit': integer above maximum value. Expected a value <= 100, but got 1000 instead.",
            "integer_above_max_value", "limit",
        ),
    ),
    Row(
        cites="2.2 number bounds: below", method="GET", path=MESSAGES + "?limit=0", status=400,
        answer=error(
            "Invalid 'limit': integer below minimum value. Expected a value >= 1, but got 0 instead.",
            "integer_below_min_value", "limit",
        ),
    ),
)  # fmt: skip
async def test_what_is_wrong_with_a_request(service: Service, row: Row):
    await service.hold(row)


@rows(
    Row(
        cites="2.2 no API key", without=("Authorization",), status=401, answer=error(begins(NO_KEY)),
        answered={"www-authenticate": "Bearer"},
    ),
    Row(
        cites="2.2 wrong key, its middle masked", headers={"Authorization": "Bearer not-a-real-key-anonymized"},
        status=401,
        answer=error(
            begins("Incorrect API key provided: not-a-re****ized. You can find your API key "), "invalid_api_key"
        ),
    ),
    Row(
        cites="2.2 the beta header of version 1, in the words of many reports", status=400,
        headers={"OpenAI-Beta": "assistants=v1"},
        answer=error(
            "The v1 Assistants API has been deprecated. Please try again by setting the header 'OpenAI-Beta: "
            "assistants=v2'. See the migration guide for more information: "
            "https://platform.openai.com/docs/assistants/migration.", "invalid_beta",
        ),
    ),
    Row(
        cites="2.2 malformed beta", headers={"OpenAI-Beta": "v1"}, status=400,
        answer=error(begins("Invalid beta header provided: 'v1'. "), "invalid_beta"),
    ),
    Row(
        cites="2.2 unknown beta", headers={"OpenAI-Beta": "x"}, status=400,
        answer=error("Unknown beta requested: 'x'.", "invalid_beta"),
    ),
)  # fmt: skip
async def test_who_asks(service: Service, row: Row):
    await service.hold(row)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"foo": 1, "content": "hi"}, "missing_required_parameter"),
        ({"foo": 1, "role": "bogus", "content": 7}, "unknown_parameter"),
        ({"foo": 1, "role": "user", "content": []}, "unknown_parameter"),
        ({"foo": 1, "role": "user", "content": "hi", "metadata": 7}, "unknown_parameter"),
    ],
)
async def test_a_missing_field_is_told_before_an_unknown_one_and_that_before_the_rest(
    service: Service, message: dict[str, object], code: str
):
    """2.2: order of faults."""
    await service.hold(Row(cites="", body={"messages": [message]}, status=400, answer={"error": {"code": code}}))
    await service.hold(Row(cites="", path=MESSAGES, body=message, status=400, answer={"error": {"code": code}}))


async def test_a_429_says_after_how_many_whole_seconds_to_come_back(tmp_path: Path):
    """2.2 and 1.1: 429 carries Retry-After, an integer of at least 1, and the envelope."""
    async with live(tmp_path / "data", Settings(rate=1, burst=1)) as service:
        for _ in range(50):
            answer = await service.ask("GET", f"{THREADS}/{NO_THREAD}")
            if answer.status_code == 429:
                break
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert ACME not in answer.text
