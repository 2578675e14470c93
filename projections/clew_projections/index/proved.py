"""What a proof of a machine's index that never ends has found: a file beside the index, for whoever asks."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE


class IndexProved(Struct, frozen=True, kw_only=True):
    """How far it is with a generation, in ``proved`` in the folder of the index.

    In this round, which began at ``began_at``, the threads up to number ``place`` were looked at, ``threads`` of them,
    and ``drifted`` things differ. ``since`` is when the last whole round began, and ``drifted_before`` what it found.
    """

    generation: int
    began_at: datetime
    place: int = 0
    threads: int = 0
    drifted: int = 0
    since: datetime | None = None
    drifted_before: int = 0

    @property
    def drift(self) -> int:
        """What is known to differ: of the last whole round until this one has found more, or is whole itself."""
        return max(self.drifted, self.drifted_before)


_DECODER: Final = msgspec.json.Decoder(IndexProved)


def read(folder: Path, generation: int) -> IndexProved | None:
    """What is known of a generation; nothing if that is nothing, or cannot be read."""
    try:
        found = _DECODER.decode((folder / "proved").read_bytes())
    except (OSError, *UNREADABLE):
        return None
    return found if found.generation == generation else None


def write(folder: Path, proved: IndexProved) -> None:
    """Keep what is known, in one step.

    Raises:
        OSError: the disk does not take it.
    """
    fresh = folder / f"proved.{os.getpid()}"
    try:
        fresh.write_bytes(msgspec.json.encode(proved))
        fresh.replace(folder / "proved")
    finally:
        fresh.unlink(missing_ok=True)
