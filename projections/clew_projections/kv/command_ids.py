"""Spent command ids: which commit a caller's command id made, for longer than a thread's view remembers it.

A view holds the ids of the last 100 commits. Those that callers chose are kept here as well, for a day at least, under
``<tenant>.<thread>.<hash of the id>`` in the bucket of commands, each as it is projected. So a busy thread still knows
a command that comes again hours later.
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


def is_callers(command_id: str) -> bool:
    """Whether a command id can have been chosen by a caller, who might send it again."""
    return _MADE_HERE.fullmatch(command_id) is None


def mark(command_id: str) -> str:
    """What stands for a command id in a key: a hash, since an id may hold anything."""
    return ids.derive_id("", command_id)


class SpentIds:
    """The bucket of commands."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def write(self, commits: Mapping[Address, Sequence[Recorded]]) -> None:
        """Keep the callers' ids of some commits of some threads.

        Raises:
            Unavailable: the bucket does not answer.
        """
        chosen = [
            _write(address, each) for address, some in commits.items() for each in some if is_callers(each.commit.id)
        ]
        # Who lost a race found it there already, and it never changes.
        await self._bucket.put_all(chosen)

    async def marks(self, address: Address) -> set[str]:
        """The marks of all ids that are kept of a thread.

        Raises:
            Unavailable: the bucket does not answer.
        """
        return {key.rpartition(".")[2] for key in await self._bucket.keys(f"{address.tenant}.{address.thread}.*")}

    async def find(self, address: Address, command_id: str) -> SpentId | None:
        """What is kept of a command id of a thread.

        Raises:
            Unavailable: the bucket does not answer.
        """
        value = await self._bucket.get(_key(address, command_id))
        if value is None or not value.body:
            return None
        try:
            return _DECODER.decode(value.body)
        except UNREADABLE:
            return None


def _write(address: Address, recorded: Recorded) -> Write:
    commit = recorded.commit
    spent = SpentId(commit.id, commit.digest, recorded.position.seq)
    return Write(_key(address, commit.id), msgspec.json.encode(spent), 0)


def _key(address: Address, command_id: str) -> str:
    return f"{address.tenant}.{address.thread}.{mark(command_id)}"
