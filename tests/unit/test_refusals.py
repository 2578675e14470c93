"""What bad input is answered with, word for word: programs match on these sentences."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import Raw

from clew_events.commands import (
    AddItems,
    AddMessage,
    CreateThread,
    DeleteItem,
    PlaceHold,
    RemoveRetention,
    UpdateMessage,
    UpdateThread,
)
from clew_events.errors import Invalid
from clew_events.http_forms import CreateConversationBody, CreateItemsBody
from clew_events.ids import ITEM_ID_FORM
from clew_events.items import read_item
from clew_events.operations import OPERATIONS, Operation
from clew_events.queries import GetStateAt, ListMessages
from clew_events.requests import NewMessage
from clew_services import validation


def refused(value: object, form: type = CreateThread) -> tuple[str, str, str | None]:
    """How a value is refused: message, code, param."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(Invalid) as refusal:
        validation.decode(raw, form)
    return refusal.value.message, refusal.value.code, refusal.value.param


def said(content: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": content}]}


def searching(**search: object) -> dict[str, object]:
    return {"tool_resources": {"file_search": search}}


def chunked(size: int, overlap: int) -> dict[str, object]:
    static = {"max_chunk_size_tokens": size, "chunk_overlap_tokens": overlap}
    return searching(vector_stores=[{"chunking_strategy": {"type": "static", "static": static}}])


def test_a_good_value_is_just_decoded():
    decoded = validation.decode(b'{"metadata": {"k": "v"}, "messages": null}', CreateThread)
    assert decoded == CreateThread(metadata={"k": "v"})


def test_a_metadata_value_that_is_no_text_is_named_with_its_type():
    for value, kind in [(None, "null"), (True, "a boolean"), (1, "an integer"), (1.5, "a decimal number")]:
        assert refused({"metadata": {"modified": value}}) == (
            f"Invalid type for 'metadata.modified': expected a string, but got {kind} instead.",
            "invalid_type",
            "metadata.modified",
        )
    for value, kind in [([], "an array"), ({}, "an object")]:
        assert refused({"metadata": {"k": value}})[0].endswith(f"but got {kind} instead.")


BAD_PAIRS = st.dictionaries(
    st.text("kx", min_size=1, max_size=3) | st.sampled_from([letter * 65 for letter in "abc"]),
    st.sampled_from(["v", 1, "v" * 513]),
    min_size=2,
    max_size=16,
)


@given(BAD_PAIRS)
def test_of_several_bad_pairs_the_first_one_sent_is_named(pairs: dict[str, object]):
    bad = [key for key, value in pairs.items() if len(key) > 64 or value != "v"]
    assume(bad)
    path = "patch.set" if len(pairs) % 2 else "metadata"
    body = {"thread_id": "thread_a", **({"metadata": pairs} if path == "metadata" else {"patch": {"set": pairs}})}
    assert refused(body, UpdateThread)[2] == f"{path}.{bad[0]}"


def test_metadata_has_at_most_sixteen_pairs():
    assert refused({"metadata": {str(number): "v" for number in range(17)}}) == (
        (
            "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, "
            "but got an object with 17 properties instead."
        ),
        "object_above_max_properties",
        "metadata",
    )


def test_a_metadata_value_has_at_most_512_characters_not_bytes():
    validation.decode(json.dumps({"metadata": {"k": "線" * 512}}, ensure_ascii=False).encode(), CreateThread)
    assert refused({"metadata": {"k": "v" * 600}}) == (
        (
            "Invalid 'metadata.k': string too long. Expected a string with maximum length 512, "
            "but got a string with length 600 instead."
        ),
        "string_above_max_length",
        "metadata.k",
    )


def test_a_long_metadata_key_is_abbreviated_in_the_sentence_and_whole_in_param():
    assert refused({"metadata": {"k" * 70: "v"}}) == (
        (
            "Invalid property name in 'metadata': 'kkk...kkk' is too long. Expected a string with maximum length 64, "
            "but got a string with length 70 instead."
        ),
        "property_name_above_max_length",
        "metadata." + "k" * 70,
    )


def test_metadata_has_to_be_an_object():
    assert refused({"metadata": "x"}) == (
        "Invalid type for 'metadata': expected an object, but got a string instead.",
        "invalid_type",
        "metadata",
    )


def test_an_unknown_field_is_named_wherever_it_stands():
    assert refused({"foo": 1}) == ("Unknown parameter: 'foo'.", "unknown_parameter", "foo")
    message = {"role": "user", "content": "x", "mood": "sad"}
    assert refused({"messages": [message]}) == (
        "Unknown parameter: 'messages[0].mood'.",
        "unknown_parameter",
        "messages[0].mood",
    )


def test_a_wrong_type_says_what_was_expected_of_which_items():
    assert refused({"messages": "x"}) == (
        "Invalid type for 'messages': expected an array of objects, but got a string instead.",
        "invalid_type",
        "messages",
    )
    assert refused({"tool_resources": {"code_interpreter": {"file_ids": {}}}}) == (
        (
            "Invalid type for 'tool_resources.code_interpreter.file_ids': expected an array of strings, "
            "but got an object instead."
        ),
        "invalid_type",
        "tool_resources.code_interpreter.file_ids",
    )


def test_content_may_be_one_of_two_types():
    assert refused(said(5)) == (
        (
            "Invalid type for 'messages[0].content': expected one of a string or array of objects, "
            "but got an integer instead."
        ),
        "invalid_type",
        "messages[0].content",
    )


def test_a_fault_inside_a_part_is_told_of_the_part_that_was_meant():
    assert refused(said([{"type": "text", "text": "a"}, {"type": "text", "text": 5}])) == (
        (
            "Invalid type for 'messages[0].content[1].text': expected one of a string or object, but got an integer "
            "instead."
        ),
        "invalid_type",
        "messages[0].content[1].text",
    )
    assert refused(said([{"type": "image_file", "image_file": {}}])) == (
        "Missing required parameter: 'messages[0].content[0].image_file.file_id'.",
        "missing_required_parameter",
        "messages[0].content[0].image_file.file_id",
    )


def test_a_part_of_an_unknown_or_missing_type_is_told_the_types_there_are():
    assert refused(said([{"type": "bogus"}])) == (
        "Invalid value: 'bogus'. Supported values are: 'text', 'image_file', and 'image_url'.",
        "invalid_value",
        "messages[0].content[0].type",
    )
    missing = "messages[0].content[0].type"
    assert refused(said([{"text": "a"}])) == (
        f"Missing required parameter: '{missing}'.",
        "missing_required_parameter",
        missing,
    )
    assert refused(said([{"type": 5}]))[1:] == ("invalid_type", missing)
    assert refused(said(["a"]))[1:] == ("invalid_type", "messages[0].content[0]")


def test_a_bogus_role_is_told_the_roles_in_the_contracts_order():
    assert refused({"role": "bogus", "content": "x"}, NewMessage) == (
        "Invalid value: 'bogus'. Supported values are: 'user' and 'assistant'.",
        "invalid_value",
        "role",
    )
    assert refused({"role": None, "content": "x"}, NewMessage) == (
        "Invalid type for 'role': expected a string, but got null instead.",
        "invalid_type",
        "role",
    )


def test_empty_content_is_an_empty_array():
    assert refused(said([])) == (
        (
            "Invalid 'messages[0].content': empty array. Expected an array with minimum length 1, "
            "but got an empty array instead."
        ),
        "empty_array",
        "messages[0].content",
    )


def test_content_has_at_most_256000_characters():
    assert refused({"role": "user", "content": "x" * 256_001}, NewMessage) == (
        (
            "Invalid 'content': string too long. Expected a string with maximum length 256000, "
            "but got a string with length 256001 instead."
        ),
        "string_above_max_length",
        "content",
    )


@pytest.mark.parametrize("many", [1001, 60_000])
@pytest.mark.parametrize("form", [CreateThread, AddItems, CreateConversationBody, CreateItemsBody])
def test_a_command_has_at_most_a_thousand_items(form: type, many: int):
    item, ids = {"type": "x"}, {"thread_id": "thread_a"} if form is AddItems else {}
    validation.decode(json.dumps({**ids, "items": [item] * 1000}).encode(), form)
    message, code, param = refused({**ids, "items": [item] * many}, form)
    assert f"array with maximum length 1000, but got an array with length {many} instead" in message
    assert (code, param) == ("array_above_max_length", "items")


def test_an_array_that_is_too_long_says_how_long_it_is():
    files = [str(number) for number in range(21)]
    assert refused({"tool_resources": {"code_interpreter": {"file_ids": files}}}) == (
        (
            "Invalid 'tool_resources.code_interpreter.file_ids': array too long. Expected an array with maximum "
            "length 20, but got an array with length 21 instead."
        ),
        "array_above_max_length",
        "tool_resources.code_interpreter.file_ids",
    )


def test_numbers_out_of_bounds_are_told_the_bounds():
    query = {"thread_id": "thread_a"}
    assert refused({**query, "limit": 1000}, ListMessages) == (
        "Invalid 'limit': integer above maximum value. Expected a value <= 100, but got 1000 instead.",
        "integer_above_max_value",
        "limit",
    )
    assert refused({**query, "limit": 0}, ListMessages) == (
        "Invalid 'limit': integer below minimum value. Expected a value >= 1, but got 0 instead.",
        "integer_below_min_value",
        "limit",
    )
    assert refused({**query, "limit": 1.0}, ListMessages)[1:] == ("invalid_type", "limit")


def test_a_missing_field_is_reported_before_an_unknown_one_and_that_before_a_wrong_type():
    message = {"role": 5, "bogus": 1}
    assert refused({"messages": [message], "foo": 1, "metadata": 5})[1:] == (
        "missing_required_parameter",
        "messages[0].content",
    )
    assert refused({"metadata": 5, "foo": 1})[1:] == ("unknown_parameter", "foo")


def test_ids_are_told_their_prefix_or_their_shape():
    assert refused({"thread_id": "1234"}, UpdateThread) == (
        "Invalid 'thread_id': '1234'. Expected an ID that begins with 'thread' or 'conv_'.",
        "invalid_value",
        "thread_id",
    )
    assert refused({"thread_id": "thread_a.b"}, UpdateThread) == (
        "Invalid 'thread_id': 'thread_a.b'. Expected 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'.",
        "invalid_value",
        "thread_id",
    )
    assert refused({"id": "a b"})[0] == "Invalid 'id': 'a b'. Expected 1 to 128 visible ASCII characters."
    item = refused({"thread_id": "thread_a", "item_id": "../x"}, DeleteItem)[0]
    assert item == f"Invalid 'item_id': '../x'. Expected {ITEM_ID_FORM}."


@pytest.mark.parametrize("dots", [".", "..", "..."])
def test_nothing_that_stands_in_a_path_is_called_by_dots_alone(dots: str):
    thread = {"thread_id": "thread_a"}
    for value, form, param in (
        ({**thread, "item_id": dots}, DeleteItem, "item_id"),
        ({**thread, "hold": dots}, PlaceHold, "hold"),
        ({"name": dots}, RemoveRetention, "name"),
    ):
        assert refused(value, form)[1:] == ("invalid_value", param)
    with pytest.raises(Invalid, match="not dots alone"):
        read_item(Raw(b'{"type":"x","id":"%s"}' % dots.encode()), "item")
    assert read_item(Raw(b'{"type":"x","id":"%s:"}' % dots.encode()), "item").id == f"{dots}:"


def test_what_is_null_in_place_of_items_is_told_that_they_are_objects():
    assert refused({"items": None}, CreateItemsBody) == (
        "Invalid type for 'items': expected an array of objects, but got null instead.",
        "invalid_type",
        "items",
    )


def test_paths_go_through_a_command_into_its_message():
    assert refused({"thread_id": "thread_a", "message": {"role": "user"}}, AddMessage) == (
        "Missing required parameter: 'message.content'.",
        "missing_required_parameter",
        "message.content",
    )


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b'{"a": 1} x', "trailing"),
        (b"\xef\xbb\xbf{}", "malformed"),
        (b'{"metadata": {"a": "\xff"}}', "not UTF-8 at byte 20"),
        (b'{"metadata": {"a": "\\ud800"}}', "a lone surrogate at byte 20, which is no character: \\ud800"),
        (b'{"metadata": {"a": "\\uD83D\\uDE00\\\\ud800 \\ud83dx"}}', "a lone surrogate at byte 40"),
        (b'{"metadata": {"a": "\\uDE00\\uD83D"}}', "a lone surrogate at byte 20, which is no character: \\uDE00"),
        (b'{"metadata": {"a": "\\ud800"}', "truncated"),
        (b'{"metadata": {"a": \\ud800}}', "malformed"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1", "nested too deeply"),
        (b'{"a": 1e999}', "out of range"),
        (b'{"expected_version": 1e999}', "out of range"),
        (b'{"a": %s}' % (b"9" * 10_000), "out of range"),
        (b'{"a": NaN}', "malformed"),
    ],
)
def test_what_is_no_json_is_called_so_and_nothing_worse(raw: bytes, reason: str):
    message, code, param = refused(raw)
    assert message.startswith("Invalid body: failed to parse JSON value. Please check the value to ensure it is valid")
    assert reason in message
    assert (code, param) == ("invalid_json", None)


