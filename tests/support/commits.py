"""Commits made by hand, right and wrong, and put into a log that no handler would have written so."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nats.aio.client import Client

from clew_events.codec import EncodedCommit, encode, seal
from clew_events.commit import FORMAT, Commit, Position, Recorded
from clew_events.content import Message, Text, ToolResources
from clew_events.events import Event, ForkedFrom, ItemAdded, ThreadCreated
from clew_events.ids import item_id
from clew_events.subjects import TENANT, Address, event_stream, event_subject, shard_of
from clew_projections.apply import advance_items
from clew_projections.nats.stream_messages import EXPECTED
from clew_projections.views import ItemView
from support.waiting import eventually

if TYPE_CHECKING:
    from clew_services.compose import Clew

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
THREAD = "thread_made_by_hand"
CREATED = ThreadCreated(metadata={}, tool_resources=ToolResources())


SALT = "c2FsdCBvZiBhIHRlc3Qgb24"


def body_of(commit: Commit) -> bytes:
    """The stored body of a commit, with the same salt in each of its contents."""
    return encoded(commit).body


def hash_of(commit: Commit) -> str:
    """The hash of a commit's record."""
    return encoded(commit).hash


def reworded(body: bytes, old: bytes, new: bytes, **more: object) -> bytes:
    """A stored body with a word and fields of its record replaced, sealed anew: as by a forger who knows the format."""
    record, *contents = body.replace(old, new).split(b"\n")
    said = {**json.loads(record), **more}
    for each, content in zip([said, *said["events"]], contents, strict=False):
        if content:
            each["seal"] = seal(content)
    return b"\n".join((json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode(), *contents))


def encoded(commit: Commit) -> EncodedCommit:
    """A commit as it is stored, with the same salt in each of its contents."""
    return encode(commit, [SALT] * (len(commit.events) + 1))


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
        "by": "nats",
        "command": "Made",
        "prev": prev,
        "events": events,
    }
    return Commit(**{**fields, **other})  # type: ignore[arg-type]


def chain(*batches: Iterable[Event], thread: str = THREAD, first_seq: int = 1) -> list[Recorded]:
    """A thread's history, one commit for each batch of events, as if read from shard 0."""
    records: list[Recorded] = []
    for n, events in enumerate(batches, start=1):
        made = commit(n, *events, prev=records[-1].hash if records else None, thread=thread)
        records.append(Recorded(made, Position(0, first_seq + n - 1), hash_of(made), body=body_of(made)))
    return records


def advance_named(views: Mapping[str, ItemView], commit: Commit) -> dict[str, ItemView]:
    """Items by their ids, of which none was used twice, after a commit."""
    after = advance_items({view.ordinal: view for view in views.values()}, commit)
    return {**views, **{view.id: view for view in after.values()}}


def advance_one(view: ItemView | None, item: str, commit: Commit) -> ItemView:
    """An item after a commit about it; ``None`` before it was added."""
    return advance_named({} if view is None else {view.id: view}, commit)[item]


def added(ordinal: int, text: str = "hello", *, metadata: Mapping[str, str] | None = None) -> ItemAdded:
    """A message that was added, with the id that its ordinal gives it."""
    return ItemAdded(
        item=item_id(ordinal, "made"),
        ordinal=ordinal,
        message=Message(
            role="user",
            content=(Text(text),),
            metadata=dict(metadata or {}),
        ),
    )


async def store(nc: Client, address: Address, body: bytes, *, shards: int = 2) -> int:
    """Put bytes on a thread's subject, past every rule; the sequence they got."""
    subject = event_subject(shard_of(address.thread, shards), address)
    return (await nc.jetstream().publish(subject, body)).seq


async def store_many(clew: Clew, commits: Iterable[tuple[Address, bytes]]) -> None:
    """Put commits of new threads into a log to which nobody else writes, with their guards, not waiting for each."""
    js, shards = clew.nc.jetstream(), clew.deployment.shards
    last = [(await js.stream_info(event_stream(shard))).state.last_seq for shard in range(shards)]
    guards: dict[Address, int] = {}
    for count, (address, body) in enumerate(commits):
        shard = shard_of(address.thread, shards)
        guard = {EXPECTED: str(guards.get(address, 0))}
        await clew.nc.publish(event_subject(shard, address), body, headers=guard)
        last[shard] += 1
        guards[address] = last[shard]
        if count % 1000 == 0:
            await clew.nc.flush()
    await clew.nc.flush()

    async def are_stored() -> bool:
        stored = [(await js.stream_info(event_stream(shard))).state.last_seq for shard in range(shards)]
        return stored == last

    await eventually(are_stored)


async def order(clew: Clew, tenant: str, *events: Event) -> None:
    """Add a commit to a tenant's own history, past every rule."""
    view = (await clew.current.read_current(Address(tenant, TENANT))).thread
    made = commit(view.n + 1, *events, prev=view.hash, thread=TENANT, tenant=tenant, actor="dpo")
    await store(clew.nc, Address(tenant, TENANT), body_of(made), shards=clew.deployment.shards)


def forked(
    ordinal: int,
    items: int | None = None,
    *,
    cleared: int = 0,
    thread: str = "thread_parent",
    metadata: Mapping[str, str] | None = None,
) -> ThreadCreated:
    """A thread that was forked from commit 7 of another, with the items up to an ordinal."""
    count = ordinal - cleared if items is None else items
    parent = ForkedFrom(thread, 7, "ab" * 32, seq=70, ordinal=ordinal, items=count, cleared=cleared)
    return ThreadCreated(forked_from=parent, metadata=dict(metadata or {}))
