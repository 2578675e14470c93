"""Small exports of other systems: files made by hand from public descriptions, and conversations made in tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

EXPORTS = Path(__file__).parent.parent / "exports"
Json = dict[str, object]


def node(own: str, parent: str, role: str, text: str, **message: object) -> Json:
    """A node of a conversation of ChatGPT, with a message."""
    said: Json = {"id": own, "author": {"role": role}, "content": {"content_type": "text", "parts": [text]}}
    return {
        "id": own,
        "parent": parent,
        "children": [],
        "message": {**said, "create_time": 1.7e9 + ord(own[0]), **message},
    }


def assistant(own: str, parent: str, text: str) -> Json:
    """A node with an answer of a model."""
    return node(own, parent, "assistant", text, metadata={"model_slug": "gpt-4o"})


def conversation(current: str, nodes: Sequence[Json], own: str = "c", title: str = "A title") -> Json:
    """A conversation of ChatGPT."""
    root: Json = {"id": "root", "parent": None, "children": [], "message": None}
    mapping = {str(each["id"]): each for each in [root, *nodes]}
    return {"title": title, "create_time": 1.7e9, "mapping": mapping, "current_node": current, "conversation_id": own}


def written(folder: Path, objects: Sequence[object], name: str = "written.json") -> Path:
    """A file with an array of objects."""
    file = folder / name
    file.write_text(json.dumps(objects))
    return file