def test_of_a_key_that_is_given_twice_the_last_value_counts():
    twice = b'{"metadata": {"a": "1", "a": "2"}, "thread_id": "thread_a", "thread_id": "thread_b"}'
    assert validation.decode(twice, CreateThread) == CreateThread(metadata={"a": "2"}, thread_id="thread_b")


@pytest.mark.parametrize(("raw", "kind"), [(b"[]", "an array"), (b"null", "null"), (b"3", "an integer")])
def test_a_body_that_is_no_object_is_called_so(raw: bytes, kind: str):
    message = f"Invalid body: expected an object, but got {kind} instead."
    assert refused(raw) == (message, "invalid_type", None)


def test_file_search_names_a_store_or_asks_for_one_not_both():
    validation.decode(json.dumps(searching(vector_stores=[{}])).encode(), CreateThread)
    validation.decode(json.dumps(searching()).encode(), CreateThread)
    both = searching(vector_store_ids=["vs_1"], vector_stores=[{}])
    assert refused(both)[1:] == ("invalid_value", "tool_resources.file_search")


def test_chunks_overlap_by_at_most_half():
    validation.decode(json.dumps(chunked(800, 400)).encode(), CreateThread)
    message, code, param = refused(chunked(801, 401))
    assert message.endswith("integer above maximum value. Expected a value <= 400, but got 401 instead.")
    assert code == "integer_above_max_value"
    path = "tool_resources.file_search.vector_stores[0].chunking_strategy.static"
    assert param == f"{path}.chunk_overlap_tokens"


