from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema
from jsonschema import Draft202012Validator

from clew_events import subjects
from clew_events.client import sync
from clew_events.commands import OWN, Command
from clew_events.contract import client_reference, contract_files
from clew_events.contract.contract_files import operations_table
from clew_events.contract.examples import EXAMPLES
from clew_events.contract.json_schema import GROUPS, definitions, public_name, type_name
from clew_events.operations import COMMANDS, OPERATIONS, QUERIES
from clew_events.queries import Query
from clew_events.subjects import Address
from clew_projections.places import Places
from clew_projections.views import StoredView

CHECKED_IN = Path(__file__).parents[2] / "docs" / "contract"
GOLDEN = Path(__file__).parents[1] / "golden"
SCHEMAS = contract_files.json_schema()
ASYNCAPI = contract_files.asyncapi()
TYPES = {type_name(kind): kind for group in GROUPS.values() for kind in group}


def validator(document: object, reference: str) -> Draft202012Validator:
    assert isinstance(document, dict)
    return Draft202012Validator({**document, "anyOf": [{"$ref": reference}]})


def walk(node: object) -> Iterator[tuple[str, object]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


def resolve(document: object, reference: str) -> object:
    for step in reference.removeprefix("#/").split("/"):
        assert isinstance(document, dict)
        document = document[step]
    return document


def test_the_checked_in_contract_is_what_the_types_say() -> None:
    said = {name: contract_files.render(document) for name, document in contract_files.documents().items()}
    written = {file.stem: file.read_text(encoding="utf-8") for file in CHECKED_IN.glob("*.json")}
    assert set(written) == set(said) == {"commands", "queries", "replies", "events", "log", "asyncapi"}
    for name, text in said.items():
        assert written[name] == text, f"docs/contract/{name}.json is not current: run 'make schema'"
    table = (CHECKED_IN / "operations.md").read_text(encoding="utf-8")
    assert table == operations_table(), "docs/contract/operations.md is not current: run 'make schema'"


def test_the_reference_of_the_client_is_what_its_signatures_say() -> None:
    written = (CHECKED_IN.parent / "client.md").read_text(encoding="utf-8")
    assert written == client_reference.reference(), "docs/client.md is not current: run 'make schema'"
    methods = {name for name in vars(sync.Clew) if not name.startswith("_")}
    assert methods <= set(re.findall(r"^### `(\w+)`$", written, re.MULTILINE))
    assert ":class:" not in written
    assert "ForwardRef" not in written


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_contract_comes_out_the_same_every_time(tmp_path: Path, seed: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "clew_events.contract.contract_files", str(tmp_path / "deep" / "folder")],
        check=True,
        capture_output=True,
        env={"PYTHONPATH": str(Path(contract_files.__file__).parents[1]), "PYTHONHASHSEED": seed},
    )
    written = {file.name: file.read_bytes() for file in (tmp_path / "deep" / "folder").iterdir()}
    assert written == {file.name: file.read_bytes() for file in CHECKED_IN.iterdir()}


def test_without_a_folder_to_write_to_it_says_how_to_name_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert contract_files.main([]) == 2
    assert "FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_document_is_valid_json_schema_and_complete_in_itself(name: str) -> None:
    document = SCHEMAS[name]
    Draft202012Validator.check_schema(document)
    for key, value in walk(document):
        if key == "$ref":
            assert resolve(document, str(value))


@pytest.mark.parametrize("name", TYPES)
def test_every_type_in_the_contract_has_examples_that_its_schema_and_its_decoder_take(name: str) -> None:
    (group,) = [group for group, kinds in GROUPS.items() if TYPES[name] in kinds]
    schema = resolve(SCHEMAS[group], f"#/$defs/{name}")
    assert isinstance(schema, dict)
    assert schema["examples"]
    judge = validator(SCHEMAS[group], f"#/$defs/{name}")
    for shown, example in zip(schema["examples"], EXAMPLES[name], strict=True):
        judge.validate(shown)
        text = json.dumps(shown, separators=(",", ":"))
        assert msgspec.json.decode(text.encode(), type=TYPES[name]) == example


def test_no_example_is_without_its_type() -> None:
    assert set(EXAMPLES) == set(TYPES)


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.commit")), ids=lambda file: file.stem)
def test_every_line_of_a_stored_commit_keeps_to_its_schema(file: Path) -> None:
    record, command, *contents, end = file.read_bytes().decode().split("\n")
    assert end == ""
    kept = json.loads(record)
    validator(SCHEMAS["log"], "#/$defs/CommitRecord").validate(kept)
    lines = [
        ("Command", command),
        *((event["type"], line) for event, line in zip(kept["events"], contents, strict=True)),
    ]
    for name, line in lines:
        if line:
            validator(SCHEMAS["log"], f"#/$defs/{name}Content").validate(json.loads(line))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("CreateThread", {"surprise": 1}),
        ("CreateThread", {"metadata": {"k" * 65: ""}}),
        ("CreateThread", {"metadata": {str(n): "" for n in range(17)}}),
        ("CreateThread", {"messages": [{"role": "system", "content": ""}]}),
        ("AddMessage", {"thread_id": "thread_1"}),
        ("DeleteThread", {"thread_id": "thread_a.b"}),
        ("DeleteThread", {"thread_id": "thread_a\n"}),
        ("GetStateAt", {"thread_id": "thread_1", "n": 0}),
        ("ListMessages", {"thread_id": "thread_1", "limit": 101}),
        ("ThreadDeleted", {"type": "ThreadCreated"}),
        ("Commit", {"v": 1}),
        ("CommitRecord", {"v": 2}),
        ("ItemAddedContent", {"salt": "", "message": {}}),
        ("MetadataUpdatedContent", {"set": {}, "unset": []}),
    ],
)
def test_what_the_decoder_refuses_the_schema_refuses_too(name: str, wrong: object) -> None:
    (group,) = [group for group, kinds in GROUPS.items() if TYPES[name] in kinds]
    assert not validator(SCHEMAS[group], f"#/$defs/{name}").is_valid(wrong)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, TYPES[name])


