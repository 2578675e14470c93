"""What is erased is gone from every file, whatever was killed meanwhile, and a certificate says so."""

from __future__ import annotations

import asyncio
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from signal import SIGKILL

import pytest

from clew_events.commands import AddMessage, CreateThread, EraseMessage, EraseThread, UpdateMessage, UpdateThread
from clew_events.errors import AlreadyErased, NotFound
from clew_events.queries import GetHistory, GetMessage, GetThread, ListMessages, ListMessagesAt
from clew_events.requests import MetadataPatch, NewMessage
from clew_events.subjects import Address, inbox_subject
from clew_services.checkpoints.note import SigningKey
from clew_services.compose import Clew, connect
from clew_services.embedded.server import EmbeddedServer
from clew_services.erasure.certificate import read_certificate
from clew_services.erasure.worker import Worker
from support.deployments import connected_client, deployed
from support.erasure_worker import KEY, Killed, complete_all, worker
from support.markers import find_marker, new_marker
from support.truth import checkpointed, projecting
from support.up import Up, running_up
from support.waiting import PATIENCE, wait_until

BESIDE = "a text that stays where it is"
WRITTEN = (
    *("key", "value", "former value", "text", "attachment", "replaced", "patched", "deleted", "inbox", "rejected"),
)
"""Where a text may stand that a person wrote."""
CALLS = 40
"""Calls of a worker, about: it is killed before each of some of them."""


def places(markers: Mapping[str, str], folder: Path) -> dict[str, list[str]]:
    """The files that hold each marker, without those that are in none."""
    return {what: found for what, marker in markers.items() if (found := find_marker(folder, marker))}


class Api:
    """The HTTP API of a running Clew."""

    def __init__(self, up: Up) -> None:
        self._base_url = up.base_url
        self._headers = {"Authorization": f"Bearer {up.api_key}", "Content-Type": "application/json"}

    def __call__(self, method: str, path: str, body: object = None, status: int = 200) -> dict:
        data = json.dumps(body).encode() if body is not None else None
        asked = urllib.request.Request(self._base_url + path, data=data, headers=self._headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=PATIENCE) as answered:
                found, text = answered.status, answered.read()
        except urllib.error.HTTPError as refused:
            found, text = refused.code, refused.read()
        assert found == status, text
        return json.loads(text)

    def completed(self, erasure: str) -> dict:
        def found() -> dict:
            status = self("GET", f"/erasures/{erasure}")
            assert status["status"] == "completed", status
            return status

        return wait_until(found)


async def leave_in_inbox(up: Up, thread: str, markers: Mapping[str, str]) -> None:
    """Send one command to the inbox that is carried out, and one that is rejected and kept."""
    async with connected_client(up.nats_url) as nats:
        for name, version in (("inbox", None), ("rejected", 10_000)):
            said = {"role": "user", "content": markers[name]}
            command = {
                "id": f"{name}-{time.monotonic_ns()}",
                "thread_id": thread,
                "message": said,
                "expected_version": version,
            }
            await nats.jetstream().publish(inbox_subject("default", "add_message"), json.dumps(command).encode())


