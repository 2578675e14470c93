"""The client without async: the same calls, from any number of threads."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clew_events import client
from clew_events.client import sync
from clew_events.commands import CreateThread
from clew_events.errors import Conflict, NotFound, Unavailable
from clew_events.requests import NewMessage
from clew_services.compose import Clew
from support.nats_services import served
from support.truth import commits_of

ROOT = Path(__file__).parents[2]


def calls_of(kind: type) -> dict[str, inspect.Signature]:
    functions = inspect.getmembers(kind, inspect.isfunction)
    return {name: inspect.signature(function) for name, function in functions if not name.startswith("_")}


def test_every_call_of_the_client_is_there_with_the_same_parameters_answers_and_documentation() -> None:
    ours, theirs = calls_of(sync.Clew), calls_of(client.Clew)
    assert ours.keys() == theirs.keys()
    assert len(ours) > 15
    for name, signature in theirs.items():
        assert ours[name].parameters == signature.parameters, name
        answer = str(signature.return_annotation)
        assert str(ours[name].return_annotation) == answer.replace("Async", ""), name
        assert not inspect.iscoroutinefunction(getattr(sync.Clew, name)), name
        assert getattr(sync.Clew, name).__doc__ == getattr(client.Clew, name).__doc__, name
    connect, twin = inspect.signature(client.connect), inspect.signature(sync.connect)
    assert connect.parameters == twin.parameters


PROGRAM = """
from collections.abc import Generator
from typing import assert_type
from clew_events.client.results import ThreadDone, ThreadFound
from clew_events.client.sync import connect
from clew_events.list_reply import ListedThread, ThreadList
from clew_events.replies import Entry, FeedEntry

with connect() as clew:
    assert_type(clew.create_thread(messages=["Hello"]), ThreadDone)
    assert_type(clew.get_thread("thread_a", at_least=1), ThreadFound)
    assert_type(clew.list_threads(search="parcel", limit=3), ThreadList)
    assert_type(clew.iter_threads(search="parcel"), Generator[ListedThread])
    assert_type(clew.iter_history("thread_a"), Generator[Entry])
    assert_type(clew.feed(follow=True), Generator[FeedEntry])
    clew.get_thread()
    clew.get_thread("thread_a", at_least="1")
    clew.list_threads(sort="created")
    for entry in clew.feed():
        entry.nothing
"""
WRONG = ["Too few arguments", 'Argument "at_least"', 'Unexpected keyword argument "sort"', 'no attribute "nothing"']


def test_a_type_checker_knows_every_parameter_and_every_answer(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--no-error-summary", str(program)]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    output = checked.stdout + checked.stderr
    found = [line for line in output.splitlines() if ": error:" in line]
    assert len(found) == len(WRONG), output
    for line, wrong in zip(found, WRONG, strict=True):
        assert wrong in line


async def test_all_of_it_works_as_it_does_with_async(clew: Clew, deployment) -> None:
    def use() -> None:
        with sync.connect(deployment.url, actor="shop") as ours:
            made = ours.create_thread(messages=["one"], metadata={"a": "1"})
            thread = made.thread.id
            ours.update_thread(thread, metadata={"a": "2"}, expected_version=1)
            with pytest.raises(Conflict):
                ours.update_thread(thread, metadata={"a": "3"}, expected_version=1)
            ours.patch_metadata(thread, set={"b": "1"}, unset=["a"])
            message = ours.add_message(thread, NewMessage(role="assistant", content="two")).message.id
            ours.update_message(thread, message, metadata={"m": "1"})
            ours.patch_message_metadata(thread, message, set={"k": "1"})
            assert ours.get_message(thread, message).message.metadata == {"m": "1", "k": "1"}
            assert next(ours.iter_messages(thread, order="desc")).id == message
            assert ours.list_messages(thread, limit=1).messages.has_more
            ours.delete_message(thread, message)
            with pytest.raises(NotFound):
                ours.get_message(thread, message)
            assert ours.get_thread(thread).thread.metadata == {"b": "1"}
            assert [each.commit.n for each in ours.iter_history(thread)] == list(range(1, 8))
            assert ours.history(thread, start=7).commits[0].commit.actor == "shop"
            moment = ours.state_at(thread, n=1)
            assert moment.thread is not None
            assert moment.thread.metadata == {"a": "1"}
            assert ours.delete_thread(thread).deleted.id == thread
            assert ours.enqueue(CreateThread(thread_id="thread_later")) > 0
            assert ours.wait_for("thread_later", 1).n == 1
            assert ours.send(CreateThread(thread_id="thread_sent")).n == 1

    async with served(clew):
        await asyncio.to_thread(use)
    assert len(await commits_of(clew, "thread_sent")) == 1


async def test_one_client_serves_many_threads_of_a_process(clew: Clew, deployment) -> None:
    def use() -> list[int]:
        with sync.connect(deployment.url) as ours, ThreadPoolExecutor(8) as pool:
            ours.create_thread(thread_id="thread_a")
            done = pool.map(lambda i: ours.patch_metadata("thread_a", set={f"k{i % 8}": str(i)}), range(40))
            return [each.n for each in done]

    async with served(clew):
        assert sorted(await asyncio.to_thread(use)) == list(range(2, 42))
    assert len(await commits_of(clew, "thread_a")) == 41


async def test_whoever_waits_when_the_client_is_closed_is_told_and_nothing_stays_behind(nats_server) -> None:
    def use() -> None:
        before = threading.active_count()
        raised = list[Unavailable]()
        waiting = threading.Event()

        def wait(ours: sync.Clew) -> None:
            waiting.set()
            with pytest.raises(Unavailable) as caught:
                ours.get_thread("thread_a")
            raised.append(caught.value)

        with sync.connect(nats_server.url, timeout=60) as ours:
            thread = threading.Thread(target=wait, args=(ours,))
            thread.start()
            waiting.wait()
        thread.join(20)
        assert raised[0].code == "connection_closed"
        assert threading.active_count() == before
        with pytest.raises(Unavailable, match="closed"):
            ours.get_thread("thread_a")

    await asyncio.to_thread(use)


def test_that_no_server_is_there_is_said_and_nothing_stays_behind() -> None:
    before = threading.active_count()
    with pytest.raises(Unavailable) as caught, sync.connect("nats://127.0.0.1:9", timeout=0.3):
        pass
    assert caught.value.code == "unreachable"
    assert threading.active_count() == before
