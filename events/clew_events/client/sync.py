"""The client without ``async``: the same calls, which block until the answer is there.

::

    with connect("nats://127.0.0.1:4222", actor="billing") as clew:
        done = clew.create_thread(messages=["Hello"], metadata={"customer": "42"})
        print(clew.get_thread(done.thread.id).thread.metadata)

For scripts, for frameworks that work in threads, and for the interactive prompt. Any number of threads can share one
client. In a program that has an event loop, use :mod:`clew_events.client`: these calls would block the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from clew_events.client import client
from clew_events.connection import INBOX_PREFIX
from clew_events.errors import Unavailable
from clew_events.nats_security import NatsSecurity

__all__ = ["Clew", "NatsSecurity", "connect", "run"]


class Background:
    """Runs coroutines for other threads; a context manager. Leaving it cancels what still runs."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="clew client", daemon=True)
        self._closing = threading.Lock()
        self._closed = False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` to its end, and return or raise what it does. An interrupt of the wait cancels it.

        Raises:
            Unavailable: this is closed, or was closed meanwhile; then ``outcome_unknown`` is true.
            RuntimeError: called in the loop's own thread, where the call would wait for itself.
        """
        with self._closing:
            if self._closed:
                work.close()
                raise Unavailable("the client is closed", code="connection_closed")
            if threading.current_thread() is self._thread:
                work.close()
                raise RuntimeError("a blocking call in the client's own thread would wait for itself for ever")
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        return self._wait_for(future)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._closing:
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait_for(self, future: Future[T]) -> T:
        try:
            return future.result()
        except CancelledError:
            raise Unavailable("the client was closed", code="connection_closed", outcome_unknown=True) from None
        except BaseException:
            future.cancel()
            raise

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_asyncgens()


P = ParamSpec("P")
T = TypeVar("T")


def _call(
    method: Callable[Concatenate[client.Clew, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Clew, P], T]:
    """The method that calls ``method`` of the asynchronous client and waits for its result."""

    @wraps(method)
    def call(self: Clew, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._background.run(method(self._clew, *args, **kwargs))

    return call


def _iterate(
    method: Callable[Concatenate[client.Clew, P], AsyncGenerator[T]],
) -> Callable[Concatenate[Clew, P], Generator[T]]:
    """The method that yields what ``method`` of the asynchronous client yields, and waits for each."""

    @wraps(method)
    def iterate(self: Clew, /, *args: P.args, **kwargs: P.kwargs) -> Generator[T]:
        items = method(self._clew, *args, **kwargs)
        try:
            while True:
                try:
                    item = self._background.run(_next(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            self._background.run(items.aclose())

    signature = inspect.signature(method)
    answer = str(signature.return_annotation).replace("Async", "")
    iterate.__signature__ = signature.replace(return_annotation=answer)  # type: ignore[attr-defined]
    return iterate


async def _next(items: AsyncGenerator[T]) -> T:
    return await anext(items)


class Clew:
    """All commands and queries of one tenant, as :class:`clew_events.client.Clew` has them, for blocking use.

    :func:`connect` makes one. Safe for concurrent use by any number of threads.
    """

    def __init__(self, clew: client.Clew, background: Background) -> None:
        self._clew = clew
        self._background = background
        self.tenant = clew.tenant
        self.actor = clew.actor

    send = _call(client.Clew.send)
    enqueue = _call(client.Clew.enqueue)
    create_thread = _call(client.Clew.create_thread)
    fork_thread = _call(client.Clew.fork_thread)
    update_thread = _call(client.Clew.update_thread)
    patch_metadata = _call(client.Clew.patch_metadata)
    delete_thread = _call(client.Clew.delete_thread)
    restore_thread = _call(client.Clew.restore_thread)
    add_message = _call(client.Clew.add_message)
    update_message = _call(client.Clew.update_message)
    patch_message_metadata = _call(client.Clew.patch_message_metadata)
    delete_message = _call(client.Clew.delete_message)
    add_items = _call(client.Clew.add_items)
    replace_item = _call(client.Clew.replace_item)
    delete_item = _call(client.Clew.delete_item)
    pop_item = _call(client.Clew.pop_item)
    clear_items = _call(client.Clew.clear_items)
    erase_thread = _call(client.Clew.erase_thread)
    erase_message = _call(client.Clew.erase_message)
    erase_item = _call(client.Clew.erase_item)
    place_hold = _call(client.Clew.place_hold)
    release_hold = _call(client.Clew.release_hold)
    place_standing_hold = _call(client.Clew.place_standing_hold)
    release_standing_hold = _call(client.Clew.release_standing_hold)
    set_retention = _call(client.Clew.set_retention)
    remove_retention = _call(client.Clew.remove_retention)

    get_thread = _call(client.Clew.get_thread)
    wait_for = _call(client.Clew.wait_for)
    list_threads = _call(client.Clew.list_threads)
    ask_for_threads = _call(client.Clew.ask_for_threads)
    iter_threads = _iterate(client.Clew.iter_threads)
    get_message = _call(client.Clew.get_message)
    list_messages = _call(client.Clew.list_messages)
    iter_messages = _iterate(client.Clew.iter_messages)
    get_item = _call(client.Clew.get_item)
    list_items = _call(client.Clew.list_items)
    iter_items = _iterate(client.Clew.iter_items)
    history = _call(client.Clew.history)
    iter_history = _iterate(client.Clew.iter_history)
    state_at = _call(client.Clew.state_at)
    message_at = _call(client.Clew.message_at)
    messages_at = _call(client.Clew.messages_at)
    item_at = _call(client.Clew.item_at)
    items_at = _call(client.Clew.items_at)
    diff = _call(client.Clew.diff)
    blame = _call(client.Clew.blame)
    list_checkpoints = _call(client.Clew.list_checkpoints)
    iter_checkpoints = _iterate(client.Clew.iter_checkpoints)
    get_checkpoint = _call(client.Clew.get_checkpoint)
    proof = _call(client.Clew.proof)
    list_erasures = _call(client.Clew.list_erasures)
    iter_erasures = _iterate(client.Clew.iter_erasures)
    get_erasure = _call(client.Clew.get_erasure)
    list_retention = _call(client.Clew.list_retention)
    list_due = _call(client.Clew.list_due)
    iter_due = _iterate(client.Clew.iter_due)
    list_holds = _call(client.Clew.list_holds)
    iter_holds = _iterate(client.Clew.iter_holds)

    feed_page = _call(client.Clew.feed_page)
    feed = _iterate(client.Clew.feed)


def run(clew: Clew, work: Callable[[client.Clew], Coroutine[None, None, T]]) -> T:
    """Run ``work`` with the asynchronous client that is behind ``clew``, and return or raise what it does."""
    return clew._background.run(work(clew._clew))  # noqa: SLF001 - of the same module


@contextlib.contextmanager
def connect(
    servers: str | Sequence[str] = "nats://127.0.0.1:4222",
    *,
    tenant: str = "default",
    actor: str | None = None,
    timeout: float = 10.0,
    inbox_prefix: str = INBOX_PREFIX,
    security: NatsSecurity | None = None,
) -> Iterator[Clew]:
    """Open a connection and yield a client that uses it; close it at the end of the block.

    The parameters are those of :func:`clew_events.client.connect`. Calls of other threads that still wait at the end of
    the block raise ``Unavailable``.

    Raises:
        Unavailable: no server accepts the connection within ``timeout`` seconds.
    """
    with Background() as background:
        opening = client.connect(
            servers, tenant=tenant, actor=actor, timeout=timeout, inbox_prefix=inbox_prefix, security=security
        )
        clew = background.run(opening.__aenter__())
        try:
            yield Clew(clew, background)
        finally:
            background.run(opening.__aexit__(None, None, None))
