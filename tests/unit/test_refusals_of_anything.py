"""Whatever comes in, out comes a value or a refusal that names a place."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from clew_events.errors import Invalid
from clew_events.http_forms import CreateThreadBody, ModifyMessageBody, ModifyThreadBody, PageOfMessages, PatchBody
from clew_events.operations import COMMANDS, QUERIES
from clew_events.requests import NewMessage
from clew_services import validation
from clew_services.validation.decode_errors import path_of

FORMS = [
    *COMMANDS.values(),
    *QUERIES.values(),
    NewMessage,
    CreateThreadBody,
    ModifyThreadBody,
    ModifyMessageBody,
    PatchBody,
    PageOfMessages,
]

CHUNKING = {"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}}
MESSAGE = {
    "role": "user",
    "content": [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "https://x.example/a.png", "detail": "low"}},
        {"type": "image_file", "image_file": {"file_id": "file_1"}},
    ],
    "attachments": [{"file_id": "file_1", "tools": [{"type": "file_search"}]}],
    "metadata": {"k": "v"},
}
FULL = {
    "id": "cmd-1",
    "actor": "test",
    "expected_version": 1,
    "reply_to": "answers.here",
    "thread_id": "thread_abc",
    "message_id": "msg_" + "a" * 24,
    "message": MESSAGE,
    "messages": [MESSAGE, {"role": "assistant", "content": "b"}],
    "metadata": {"k": "v", "a.b[0]": ""},
    "patch": {"set": {"k": "v"}, "unset": ["old"]},
    "tool_resources": {
        "code_interpreter": {"file_ids": ["file_1"]},
        "file_search": {"vector_stores": [{"file_ids": ["file_1"], "chunking_strategy": CHUNKING}]},
    },
    "limit": 20,
    "order": "asc",
    "after": "msg_" + "b" * 24,
    "erasure_id": "erasure_" + "c" * 24,
    "status": "requested",
    "n": 3,
    "number": 3,
    "start": 1,
    "time": "2026-01-01T00:00:00Z",
    **MESSAGE,
}

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=70)
)
NAMES = st.sampled_from(sorted(FULL)) | st.sampled_from(["type", "text", "set"]) | st.text(max_size=70)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=20
)


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """Every part of a value, with its path."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in items:
        yield from places(part, (*path, name))


def hold(raw: bytes, form: type) -> None:
    """The promise under test."""
    try:
        outcome = validation.decode(raw, form)
    except Invalid as refusal:
        outcome = refusal
    if isinstance(outcome, Invalid):
        hold_refusal(raw, outcome)
    else:
        assert isinstance(outcome, form)


def hold_refusal(raw: bytes, refusal: Invalid) -> None:
    """It says something, and of a place that there is, or that ought to be."""
    assert refusal.message
    assert refusal.code
    if refusal.code == "invalid_json":
        assert refusal.param is None
        return
    there = dict(places(msgspec.json.decode(raw)))
    if refusal.param is None or len(refusal.param) >= 1024:
        return
    if refusal.code == "missing_required_parameter":
        objects = [(f"{path_of(path)}." if path_of(path) else "", part) for path, part in there.items()]
        assert any(
            isinstance(part, dict)
            and refusal.param.startswith(parent)
            and refusal.param.removeprefix(parent) not in part
            for parent, part in objects
        )
    else:
        assert refusal.param in {path_of(path) for path in there}


# To think up a value takes longer than to try it as every form there is.
@given(raw=st.binary(max_size=60))
def test_any_bytes_give_a_value_or_a_refusal(raw: bytes):
    for form in FORMS:
        hold(raw, form)


@given(value=JSON)
def test_any_json_gives_a_value_or_a_refusal(value: object):
    for form in FORMS:
        hold(json.dumps(value).encode(), form)


@settings(max_examples=150)
@given(
    without_patch=st.booleans(),
    place=st.integers(0, 2**16),
    change=st.sampled_from(["replace", "remove", "add", "many", "long"]),
    name=NAMES,
    value=JSON,
    more=st.sampled_from([512, 256_000]),
)
def test_a_request_with_one_thing_changed_gives_a_value_or_a_refusal(
    *, without_patch: bool, place: int, change: str, name: str, value: object, more: int
):
    for form in FORMS:
        fields = {field.encode_name for field in msgspec.structs.fields(form)}
        request = {name: copy.deepcopy(part) for name, part in FULL.items() if name in fields}
        if without_patch:
            request.pop("patch", None)
        everywhere = [found for found in places(request) if found[0]]
        if not everywhere:
            continue  # it has no fields of these
        path, part = everywhere[place % len(everywhere)]
        inside = request
        for step in path[:-1]:
            inside = inside[step]
        if change == "remove":
            del inside[path[-1]]
        elif change == "add" and isinstance(part, dict):
            part[name] = value
        elif change == "many" and isinstance(part, list):
            part.extend(part * 101)
        elif change == "long" and isinstance(part, str):
            inside[path[-1]] = part + "x" * more
        else:
            inside[path[-1]] = value
        hold(json.dumps(request).encode(), form)
