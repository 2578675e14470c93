"""What a history amounts to in the buckets, byte for byte: whoever changes it takes the next number for the fold."""

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
from clew_projections.apply import advance_stored
from clew_projections.fold import FOLD
from clew_projections.places import Places
from clew_projections.views import absent_stored, encode
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
    [added(ordinal) for ordinal in range(3, 260)],
    [ItemMetadataUpdated(item=ONE.item, set={"a": "2"}, unset=())],
    [ItemDeleted(item=added(258).item)],
    [ThreadDeleted()],
)
VIEWS = {1: "f6a86cc69343a091eb9aed3aa7c7633214afcdb8b08410a9962b0b423afc7b38"}


def test_a_fold_that_makes_other_views_has_another_number() -> None:
    view, pages, made = absent_stored("default", THREAD), dict[int, Places](), hashlib.sha256()
    for each in HISTORY:
        view, pages = advance_stored(view, pages, each)
        made.update(encode(view))
    for page in pages.values():
        made.update(encode(page))
    assert list(pages) == [0]
    assert VIEWS.get(FOLD) == made.hexdigest(), (
        "the same history makes other views than before: raise FOLD in clew_projections/fold.py, and add the "
        "new digest here beside the old ones. docs/operating/rebuilding.md says how such a change is released."
    )