def test_nothing_that_was_erased_is_in_any_file_of_a_running_clew(tmp_path: Path) -> None:
    data, markers = tmp_path / "data", {name: new_marker() for name in WRITTEN}
    with running_up(data) as up:
        call = Api(up)
        beside = call("POST", "/threads", {"messages": [{"role": "user", "content": BESIDE}]})["id"]
        metadata = {markers["key"]: markers["value"], "x": markers["former value"]}
        thread = call("POST", "/threads", {"metadata": metadata})["id"]
        attached = [{"file_id": markers["attachment"], "tools": [{"type": "file_search"}]}]
        said = {"role": "user", "content": markers["text"], "attachments": attached}
        message = call("POST", f"/threads/{thread}/messages", said)["id"]
        call("POST", f"/threads/{thread}/messages/{message}", {"metadata": {"x": markers["replaced"]}})
        call("PATCH", f"/threads/{thread}/messages/{message}", {"metadata": {"set": {"x": markers["patched"]}}})
        call("PATCH", f"/threads/{thread}", {"metadata": {"set": {"x": "now"}}})
        gone = call("POST", f"/threads/{thread}/messages", {"role": "user", "content": markers["deleted"]})["id"]
        call("DELETE", f"/threads/{thread}/messages/{gone}")
        asyncio.run(leave_in_inbox(up, thread, markers))
        wanted = {"CLEW_EVT", "KV_clew_threads", "CLEW_REJECTED", "index/"}

        def are_everywhere() -> bool:
            found = places(markers, data)
            files = " ".join(file for files in found.values() for file in files)
            assert found.keys() == markers.keys()
            assert all(each in files for each in wanted), files
            return True

        wait_until(are_everywhere)

        erasure = call("POST", f"/threads/{thread}/erase", {"reason": "asked_by_customer"}, status=202)
        for path in ("", "/messages", f"/messages/{message}"):
            call("GET", f"/threads/{thread}{path}", status=404)
        for path in (f"/threads/{thread}/events?limit=100", "/events?limit=100"):
            answer = str(call("GET", path))
            assert not any(marker in answer for marker in markers.values())
        done = call.completed(erasure["id"])
        assert places(markers, data) == {}

        # What comes too late is rejected, and not kept either.
        asyncio.run(leave_in_inbox(up, thread, markers))

        def are_nowhere() -> bool:
            assert places(markers, data) == {}
            return True

        wait_until(are_nowhere)

        key = SigningKey.parse((data / "signing-key").read_text()).verifier
        signed = read_certificate(done["signed"]["note"].encode(), key)
        assert signed.hash == done["certificate"]
        assert (signed.certificate.thread, signed.certificate.code) == (thread, "asked_by_customer")
        kept = call("GET", f"/threads/{beside}/messages")["data"]
        assert [each["content"][0]["text"]["value"] for each in kept] == [BESIDE]
        assert find_marker(data, BESIDE)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    async with deployed(tmp_path / "data", sync="always") as running:
        yield running


async def write_thread(clew: Clew, thread: str, marker: str) -> str:
    """A thread that has a marker wherever a marker can be; the id of its first message is returned."""
    said = NewMessage(role="user", content=marker)
    made = await clew.handler.handle(
        "default", CreateThread(thread_id=thread, metadata={marker: marker}, messages=(said, said), reason=marker)
    )
    found = await clew.reader.messages("default", ListMessages(thread_id=thread, order="asc"))
    assert made.thread is not None
    assert found.messages is not None
    message = found.messages.data[0].id
    patch = MetadataPatch(set={"x": marker})
    await clew.handler.handle("default", UpdateMessage(thread_id=thread, message_id=message, patch=patch))
    await clew.handler.handle("default", UpdateThread(thread_id=thread, patch=MetadataPatch(set={"x": marker})))
    await clew.handler.handle("default", AddMessage(thread_id=thread, message=said))
    return message


async def step_until_killed(worker: Worker) -> None:
    for _ in range(CALLS):
        await worker.step()


