"""What happens in a thread: one commit after the other, each possible after those before it."""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import Final

from clew_events import ids
from clew_events.codec import encode
from clew_events.commit import FORMAT, Commit
from clew_events.content import CodeInterpreter, Message, Metadata, Text, ToolResources
from clew_events.events import (
    Event,
    ItemAdded,
    ItemDeleted,
    ItemMetadataUpdated,
    MetadataUpdated,
    ThreadCreated,
    ThreadDeleted,
    ToolResourcesUpdated,
)
from clew_events.subjects import Address

ACTORS: Final = ("api", "billing", "importer", "key_1f2e3d4c", "support:ada", "support:grace")
KEYS: Final = ("customer", "channel", "priority", "state", "topic", "owner")
VALUES: Final = ("42", "web", "high", "open", "closed", "returns", "invoice 2026-118", "Zürich", "ada", "low")
_LINES: Final = (
    "the order has not arrived yet and nobody can say where it is please check the address again we sent a",
    "replacement yesterday thank you for waiting could you give me the number on the invoice it says déjà payé",
    "but my bank shows nothing I will call you back tomorrow morning about the refund",
)
WORDS: Final = tuple(word for line in _LINES for word in line.split())
DELETED: Final = 0.03
"""The share of threads whose last commit is the end of them."""
_RECALLED: Final = 50


class Thread:
    """A thread in the making: what of it the next commit depends on."""

    __slots__ = ("_messages", "_metadata", "_ordinal", "address", "length", "n", "prev", "seq")

    def __init__(self, address: Address, length: int) -> None:
        self.address = address
        self.length = length
        self.n = 0
        self.prev: str | None = None
        self.seq = 0
        self._ordinal = 0
        self._metadata: Metadata = {}
        self._messages: list[tuple[str, Metadata]] = []

    def next(self, at: datetime, chance: Random) -> tuple[str, bytes]:
        """The id and the body of the next commit; from then on it is the last one."""
        self.n += 1
        command, events = self._happening(chance)
        name = ids.derive_id("cmd_", self.address.thread, str(self.n))
        commit = Commit(
            v=FORMAT,
            id=name,
            tenant=self.address.tenant,
            thread=self.address.thread,
            n=self.n,
            at=at,
            actor=chance.choice(ACTORS),
            by="nats",
            command=command,
            prev=self.prev,
            events=events,
        )
        encoded = encode(commit, [f"{chance.getrandbits(128):022x}"[:22] for _ in range(len(events) + 1)])
        self.prev = encoded.hash
        return name, encoded.body

    def _happening(self, chance: Random) -> tuple[str, tuple[Event, ...]]:
        if self.n == 1:
            self._metadata = {key: chance.choice(VALUES) for key in chance.sample(KEYS, chance.randrange(4))}
            created = ThreadCreated(metadata=self._metadata, tool_resources=ToolResources())
            return "CreateThread", (created, *(self._added(chance) for _ in range(chance.randrange(3))))
        if self.n == self.length and chance.random() < DELETED:
            return "DeleteThread", (ThreadDeleted(),)
        kind = chance.random()
        if kind < 0.18:
            return "UpdateThread", (self._changed(chance),)
        if kind < 0.20:
            files = tuple(f"file-{chance.getrandbits(64):016x}" for _ in range(chance.randrange(3)))
            resources = ToolResources(code_interpreter=CodeInterpreter(files))
            return "UpdateThread", (ToolResourcesUpdated(tool_resources=resources),)
        if kind < 0.27 and self._messages:
            place = chance.randrange(len(self._messages))
            message, metadata = self._messages[place]
            seen = {"seen": str(self.n)}
            self._messages[place] = (message, {**metadata, **seen})
            return "UpdateMessage", (ItemMetadataUpdated(item=message, set=seen, unset=()),)
        if kind < 0.30 and self._messages:
            message, _ = self._messages.pop(chance.randrange(len(self._messages)))
            return "DeleteMessage", (ItemDeleted(item=message),)
        return "AddMessage", (self._added(chance),)

    def _added(self, chance: Random) -> ItemAdded:
        self._ordinal += 1
        text = " ".join(chance.choices(WORDS, k=min(120, 3 + int(chance.expovariate(0.05)))))
        metadata: Metadata = {"source": chance.choice(VALUES)} if chance.random() < 0.2 else {}
        item = ids.item_id(self._ordinal, self.address.thread)
        message = Message(
            role="user" if chance.random() < 0.6 else "assistant",
            content=(Text(text),),
            metadata=metadata,
        )
        self._messages.append((item, metadata))
        if len(self._messages) > _RECALLED:  # the oldest stay as they are
            self._messages.pop(0)
        return ItemAdded(item=item, ordinal=self._ordinal, message=message)

    def _changed(self, chance: Random) -> MetadataUpdated:
        key = chance.choice(KEYS)
        if key in self._metadata and chance.random() < 0.3:
            self._metadata = {name: value for name, value in self._metadata.items() if name != key}
            return MetadataUpdated(set={}, unset=(key,))
        value = f"{chance.choice(VALUES)} {self.n}"
        self._metadata = {**self._metadata, key: value}
        return MetadataUpdated(set={key: value}, unset=())
