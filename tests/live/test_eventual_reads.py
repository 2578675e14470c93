"""What an eventual read may be late by, and that it never shows what is erased."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from clew_events.commands import EraseMessage, EraseThread
from clew_events.erasures import Erasure
from clew_events.errors import NotFound
from clew_events.queries import GetMessage, GetThread, ListMessages, Query
from clew_events.subjects import Address
from clew_services.compose import Clew, connect
from clew_services.embedded.server import EmbeddedServer
from clew_services.queries import reader
from support.truth import buckets_equal_the_log, projecting
from support.waiting import eventually
from support.writers import Writer, message_id, thread_id


@pytest.fixture
async def other(deployment: EmbeddedServer) -> AsyncIterator[Clew]:
    """Another process, as far as NATS can tell."""
    async with connect(deployment.url, name="other") as composed:
        yield composed


async def mood(clew: Clew, thread: str, **asked: Any) -> str:
    found = await clew.reader.thread("default", GetThread(thread_id=thread, consistency="eventual", **asked))
    assert found.thread is not None
    return found.thread.metadata["mood"]


async def projected(clew: Clew) -> None:
    """Have everything projected, and then nothing any more."""
    async with projecting(clew):
        await buckets_equal_the_log(clew)


async def note(clew: Clew, erasure: Erasure, **changes: Any) -> None:
    """Write the next record of an erasure."""
    record = await clew.erasure_records.find("default", erasure.id)
    assert record is not None
    assert await clew.erasure_records.write("default", replace(record.erasure, **changes), record.revision)


async def test_memory_answers_for_a_while_and_then_the_bucket(
    clew: Clew, other: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create(metadata={"mood": "calm"}))
    await projected(clew)
    assert await mood(other, thread) == "calm"
    await writer.set(thread, "mood", "cross")
    await projected(clew)
    monkeypatch.setattr(reader, "RECENT", 3600.0)
    assert await mood(other, thread) == "calm"
    assert await mood(other, thread, at_least=2) == "cross"

    await writer.set(thread, "mood", "merry")
    await projected(clew)
    assert await mood(other, thread) == "cross"
    monkeypatch.setattr(reader, "RECENT", -1.0)
    assert await mood(other, thread) == "merry"
    # Where the bucket lags behind what was read before, no answer goes back.
    await writer.set(thread, "mood", "sad")
    assert await mood(other, thread, at_least=4) == "sad"
    assert await mood(other, thread) == "sad"


@pytest.mark.parametrize("recent", [3600.0, -1.0], ids=["memory", "bucket"])
async def test_an_erased_thread_is_refused_before_its_view_is_projected(
    clew: Clew, other: Clew, monkeypatch: pytest.MonkeyPatch, recent: float
) -> None:
    monkeypatch.setattr(reader, "RECENT", recent)
    thread = thread_id(await Writer(clew.handler).create(metadata={"mood": "calm"}))
    await projected(clew)
    assert await mood(other, thread) == "calm"
    erased = await clew.handler.handle("default", EraseThread(thread_id=thread))
    assert erased.erasure is not None
    await learned(other, thread)
    await refused(other, GetThread(thread_id=thread, consistency="eventual"))
    await refused(other, ListMessages(thread_id=thread, consistency="eventual"))
    # It is also refused once the log has lost it, for the bucket still has it.
    await note(clew, erased.erasure, status="erased", erased_at=datetime.now(UTC))
    await eventually(lambda: not other.js.pending)
    other.memory.clear()
    await refused(other, GetThread(thread_id=thread, consistency="eventual"))
    await refused(other, ListMessages(thread_id=thread, consistency="eventual"))


async def test_a_process_forgets_a_thread_when_its_erasure_is_requested_and_completed(clew: Clew, other: Clew) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create(metadata={"mood": "calm"}))
    await writer.add(thread)
    address = Address("default", thread)
    await projected(clew)

    def items() -> object:
        return other.live.reading._items._threads.get(address)  # type: ignore[attr-defined]

    async def is_forgotten() -> bool:
        seen = other.live.reading._seen  # type: ignore[attr-defined]
        return seen.get(address) is items() is other.memory.recall(address) is None

    async def read() -> None:
        await mood(other, thread)
        await other.reader.messages("default", ListMessages(thread_id=thread))
        assert not await is_forgotten()
        assert items()

    await read()
    erased = await clew.handler.handle("default", EraseThread(thread_id=thread))
    assert erased.erasure is not None
    await eventually(is_forgotten)
    # A read before the buckets are made anew may cache the view that they still have.
    await other.current.read_current(address)
    assert not await is_forgotten()
    await note(clew, erased.erasure, status="completed", completed_at=datetime.now(UTC))
    await eventually(is_forgotten)


async def learned(clew: Clew, thread: str) -> None:
    """A process has received the announcement of an erasure."""
    await eventually(lambda: clew.histories.may_be_erased(Address("default", thread)))


async def refused(clew: Clew, query: Query) -> None:
    with pytest.raises(NotFound):
        await clew.reader.answer("default", query)


async def test_an_erased_message_is_refused_and_the_others_are_read(clew: Clew, other: Clew) -> None:
    writer = Writer(clew.handler)
    thread = thread_id(await writer.create())
    message = message_id(await writer.add(thread, "to be erased"))
    stays = message_id(await writer.add(thread, "stays"))
    await projected(clew)
    asked = GetMessage(thread_id=thread, message_id=message, consistency="eventual")
    await other.reader.answer("default", asked)
    await clew.handler.handle("default", EraseMessage(thread_id=thread, message_id=message))
    await learned(other, thread)
    await refused(other, asked)
    page = (await other.reader.messages("default", ListMessages(thread_id=thread, consistency="eventual"))).messages
    assert page is not None
    assert [each.id for each in page.data] == [stays]


async def test_while_news_of_erasures_are_being_read_nothing_is_answered_from_memory(
    clew: Clew, other: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "RECENT", 3600.0)
    writer = Writer(clew.handler)
    thread, another = [thread_id(await writer.create(metadata={"mood": "calm"})) for _ in range(2)]
    await projected(clew)
    assert await mood(other, thread) == await mood(other, another) == "calm"
    await eventually(lambda: not other.histories.may_be_erased(Address("default", thread)))
    async with other.js.pending._alone:  # so they are being read until the end of the block
        await clew.handler.handle("default", EraseThread(thread_id=thread))
        await learned(other, another)
        await refused(other, GetThread(thread_id=thread, consistency="eventual"))
        assert await mood(other, another) == "calm"
    await eventually(lambda: not other.histories.may_be_erased(Address("default", another)))
    assert other.histories.may_be_erased(Address("default", thread))
