"""A conversation of a framework in Clew: its id, its items, and adding to it once. What several adapters share."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Raw, UnsetType

from clew_events import ids
from clew_events.client import Clew
from clew_events.commit import Position
from clew_events.errors import AlreadyExists, NotFound, Unavailable
from clew_events.list_query import positions_text

PAGE: Final = 100


def conversation_id(framework: str, *names: str, key: bytes = b"") -> str:
    """The id of the conversation that a framework knows by ``names``, which may be any texts.

    It is an HMAC of them under ``key``. An id stays in the log for ever, and without a key whoever guesses the names
    can confirm them by it.
    """
    named = json.dumps([framework, *names]).encode()
    return f"conv_{hmac.digest(key, named, 'sha256').hex()[:48]}"


def item_id(name: str) -> str:
    """A framework's id of an item if Clew's form has room for it, else one that is derived from it."""
    return name if ids.is_item_id(name) else f"item-{hashlib.sha256(name.encode()).hexdigest()[:48]}"


def encode(value: Mapping[str, object]) -> Raw:
    """The text of an item. Numbers keep their digits.

    Raises:
        ValueError: it holds a number that JSON has not, or half a surrogate pair.
        TypeError: it holds a value that JSON has not.
    """
    return Raw(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())


def decode(item: Raw) -> dict[str, Any]:
    """The value of an item."""
    value: dict[str, Any] = json.loads(bytes(item))
    return value


class OwnCommits:
    """How far one program has written, so that its lists include all of that: the index follows a little later."""

    def __init__(self) -> None:
        self._newest: dict[int, int] = {}

    def add(self, position: Position) -> None:
        """Include this commit."""
        self._newest[position.shard] = max(position.seq, self._newest.get(position.shard, 0))

    @property
    def at_least(self) -> str | None:
        """What a list is to include, as ``list_threads`` takes it."""
        return positions_text(*(Position(shard, seq) for shard, seq in self._newest.items())) or None


async def create(clew: Clew, thread_id: str, metadata: Mapping[str, str]) -> None:
    """Create a conversation that others may be creating, too. One that is or was there stays as it is."""
    try:
        await clew.create_thread(thread_id=thread_id, metadata=metadata)
    except AlreadyExists:
        return


class Conversation:
    """The items of one conversation, which comes to be when the first ones are added.

    ``metadata`` is what it is created with. A batch is there once, however often it is added, if one of its items has
    an ``id``, or if it is added again as the next one after its outcome was unknown. So is an item popped.
    """

    def __init__(self, clew: Clew, thread_id: str, metadata: Mapping[str, str]) -> None:
        self._clew = clew
        self._metadata = metadata
        self._uncertain: tuple[Sequence[Raw], str] | None = None
        """What was last done with an unknown outcome, and under which command id. Popping is done with no items."""
        self.thread_id = thread_id

    async def add(self, items: Sequence[Mapping[str, object]]) -> None:
        """Add items in one commit; none do nothing.

        Where another item has the ``id`` of one of them, both stay, and the batch is added without its ids.

        Raises:
            NotFound: the conversation was deleted.
            TooLarge: they are more than one commit can hold.
            Unavailable: as any command of the client.
        """
        if not items:
            return
        named = [item["id"] for item in items if "id" in item]
        if len(set(named)) < len(named):
            items = list(map(_without_id, items))
        batch = list(map(encode, items))
        with self._once(batch) as command_id:
            try:
                await self._send(batch, command_id)
            except AlreadyExists:
                if not await self._has(items):
                    await self._send(list(map(encode, map(_without_id, items))), f"{command_id}.anew")

    @contextlib.contextmanager
    def _once(self, batch: Sequence[Raw]) -> Iterator[str]:
        """The id of a command: that of the last one if it did the same and its outcome is unknown, else a new one."""
        uncertain, self._uncertain = self._uncertain, None
        command_id = uncertain[1] if uncertain is not None and uncertain[0] == batch else ids.random_id("cmd_")
        try:
            yield command_id
        except (Unavailable, asyncio.CancelledError) as fault:
            if not isinstance(fault, Unavailable) or fault.outcome_unknown:
                self._uncertain = (batch, command_id)
            raise

    async def _send(self, batch: Sequence[Raw], command_id: str) -> None:
        try:
            await self._clew.add_items(self.thread_id, batch, command_id=command_id)
        except NotFound:
            await create(self._clew, self.thread_id, self._metadata)
            await self._clew.add_items(self.thread_id, batch, command_id=command_id)

    async def _has(self, items: Sequence[Mapping[str, object]]) -> bool:
        """Whether all items that have an id are there as they are."""
        for item in items:
            if "id" in item:
                try:
                    there = (await self._clew.get_item(self.thread_id, str(item["id"]))).item
                except NotFound:
                    return False
                if there != encode(item):
                    return False
        return True

    async def read(self, limit: int | None = None) -> list[dict[str, Any]]:
        """The newest ``limit`` items, or all, oldest first; none if there is no such conversation."""
        found: list[Raw] = []
        after: str | None = None
        while limit is None or len(found) < limit:
            wanted = PAGE if limit is None else min(PAGE, limit - len(found))
            try:
                page = (await self._clew.list_items(self.thread_id, limit=wanted, order="desc", after=after)).items
            except NotFound:
                break
            found += page.data
            if not page.has_more:
                break
            after = page.last_id
        return [decode(item) for item in reversed(found)]

    async def pop(self) -> dict[str, Any] | None:
        """Take the newest item away and return it; None if there is none."""
        try:
            with self._once([]) as command_id:
                popped = (await self._clew.pop_item(self.thread_id, command_id=command_id)).popped
        except NotFound:
            return None
        return None if isinstance(popped, UnsetType) else decode(popped)

    async def clear(self) -> None:
        """Delete all items, if there are any."""
        try:
            await self._clew.clear_items(self.thread_id)
        except NotFound:
            return


def _without_id(item: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in item.items() if name != "id"}
