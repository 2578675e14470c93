"""The client's typed methods offer what the table of operations has, no less and no more."""

from __future__ import annotations

import inspect
import math
from datetime import UTC, datetime
from types import MappingProxyType
from typing import get_args, get_type_hints

import msgspec
import pytest
from msgspec import Raw
from nats.aio.client import Client

from clew_events.client import Clew, sync
from clew_events.client.command_methods import as_item, as_message
from clew_events.client.method_options import build_query
from clew_events.commands import AddItems, ReplaceItem
from clew_events.errors import Invalid
from clew_events.list_query import ListThreads
from clew_events.operations import OPERATIONS, Operation
from clew_events.requests import NewMessage

ON_NATS = [operation for operation in OPERATIONS if operation.request is not None]
METHODS = {
    "update_thread": ("update_thread", "patch_metadata"),
    "update_message": ("update_message", "patch_message_metadata"),
    "feed": ("feed_page",),
}
"""The methods of an operation where it is not one method of the operation's name."""
BEYOND = {"feed", "wait_for", "ask_for_threads", "send", "enqueue"}
"""Methods that take a whole command or combine queries, beside those that iterate over pages."""
RENAMED = {"id": "command_id", "set": "patch", "unset": "patch"}
SAID_BY_THE_CLIENT = {"actor", "reply_to"}
"""The fields of commands that no method takes: the client says them, or the inbox alone reads them."""
OF_A_STRING = {"role"}
"""What methods take beside a message that is given as its text."""


def methods(operation: Operation) -> tuple[str, ...]:
    return METHODS.get(operation.name, (operation.name,))


def parameters(name: str) -> dict[str, inspect.Parameter]:
    """The parameters of a method, with an option each for those of ``**options``, which have no default."""
    method, found = getattr(Clew, name), dict[str, inspect.Parameter]()
    for key, parameter in inspect.signature(method).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            (options,) = get_args(get_type_hints(method)[key])
            found |= {
                each: parameter.replace(name=each, kind=parameter.KEYWORD_ONLY) for each in options.__annotations__
            }
        elif key not in {"self", "asked"}:
            found[key] = parameter
    return found


@pytest.mark.parametrize("operation", ON_NATS, ids=lambda operation: operation.name)
def test_every_field_of_a_request_is_a_parameter_of_its_method(operation: Operation) -> None:
    assert operation.request is not None
    fields = {field.name for field in msgspec.structs.fields(operation.request)}
    if operation.command is not None:
        fields -= SAID_BY_THE_CLIENT
    taken = {RENAMED.get(name, name) for method in methods(operation) for name in parameters(method)}
    if operation.name in {"create_thread", "fork_thread"}:
        fields.remove("expected_version")  # which a thread that is not there yet has none of
    assert taken - OF_A_STRING == {RENAMED.get(name, name) for name in fields}


@pytest.mark.parametrize("operation", ON_NATS, ids=lambda operation: operation.name)
def test_the_client_without_async_has_every_method_of_an_operation(operation: Operation) -> None:
    for method in methods(operation):
        assert hasattr(sync.Clew, method)


@pytest.mark.parametrize(
    "operation", [each for each in ON_NATS if each.query is not None], ids=lambda operation: operation.name
)
def test_what_a_caller_leaves_out_is_what_the_query_leaves_out(operation: Operation) -> None:
    assert operation.query is not None
    for method in methods(operation):
        for field in msgspec.structs.fields(operation.query):
            parameter = parameters(method).get(field.name)
            if parameter is not None and not field.required and operation.name != "list_threads":
                assert parameter.default == field.default, f"{method}: {field.name}"


def test_a_list_that_is_asked_for_with_no_words_is_the_default_one() -> None:
    assert build_query({}) == ListThreads()


async def test_an_option_of_an_unknown_name_is_an_error_before_anything_is_sent() -> None:
    clew = Clew(Client())  # not connected: whatever it sent would be another error
    wrong = {"expected_verison": 1}
    with pytest.raises(TypeError, match="expected_verison"):
        await clew.delete_thread("thread_a", **wrong)  # type: ignore[misc]
    with pytest.raises(TypeError, match="expected_verison"):
        await clew.list_threads(**wrong)  # type: ignore[misc]


