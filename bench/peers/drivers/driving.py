"""What every driver shares: a closed loop of threads, or of tasks, and orders as lines of JSON.

An order is ``{"do": "append", "workers": 32, "seconds": 3.0}``, ``{"do": "append", "workers": 32, "count": 1000}`` or
``{"do": "replay"}``. The result names the number of operations, the seconds they took, how many failed with the first
failure's words, and the latency of each in microseconds.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

BODY = {"metadata": {"user": "ada", "topic": "weather"}, "messages": [{"role": "user", "content": "How warm is it?"}]}
"""What a thread begins with, in every lane and for everybody who takes it."""


def drive(append: Callable[[], object], replay: Callable[[], int], facts: dict[str, str]) -> None:
    """Say what is driven, then carry out orders until there are no more."""
    _say(facts)
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "append":
            _say(_append(append, order["workers"], order.get("seconds"), order.get("count")))
        else:
            started = time.perf_counter()
            count = replay()
            _say(result(count, time.perf_counter() - started))


async def serve(facts: dict[str, str], carry_out: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]) -> None:
    """Say what is driven, then have orders carried out until there are no more."""
    _say(facts)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(partial(asyncio.StreamReaderProtocol, reader), sys.stdin.buffer)
    while line := await reader.readline():
        _say(await carry_out(json.loads(line)))


async def repeat(order: dict[str, Any], work: Callable[[int], Awaitable[object]]) -> dict[str, Any]:
    """A closed loop of tasks, each of which gives ``work`` the next number."""
    latencies: list[float] = []
    failures: list[str] = []
    left = itertools.count() if (count := order.get("count")) is None else iter(range(count))
    started = time.perf_counter()
    until = started + order["seconds"] if count is None else float("inf")

    async def loop() -> None:
        while (begun := time.perf_counter()) < until and (number := next(left, None)) is not None:
            try:
                await work(number)
            except Exception as error:  # noqa: BLE001 - whatever it is, it disqualifies the figure
                failures.append(f"{type(error).__name__}: {error}")
            else:
                latencies.append(time.perf_counter() - begun)

    await asyncio.gather(*(loop() for _ in range(order["workers"])))
    elapsed = time.perf_counter() - started
    return result(len(latencies), elapsed, latencies, len(failures), failures[0] if failures else "")


def result(
    count: int, elapsed: float, latencies: list[float] | None = None, failed: int = 0, failure: str = ""
) -> dict[str, Any]:
    """A result as it goes to stdout."""
    micros = [round(each * 1e6) for each in latencies or []]
    return {"count": count, "elapsed": elapsed, "latencies": micros, "failed": failed, "failure": failure}


def _append(append: Callable[[], object], workers: int, seconds: float | None, count: int | None) -> dict[str, Any]:
    latencies: list[float] = []
    failures: list[str] = []
    left = iter(range(count)) if count is not None else None
    lock = threading.Lock()
    begun = threading.Barrier(workers + 1)
    until = 0.0

    def more() -> bool:
        if left is None:
            return time.perf_counter() < until
        with lock:
            return next(left, None) is not None

    def work() -> None:
        begun.wait()
        while more():
            started = time.perf_counter()
            try:
                append()
            except Exception as error:  # noqa: BLE001 - whatever it is, it disqualifies the figure
                failures.append(f"{type(error).__name__}: {error}")
            else:
                latencies.append(time.perf_counter() - started)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    started = time.perf_counter()
    until = started + (seconds or 0)
    begun.wait()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    return result(len(latencies), elapsed, latencies, len(failures), failures[0] if failures else "")


def _say(fact: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(fact) + "\n")
    sys.stdout.flush()
