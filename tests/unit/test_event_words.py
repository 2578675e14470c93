"""The words in which the command line tells of an event."""

from __future__ import annotations

from typing import cast, get_args

import pytest
from msgspec import Struct

from clew_events.contract.examples import EXAMPLES
from clew_events.events import Event
from clew_events.ids import item_id
from clew_services.cli.event_words import describe

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


class ThreadRestored(Struct, frozen=True, tag="ThreadRestored"):
    """An event that the command line has no words for."""


@pytest.mark.parametrize("name", WORDS)
def test_an_event_is_told_in_a_few_words(name: str) -> None:
    assert describe(cast("Event", EXAMPLES[name][0])) == WORDS[name]


def test_an_event_without_words_of_its_own_is_called_by_its_name() -> None:
    assert describe(cast("Event", ThreadRestored())) == "thread restored"
    for event in get_args(Event):
        assert describe(cast("Event", EXAMPLES[event.__name__][0]))
