"""Schemathesis, which makes requests of the description at ``/openapi.json``, finds nothing wrong with the answers.

It sends what the description allows and what it forbids, follows the links from one answer to the next request, and
holds statuses, headers and bodies against what is described.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from clew_services.compose import Clew
from clew_services.http.openapi import document
from clew_services.settings import Settings
from support.api import ACME, served
from support.feeding import fed_by_hand

CONFIGURED = """
[phases.stateful]
max-steps = 6
inference.algorithms = []

[checks]
negative_data_rejection.expected-statuses = ["400", "401", "404", "405", "413"]
positive_data_acceptance.expected-statuses = ["2xx", "3xx", "404", "409", "413"]

# Together with what is there already, a patch may be too much.
[[operations]]
include-operation-id = ["patchThread", "patchMessage"]
checks.positive_data_acceptance.enabled = false

# What is to be confirmed, and what a filter may not say, is in no schema.
[[operations]]
include-operation-id = ["setRetention", "placeStandingHold"]
checks.positive_data_acceptance.enabled = false

# What is deleted still has its past.
[[operations]]
include-operation-id = ["listEvents", "diffThread", "blameThread"]
checks.use_after_free.enabled = false
"""
EXAMPLES = "5"


def parts(node: object) -> Iterator[dict[str, Any]]:
    """Every object in a description."""
    if isinstance(node, dict):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from parts(part)


LEFT_OUT = {
    "listThreads": {"after", "before", "query", "at_least", "order_by"},
    "listConversations": {"after", "before", "query", "at_least", "order_by"},
    "listForks": {"after", "before", "query", "at_least", "order_by"},
    "listHolds": {"at_least"},
    "listDue": {"until", "after"},
    "listEvents": {"after", "before", "type", "since", "until"},
    "listOwnEvents": {"after", "before", "type", "since", "until"},
    "feed": {"after", "type", "since", "until", "stream"},
    "diffThread": {"from", "to"},
}
"""The parameters of single operations that are not sent; ``as_of`` is sent to none."""


def narrowed(described: dict[str, Any]) -> dict[str, Any]:
    """The description without what JSON Schema cannot say, or Schemathesis does not send as it is."""
    for part in parts(described):
        if "operationId" in part and isinstance(part.get("parameters"), list):
            # The quotes around an ETag do not survive, which moments and cursors there are only the record knows, and
            # what is streamed has no end.
            out = LEFT_OUT.get(part["operationId"], set()) | {
                "as_of",
                *(f"#/components/parameters/{name}" for name in ("ifMatch", "ifNoneMatch")),
            }
            part["parameters"] = [
                each for each in part["parameters"] if each.get("$ref") not in out and each.get("name") not in out
            ]
    schemas = described["components"]["schemas"]
    # Chunks overlap by at most half, a store is named in one of two ways, and what is attached adds up.
    del schemas["NewMessage"]["properties"]["attachments"]
    del schemas["NewVectorStore"]["properties"]["chunking_strategy"]
    del schemas["NewStoresForSearch"]["properties"]["vector_store_ids"]
    # What nests without an end takes long to make up.
    for inner in ("and", "or", "not"):
        del schemas["Condition"]["properties"][inner]
    # A condition and a new message are made up in all ways where they are alone: elsewhere that is a fifth of all.
    schemas["StandingHoldBody"]["properties"]["where"] = {"enum": [{"metadata": {"key": "a", "eq": "b"}}, {}, {"x": 1}]}
    message = {"type": "array", "items": {"enum": [{"role": "user", "content": "hi"}]}}
    schemas["CreateThreadBody"]["properties"]["messages"] = {"anyOf": [message, {"type": "null"}]}
    # What is sent back as it was answered says where it is. An item is an object of some type.
    del schemas["NewMessage"]["properties"]["thread_id"]
    del schemas["UpdateConversationBody"]["properties"]["id"]
    for own in ("id", "forked_from"):
        del schemas["ModifyThreadBody"]["properties"][own]
    # Which versions there are, and which items, the record knows.
    del schemas["ForkBody"]["properties"]["at"]
    items = {"type": "array", "items": {"enum": [{"role": "user", "content": "hi"}, {"type": "note", "n": 1.5}]}}
    schemas["CreateItemsBody"]["properties"]["items"] = items
    schemas["CreateConversationBody"]["properties"]["items"] = {"anyOf": [items, {"type": "null"}]}
    # To JSON Schema 30.0 is an integer; to OpenAI and to Clew it is a decimal number.
    schemas["ExpiresAfterIn"]["properties"]["days"] = {"enum": [1, 30, 36_500]}
    return described


@pytest.mark.timeout(1200)  # thousands of requests, one after the other
async def test_requests_made_of_the_description_are_answered_as_described(clew: Clew, tmp_path: Path):
    described = tmp_path / "openapi.json"
    (tmp_path / "schemathesis.toml").write_text(CONFIGURED)
    with fed_by_hand(clew, tmp_path):
        await _hold(clew, tmp_path, described)


async def _hold(clew: Clew, tmp_path: Path, described: Path):
    # Nobody projects here, and that is not what is tested.
    async with served(clew, Settings(stuck_after=0)) as url, httpx2.AsyncClient(timeout=60) as http:
        described.write_text(json.dumps(narrowed((await http.get(f"{url}/openapi.json")).json())))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
            "run", described.name, "--url", url, "--header", f"Authorization: Bearer {ACME}",
            "--max-examples", EXAMPLES, "--generation-deterministic", "--no-shrink",
            "--no-color",
            cwd=tmp_path, env={**os.environ, "COLUMNS": "120"},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
    told = output.decode()
    assert process.returncode == 0, told
    operations = sum(len(item) for item in document()["paths"].values())
    assert f"Tested: {operations}" in told, told
    followed = re.search(r"API Links:\s+(\d+) covered", told)
    assert followed is not None, told
    assert int(followed[1]) >= 8, told
    generated = re.search(r"(\d+) generated", told)
    assert generated is not None, told
    assert int(generated[1]) > 500, told
