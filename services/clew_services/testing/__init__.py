"""A real Clew for the tests of other programs: ``clew up`` on free ports, in a temporary folder.

::

    with running_clew() as server:
        client = OpenAI(base_url=server.base_url, api_key=server.api_key)

With pytest, use the fixture ``clew_server``: one such server for the whole session. It comes with the package, and
nothing is started if no test uses it.
"""

from __future__ import annotations

from clew_services.testing.clew_server import ClewServer, DidNotStart, running_clew

__all__ = ["ClewServer", "DidNotStart", "running_clew"]
