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
from clew_projections.consistency.index_check import IndexProof
from clew_projections.history.histories import Histories
from clew_projections.index.index_folder import IndexFolder
from clew_projections.wait import repeat_until


class IndexProofState(Struct, frozen=True, kw_only=True):
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


_DECODER: Final = msgspec.json.Decoder(IndexProofState)


def read(folder: Path, generation: int) -> IndexProofState | None:
    """What is known of a generation; nothing if that is nothing, or cannot be read."""
    try:
        found = _DECODER.decode((folder / "proved").read_bytes())
    except (OSError, *UNREADABLE):
        return None
    return found if found.generation == generation else None


def write(folder: Path, proved: IndexProofState) -> None:
    """Keep what is known, in one step.

    Raises:
        OSError: the disk does not take it.
    """
    write_atomically(folder / "proved", msgspec.json.encode(proved), durable=False)


PAGE: Final = 32
"""Threads compared between two notes of how far it is."""
ROUND: Final = 60.0
"""Seconds at least from the beginning of one round to that of the next."""
SAID: Final = 10_000
"""Things at most of which it is remembered that they were said."""
PAUSE: Final = 5.0
"""Seconds before looking again where there is nothing to do, or what did not answer."""

_LOG: Final = logging.getLogger("clew.consistency")


class IndexWatch:
    """Proves the generation that is asked, at most ``rate`` threads a second, while ``feeding`` says so."""

    def __init__(self, folder: IndexFolder, histories: Histories, rate: float, feeding: Callable[[], bool]) -> None:
        self._folder = folder
        self._histories = histories
        self._rate = rate
        self._feeding = feeding
        self._said = set[str]()
        self._generation = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Prove until ``stop`` is set; not at all at a rate of 0."""

        async def page() -> float:
            return await self.step() / self._rate or PAUSE

        if self._rate > 0:
            name = "the proof of the index"
            await repeat_until(stop, page, name=name, log=_LOG, faults=(ClewError, OSError), pause=PAUSE)

    async def step(self) -> int:
        """Go on by some threads; how many, 0 if there was nothing to do.

        Raises:
            Unavailable: the log does not answer, or the file cannot be read.
            OSError: the disk does not take how far it is.
        """
        pointer, now = self._folder.pointer(), datetime.now(UTC)
        if pointer is None or not pointer.ready or not self._feeding():
            return 0
        number = pointer.generation
        if number != self._generation:
            self._generation = number
            self._said.clear()
        known = read(self._folder.path, number) or IndexProofState(generation=number, began_at=now)
        if not known.place and known.since is not None and (now - known.began_at).total_seconds() < ROUND:
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
            wrong = [what for what in await asyncio.gather(*(self._one(proof, each) for each in page)) if what]
            threads, drifted = known.threads + len(page), known.drifted + len(wrong)
            began = known.began_at if known.place else now
            known = replace(known, place=place, threads=threads, drifted=drifted, began_at=began)
        write(self._folder.path, known)
        return max(1, len(page))

    async def _one(self, proof: IndexProof, address: Address) -> str | None:
        what = await proof.thread(address)
        if what is None:
            return None
        named = f"thread {address.thread} of tenant {address.tenant}: {what}"
        if await proof.knows_more(address):
            # No drift: to make the index anew would take away what is left of these commits.
            self._say(
                f"the log has lost commits, and the index in {self._folder.path} may be their last trace: {named}"
            )
            return None
        self._say_drift(named)
        return what

    def _say_drift(self, what: str) -> None:
        self._say(
            f"drift of the index in {self._folder.path}: {what}. Where 'clew verify --all' finds the log whole, "
            "'clew rebuild index' makes it anew"
        )

    def _say(self, what: str) -> None:
        """Say something once."""
        if what not in self._said:
            if len(self._said) < SAID:
                self._said.add(what)
            _LOG.error("%s", what)
