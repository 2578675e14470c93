"""A connection that the client owns: opened, kept alive and closed with the ``with`` block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from clew_events.client import connector
from clew_events.client.sync.background import Background
from clew_events.client.sync.client import Clew


@contextlib.contextmanager
def connect(
    servers: str | Sequence[str] = "nats://127.0.0.1:4222",
    *,
    tenant: str = "default",
    actor: str | None = None,
    timeout: float = 10.0,
    inbox_prefix: str = "_INBOX",
) -> Iterator[Clew]:
    """A client on a connection of its own; everything is as with :func:`clew_events.client.connect`, but for waiting.

    Calls of other threads that still wait at the end of the block raise ``Unavailable``.

    Raises:
        Unavailable: no server could be reached within ``timeout`` seconds, or none let us in.
    """
    with Background() as background:
        opened = connector.connect(servers, tenant=tenant, actor=actor, timeout=timeout, inbox_prefix=inbox_prefix)
        clew = background.run(opened.__aenter__())
        try:
            yield Clew(clew, background)
        finally:
            background.run(opened.__aexit__(None, None, None))
