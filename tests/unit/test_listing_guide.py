"""The questions that the guide shows are questions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clew_events.list_query import ListThreads
from clew_services import validation

GUIDE = (Path(__file__).parents[2] / "docs" / "listing.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```json\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_the_guide_shows_some():
    assert len(SHOWN) >= 4


@pytest.mark.parametrize("text", SHOWN)
def test_a_question_in_the_guide_is_one(text: str):
    assert validation.decode(text.encode(), ListThreads) != ListThreads()


def test_the_guide_speaks_of_everything_that_can_be_asked():
    for field in ListThreads.__struct_fields__:
        assert f"| `{field}`" in GUIDE or f", `{field}` |" in GUIDE, field
