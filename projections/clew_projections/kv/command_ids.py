"""Idempotency beyond a thread's view: the commit that each command id made.

A view holds the ids of the last 100 commits. Ids that callers chose are also stored in the bucket of commands, for at
least a day, under ``<tenant>.<thread>.<hash of the id>``, as their commits are projected. So a busy thread recognises a
command that is repeated hours later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from clew_events import ids
from clew_events.codec import UNREADABLE
from clew_events.commit import Recorded
from clew_events.subjects import Address
from clew_projections.kv.bucket import Bucket, Write
from clew_projections.views import SpentId

_MADE_HERE: Final = re.compile(r"cmd_[A-Za-z0-9]{24}")
_DECODER: Final = msgspec.json.Decoder(SpentId)


def is_chosen_by_caller(command_id: str) -> bool:
    """Whether a caller may have chosen a command id, and may send it again."""
    return _MADE_HERE.fullmatch(command_id) is None


def mark(command_id: str) -> str:
    """Return the token for a command id in a key: a hash, since an id may contain any characters."""
    return ids.derive_id("", command_id)


class SpentIds:
    """The command ids in ``bucket``, that of commands."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket

    async def write(self, commits: Mapping[Address, Sequence[Recorded]]) -> None:
        """Store the command ids that callers chose, of commits by thread.

        Raises:
            Unavailable: the bucket does not answer.
        """
        writes = [
            _write(address, recorded)
            for address, history in commits.items()
            for recorded in history
            if is_chosen_by_caller(recorded.commit.id)
        ]
        # A lost race means that the value is there already; it never changes.
        await self.bucket.put_all(writes)

    async def marks(self, address: Address) -> set[str]:
        """Return the marks of all stored ids of a thread.

        Raises:
            Unavailable: the bucket does not answer.
        """
        return {key.rpartition(".")[2] for key in await self.bucket.keys(f"{address.tenant}.{address.thread}.*")}

    async def find(self, address: Address, command_id: str) -> SpentId | None:
        """Return what is stored about a command id of a thread; ``None`` if nothing is.

        Raises:
            Unavailable: the bucket does not answer.
        """
        value = await self.bucket.get(_key(address, command_id))
        if value is None or not value.body:
            return None
        try:
            return _DECODER.decode(value.body)
        except UNREADABLE:
            return None


def _write(address: Address, recorded: Recorded) -> Write:
    commit = recorded.commit
    spent = SpentId(commit.id, recorded.position.seq)
    return Write(_key(address, commit.id), msgspec.json.encode(spent), 0)


def _key(address: Address, command_id: str) -> str:
    return f"{address.tenant}.{address.thread}.{mark(command_id)}"
