"""Group commit: commits that wait for the same shard are stored as one atomic batch, with one fsync instead of many.

A stream that syncs every publish stores publishes one after the other. A few single publishes may be in flight at once,
which adds no latency for a lone writer. Beyond that, nothing is sent until those in flight are answered; everything
queued by then is sent as one JetStream batch, every commit with its own guard. A batch is atomic, so one stale guard
makes it fail; its members are then sent singly, each to its own outcome, as they are when a batch is not answered.

A single server that does not answer may have stopped storing: publishes to it go through a
:class:`.write_probe.WriteProbe`, singly, until something is stored.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Final

from clew_events.errors import ClewError
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.request_mux import Request, Timeout
from clew_projections.nats.stream_messages import Ack
from clew_services.eventstore.write_probe import WriteProbe
from clew_services.observer import NOBODY, Observer

UNDER_WAY: Final = 8
"""Single publishes to one shard that may be in flight at once."""
WORTH_A_BATCH: Final = 16
"""Below this many publishes, in flight or queued, single ones are faster than a batch."""
ENOUGH: Final = 8
"""The smallest batch."""
LARGEST: Final = 256
LARGEST_BYTES: Final = 4 * 1024 * 1024


class _PendingAppend:
    """A publish in the queue. Its answer is the server's, or ``None`` when it may be sent singly."""

    __slots__ = ("alone", "answer", "request")

    def __init__(self, request: Request, answer: asyncio.Future[Ack | None]) -> None:
        self.request = request
        self.answer = answer
        self.alone = False

    def settle(self, answer: Ack | None) -> bool:
        """Answer it, unless nobody waits any more; whether somebody does."""
        if self.answer.done():
            return False
        self.answer.set_result(answer)
        return True

    def fail(self, fault: BaseException) -> None:
        """Fail it, if somebody waits."""
        if not self.answer.done():
            self.answer.set_exception(fault)

    def expire(self) -> None:
        """Fail it because it has waited too long."""
        self.fail(Timeout("no answer", outcome_unknown=True))


class ShardWriter:
    """Publishes to one shard, singly or in batches."""

    def __init__(self, js: JetStream, observer: Observer = NOBODY, probe: WriteProbe | None = None) -> None:
        """``probe`` is for a shard of a single server, without replicas."""
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
        """Whether the shard was recently found to store nothing."""
        return self._probe is not None and self._probe.full

    async def publish(self, request: Request, timeout: float, until: float) -> Ack:
        """Publish a message and return the server's answer, the same whether it was sent singly or in a batch.

        Raises:
            LogFull: the shard stores nothing.
            Unavailable: no answer within ``timeout`` seconds of sending, or until the loop's time is ``until``.
            TooLarge: the message is larger than the server accepts.
        """
        if self._probe is not None and self._probe.in_doubt:
            ack = await self._try(self._probe, request, timeout, until)
            if ack is not None:
                return ack
        if self._under_way or self._queue or self._batch_under_way:
            ack = await self._wait(request, timeout, until)
            if ack is not None:
                return ack
        else:
            self._under_way += 1
        try:
            return await self._js.store(request, min(timeout, until - asyncio.get_running_loop().time()))
        except Timeout:
            self._doubt()
            raise
        finally:
            self._under_way -= 1
            self._pump(timeout)

    async def _try(self, probe: WriteProbe, request: Request, timeout: float, until: float) -> Ack | None:
        try:
            async with asyncio.timeout_at(until):
                return await probe.publish(request, timeout)
        except TimeoutError:
            raise Timeout("no answer", outcome_unknown=True) from None

    async def _wait(self, request: Request, timeout: float, until: float) -> Ack | None:
        """Wait in the queue; return the answer to the batch that the message was in, or ``None`` to have it sent."""
        loop = asyncio.get_running_loop()
        pending = _PendingAppend(request, loop.create_future())
        self._queue.append(pending)
        if not self._pumping:
            # Publishes of the same iteration of the event loop are sent together.
            self._pumping = True
            loop.call_soon(self._pump, timeout)
        late = loop.call_at(until, pending.expire)
        try:
            return await pending.answer
        except asyncio.CancelledError:
            if not pending.answer.cancelled() and pending.answer.exception() is None and not pending.answer.result():
                self._under_way -= 1  # it may be sent, and nobody does
                self._pump(timeout)
            raise
        finally:
            late.cancel()

    def _pump(self, timeout: float) -> None:
        self._pumping = False
        while self._queue and not self._batch_under_way:
            if len(self._queue) + self._under_way >= WORTH_A_BATCH and not self._queue[0].alone:
                if self._under_way:
                    return  # the last answer to these starts a batch of the whole queue
                batch = self._take()
                if len(batch) >= ENOUGH:
                    self._batch_under_way = True
                    self._start(self._send_batch(batch, timeout), batch)
                    return
                self._queue.extendleft(reversed(batch))
            if self._under_way >= UNDER_WAY:
                return
            if self._queue.popleft().settle(None):
                self._under_way += 1

    def _take(self) -> list[_PendingAppend]:
        """Take a batch from the front of the queue: as many as fit, no two with the same subject."""
        batch: list[_PendingAppend] = []
        subjects: set[str] = set()
        room = LARGEST_BYTES
        while self._queue and len(batch) < LARGEST:
            first = self._queue[0]
            room -= len(first.request.body)
            if first.alone or first.request.subject in subjects or room < 0:
                break
            self._queue.popleft()
            if not first.answer.done():
                subjects.add(first.request.subject)
                batch.append(first)
        return batch

    async def _send_batch(self, batch: Sequence[_PendingAppend], timeout: float) -> None:
        acks: list[Ack] = []
        silent = False
        try:
            acks = await self._js.store_batch([pending.request for pending in batch], timeout)
        except ClewError as fault:
            silent = isinstance(fault, Timeout)
        finally:
            self._batch_under_way = False
            self._observer.on_batch(len(batch), bool(acks))
            if acks:
                for pending, ack in zip(batch, acks, strict=True):
                    pending.settle(ack)
            else:
                # Refused, or the answer was lost: each is sent singly. Sending it again is safe.
                for pending in reversed(batch):
                    pending.alone = True
                    self._queue.appendleft(pending)
            if silent:
                self._doubt()
            self._pump(timeout)

    def _doubt(self) -> None:
        """Fail the queued publishes with a timeout, so that their retries go through the probe."""
        if self._probe is None:
            return
        self._probe.in_doubt = True
        while self._queue:
            pending = self._queue.popleft()
            pending.fail(Timeout("no answer", outcome_unknown=pending.alone))

    def _start(self, sending: Coroutine[None, None, None], batch: Sequence[_PendingAppend]) -> None:
        task = asyncio.get_running_loop().create_task(sending)
        self._tasks.add(task)

        def on_done(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            fault = asyncio.CancelledError() if done.cancelled() else done.exception()
            if fault is not None:
                for pending in batch:
                    pending.fail(fault)

        task.add_done_callback(on_done)
