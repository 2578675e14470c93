"""Group commit: what waits for the same shard is stored as one atomic batch, with one fsync instead of many.

A stream that syncs every publish stores them one after the other. So a few may be under way at once, which costs a lone
writer nothing. Once more than that is asked of a shard, nothing is sent until what is under way has been answered, and
all that has gathered by then goes as one batch of JetStream, every commit with its own guard. A batch is all or
nothing, and one stale guard refuses it; its members are then sent singly, each to its own outcome, as they are when a
batch's answer does not come.

A server that runs alone and does not answer may have stopped storing: what is published to it from then on goes through
a :class:`.write_probe.WriteProbe`, singly, until something is stored.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Final

from clew_events.errors import ClewError
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.request_mux import Timeout
from clew_projections.nats.stream_messages import Ack, OutgoingMessage
from clew_services.eventstore.write_probe import WriteProbe
from clew_services.observer import NOBODY, Observer

UNDER_WAY: Final = 8
"""Single publishes to one shard that may be under way at once."""
WORTH_A_BATCH: Final = 16
"""Below this many, under way or waiting, single publishes are faster than a batch."""
ENOUGH: Final = 8
"""What of them has to have gathered when the time for a batch comes."""
LARGEST: Final = 256
LARGEST_BYTES: Final = 4 * 1024 * 1024


class _PendingAppend:
    __slots__ = ("alone", "answer", "message")

    def __init__(self, message: OutgoingMessage, answer: asyncio.Future[Ack]) -> None:
        self.message = message
        self.answer = answer
        self.alone = False


class ShardWriter:
    """Publishes to one shard, alone or in company; callers cannot tell which."""

    def __init__(self, js: JetStream, observer: Observer = NOBODY, probe: WriteProbe | None = None) -> None:
        """``probe`` is for a shard of a server that runs alone."""
        self._js = js
        self._probe = probe
        self._observer = observer
        self._queue: deque[_PendingAppend] = deque()
        self._under_way = 0
        self._batch_under_way = False
        self._pumping = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def full(self) -> bool:
        """Whether the shard was found not to store anything, not long ago."""
        return self._probe is not None and self._probe.full

    async def publish(self, message: OutgoingMessage, timeout: float) -> Ack:
        """The server's answer to a message, as a publish of its own would have got it.

        Raises:
            LogFull: the shard does not store anything.
            Unavailable: no answer came within ``timeout`` seconds of its being sent.
            TooLarge: the server does not take so many bytes.
        """
        if self._probe is not None and self._probe.in_doubt:
            ack = await self._probe.publish(message, timeout)
            if ack is not None:
                return ack
        if not self._under_way and not self._queue and not self._batch_under_way:
            self._under_way += 1
            try:
                return await self._js.publish(message.subject, message.body, message.headers, timeout)
            except Timeout:
                self._doubt()
                raise
            finally:
                self._under_way -= 1
                self._pump(timeout)
        waiting = _PendingAppend(message, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if not self._pumping:
            # Whatever else is published in this turn of the loop comes along.
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump, timeout)
        return await waiting.answer

    def _pump(self, timeout: float) -> None:
        self._pumping = False
        while self._queue and not self._batch_under_way:
            if len(self._queue) + self._under_way >= WORTH_A_BATCH and not self._queue[0].alone:
                if self._under_way:
                    return  # the last of these to be answered starts a batch of all that has gathered
                batch = self._take()
                if len(batch) >= ENOUGH:
                    self._batch_under_way = True
                    self._start(self._send_batch(batch, timeout), batch)
                    return
                self._queue.extendleft(reversed(batch))
            if self._under_way >= UNDER_WAY:
                return
            first = self._queue.popleft()
            if not first.answer.done():
                self._under_way += 1
                self._start(self._send_one(first, timeout), [first])

    def _take(self) -> list[_PendingAppend]:
        """As many as fit into a batch from the front of the queue, no two to the same subject."""
        batch: list[_PendingAppend] = []
        subjects: set[str] = set()
        room = LARGEST_BYTES
        while self._queue and len(batch) < LARGEST:
            first = self._queue[0]
            room -= len(first.message.body)
            if first.alone or first.message.subject in subjects or room < 0:
                break
            self._queue.popleft()
            if not first.answer.done():
                subjects.add(first.message.subject)
                batch.append(first)
        return batch

    async def _send_one(self, waiting: _PendingAppend, timeout: float) -> None:
        message = waiting.message
        try:
            ack = await self._js.publish(message.subject, message.body, message.headers, timeout)
            if not waiting.answer.done():
                waiting.answer.set_result(ack)
        except ClewError as fault:
            if isinstance(fault, Timeout):
                self._doubt()
            if not waiting.answer.done():
                waiting.answer.set_exception(fault)
        finally:
            self._under_way -= 1
            self._pump(timeout)

    async def _send_batch(self, batch: Sequence[_PendingAppend], timeout: float) -> None:
        acks: list[Ack] = []
        silent = False
        try:
            acks = await self._js.publish_batch([each.message for each in batch], timeout)
        except ClewError as fault:
            acks = []
            silent = isinstance(fault, Timeout)
        finally:
            self._batch_under_way = False
            self._observer.on_batch(len(batch), bool(acks))
            if acks:
                for each, ack in zip(batch, acks, strict=True):
                    if not each.answer.done():
                        each.answer.set_result(ack)
            else:
                # Refused, or the answer was lost: each finds out for itself, and sending it again is safe.
                for each in reversed(batch):
                    each.alone = True
                    self._queue.appendleft(each)
            if silent:
                self._doubt()
            self._pump(timeout)

    def _doubt(self) -> None:
        """Have everything that waits find out for itself whether anything is stored."""
        if self._probe is None:
            return
        self._probe.in_doubt = True
        while self._queue:
            waiting = self._queue.popleft()
            if not waiting.answer.done():
                waiting.answer.set_exception(Timeout("no answer", outcome_unknown=waiting.alone))

    def _start(self, sending: Coroutine[None, None, None], concerned: Sequence[_PendingAppend]) -> None:
        task = asyncio.get_running_loop().create_task(sending)
        self._tasks.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            fault = asyncio.CancelledError() if done.cancelled() else done.exception()
            for each in concerned:
                if fault is not None and not each.answer.done():
                    each.answer.set_exception(fault)

        task.add_done_callback(ended)
