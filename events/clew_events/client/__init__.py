"""Clew from another service: commands that are safe to repeat, queries, and the inbox.

::

    async with connect("nats://127.0.0.1:4222", actor="billing") as clew:
        done = await clew.create_thread(messages=["Hello"], metadata={"customer": "42"})
        found = await clew.get_thread(done.thread.id)

Without ``async`` it is :mod:`clew_events.client.sync`. It needs msgspec and nats-py only.

Every method either returns what Clew answered or raises from the tree in
:mod:`clew_events.errors`.
"""

from __future__ import annotations

from clew_events.client.client import Clew, connect

__all__ = ["Clew", "connect"]
