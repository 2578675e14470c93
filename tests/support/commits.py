"""Commits made by hand, right and wrong, and put into a log that no handler would have written so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from nats.aio.client import Client

from clew_events.codec import encode
from clew_events.commit import FORMAT, Commit, Position, Recorded, body_hash
from clew_events.content import Message, Text, ToolResources
from clew_events.events import Event, MessageAdded, ThreadCreated
from clew_events.ids import message_id
from clew_events.subjects import Address, event_subject, shard_of

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
THREAD = "thread_made_by_hand"
CREATED = ThreadCreated(metadata={}, tool_resources=ToolResources())


def commit(n: int, *events: Event, prev: str | None = None, thread: str = THREAD, **other: object) -> Commit:
    """A commit that follows from its number where nothing else is said."""
    fields: dict[str, object] = {
        "v": FORMAT,
        "id": f"cmd_{n}",
        "tenant": "default",
        "thread": thread,
        "n": n,
        "at": NOON + timedelta(seconds=n),
        "actor": "test",
        "command": "Made",
        "digest": f"{n:016x}",
        "prev": prev,
        "events": events,
    }
    return Commit(**{**fields, **other})  # type: ignore[arg-type]


def chain(*batches: Iterable[Event], thread: str = THREAD, first_seq: int = 1) -> list[Recorded]:
    """A thread's history, one commit for each batch of events, as if read from shard 0."""
    records: list[Recorded] = []
    for n, events in enumerate(batches, start=1):
        made = commit(n, *events, prev=records[-1].hash if records else None, thread=thread)
        records.append(Recorded(made, Position(0, first_seq + n - 1), body_hash(encode(made))))
    return records


def added(ordinal: int, text: str = "hello", *, metadata: Mapping[str, str] | None = None) -> MessageAdded:
    """A message that was added, with the id that its ordinal gives it."""
    return MessageAdded(
        message=Message(
            id=message_id(ordinal, "made"),
            ordinal=ordinal,
            role="user",
            content=(Text(text),),
            metadata=dict(metadata or {}),
        )
    )


async def store(nc: Client, address: Address, body: bytes, *, shards: int = 2) -> int:
    """Put bytes on a thread's subject, past every rule; the sequence they got."""
    subject = event_subject(shard_of(address.thread, shards), address)
    return (await nc.jetstream().publish(subject, body)).seq
