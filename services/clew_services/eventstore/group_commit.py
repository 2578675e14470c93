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
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

from clew_events.errors import ClewError
from clew_projections.nats.jetstream import JetStream, decode_ack
from clew_projections.nats.request_mux import Reply, Request, Timeout
from clew_projections.nats.stream_messages import Ack
from clew_services.eventstore.write_probe import WriteProbe
from clew_services.observer import NOBODY, Observer

UNDER_WAY: Final = 8
"""Single publishes to one shard that may be in flight at once."""
WORTH_A_BATCH: Final = 16
"""Below this many publishes, in flight or queued, single ones are faster than a batch."""
ENOUGH: Final = 8
"""The smallest batch."""
CLOCK: Final = 0.001
"""Seconds by which a timer may be early."""
LARGEST: Final = 256
LARGEST_BYTES: Final = 4 * 1024 * 1024


class _PendingAppend:
    """A publish that waits for its turn or its answer: the server's reply, or an ``ack`` made of that to its batch."""

    __slots__ = ("ack", "alone", "answers", "end", "request", "subjects", "until")

    def __init__(self, request: Request, answers: asyncio.Future[list[Reply]], until: float) -> None:
        self.request = request
        self.subjects = (request.subject,)
        self.answers = answers
        self.until = until
        self.ack: Ack | None = None
        self.alone = False
        self.end: Callable[[], None] | None = None
        """Ends it, once it was sent singly."""

    def take(self, reply: Reply, _place: bytes) -> None:
        """Take the server's reply."""
        self.answers.set_result([reply])

    def fail(self, fault: BaseException) -> None:
        """Fail it, if somebody waits."""
        if not self.answers.done():
            self.answers.set_exception(fault)


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
        self._watched = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def full(self) -> bool:
        """Whether the shard was recently found to store nothing."""
        return self._probe is not None and self._probe.full

    async def publish(self, request: Request, timeout: float, until: float) -> Ack:
        """Publish a message and return the server's answer, the same whether it was sent singly or in a batch.

        Raises:
            LogFull: the shard stores nothing.
            Unavailable: no answer within ``timeout`` seconds of sending, or not sent by ``until``, the loop's time.
            TooLarge: the message is larger than the server accepts.
        """
        if self._probe is not None and self._probe.in_doubt:
            ack = await self._try(self._probe, request, timeout, until)
            if ack is not None:
                return ack
        pending = _PendingAppend(request, asyncio.get_running_loop().create_future(), until)
        if self._under_way or self._queue or self._batch_under_way:
            self._put_off(pending, timeout)
        else:
            self._send(pending, timeout)
        try:
            replies = await pending.answers
            return pending.ack or decode_ack(replies[0], request.subject)
        except Timeout:
            if pending.end is not None:
                self._doubt()
            raise
        finally:
            if pending.end is not None:
                pending.end()
                self._under_way -= 1
                if self._queue:
                    self._pump(timeout)

    async def _try(self, probe: WriteProbe, request: Request, timeout: float, until: float) -> Ack | None:
        try:
            async with asyncio.timeout_at(until):
                return await probe.publish(request, timeout)
        except TimeoutError:
            raise Timeout("no answer", outcome_unknown=True) from None

    def _put_off(self, pending: _PendingAppend, timeout: float) -> None:
        """Put a publish into the queue."""
        self._queue.append(pending)
        if not self._pumping:
            # Publishes of the same iteration of the event loop are sent together.
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump, timeout)
        self._watch()

    def _watch(self) -> None:
        """Have what waits in the queue fail when its time is over: one timer for all of it."""
        if self._queue and not self._watched:
            self._watched = True
            asyncio.get_running_loop().call_at(self._queue[0].until, self._expire)

    def _expire(self) -> None:
        self._watched = False
        now = asyncio.get_running_loop().time() + CLOCK
        while self._queue and (self._queue[0].answers.done() or self._queue[0].until <= now):
            self._queue.popleft().fail(Timeout("no answer", outcome_unknown=True))
        self._watch()

    def _send(self, pending: _PendingAppend, timeout: float) -> None:
        """Send a publish singly, unless nobody waits for it any more."""
        if pending.answers.done():
            return
        left = pending.until - asyncio.get_running_loop().time()
        try:
            pending.end = self._js.begin(pending, pending.request, min(timeout, left))
        except ClewError as fault:
            pending.fail(fault)
        else:
            self._under_way += 1

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
            self._send(self._queue.popleft(), timeout)

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
            if not first.answers.done():
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
                    if not pending.answers.done():
                        pending.ack = ack
                        pending.answers.set_result([])
            else:
                # Refused, or the answer was lost: each is sent singly. Sending it again is safe.
                for pending in reversed(batch):
                    pending.alone = True
                    self._queue.appendleft(pending)
                self._watch()
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
