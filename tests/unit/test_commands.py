from __future__ import annotations

import itertools
import json
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew_events import commands
from clew_events.commands import OWN, AddMessage, Command, CreateThread, DeleteThread, UpdateThread
from clew_events.operations import COMMANDS, WIRE_NAMES
from clew_events.requests import MetadataPatch, NewMessage

THREAD = "thread_0000000000000000000clew"
OTHER = "thread_0000000000000000000ball"


def read(text: str, kind: type[Command]) -> Command:
    return msgspec.json.decode(text.encode(), type=kind)


SALT = "c2FsdCBvZiBhIHRlc3Qgb24"


def digest(command: Command) -> str:
    return commands.digest(command, SALT)


def test_digests_under_the_same_salt_are_the_same_for_ever() -> None:
    spoken = AddMessage(thread_id=THREAD, message=NewMessage(role="user", content="Grüße 😀"))
    assert digest(CreateThread()) == f"{SALT}.e1f7a42ac0a59423dcc704a117da5377"
    assert digest(DeleteThread(thread_id=THREAD)) == f"{SALT}.285a9ee586bb3a7cae508d7602f1b702"
    assert digest(spoken) == f"{SALT}.5e1fce4ef93b6565c4e2c63059774520"
    assert (
        digest(UpdateThread(thread_id=THREAD, metadata=None, expected_version=3))
        == f"{SALT}.f88f99ccaf7cb200ff2f10e349193b35"
    )


def test_a_repeat_is_known_by_the_digest_whatever_its_salt_and_another_command_is_not() -> None:
    asked = UpdateThread(thread_id=THREAD, metadata={"pin": "4711"})
    for salt in (SALT, "", "other"):
        stored = commands.digest(asked, salt)
        assert commands.has_digest(asked, stored)
        assert not commands.has_digest(UpdateThread(thread_id=THREAD, metadata={"pin": "4712"}), stored)
    assert commands.digest(asked, "one") != commands.digest(asked, "two")


@pytest.mark.parametrize("stored", ["", ".", SALT, f"{SALT}.", "Ü.x"])
def test_what_is_no_digest_is_that_of_no_command(stored: str) -> None:
    assert not commands.has_digest(DeleteThread(thread_id=THREAD), stored)


def test_who_asks_and_under_which_id_is_no_part_of_what_is_asked() -> None:
    plain = DeleteThread(thread_id=THREAD)
    for more in ({"id": "1"}, {"actor": "billing"}, {"reason": "asked to"}, {"reply_to": "_INBOX.a"}):
        assert digest(msgspec.structs.replace(plain, **more)) == digest(plain)


def test_spacing_key_order_and_spelled_out_defaults_change_nothing() -> None:
    spellings = [
        '{"thread_id":"%s","metadata":{"a":"1","b":"2"}}',
        '{ "metadata" : {"b":"2", "a":"1"},\n "thread_id" : "%s" }',
        '{"id":null,"actor":null,"expected_version":null,"thread_id":"%s","metadata":{"\\u0061":"1","b":"2"}}',
    ]
    digests = {digest(read(text % THREAD, UpdateThread)) for text in spellings}
    assert len(digests) == 1


def test_anything_else_asked_is_another_digest() -> None:
    asked: list[Command] = [
        UpdateThread(thread_id=THREAD),
        UpdateThread(thread_id=OTHER),
        UpdateThread(thread_id=THREAD, metadata=None),
        UpdateThread(thread_id=THREAD, metadata={}),
        UpdateThread(thread_id=THREAD, metadata={"a": "1"}),
        UpdateThread(thread_id=THREAD, metadata={"a": "2"}),
        UpdateThread(thread_id=THREAD, patch=MetadataPatch(set={"a": "1"})),
        UpdateThread(thread_id=THREAD, patch=MetadataPatch(unset=("a",))),
        UpdateThread(thread_id=THREAD, expected_version=0),
        UpdateThread(thread_id=THREAD, expected_version=1),
        DeleteThread(thread_id=THREAD),
        CreateThread(thread_id=THREAD),
    ]
    for one, other in itertools.combinations(asked, 2):
        assert digest(one) != digest(other), (one, other)


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=6), st.randoms())
def test_the_order_of_metadata_keys_is_not_part_of_a_command(metadata: dict[str, str], random: object) -> None:
    keys = list(metadata)
    random.shuffle(keys)  # type: ignore[attr-defined]
    shuffled = {key: metadata[key] for key in keys}
    assert digest(CreateThread(metadata=shuffled)) == digest(CreateThread(metadata=metadata))


def test_every_command_has_one_name_on_the_wire_and_one_in_the_record() -> None:
    kinds = set(get_args(Command)) - set(OWN)
    assert set(COMMANDS.values()) == kinds
    assert {kind.named for kind in kinds} == {kind.__name__ for kind in kinds} == set(WIRE_NAMES)
    for name, kind in COMMANDS.items():
        assert WIRE_NAMES[kind.named] == name


@pytest.mark.parametrize("kind", get_args(Command))
def test_a_command_refuses_fields_it_does_not_know(kind: type[Command]) -> None:
    with pytest.raises(msgspec.ValidationError, match="surprise"):
        read('{"surprise":1}', kind)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"id":"a b"}', "id"),
        ('{"expected_version":-1}', "expected_version"),
        ('{"reply_to":"a.>"}', "reply_to"),
        ('{"thread_id":"thread_.x"}', "thread_id"),
        ('{"metadata":{"a":1}}', "metadata"),
        ('{"metadata":{"%s":""}}' % ("k" * 65), "metadata"),
        ('{"metadata":{"a":"%s"}}' % ("v" * 513), "metadata"),
        (json.dumps({"metadata": dict.fromkeys(map(str, range(17)), "")}), "metadata"),
        (json.dumps({"messages": [{"role": "user", "content": ""}] * 101}), "messages"),
        ('{"messages":[{"role":"system","content":""}]}', "messages"),
        ('{"messages":[{"role":"user","content":[]}]}', "messages"),
    ],
)
def test_a_command_outside_the_limits_is_refused_by_its_type_naming_the_field(text: str, field: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"\$\.{field}"):
        read(text, CreateThread)


def test_a_command_at_the_limits_is_taken() -> None:
    metadata = {f"{n:02d}" + "k" * 62: "v" * 512 for n in range(16)}
    messages = tuple(NewMessage(role="user", content="x") for _ in range(100))
    command = CreateThread(id="x" * 128, metadata=metadata, messages=messages)
    assert read(msgspec.json.encode(command).decode(), CreateThread) == command
