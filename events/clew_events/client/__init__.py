"""The client for other services: commands that are safe to retry, queries, the feed, and the inbox.

::

    async with connect("nats://127.0.0.1:4222", actor="billing") as clew:
        done = await clew.create_thread(messages=["Hello"], metadata={"customer": "42"})
        print((await clew.get_thread(done.thread.id)).thread.metadata)

:mod:`clew_events.client.sync` is the same client without ``async``. Both need only msgspec and nats-py.

Every method returns Clew's answer or raises an error of :mod:`clew_events.errors`.
"""

from __future__ import annotations

from clew_events.client.client import Clew, connect
from clew_events.nats_security import NatsSecurity

__all__ = ["Clew", "NatsSecurity", "connect"]