def test_the_contract_shows_no_python_path() -> None:
    for document in contract_files.documents().values():
        assert "clew_events" not in json.dumps([key for key, _ in walk(document)])
        assert not any("clew_events." in str(value) for key, value in walk(document) if key in {"$ref", "title"})


def test_one_name_means_one_thing_in_all_documents() -> None:
    seen: dict[str, object] = {}
    for document in SCHEMAS.values():
        assert isinstance(document, dict)
        for name, schema in document["$defs"].items():
            plain = {key: value for key, value in schema.items() if key != "examples"}
            assert seen.setdefault(name, plain) == plain


def test_two_types_of_one_name_are_not_let_into_the_contract() -> None:
    first = msgspec.defstruct("Twin", [("a", int)], module="clew_events.objects")
    second = msgspec.defstruct("Twin", [("b", int)], module="clew_events.queries")
    with pytest.raises(ValueError, match="Twin"):
        definitions([first, second], "#/$defs/")
    assert public_name("clew_events.content.Twin") == "RecordedTwin"


def test_the_views_of_a_projection_can_be_added_to_the_contract() -> None:
    views = contract_files.json_schema({"views": (StoredView, Places)})["views"]
    Draft202012Validator.check_schema(views)
    assert {"StoredView", "Places"} <= set(resolve(views, "#/$defs"))


def test_faststream_reads_the_asyncapi_document_as_its_own() -> None:
    read = ApplicationSchema.model_validate(ASYNCAPI)
    assert read.asyncapi == "3.0.0"
    assert len(read.operations) == len(ASYNCAPI["operations"])
    assert read.components is not None
    assert read.components.messages is not None
    assert set(read.components.messages) == set(resolve(ASYNCAPI, "#/components/messages"))


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    references = [str(value) for key, value in walk(ASYNCAPI) if key == "$ref"]
    assert references
    for reference in references:
        assert resolve(ASYNCAPI, reference)


def test_every_message_in_the_asyncapi_document_has_examples_that_its_payload_takes() -> None:
    messages = resolve(ASYNCAPI, "#/components/messages")
    assert isinstance(messages, dict)
    for message in messages.values():
        judge = validator({"components": ASYNCAPI["components"]}, message["payload"]["$ref"])
        assert message["examples"]
        for example in message["examples"]:
            judge.validate(example["payload"])


def test_every_command_and_query_has_its_subject_and_its_answer() -> None:
    assert set(COMMANDS.values()) == set(get_args(Command)) - set(OWN)
    assert set(QUERIES.values()) == set(get_args(Query))
    for name in COMMANDS:
        assert address(name) == subjects.command_subject("{tenant}", name)
        assert address(f"inbox_{name}") == subjects.inbox_subject("{tenant}", name)
        assert answer(name) == {"DoneReply"}
    for operation in OPERATIONS:
        if operation.reply is not None:
            assert answer(operation.name) == {type_name(operation.reply)}
            assert address(operation.name) == operation.subject("{tenant}")
    assert answer("get_thread") == {"FoundReply"}


def test_every_operation_stands_once_in_the_table_for_people() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", operations_table(), re.MULTILINE)
    assert sorted(rows) == sorted(operation.name for operation in OPERATIONS)


def test_the_log_and_its_echo_are_where_the_server_puts_them() -> None:
    place = {"shard": "03", "tenant": "default", "thread": "thread_1"}
    assert address("log").format(**place) == subjects.event_subject(3, Address("default", "thread_1"))
    assert address("live").format(**place) == "clew.live.evt.03.default.thread_1"
    assert set(place) == set(resolve(ASYNCAPI, "#/channels/log/parameters"))
    stream = resolve(ASYNCAPI, "#/channels/log/x-jetstream/stream")
    assert str(stream).format(shard="03") == subjects.event_stream(3)


def test_the_examples_chain_as_a_real_history_does() -> None:
    (history,) = (example.ok for example in EXAMPLES["HistoryReply"])
    first, second = history.commits
    assert second.commit.prev == first.hash
    assert isinstance(second.commit.at, datetime)
    assert second.commit.at >= first.commit.at


def address(channel: str) -> str:
    return str(resolve(ASYNCAPI, f"#/channels/{channel}/address"))


def answer(operation: str) -> set[str]:
    reply = str(resolve(ASYNCAPI, f"#/operations/{operation}/reply/channel/$ref"))
    messages = resolve(ASYNCAPI, f"{reply}/messages")
    assert isinstance(messages, dict)
    return set(messages)
