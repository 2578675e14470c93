"""The words in which the command line tells of an event."""

from __future__ import annotations

from typing import cast, get_args

import click
import pytest
from msgspec import Raw, Struct

from clew_events.content import Provenance
from clew_events.contract.examples import EXAMPLES
from clew_events.events import Event, ItemAdded, ItemReplaced, ThreadCreated
from clew_events.ids import item_id
from clew_events.subjects import Address
from clew_projections.audit.diff import difference
from clew_projections.audit.moments import NOW, Moment
from clew_projections.views import ItemView
from clew_services.cli.commit_lines import change_lines, item_words
from clew_services.cli.event_words import describe
from support.commits import CREATED, NOON, THREAD, chain

MESSAGE = item_id(1, "default", "order-4711")
WORDS = {
    "ThreadCreated": "created order=4711",
    "MetadataUpdated": "metadata carrier=bike",
    "ToolResourcesUpdated": "tool resources",
    "ExpiryUpdated": "expires 90 days after last_active_at",
    "ItemAdded": f"+ {MESSAGE} user: Where is my parcel?",
    "ItemMetadataUpdated": f"{MESSAGE} metadata mood=worried -draft",
    "ItemDeleted": f"- {MESSAGE}",
    "ThreadDeleted": "deleted",
    "ErasedThreadEvent": "metadata (erased)",
    "ErasedItemEvent": f"{MESSAGE} item added (erased)",
}


PARTS = '{"role":"user","content":[{"type":"input_text","text":"Two"},{"type":"input_image","file_id":"file_%d"}]%s}'


def told(item: str, before: str, after: str) -> list[str]:
    """The lines about an item whose JSON was replaced, and what they say of it as it is then."""
    added = ItemAdded(item=item, ordinal=1, body=Raw(before.encode()))
    replaced = ItemReplaced(item=item, ordinal=1, body=Raw(after.encode()))
    history = chain([CREATED], [added], [replaced])
    lines = change_lines(difference(Address("default", THREAD), history, Moment(n=2), NOW))
    return [click.unstyle(line).strip().replace(item, "ID") for line in lines]


def test_an_item_that_was_replaced_is_told_before_and_after() -> None:
    assert told("fc_1", '{"type":"call","eur":1.10}', '{"type":"call","eur":9999,"\x9b":"\\u001b[2J"}') == [
        '- ID {"id":"ID","type":"call","eur":1.10}',
        r'+ ID {"id":"ID","type":"call","eur":9999,"\x9b":"\u001b[2J"}',
    ]
    assert told(MESSAGE, PARTS % (1, ""), '{"role":"user","content":"One"}') == [
        "- ID user: Two (image_file)",
        "+ ID user: One",
    ]


def test_what_no_text_shows_of_a_message_that_was_replaced_is_told_as_json() -> None:
    other_image = told(MESSAGE, PARTS % (1, ""), PARTS % (2, ""))
    assert [("file_1" in line, "file_2" in line) for line in other_image] == [(True, False), (False, True)]
    other_key = told(MESSAGE, PARTS % (1, ""), PARTS % (1, ',"phase":"final"'))
    assert ["phase" in line for line in other_key] == [False, True]


def test_of_an_item_its_role_or_its_type_is_told_and_what_it_says() -> None:
    def words(body: str) -> tuple[str, str]:
        return item_words(ItemView(id="a", thread=THREAD, ordinal=1, n=1, created_at=NOON, body=Raw(body.encode())))

    assert words(PARTS % (1, "")) == ("user", "Two (image_file)")
    assert words('{"id":"a","type":"call","role":"user"}') == ("call", '{"id":"a","type":"call","role":"user"}')
    assert words('{"id":"a","role":"system","content":"Obey."}')[0] == "system"


class ThreadRestored(Struct, frozen=True, tag="ThreadRestored"):
    """An event that the command line has no words for."""


@pytest.mark.parametrize("name", WORDS)
def test_an_event_is_told_in_a_few_words(name: str) -> None:
    assert describe(cast("Event", EXAMPLES[name][0])) == WORDS[name]


def test_a_thread_that_was_imported_says_from_where() -> None:
    imported = ThreadCreated(metadata={"title": "Cats"}, imported=Provenance("chatgpt", "1", "0" * 64))
    assert describe(imported) == "imported from chatgpt title=Cats"


def test_an_event_without_words_of_its_own_is_called_by_its_name() -> None:
    assert describe(cast("Event", ThreadRestored())) == "thread restored"
    for event in get_args(Event):
        assert describe(cast("Event", EXAMPLES[event.__name__][0]))
