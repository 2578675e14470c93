"""The client without ``async``: the same calls, which return when the answer is there.

::

    with connect("nats://127.0.0.1:4222", actor="billing") as clew:
        done = clew.create_thread(messages=["Hello"], metadata={"customer": "42"})
        found = clew.get_thread(done.thread.id)

For scripts, for frameworks that work in threads, and for the prompt. One connection serves any number of threads. In a
program that has an event loop use :mod:`clew_events.client`, as these calls would hold it up.
"""

from __future__ import annotations

from clew_events.client.sync.client import Clew
from clew_events.client.sync.connector import connect

__all__ = ["Clew", "connect"]
