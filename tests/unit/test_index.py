"""The index's file: what it takes in, what it refuses, and that the work of an answer does not grow with the file."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from bench.listing import QUESTIONS, TENANT, commits
from msgspec import UNSET, Raw
from msgspec.structs import replace

from clew_events.content import Metadata
from clew_events.errors import Corrupt, Invalid, Unavailable
from clew_events.events import Event, ItemAdded, ItemDeleted, MetadataUpdated, ThreadCreated, ThreadDeleted
from clew_events.ids import item_id
from clew_events.list_query import Condition, IdTest, ListThreads, MetadataTest, NumberTest
from clew_events.list_reply import Facet, FirstText
from clew_projections.index import (
    INDEX_FORMAT,
    IndexReader,
    IndexWriter,
    index_reader,
    open_for_reading,
    open_for_writing,
)
from clew_projections.index.writer import NotLive
from support.commits import CREATED, THREAD, added, chain, commit


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "index.db"


@pytest.fixture
def writer(file: Path) -> Iterator[IndexWriter]:
    writer = open_for_writing(file)
    yield writer
    writer.close()


@pytest.fixture
def reader(writer: IndexWriter, file: Path) -> Iterator[IndexReader]:
    reader = open_for_reading(file)
    yield reader
    reader.close()


def listed(reader: IndexReader, **asked: object) -> list[str]:
    return [each.id for each in reader.list("default", ListThreads(**asked)).data]


def test_what_is_known_already_changes_nothing(writer: IndexWriter, reader: IndexReader):
    records = chain([CREATED, added(1, "refund")], [added(2, "again")])
    writer.apply(records, {0: 2})
    writer.apply(records, {0: 2})
    writer.apply(records[:1], {0: 1})
    (thread,) = reader.list("default", ListThreads(search="refund")).data
    assert (thread.version, thread.message_count) == (2, 2)
    assert writer.marks() == reader.marks() == {0: 2}


@pytest.mark.parametrize("wrong", ["a gap", "another chain", "a message out of turn"])
def test_a_commit_that_does_not_continue_its_thread_is_refused_with_all_that_came_along(
    writer: IndexWriter, reader: IndexReader, wrong: str
):
    good = chain([CREATED, added(1)], [added(2)], [added(3)])
    other = chain([CREATED], thread="thread_other", first_seq=9)
    bad = {
        "a gap": good[2],
        "another chain": replace(good[1], commit=replace(good[1].commit, prev="0" * 64)),
        "a message out of turn": replace(good[1], commit=replace(good[1].commit, events=(added(7),))),
    }[wrong]
    writer.apply(good[:1], {0: 1})
    with pytest.raises(Corrupt):
        writer.apply([*other, bad], {0: 9})
    assert listed(reader) == [THREAD]
    assert reader.marks() == {0: 1}
    writer.apply([*good, *other], {0: 9})
    assert sorted(listed(reader, count=True)) == sorted([THREAD, "thread_other"])


def test_a_file_that_is_not_live_any_more_is_not_written(file: Path, writer: IndexWriter, reader: IndexReader):
    live = [True]
    records = chain([CREATED], [added(1)])
    with closing(open_for_writing(file, lambda: live[0])) as other:
        other.apply(records[:1], {0: 1})
        live[0] = False
        with pytest.raises(NotLive):
            other.apply(records[1:], {0: 2})
        with pytest.raises(NotLive):
            other.leave_out("default", THREAD)
        assert reader.marks() == {0: 1}
        assert listed(reader) == [THREAD]
        writer.apply(records[1:], {0: 2})  # which is not held up


def test_nothing_that_was_deleted_stays_in_the_file(writer: IndexWriter, file: Path):
    secret: Metadata = {"note": "quicksilver"}
    events: list[list[Event]] = [
        [
            ThreadCreated(metadata=secret, tool_resources=CREATED.tool_resources),
            added(1, "tell nobody"),
            added(2, "xyzzy"),
        ],
        [ItemDeleted(item=item_id(1, "made"))],
        [ThreadDeleted()],
    ]
    writer.apply(chain(*events), {0: 3})
    with sqlite3.connect(file) as plain:
        for table in ("pair", "message", "term", "vocabulary"):
            assert plain.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
        for word in ("1xnobody", "1xxyzzy", "h1"):
            assert plain.execute("SELECT count(*) FROM words WHERE words MATCH ?", (f'"{word}"',)).fetchone() == (0,)
        plain.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
        assert plain.execute("SELECT shown FROM thread").fetchone() == (b"{}",)
    plain.close()


def test_messages_of_one_microsecond_each_have_a_place(writer: IndexWriter, reader: IndexReader):
    count = 300
    crowd = commit(1, CREATED, *(added(n, f"word{n} all") for n in range(1, count + 1)))
    writer.apply([replace(chain([CREATED])[0], commit=crowd)], {0: 1})
    assert len(listed(reader, search="all")) == 1
    assert len(listed(reader, search=f"word{count}")) == 1


def test_times_before_and_after_all_reason_are_kept(writer: IndexWriter, reader: IndexReader):
    old, new = (commit(1, CREATED, added(1, "hello")).at.replace(year=year) for year in (1970, 9999))
    for name, at in (("thread_old", old), ("thread_new", new)):
        made = commit(1, CREATED, added(1, "hello"), thread=name, at=at)
        writer.apply([replace(chain([CREATED])[0], commit=made)], {0: 1})
    assert listed(reader) == listed(reader, search="hello") == ["thread_new", "thread_old"]


@pytest.mark.parametrize("value", ["a\x00b", "\x00", "\U0010ffff\x00\U0010ffff", "\U0010ffff" * 512, "a\x00" * 256])
def test_a_prefix_goes_to_its_end_whatever_characters_it_has(writer: IndexWriter, reader: IndexReader, value: str):
    with_value = ThreadCreated(metadata={"k": value}, tool_resources=CREATED.tool_resources)
    others = ThreadCreated(metadata={"k": value[:-1]}, tool_resources=CREATED.tool_resources)
    writer.apply([*chain([with_value]), *chain([others], thread="thread_other", first_seq=2)], {0: 2})
    for prefix in (value, value[:1]):
        where = Condition(metadata=MetadataTest(key="k", prefix=prefix))
        right = [THREAD] + ["thread_other"] * value[:-1].startswith(prefix)
        assert sorted(listed(reader, where=where)) == sorted(right)
        assert reader.list("default", ListThreads(where=where, count=True)).count.threads == len(right)


def test_what_is_negated_is_negated_whole(writer: IndexWriter, reader: IndexReader):
    for thread in ("thread_a", "thread_b", "thread_c"):
        writer.apply(chain([CREATED], thread=thread), {0: 1})
    beginning = Condition(id=IdTest(prefix="thread_b"))
    assert sorted(listed(reader, where=Condition(no=beginning))) == ["thread_a", "thread_c"]


def test_a_value_that_nobody_has_any_more_is_in_no_facet(writer: IndexWriter, reader: IndexReader):
    gold = ThreadCreated(metadata={"plan": "gold"}, tool_resources=CREATED.tool_resources)
    writer.apply(chain([gold], [MetadataUpdated(set={"plan": "silver"}, unset=())]), {0: 2})
    facets = reader.list("default", ListThreads(facets=("plan",))).facets
    assert facets is not None
    assert [(each.value, each.threads) for each in facets[0].values] == [("silver", 1)]


def test_actors_are_counted_by_the_first_and_the_latest_commit(writer: IndexWriter, reader: IndexReader):
    for thread, actor in (("thread_a", "shop"), ("thread_b", "shop"), ("thread_c", "bot")):
        first, second = chain([CREATED], [added(1)], thread=thread)
        changed = replace(second, commit=replace(second.commit, actor=actor))
        writer.apply([replace(first, commit=replace(first.commit, actor="shop")), changed], {0: 2})
    some = Condition(id=IdTest(prefix="thread_"), messages=NumberTest(gte=1))
    for where in (None, some):
        actors = reader.list("default", ListThreads(where=where, actors=True, limit=1)).actors
        assert actors is not None
        counted = {each.key: {value.value: value.threads for value in each.values} for each in actors}
        assert counted == {"created_by": {"shop": 3}, "updated_by": {"shop": 2, "bot": 1}}
    assert reader.list("nobody", ListThreads(actors=True)).actors == tuple(
        Facet(key=key, values=(), more=False, exact=True) for key in ("created_by", "updated_by")
    )
    assert reader.list("default", ListThreads(count=True)).actors is None


def test_a_thread_opens_with_the_first_text_that_is_left(writer: IndexWriter, reader: IndexReader):
    gone = ItemDeleted(item=item_id(2, "made"), ordinal=2)
    records = chain([CREATED, added(1, " \n"), added(2, "é" * 300)], [added(3, "And?")], [gone])
    for applied, opening in ((2, (2, "é" * 200 + "…")), (3, (3, "And?"))):
        writer.apply(records[:applied], {0: applied})
        (thread,) = reader.list("default", ListThreads(first_text=True)).data
        assert thread.first_text == FirstText(message_id=item_id(opening[0], "made"), role="user", text=opening[1])
    assert reader.list("default", ListThreads()).data[0].first_text is UNSET


@pytest.mark.parametrize(
    ("body", "first"),
    [
        (b'{"id":"m_1","role":"user","content":"Hello"}', ("user", "Hello")),
        (
            b'{"type":"message","role":"user","content":[{"type":"input_image"},{"type":"input_text","text":"Hi"}]}',
            ("user", "Hi"),
        ),
        (b'{"type":"function_call","call_id":"c_1","name":"look_up"}', ("function_call", "look_up")),
        (b'{"type":"reasoning","status":"completed"}', None),
    ],
)
def test_the_first_text_of_an_item_is_what_it_says_and_not_what_it_is(
    writer: IndexWriter, reader: IndexReader, body: bytes, first: tuple[str, str] | None
):
    writer.apply(chain([CREATED, ItemAdded(item="m_1", ordinal=1, body=Raw(body))]), {0: 1})
    (thread,) = reader.list("default", ListThreads(first_text=True)).data
    expected = UNSET if first is None else FirstText(message_id="m_1", role=first[0], text=first[1])
    assert thread.first_text == expected


TABLES = {
    2: "321016b024ba354c",
    3: "b96826e7605046cc",
    4: "ea660ea056f2d0f6",
    5: "961f4c02abd4e453",
    6: "ce8e1deb09dcb74b",
    7: "ce8e1deb09dcb74b",
    8: "a63ff55e835fd02a",
    9: "68bfcce2b4de4d33",
    10: "613b7c8d70990482",
    11: "86a025cfa8840ccb",
}
"""Of each format, the digest of its tables."""


def test_other_tables_are_another_format(writer: IndexWriter, file: Path):
    with sqlite3.connect(file) as plain:
        made = [sql for (sql,) in plain.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")]
    plain.close()
    digest = hashlib.sha256(re.sub(r"\s+", " ", "\n".join(made)).encode()).hexdigest()[:16]
    assert TABLES.get(INDEX_FORMAT) == digest, f"raise INDEX_FORMAT, and add {INDEX_FORMAT + 1}: {digest!r} to TABLES"


def test_a_file_of_another_format_is_refused(writer: IndexWriter, file: Path):
    writer.close()
    with sqlite3.connect(file) as plain:
        plain.execute(f"PRAGMA user_version = {INDEX_FORMAT + 1}")
    plain.close()
    for opening in (open_for_reading, open_for_writing):
        with pytest.raises(Corrupt, match=f"format {INDEX_FORMAT + 1}") as refused:
            opening(file)
        assert refused.value.code == "index_format"


def test_a_file_that_is_none_is_refused_and_one_that_is_not_there_is_waited_for(file: Path):
    with pytest.raises(Unavailable) as missing:
        open_for_reading(file)
    assert missing.value.code == "index_not_ready"
    assert not file.exists()
    file.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    for opening in (open_for_reading, open_for_writing):
        with pytest.raises(Corrupt, match="is no index"):
            opening(file)


def test_a_file_that_cannot_grow_is_not_available_and_loses_nothing(writer: IndexWriter, reader: IndexReader):
    writer.apply(chain([CREATED]), {0: 1})
    pages = writer._connection.execute("PRAGMA page_count").fetchone()[0]
    writer._connection.execute(f"PRAGMA max_page_count = {pages}")
    more = chain([CREATED, *(added(n, "word " * 500) for n in range(1, 50))], thread="thread_large")
    with pytest.raises(Unavailable, match="full"):
        writer.apply(more, {0: 2})
    assert listed(reader) == [THREAD]
    writer._connection.execute("PRAGMA max_page_count = 1000000")
    writer.apply(more, {0: 2})
    assert len(listed(reader, search="word")) == 1


def test_a_question_that_takes_too_long_is_given_up(writer: IndexWriter, file: Path, monkeypatch: pytest.MonkeyPatch):
    writer.apply(chain([CREATED, added(1)]), {0: 1})
    monkeypatch.setattr(index_reader, "_STEPS", 1)
    monkeypatch.setattr(index_reader, "PATIENCE", -1.0)
    reader = open_for_reading(file)
    with pytest.raises(Invalid, match="too many threads") as refused:
        reader.list("default", ListThreads(where=Condition(metadata=MetadataTest(ne="x"))))
    assert refused.value.code == "question_too_large"
    monkeypatch.setattr(index_reader, "PATIENCE", 60.0)
    assert listed(reader) == [THREAD]
    reader.close()


FLAT = [name for name in QUESTIONS if name not in {"customer prefix", "search among gold", "gold and eu"}]
"""Questions whose answers cost the same however many threads there are. The others cost what their answers are rare."""


def test_the_work_of_an_answer_does_not_grow_with_the_file(tmp_path: Path):
    work: dict[str, list[int]] = {name: [] for name in FLAT}
    for size in (2_000, 8_000):
        writer = open_for_writing(tmp_path / f"{size}.db")
        writer.apply(list(commits(size)), {0: size})
        writer.close()
        reader = open_for_reading(tmp_path / f"{size}.db")
        steps = [0]

        def step(steps: list[int] = steps) -> None:
            steps[0] += 1

        reader._connection.set_progress_handler(step, 10)
        for name in FLAT:
            steps[0] = 0
            reader.list(TENANT, QUESTIONS[name])
            work[name].append(steps[0])
        reader.close()
    grown = {name: (few, many) for name, (few, many) in work.items() if many > 1.3 * few + 20}
    assert grown == {}


def test_the_beginning_of_a_word_finds_all_words_that_begin_so(writer: IndexWriter, reader: IndexReader):
    for number, text in enumerate(("warm", "the warmth", "a swarm", "warm*")):
        writer.apply(chain([CREATED, added(1, text)], thread=f"thread_{number}"), {0: 1})
    assert sorted(listed(reader, search="WARM*")) == ["thread_0", "thread_1", "thread_3"]
    assert sorted(listed(reader, search="warm* the")) == ["thread_1"]
    assert listed(reader, search="warmer*") == []


def test_a_beginning_of_too_many_words_is_refused_as_long_as_they_are_there(writer: IndexWriter, reader: IndexReader):
    many = " ".join(f"word{number}" for number in range(101))
    said = chain([CREATED, added(1, many)], [ThreadDeleted()])
    writer.apply(said[:1], {0: 1})
    with pytest.raises(Invalid, match="begin with 'word'") as refused:
        listed(reader, search="word*")
    assert refused.value.code == "beginning_too_short"
    assert listed(reader, search="word10*") == [THREAD]
    assert reader.list("other", ListThreads(search="word*")).data == ()
    writer.apply(said[1:], {0: 2})
    assert listed(reader, search="word*") == []


def test_scripts_without_spaces_are_found_by_any_stretch(writer: IndexWriter, reader: IndexReader):
    writer.apply(chain([CREATED, added(1, "明日の東京は晴れです。")]), {0: 1})
    for search in ("東京", "京", "明日の東京は", "東京 晴れ", "晴れです。"):
        assert listed(reader, search=search) == [THREAD], search
    for search in ("京東", "大阪", "東晴"):
        assert listed(reader, search=search) == [], search


def test_a_list_goes_out_as_what_it_is_read_as(writer: IndexWriter, reader: IndexReader):
    writer.apply(chain([CREATED, added(1, "refund")]), {0: 1})
    for query in (
        ListThreads(),
        ListThreads(search="refund", count=True, facets=("plan",), actors=True, first_text=True),
    ):
        assert msgspec.json.encode(reader.page("default", query)) == msgspec.json.encode(reader.list("default", query))