@pytest.mark.parametrize("form", [UpdateThread, UpdateMessage])
def test_metadata_is_replaced_or_patched_not_both(form: type):
    ids = {"thread_id": "thread_a"} | ({"message_id": "msg_" + "a" * 24} if form is UpdateMessage else {})
    for whole in ({}, None):
        validation.decode(json.dumps({**ids, "metadata": whole}).encode(), form)
        assert refused({**ids, "metadata": whole, "patch": {}}, form)[1:] == ("invalid_value", "patch")


def test_a_version_that_json_readers_could_not_read_exactly_is_refused():
    assert refused({"expected_version": 2**53})[1:] == ("integer_above_max_value", "expected_version")
    assert "more than 40 digits" in refused({"expected_version": 10**300})[0]


def test_a_moment_is_a_number_or_a_time_with_its_offset():
    thread = {"thread_id": "thread_a"}
    assert refused(thread, GetStateAt)[1:] == ("missing_required_parameter", "n")
    both = {**thread, "n": 1, "time": "2026-01-01T00:00:00Z"}
    assert refused(both, GetStateAt)[1:] == ("invalid_value", "time")
    assert refused({**thread, "time": "2026-01-01T00:00:00"}, GetStateAt)[1:] == ("invalid_value", "time")
    assert refused({**thread, "time": "yesterday"}, GetStateAt) == (
        "Invalid 'time': Invalid RFC3339 encoded datetime.",
        "invalid_value",
        "time",
    )


