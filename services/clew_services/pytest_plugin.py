"""The pytest plugin: one fixture. Its imports happen when a test uses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from clew_services.testing.clew_server import ClewServer


@pytest.fixture(scope="session")
def clew_server() -> Iterator[ClewServer]:
    """A real Clew with an empty store, the same for all tests of the session; see ``clew_services.testing``."""
    from clew_services.testing.clew_server import running_clew  # noqa: PLC0415 - costs time, and is seldom wanted

    with running_clew() as server:
        yield server
