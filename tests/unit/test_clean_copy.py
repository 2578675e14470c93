"""A copy of an index has everything that can be read in it, and no byte of what was deleted."""

from __future__ import annotations

import asyncio
import gc
import random
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from clew_events.events import ItemDeleted, MetadataUpdated, ThreadDeleted
from clew_events.ids import item_id
from clew_events.list_query import Condition, ListThreads, MetadataTest
from clew_projections.index import open_for_reading, open_for_writing
from clew_projections.index.clean_copy import copy_clean, is_clean
from clew_projections.indexer import purge
from support.commits import CREATED, added, chain
from support.markers import find_marker, new_marker
from support.waiting import PATIENCE

NEVER = threading.Event()


def fill(file: Path, marker: str) -> None:
    """Threads of texts of all lengths; of a half of them all that has the marker is deleted, bit by bit."""
    rng = random.Random(7)
    with closing(open_for_writing(file)) as writer:
        for number in range(60):
            gone = number % 2 == 0
            word = f"{marker}{number:04}" if gone else f"stays{number:04}"
            texts = (" ".join([*rng.choices(["refund", "invoice"], k=rng.randint(1, 200)), word]) for _ in range(9))
            history = [
                [CREATED],
                [MetadataUpdated(set={"a": word, word: "1"}, unset=())],
                *([added(ordinal, text)] for ordinal, text in enumerate(texts, start=1)),
            ]
            if gone:
                history += [[ItemDeleted(item=item_id(ordinal, "made"))] for ordinal in range(1, 9)]
                history += [[ThreadDeleted()]] if number % 4 else [[MetadataUpdated(set={}, unset=("a", word))]]
                history += [] if number % 4 else [[ItemDeleted(item=item_id(9, "made"))]]
            records = chain(*history, thread=f"thread_{number:08}")
            for record in records:
                writer.apply([record], {0: 1000 + number})


def everything(file: Path) -> dict[str, list[tuple[object, ...]]]:
    tables = ("tenant", "thread", "key", "term", "pair", "message", "vocabulary")
    with closing(sqlite3.connect(file)) as db:
        return {table: sorted(db.execute(f"SELECT * FROM {table}")) for table in tables}


def test_nothing_of_what_was_deleted_is_in_the_copy_and_all_else_is(tmp_path: Path) -> None:
    original, copy, marker = tmp_path / "original" / "1.db", tmp_path / "copy" / "2.db", new_marker()
    for file in (original, copy):
        file.parent.mkdir()
    fill(original, marker)
    copy_clean(original, copy, NEVER)
    assert [each.name for each in copy.parent.iterdir()] == ["2.db"]
    # Nothing finds it in the original either, and there it is.
    assert "1.db: text" in find_marker(original.parent, marker)
    assert find_marker(copy.parent, marker) == []
    assert everything(copy) == everything(original)
    with closing(open_for_reading(copy)) as reader, closing(open_for_reading(original)) as before:
        for query in (
            ListThreads(search="refund invoice", limit=100),
            ListThreads(search="stays00*", limit=100),
            ListThreads(where=Condition(metadata=MetadataTest(key="a", exists=True)), limit=100),
            ListThreads(search=marker + "*", limit=100),
        ):
            assert reader.list("default", query) == before.list("default", query)
        assert len(reader.list("default", ListThreads(search="stays00*", limit=100)).data) == 30


def test_the_copy_goes_on_as_the_original_would(tmp_path: Path) -> None:
    original, copy = tmp_path / "1.db", tmp_path / "2.db"
    records = chain([CREATED], [added(1, "refund")], [added(2, "again")], [ItemDeleted(item=item_id(1, "made"))])
    with closing(open_for_writing(original)) as writer:
        writer.apply(records[:3], {0: 3}, {0: 2})
        assert not is_clean(original, {0: 2})
        copy_clean(original, copy, NEVER)
    with closing(open_for_writing(copy)) as writer, closing(open_for_reading(copy)) as reader:
        assert writer.erasures() == {0: (2, 2)}
        assert is_clean(copy, {0: 2})
        assert not is_clean(copy, {0: 3})
        writer.apply(records[3:], {0: 4}, {0: 4})
        assert writer.erasures() == {0: (4, 2)}
        assert not is_clean(copy, {0: 2})
        assert [each.id for each in reader.list("default", ListThreads(search="again")).data] == [
            records[0].commit.thread
        ]
        assert reader.list("default", ListThreads(search="refund")).data == ()
        assert is_clean(copy, {})


def test_a_copy_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    original, stop = tmp_path / "1.db", threading.Event()
    fill(original, new_marker())
    stop.set()
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        copy_clean(original, tmp_path / "2.db", stop)
    assert list(tmp_path.glob("2.*")) == []


async def test_a_copy_that_is_given_up_as_its_process_stops_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun = threading.Event()

    def copy_until_stopped(_source: Path, _target: Path, stop: threading.Event) -> None:
        begun.set()
        assert stop.wait(PATIENCE)
        raise sqlite3.OperationalError("interrupted")

    monkeypatch.setattr(purge, "copy_clean", copy_until_stopped)
    copying = asyncio.create_task(purge._copy_in_thread(tmp_path / "1.db", tmp_path / "2.db"))
    await asyncio.to_thread(begun.wait)
    copying.cancel()
    await asyncio.wait({copying})
    assert copying.cancelled()
    del copying
    gc.collect()
    assert caplog.messages == []


def test_a_file_that_cannot_be_read_is_not_clean(tmp_path: Path) -> None:
    (tmp_path / "1.db").write_text("not a database")
    assert not is_clean(tmp_path / "1.db", {0: 1})
    assert not is_clean(tmp_path / "2.db", {0: 1})