async def test_a_worker_killed_before_any_of_its_calls_leaves_nothing_behind_in_the_end(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    markers: dict[str, str] = {}
    for stop in range(1, CALLS, 3):
        thread = f"thread_stopped_{stop}"
        markers[thread] = new_marker()
        async with connect(server.url, name="first") as clew, projecting(clew):
            await write_thread(clew, thread, markers[thread])
            await clew.handler.handle("default", EraseThread(thread_id=thread))
            first = worker(clew, stop=stop)
            with pytest.raises(Killed):
                await step_until_killed(first)
    async with connect(server.url, name="last") as clew, projecting(clew):
        await complete_all(clew)
        found = [each async for each in clew.erasure_records.iterate("default")]
        assert {each.status for each in found} == {"completed"}
        assert len(found) == len(markers)
    assert places(markers, tmp_path / "data") == {}


async def test_what_was_erased_stays_gone_when_the_server_is_killed_right_after(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    marker = new_marker()
    async with connect(server.url, name="before") as clew, projecting(clew):
        await write_thread(clew, "thread_killed", marker)
        await clew.handler.handle("default", EraseThread(thread_id="thread_killed"))
        await complete_all(clew)
    os.kill(server.pid, SIGKILL)
    await server.wait()
    assert find_marker(tmp_path / "data", marker) == []
    await server.start()
    async with connect(server.url, name="after") as clew, projecting(clew):
        await checkpointed(clew)
        with pytest.raises(NotFound):
            await clew.reader.thread("default", GetThread(thread_id="thread_killed"))
        history = await clew.reader.history("default", GetHistory(thread_id="thread_killed"))
        assert [each.commit.n for each in history.commits] == [1, 2, 3, 4, 5, 6]
        assert not history.missing
    assert find_marker(tmp_path / "data", marker) == []


async def test_a_message_is_erased_and_its_thread_lives_on(server: EmbeddedServer, tmp_path: Path) -> None:
    gone, stays = new_marker(), new_marker()
    async with connect(server.url, name="clew") as clew, projecting(clew):
        first, second = (NewMessage(role="user", content=each) for each in (gone, stays))
        await clew.handler.handle("default", CreateThread(thread_id="thread_lives", messages=(first, second)))
        page = (await clew.reader.messages("default", ListMessages(thread_id="thread_lives", order="asc"))).messages
        assert page is not None
        one, two = (each.id for each in page.data)
        patch = MetadataPatch(set={gone: gone})
        await clew.handler.handle("default", UpdateMessage(thread_id="thread_lives", message_id=one, patch=patch))
        await clew.handler.handle("default", EraseMessage(thread_id="thread_lives", message_id=one))
        with pytest.raises(NotFound):
            await clew.reader.message("default", GetMessage(thread_id="thread_lives", message_id=one))
        await complete_all(clew)
        assert find_marker(tmp_path / "data", gone) == []
        assert find_marker(tmp_path / "data", stays)
        found = await clew.reader.message("default", GetMessage(thread_id="thread_lives", message_id=two))
        assert stays in str(found.message)
        for n in (1, 2, 3, 4):
            then = await clew.reader.past.messages("default", ListMessagesAt(thread_id="thread_lives", as_of=n))
            assert then.messages is not None
            assert [(message.id, message.erased is True) for message in then.messages.data] == [
                (two, False), *([(one, True)] if n < 3 else []),
            ]  # fmt: skip
        with pytest.raises(AlreadyErased):
            await clew.handler.handle("default", EraseMessage(thread_id="thread_lives", message_id=one))
        await clew.handler.handle("default", AddMessage(thread_id="thread_lives", message=second))
        await clew.handler.handle("default", EraseMessage(thread_id="thread_lives", message_id=two))
        await complete_all(clew)
        history = await clew.reader.history("default", GetHistory(thread_id="thread_lives", limit=100))
        assert [each.commit.n for each in history.commits] == list(range(1, len(history.commits) + 1))
        await clew.handler.handle("default", EraseThread(thread_id="thread_lives"))
        await complete_all(clew)
    assert find_marker(tmp_path / "data", stays) == []


async def test_two_workers_at_once_complete_each_erasure_once(server: EmbeddedServer, tmp_path: Path) -> None:
    marker = new_marker()
    async with connect(server.url, name="one") as one, connect(server.url, name="two") as two, projecting(one):
        for number in range(4):
            await write_thread(one, f"thread_raced_{number}", marker)
            await one.handler.handle("default", EraseThread(thread_id=f"thread_raced_{number}"))
        await asyncio.gather(complete_all(one), complete_all(two))
        for number in range(4):
            recorded = [each async for each in one.histories.after(Address("default", f"thread_raced_{number}"), 0)]
            commands = [each.commit.command for each in recorded]
            assert commands.count("CompleteErasure") == 1
            (done,) = [
                each
                async for each in one.erasure_records.iterate("default")
                if each.thread_id == f"thread_raced_{number}"
            ]
            certificate = await one.erasure_records.certificate(done.id)
            assert certificate is not None
            assert certificate.hash == done.certificate
            assert read_certificate(certificate.note, KEY.verifier) == certificate
    assert find_marker(tmp_path / "data", marker) == []


async def test_where_files_are_encrypted_the_certificate_does_not_say_that_anything_was_overwritten(
    server: EmbeddedServer,
) -> None:
    async with connect(server.url, name="clew") as clew, projecting(clew):
        await write_thread(clew, "thread_encrypted", new_marker())
        await clew.handler.handle("default", EraseThread(thread_id="thread_encrypted"))
        await complete_all(clew, encrypted=True)
        (done,) = [each async for each in clew.erasure_records.iterate("default")]
        found = await clew.erasure_records.certificate(done.id)
        assert found is not None
        assert not any("overwritten" in each for each in found.certificate.done)
        assert any("encrypts its files" in each for each in found.certificate.remains)
