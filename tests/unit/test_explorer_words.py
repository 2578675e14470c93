"""The explorer's words for every event there is: run in Node, from the very files that the page loads."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import get_args

import pytest

from clew_events.contract.examples import EXAMPLES
from clew_events.contract.json_schema import as_json
from clew_events.events import Effect, StoredEvent, ThreadEvent

NODE = shutil.which("node")
PAGE = files("clew_services.http.explorer") / "page"
PROGRAM = """
import { did, sort } from "./words.js";
import { readFileSync } from "node:fs";
const events = JSON.parse(readFileSync(0));
console.log(JSON.stringify(events.map((event) => [did({ events: [event] }), sort({ events: [event] })])));
"""

pytestmark = pytest.mark.skipif(NODE is None, reason="Node is missing")


def looks(event: type[StoredEvent]) -> str:
    by_effect: dict[Effect, str] = {"creates": "added", "changes": "changed", "deletes": "gone"}
    return "begun" if issubclass(event, ThreadEvent) and event.effect == "creates" else by_effect[event.effect]


def words(folder: Path, events: list[object]) -> list[tuple[str, str]]:
    for name in ("words.js", "text.js", "dom.js"):
        (folder / name).write_text((PAGE / name).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    (folder / "program.js").write_text(PROGRAM, encoding="utf-8")
    assert NODE is not None
    command = [NODE, "program.js"]
    ran = subprocess.run(
        command, cwd=folder, input=json.dumps(events), capture_output=True, text=True, check=True, timeout=60
    )
    return [(said, sort) for said, sort in json.loads(ran.stdout)]


def test_every_event_looks_in_the_explorer_like_what_it_does(tmp_path: Path) -> None:
    shown = words(tmp_path, [as_json(EXAMPLES[event.__name__][0]) for event in get_args(StoredEvent)])
    for event, (said, sort) in zip(get_args(StoredEvent), shown, strict=True):
        assert said, f"words.js says nothing of {event.__name__}"
        assert event.__name__ not in said
        assert sort == looks(event), f"words.js takes {event.__name__} for '{sort}'"


def test_an_event_without_words_of_its_own_is_called_by_its_name(tmp_path: Path) -> None:
    assert words(tmp_path, [{"type": "ItemSourceRestored"}, {"type": "NoteAdded"}]) == [
        ("item source restored", "changed"),
        ("note added", "added"),
    ]


ASKING = """
import { readFileSync } from "node:fs";
globalThis.location = { href: "http://clew/explorer" };
const asked = [];
globalThis.fetch = async (url) => {
  asked.push(String(url));
  return { ok: true, text: async () => "{}", headers: {} };
};
const { Api, path } = await import("./api.js");
const said = [];
for (const id of JSON.parse(readFileSync(0))) {
  try { await new Api("key").get(path("threads", id, "messages")); } catch (fault) { said.push(fault.message); }
}
console.log(JSON.stringify([asked, said]));
"""


def test_an_id_of_dots_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "api.js").write_text((PAGE / "api.js").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    (tmp_path / "program.js").write_text(ASKING, encoding="utf-8")
    assert NODE is not None
    ids = json.dumps([".", "..", "thread_a", "a/../b c", "...", "%2e"])
    ran = subprocess.run(
        [NODE, "program.js"], cwd=tmp_path, input=ids, capture_output=True, text=True, check=True, timeout=60
    )
    asked, said = json.loads(ran.stdout)
    base = "http://clew/v1/threads/"
    assert asked == [f"{base}{each}/messages" for each in ("thread_a", "a%2F..%2Fb%20c", "...", "%252e")]
    assert said == [f"'threads/{each}/messages' is not in this API." for each in (".", "..")]
