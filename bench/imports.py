"""An export of ChatGPT imported into a running Clew: items a second, beside publishes of items as large."""

from __future__ import annotations

import json
import time
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import nats

from bench.lane import SHARDS, Lane, in_turn
from bench.load import Measured, closed_loop
from bench.service import service
from bench.serving import streams_like_the_log
from clew_services.imports import chatgpt_export
from clew_services.imports.thread_import import ThreadImport
from clew_services.open_deployment import open_deployment

CONVERSATIONS: Final = 1_000
ITEMS: Final = 20
"""Items of a conversation."""
TEXT: Final = "How long does the parcel take, and what does it cost? " * 6
RAW_SIZE: Final = 500
"""Bytes of an item, for the raw publish beside it."""


async def imports(seconds: float) -> Lane:
    """The lane; an import is of 20,000 items however many seconds are given."""
    with TemporaryDirectory(prefix="clew-bench-") as folder:
        async with service() as running:
            nc = await nats.connect(running.nats)
            await streams_like_the_log(nc)
            js, numbers = nc.jetstream(), count()
            try:
                async with open_deployment(running.nats, name="bench") as opened:

                    async def ours() -> Measured:
                        file = _written(Path(folder), next(numbers))
                        began = time.perf_counter()
                        report = await ThreadImport(opened, chatgpt_export, tenant="bench").run([file])
                        if report.items != CONVERSATIONS * ITEMS or report.refused:
                            raise RuntimeError(report)
                        rate = report.items / (time.perf_counter() - began)
                        return Measured(per_second=rate, p50=0, p99=0, count=report.items)

                    async def publish(number: int) -> None:
                        await js.publish(f"raw.{number % SHARDS}.bench.{number}", bytes(RAW_SIZE), timeout=10)

                    ours_, raw = await in_turn(ours, lambda: closed_loop(publish, workers=64, seconds=seconds))
            finally:
                await nc.close()
    name = f"import of conversations of {ITEMS} items, items a second"
    return Lane(name=name, clew=ours_, raw_name="publish of an item, fsynced", raw=raw)


def _written(folder: Path, number: int) -> Path:
    """An export with conversations that no other of these has."""
    file = folder / f"{number}.json"
    file.write_text(json.dumps([_conversation(f"{number}-{each}") for each in range(CONVERSATIONS)]))
    return file


def _conversation(own: str) -> dict[str, object]:
    mapping: dict[str, object] = {}
    for number in range(ITEMS):
        role = "assistant" if number % 2 else "user"
        content = {"content_type": "text", "parts": [TEXT]}
        message = {"id": f"{own}-{number}", "author": {"role": role}, "create_time": 1.7e9 + number, "content": content}
        parent = f"{own}-{number - 1}" if number else None
        mapping[f"{own}-{number}"] = {"id": f"{own}-{number}", "parent": parent, "children": [], "message": message}
    current = f"{own}-{ITEMS - 1}"
    return {"title": own, "create_time": 1.7e9, "mapping": mapping, "current_node": current, "conversation_id": own}