PASTED = Raw(b'{"type":"x"}],"thread_id":"thread_b","actor":"boss","items":[{"type":"y"}')


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (PASTED, "Extra data"),
        (Raw(b'{"type":"x"}{}'), "Extra data"),
        (Raw(b"[]"), "expected an object, but got an array"),
        (Raw(b"1e400"), "expected an object, but got a decimal number"),
        (Raw(b""), "Expecting value"),
        (Raw(b'{"type":"x","a":NaN}'), "NaN"),
        (Raw(b'{"type":"\xff"}'), "not UTF-8 at byte 9"),
        (Raw(b'{"type":"\\ud800"}'), "lone surrogate"),
        ({"type": "x", "a": [math.nan]}, "float values"),
        ({"type": "x", "a": -math.inf}, "float values"),
        ({"type": "x", "a": {"\ud800": 1}}, "surrogates"),
        ({"type": "x", "a": PASTED}, "msgspec.Raw is unsupported"),
        ({"type": "x", "a": object()}, "unsupported"),
        ({"type": "x", 1: "a", "1": "b"}, "the key '1' is there twice"),
    ],
)
async def test_an_item_that_is_not_one_json_object_is_refused_by_its_place_before_anything_is_sent(
    item: Raw | dict[str, object], why: str
) -> None:
    clew = Clew(Client())  # not connected: whatever it sent would be another error
    calls = [
        (clew.add_items("thread_a", [{"type": "x"}, item]), "items[1]"),
        (clew.create_thread(items=[item]), "items[0]"),
        (clew.replace_item("thread_a", "id", item), "item"),
    ]
    if isinstance(item, Raw):
        calls += [
            (clew.send(AddItems(thread_id="thread_a", items=(item,))), "items[0]"),
            (clew.enqueue(ReplaceItem(thread_id="thread_a", item_id="id", item=item)), "item"),
        ]
    for call, param in calls:
        with pytest.raises(Invalid) as refused:
            await call
        assert (refused.value.param, why in refused.value.message) == (param, True), refused.value.message


def test_an_item_keeps_its_digits_and_what_is_no_json_type_is_written_as_its_text() -> None:
    item = MappingProxyType({"n": 10**30, "at": datetime(2026, 1, 1, tzinfo=UTC), "é": MappingProxyType({"a": (1.5,)})})
    written = '{"n":1000000000000000000000000000000,"at":"2026-01-01T00:00:00Z","é":{"a":[1.5]}}'
    assert bytes(as_item(item)).decode() == written


async def test_a_text_that_is_no_unicode_is_refused_before_anything_is_sent() -> None:
    clew = Clew(Client())
    for call in (clew.add_message("thread_a", "\ud800"), clew.get_thread("thread_\ud800")):
        with pytest.raises(Invalid, match="surrogates not allowed"):
            await call


def test_no_method_is_without_its_operation() -> None:
    offered = {name for name, _ in inspect.getmembers(Clew, inspect.isfunction) if not name.startswith("_")}
    offered |= {name for name, _ in inspect.getmembers(Clew, inspect.isasyncgenfunction) if not name.startswith("_")}
    known = {name for operation in ON_NATS for name in methods(operation)}
    iterating = {name for name in offered if name.startswith("iter_")}
    assert offered - iterating - BEYOND == known


def test_a_text_is_a_message_by_the_role_that_is_given_and_a_message_keeps_its_own() -> None:
    assert [as_message("hi", role).role for role in (None, "user", "assistant")] == ["user", "user", "assistant"]
    answer = NewMessage(role="assistant", content="hi")
    assert as_message(answer) == as_message(answer, "assistant") == as_message("hi", "assistant") == answer
    with pytest.raises(Invalid, match="'role'"):
        as_message(answer, "user")
