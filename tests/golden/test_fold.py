"""The views that a history amounts to, byte for byte: whoever changes them takes the next number for the fold."""

from __future__ import annotations

import hashlib

from clew_events.content import ToolResources
from clew_events.events import (
    ItemDeleted,
    ItemMetadataUpdated,
    MetadataUpdated,
    ThreadDeleted,
    ToolResourcesUpdated,
)
from clew_projections.apply import advance, advance_message, message_ids
from clew_projections.fold import FOLD
from clew_projections.views import MessageView, absent, encode
from support.commits import CREATED, THREAD, added, chain

ONE, TWO = added(1, metadata={"b": "2"}), added(2)
HISTORY = chain(
    [CREATED],
    [MetadataUpdated(set={"plan": "free", "mood": "calm"}, unset=())],
    [ONE, TWO],
    [ItemMetadataUpdated(item=ONE.item, set={"a": "1"}, unset=("b",))],
    [ToolResourcesUpdated(tool_resources=ToolResources())],
    [ItemDeleted(item=TWO.item)],
    [MetadataUpdated(set={"plan": "paid"}, unset=("mood",))],
    [ThreadDeleted()],
)
VIEWS = {1: "12b2ad0a370a7b0739402e0b4b56e2bbfdbf87664f92dcef0792ab7c8915373a"}


def test_a_fold_that_makes_other_views_has_another_number() -> None:
    view, messages, made = absent("default", THREAD), dict[str, MessageView](), hashlib.sha256()
    for each in HISTORY:
        view = advance(view, each)
        made.update(encode(view))
        for message_id in message_ids(each.commit):
            messages[message_id] = advance_message(messages.get(message_id), message_id, each.commit)
            made.update(encode(messages[message_id]))
    assert VIEWS.get(FOLD) == made.hexdigest(), (
        "the same history makes other views than before: raise FOLD in clew_projections/fold.py, and add the "
        "new digest here beside the old ones. docs/operating/rebuilding.md says how such a change is released."
    )
