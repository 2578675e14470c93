"""Items in memory: recalled by the commits that they were folded from, and by nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from clew_events.content import Message, Text
from clew_events.subjects import Address
from clew_projections.state import item_memory
from clew_projections.state.item_memory import ItemMemory
from clew_projections.views import ItemView

THREAD, OTHER = Address("tenant", "thread_1"), Address("tenant", "thread_2")


class Connection:
    """Counts how often it was lost."""

    lost = 0


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
def memory(connection: Connection) -> ItemMemory:
    return ItemMemory(lambda: connection.lost)


def item(ordinal: int, text: str = "", *, erased: bool = False) -> ItemView:
    said = Message(role="user", content=(Text(text),), metadata={})
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return ItemView(id=f"own-{ordinal}", thread="t", ordinal=ordinal, n=1, created_at=at, message=said, erased=erased)


def remember(memory: ItemMemory, *views: ItemView, thread: Address = THREAD) -> None:
    memory.remember(thread, {view.ordinal: (view.ordinal,) for view in views}, _by(views), memory.moment)


def _by(views: tuple[ItemView, ...]) -> dict[int, ItemView]:
    return {view.ordinal: view for view in views}


def test_an_item_is_recalled_by_all_commits_about_it_and_no_others(memory: ItemMemory) -> None:
    remember(memory, item(1), item(2))
    assert memory.recall(THREAD, {1: (1,), 2: (2, 7), 3: (3,)}) == {1: item(1)}
    assert memory.recall(OTHER, {1: (1,)}) == {}


def test_what_is_gone_is_not_remembered(memory: ItemMemory) -> None:
    remember(memory, item(1, erased=True))
    assert memory.recall(THREAD, {1: (1,)}) == {}


def test_what_is_forgotten_while_it_is_read_is_not_remembered_afterwards(memory: ItemMemory) -> None:
    remember(memory, item(1))
    begun = memory.moment
    memory.forget(THREAD)
    memory.remember(THREAD, {2: (2,)}, {2: item(2)}, begun)
    assert memory.recall(THREAD, {1: (1,), 2: (2,)}) == {}


def test_nothing_is_recalled_over_another_connection(memory: ItemMemory, connection: Connection) -> None:
    remember(memory, item(1))
    begun = memory.moment
    connection.lost += 1
    memory.remember(THREAD, {2: (2,)}, {2: item(2)}, begun)
    assert memory.recall(THREAD, {1: (1,), 2: (2,)}) == {}


def test_a_thread_has_no_more_than_its_share(memory: ItemMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_memory, "THREAD_BYTES", 3 * item_memory.OVERHEAD)
    remember(memory, item(1))
    remember(memory, item(2))
    assert memory.recall(THREAD, {1: (1,), 2: (2,)}) == {1: item(1), 2: item(2)}
    remember(memory, item(3), item(4))
    assert memory.recall(THREAD, {1: (1,), 3: (3,), 4: (4,)}) == {3: item(3), 4: item(4)}
    remember(memory, item(5, "x" * 3 * item_memory.OVERHEAD))
    assert memory.recall(THREAD, {3: (3,), 5: (5,)}) == {3: item(3)}
