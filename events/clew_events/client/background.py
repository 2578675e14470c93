"""An event loop in a thread of its own, which runs coroutines for other threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, Self, TypeVar

from clew_events.errors import Unavailable

T = TypeVar("T")


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
