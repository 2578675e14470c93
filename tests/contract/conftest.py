"""One Clew for all rows of a module: each row makes the threads that it is about."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.rows import Service, live


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A live Clew."""
    async with live(tmp_path_factory.mktemp("contract") / "data") as made:
        yield made
