"""A real Clew for the tests of other programs: ``clew up`` on free ports and a folder that is gone afterwards.

::

    with running_clew() as server:
        client = OpenAI(base_url=server.base_url, api_key=server.api_key)

With pytest, ask for the fixture ``clew_server``, which is one such server for the whole session; it comes with the
package and costs nothing where it is not asked for.
"""

from __future__ import annotations

from clew_services.testing.clew_server import ClewServer, DidNotStart, running_clew

__all__ = ["ClewServer", "DidNotStart", "running_clew"]