def test_a_fault_in_a_huge_body_is_still_told_with_its_place():
    tools = [{"type": "file_search"}] * 10_000 + [{"type": "x"}]
    attachment = {"file_id": "file_1", "tools": tools}
    message = {"role": "user", "content": "x", "attachments": [attachment]}
    assert refused({"messages": [message]}) == (
        "Invalid 'messages[0].attachments[0].tools[10000].type': Invalid enum value 'x'.",
        "invalid_value",
        "messages[0].attachments[0].tools[10000].type",
    )


def test_a_huge_value_is_not_sent_back():
    message, _, param = refused({"x" * 100_000: 1})
    assert len(message) < 1000
    assert len(param or "") <= 1024
    assert len(refused({"role": "b" * 100_000, "content": ""}, NewMessage)[0]) < 1000


def test_plain_values_are_judged_as_bodies_are():
    asked = validation.convert({"thread_id": "thread_a", "limit": 5}, ListMessages)
    assert asked == ListMessages(thread_id="thread_a", limit=5)
    with pytest.raises(Invalid) as refusal:
        validation.convert({"thread_id": "thread_a", "limit": "x"}, ListMessages)
    assert refusal.value.message == ("Invalid type for 'limit': expected an integer, but got a string instead.")


def untold(schema: object) -> set[str]:
    """The patterns in a schema that no description says in words."""
    if isinstance(schema, dict):
        own = {schema["pattern"]} if isinstance(schema.get("pattern"), str) and "description" not in schema else set()
        return own.union(*(untold(each) for each in schema.values()))
    return set().union(*(untold(each) for each in schema)) if isinstance(schema, list) else set()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_every_pattern_that_a_request_has_to_fit_is_told_in_words(operation: Operation) -> None:
    forms = [operation.command, operation.query]
    forms += [form for route in operation.routes for form in (route.body, route.form)]
    for form in filter(None, forms):
        assert untold(msgspec.json.schema(form)) == set()


def test_what_clew_sets_in_a_message_that_is_sent_back_may_not_be_other_than_clew_sets_it():
    answered = {"role": "user", "content": [{"type": "text", "text": {"value": "x", "annotations": []}}]}
    assert refused({"messages": [{**answered, "status": "in_progress"}]}) == (
        "Invalid value: 'in_progress'. Supported values are: 'completed'.",
        "invalid_value",
        "messages[0].status",
    )
    assert refused({"messages": [{**answered, "run_id": "run_1"}]}) == (
        "Invalid type for 'messages[0].run_id': expected null, but got a string instead.",
        "invalid_type",
        "messages[0].run_id",
    )
    answered["content"][0]["text"]["annotations"] = ["a"]
    assert refused({"messages": [answered]})[1:] == (
        "array_above_max_length",
        "messages[0].content[0].text.annotations",
    )
