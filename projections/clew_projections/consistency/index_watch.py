"""The watch on a machine's index: a continuous consistency proof, whose state is a file beside the index."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from clew_events.codec import UNREADABLE
from clew_events.errors import ClewError
from clew_events.subjects import Address
from clew_projections.atomic_file import write_atomically
from clew_projections.clocks import is_within
from clew_projections.consistency.index_check import IndexProof
from clew_projections.history.histories import Histories
from clew_projections.index.index_folder import IndexFolder
from clew_projections.wait import repeat_until


class IndexProofState(Struct, frozen=True, kw_only=True):
    """The state of the proof of a generation, in the file ``proved`` in the folder of the index.

    This round began at ``began_at`` and has compared the threads up to number ``place``: ``threads`` of them, with
    ``drifted`` differences. The last complete round began at ``since`` and found ``drifted_before``.
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
        """The number of known differences: of the last complete round, or of this one if it has found more."""
        return max(self.drifted, self.drifted_before)


_DECODER: Final = msgspec.json.Decoder(IndexProofState)


def read(folder: Path, generation: int) -> IndexProofState | None:
    """Read the state of a generation; ``None`` if there is none, or it is unreadable."""
    try:
        found = _DECODER.decode((folder / "proved").read_bytes())
    except (OSError, *UNREADABLE):
        return None
    return found if found.generation == generation else None


def write(folder: Path, proved: IndexProofState) -> None:
    """Write the state atomically.

    Raises:
        OSError: it cannot be written.
    """
    write_atomically(folder / "proved", msgspec.json.encode(proved), durable=False)


PAGE: Final = 32
"""Threads compared between two writes of the state."""
ROUND: Final = 60.0
"""The least seconds from the beginning of a round to that of the next."""
SAID: Final = 10_000
"""The most log lines that are remembered, so that none is repeated."""
PAUSE: Final = 5.0
"""Seconds before a retry, and between checks when there is nothing to compare."""

_LOG: Final = logging.getLogger("clew.consistency")


class IndexWatch:
    """Compares the live generation of an index with the log, at most ``rate`` threads a second.

    It does so while ``indexing`` returns true: only one process on a machine needs to.
    """

    def __init__(self, folder: IndexFolder, histories: Histories, rate: float, indexing: Callable[[], bool]) -> None:
        self._folder = folder
        self._histories = histories
        self._rate = rate
        self._indexing = indexing
        self._said = set[str]()
        self._generation = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Compare until ``stop`` is set; with a rate of 0 nothing is compared."""

        async def page() -> float:
            return await self.step() / self._rate or PAUSE

        if self._rate > 0:
            name = "the proof of the index"
            await repeat_until(stop, page, name=name, log=_LOG, faults=(ClewError, OSError), pause=PAUSE)

    async def step(self) -> int:
        """Compare the next threads; return how many, 0 if there was nothing to do.

        Raises:
            Unavailable: the log does not answer, or the file cannot be read.
            OSError: the state cannot be written.
        """
        pointer, now = self._folder.pointer(), datetime.now(UTC)
        if pointer is None or not pointer.ready or not self._indexing():
            return 0
        number = pointer.generation
        if number != self._generation:
            self._generation = number
            self._said.clear()
        known = read(self._folder.path, number) or IndexProofState(generation=number, began_at=now)
        if not known.place and known.since is not None and is_within(ROUND, known.began_at, now):
            return 0
        proof = IndexProof(self._folder.file(number), self._histories)
        page, place = await proof.page(known.place, PAGE)
        if not page:
            for what in (wrong := await proof.counts()):
                self._say_drift(what)
            known = IndexProofState(
                generation=number, began_at=now, since=known.began_at, drifted_before=known.drifted + len(wrong)
            )
        else:
            found = zip(page, await proof.threads(page), strict=True)
            wrong = [what for address, what in found if what and await self._is_drift(proof, address, what)]
            threads, drifted = known.threads + len(page), known.drifted + len(wrong)
            began = known.began_at if known.place else now
            known = replace(known, place=place, threads=threads, drifted=drifted, began_at=began)
        write(self._folder.path, known)
        return max(1, len(page))

    async def _is_drift(self, proof: IndexProof, address: Address, what: str) -> bool:
        """Whether a difference from the log is the index's fault; logged in any case."""
        named = f"thread {address.thread} of tenant {address.tenant}: {what}"
        if await proof.knows_more(address):
            # Not drift: a rebuild would delete what is left of these commits.
            self._say(
                f"the log has lost commits, and the index in {self._folder.path} may be their last trace: {named}"
            )
            return False
        self._say_drift(named)
        return True

    def _say_drift(self, what: str) -> None:
        self._say(
            f"drift of the index in {self._folder.path}: {what}. If 'clew verify --all' finds the log intact, run "
            "'clew rebuild index'"
        )

    def _say(self, what: str) -> None:
        """Log a line once."""
        if what not in self._said:
            if len(self._said) < SAID:
                self._said.add(what)
            _LOG.error("%s", what)
