"""OpenAI's client for Node, as it is published, on a real service."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from clew_events.subjects import Address
from clew_services.compose import Clew
from clew_services.http.retries import Attempt
from support.api import ACME, served
from support.cutting import Fate, Patient, cutting
from support.node import NODE, check_lock, install, needs_node

FOLDER = Path(__file__).parents[1] / "node_openai"


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the locked client and the programs that use it."""
    return install(FOLDER, tmp_path_factory.mktemp("node_openai"))


async def run(folder: Path, program: str, url: str, **env: str) -> dict[str, object]:
    process = await asyncio.create_subprocess_exec(
        str(NODE), program, cwd=folder, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "CLEW_KEY": ACME, "CLEW_URL": f"{url}/v1", **env},
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0
    found: dict[str, object] = json.loads(output)
    return found


def test_the_lock_file_names_no_host():
    check_lock(FOLDER)


@needs_node
async def test_the_node_client_sees_what_the_live_service_showed(node_folder: Path, clew: Clew):
    async with served(clew) as url:
        seen = await run(node_folder, "threads.mjs", url)
    said = [str(number) for number in range(45)]
    created = seen["created"]
    assert isinstance(created, dict)
    assert list(created) == ["id", "object", "created_at", "metadata", "tool_resources"]
    assert (created["metadata"], created["tool_resources"]) == ({"customer": "c-81"}, {})
    assert seen["newestFirst"] == said[::-1]
    assert seen["oldestFirst"] == said
    assert seen["before"] == said[13:19]
    assert seen["pages"] == [45, False, True]

    added, retrieved = seen["added"], seen["retrieved"]
    assert isinstance(added, dict)
    assert (added["role"], added["status"], added["attachments"]) == ("assistant", "completed", [])
    assert added["content"] == [{"type": "text", "text": {"value": "!", "annotations": []}}]
    assert seen["changed"] == {"k": "v"}
    assert seen["dropped"] == {"id": added["id"], "object": "thread.message.deleted", "deleted": True}
    assert seen["updated"] == {"state": "closed"}
    assert retrieved == {
        **created, "metadata": {"state": "closed"}, "tool_resources": {"code_interpreter": {"file_ids": []}}
    }  # fmt: skip
    assert seen["deleted"] == {"id": created["id"], "object": "thread.deleted", "deleted": True}


@needs_node
async def test_the_node_client_raises_what_was_wrong(node_folder: Path, clew: Clew):
    async with served(clew) as url:
        seen = await run(node_folder, "threads.mjs", url)

    def refused(what: str) -> tuple[object, ...]:
        found = seen[what]
        assert isinstance(found, dict)
        return found["name"], found["status"], found["code"], found["param"]

    assert refused("gone") == ("NotFoundError", 404, None, None)
    assert refused("missing") == ("NotFoundError", 404, None, None)
    assert refused("bad") == ("BadRequestError", 400, "invalid_type", "metadata.modified")
    assert refused("stranger") == ("AuthenticationError", 401, "invalid_api_key", None)
    missing, created = seen["missing"], seen["created"]
    assert isinstance(missing, dict)
    assert isinstance(created, dict)
    assert missing["error"]["message"] == f"No thread found with id '{created['id']}'."


@needs_node
async def test_a_conversation_lives_with_the_node_client(node_folder: Path, clew: Clew):
    async with served(clew) as url:
        seen = await run(node_folder, "conversations.mjs", url)
    created = seen["created"]
    assert isinstance(created, dict)
    assert list(created) == ["id", "object", "created_at", "metadata"]
    assert seen["added"] == 46
    assert seen["oldestFirst"] == [*map(str, range(45)), "rs_1"]
    left = {"type": "reasoning", "id": "rs_1", "summary": []}
    assert (seen["whole"], seen["left"]) == ({**left, "encrypted_content": "sealed"}, left)
    assert seen["dropped"] == created
    assert seen["updated"] == {**created, "metadata": {"state": "closed"}}
    assert seen["deleted"] == {"id": created["id"], "object": "conversation.deleted", "deleted": True}
    assert seen["missing"] == ["NotFoundError", 404, f"Conversation with id '{created['id']}' not found."]


@needs_node
@pytest.mark.parametrize(
    ("fate", "keys"), [("caller leaves", "off"), ("never arrives", "off"), ("answer is lost", "on")]
)
async def test_what_the_node_client_repeats_happens_once(
    node_folder: Path, clew: Clew, monkeypatch: pytest.MonkeyPatch, fate: Fate, keys: str
):
    patient, real = Patient(clew), Attempt.lost

    def lost(attempt: Attempt) -> None:
        real(attempt)
        patient.lost(attempt)

    monkeypatch.setattr(Attempt, "lost", lost)
    async with served(patient) as url, cutting(url, [fate, fate]) as wire:
        made = await run(node_folder, "retries.mjs", wire.url, CLEW_KEYS=keys)
    assert [met for met, _ in wire.met] == [fate, "pass", fate, "pass"]
    thread = str(made["thread"])
    commits = [each.commit async for each in clew.histories.after(Address("acme", thread), 0)]
    assert [commit.command for commit in commits] == ["CreateThread", "AddMessage"]
    assert sum([(await clew.js.api(f"STREAM.INFO.CLEW_EVT_0{shard}"))["state"]["messages"] for shard in range(2)]) == 2
