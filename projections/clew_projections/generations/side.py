"""One side of a blue/green pair: a generation's buckets, and whatever this process remembers of them.

All that is remembered of buckets hangs on a side, so a switch forgets it, and what was begun on one side is finished on
it.
"""

from __future__ import annotations

from collections.abc import Callable

from clew_projections.buckets.bucket import Bucket
from clew_projections.buckets.doubt import Doubts
from clew_projections.buckets.keys import bucket_names
from clew_projections.buckets.spent import SpentIds
from clew_projections.generations.record import Generation
from clew_projections.histories.history import Histories
from clew_projections.jetstream.calls import JetStream
from clew_projections.present.from_log import FromLog
from clew_projections.present.present import Reading
from clew_projections.present.projected import Projected


class Side:
    """A generation as this process uses it. ``foreign`` if another fold makes its views than this process would.

    Of a foreign side nothing is read and nothing is written: every answer is folded from the log.
    """

    def __init__(
        self,
        js: JetStream,
        generation: Generation,
        histories: Histories,
        connection: Callable[[], int],
        *,
        fold: int,
        replicated: bool,
    ) -> None:
        """``connection`` counts how often the connection to NATS was made; ``fold`` is this process's.

        ``replicated`` unless there is one replica of the buckets alone.
        """
        self.generation = generation
        self.foreign = generation.fold != fold
        threads, messages, commands = bucket_names(generation.number)
        self.consumer = threads
        self.threads = Bucket(js, threads, replicated=replicated)
        self.messages = Bucket(js, messages, replicated=replicated)
        self.commands = Bucket(js, commands, forgets=True, replicated=replicated)
        self.spent = SpentIds(self.commands)
        self.doubts = Doubts(js, (self.messages, self.commands), connection)
        self.from_log = FromLog(histories)
        self.reading: Reading = self.from_log
        if not self.foreign:
            self.reading = Projected(self.threads, self.messages, self.spent, histories, self.doubts)

    @property
    def number(self) -> int:
        """The generation's number."""
        return self.generation.number

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """The buckets, that of threads first."""
        return self.threads, self.messages, self.commands
