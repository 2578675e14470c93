"""The explorer's words for every event there is: run in Node, from the very files that the page loads."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import pytest

from clew_events.contract.examples import EXAMPLES
from clew_events.contract.json_schema import as_json
from clew_events.events import Effect, EventType, StoredEvent, TenantEvent, ThreadEvent
from clew_services.report.item_html import visible

NODE = shutil.which("node")
PAGE = files("clew_services.http.explorer") / "page"
PROGRAM = """
import { did, KINDS, sort } from "./words.js";
import { readFileSync } from "node:fs";
const events = JSON.parse(readFileSync(0));
const was = { plan: "free", gone: null };
const kinds = ({ type }) => Object.keys(KINDS).filter((kind) => KINDS[kind][1].includes(type));
console.log(JSON.stringify(events.map((event) => [
  did({ events: [event] }, (key) => was[key]), sort({ events: [event] }), kinds(event),
])));
"""

pytestmark = pytest.mark.skipif(NODE is None, reason="Node is missing")


def looks(event: type[StoredEvent]) -> str:
    if "Hold" in event.__name__:
        return "held"
    by_effect: dict[Effect, str] = {"creates": "added", "changes": "changed", "deletes": "gone"}
    return "begun" if issubclass(event, ThreadEvent) and event.effect == "creates" else by_effect[event.effect]


def words(folder: Path, events: list[object]) -> list[tuple[str, str, list[str]]]:
    for name in ("words.js", "text.js", "dom.js"):
        (folder / name).write_text((PAGE / name).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    (folder / "program.js").write_text(PROGRAM, encoding="utf-8")
    assert NODE is not None
    command = [NODE, "program.js"]
    ran = subprocess.run(
        command, cwd=folder, input=json.dumps(events), capture_output=True, text=True, check=True, timeout=60
    )
    return [(said, sort, kinds) for said, sort, kinds in json.loads(ran.stdout)]


def test_every_event_looks_in_the_explorer_like_what_it_does(tmp_path: Path) -> None:
    shown = words(tmp_path, [as_json(EXAMPLES[event.__name__][0]) for event in get_args(StoredEvent)])
    for event, (said, sort, kinds) in zip(get_args(StoredEvent), shown, strict=True):
        assert said, f"words.js says nothing of {event.__name__}"
        assert event.__name__ not in said
        assert sort == looks(event), f"words.js takes {event.__name__} for '{sort}'"
        # Those that can be asked for in a thread are all of a kind by which the timeline chooses.
        assert bool(kinds) == (event.__name__ in get_args(EventType) and not issubclass(event, TenantEvent))


def test_an_event_without_words_of_its_own_is_called_by_its_name(tmp_path: Path) -> None:
    assert words(tmp_path, [{"type": "ItemSourceRestored"}, {"type": "NoteAdded"}]) == [
        ("item source restored", "changed", []),
        ("note added", "added", []),
    ]


def test_metadata_is_told_with_its_value_before_where_that_is_known(tmp_path: Path) -> None:
    told = words(tmp_path, [
        {"type": "MetadataUpdated", "set": {"plan": "gold", "gone": "back", "other": ""}, "unset": []},
        {"type": "MetadataUpdated", "set": {}, "unset": ["plan", "other"]},
        {"type": "ThreadCreated", "metadata": {"a": "1", "b": "2", "c": "3", "d": "4"}},
    ])  # fmt: skip
    assert [said for said, _, _ in told] == [
        "plan: free → gold, set gone: back, set other: (empty)",
        "removed plan: free, removed other",
        "created with a: 1, b: 2, c: 3 and 1 more",
    ]


READ = """
import { indented, parse, written } from "./json.js";
import { readFileSync } from "node:fs";
const texts = JSON.parse(readFileSync(0));
const same = (text) => JSON.stringify(parse(text)) === JSON.stringify(JSON.parse(text));
const plain = (text) => same(text) && indented(parse(text)) === JSON.stringify(JSON.parse(text), null, 2);
console.log(JSON.stringify(texts.map((text) => [written(parse(text)), indented(parse(text)), plain(text)])));
"""


def read(folder: Path, texts: list[str]) -> list[tuple[str, str, bool]]:
    (folder / "json.js").write_text((PAGE / "json.js").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    (folder / "program.js").write_text(READ, encoding="utf-8")
    assert NODE is not None
    ran = subprocess.run(
        [NODE, "program.js"],
        cwd=folder,
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [(said, lines, plain) for said, lines, plain in json.loads(ran.stdout)]


def test_json_is_shown_digit_for_digit_and_key_for_key(tmp_path: Path) -> None:
    text = '{"b":1.10,"2":9007199254740993,"1":[-0,1E400, {}],"s":"\\u00e9\\"{,","__proto__":[ ]}'
    ((said, lines, _),) = read(tmp_path, [text])
    assert said == text
    assert "".join(each.strip() for each in lines.splitlines()).replace(": ", ":") == text.replace(" ", "")


def test_json_without_oddities_is_read_as_browsers_read_it(tmp_path: Path) -> None:
    texts = [
        "1",
        "true",
        "null",
        '"a"',
        "[]",
        " { } ",
        '[1,[2,{"a":[{}]}],"b\\\\"]',
        '{"a":{"b":null},"c":[""]}',
        "[[[]]]",
    ]
    assert all(plain for _, _, plain in read(tmp_path, texts))


def test_what_is_read_has_no_key_that_was_not_written(tmp_path: Path) -> None:
    program = """
import { parse } from "./json.js";
const { metadata } = parse('{"metadata":{"a":"b"}}');
const said = parse('{"__proto__":{"polluted":1},"constructor":2,"toString":3}');
console.log(JSON.stringify([
  ["constructor", "toString", "__proto__", "valueOf"].map((key) => metadata[key] === undefined),
  Object.keys(said), said.polluted === undefined, {}.polluted === undefined, `${parse('[{"a":1.10}]')[0]}`,
]));
"""
    assert run(tmp_path, program, "json.js") == [
        [True] * 4, ["__proto__", "constructor", "toString"], True, True, '{"a":1.10}'
    ]  # fmt: skip


def test_the_page_shows_the_same_signs_by_their_codes_as_the_server(tmp_path: Path) -> None:
    program = """
import { DECEIVING } from "./text.js";
const seen = [];
for (let code = 0; code <= 0x10ffff; code++) {
  if (code >= 0xd800 && code <= 0xdfff) continue;
  const sign = String.fromCodePoint(code);
  const twice = (sign + sign).replace(DECEIVING, "");
  if (twice !== sign + sign) seen.push([code, twice === sign]);
}
console.log(JSON.stringify(seen));
"""

    def shown(code: int) -> list[object] | None:
        sign = chr(code)
        text = visible(sign * 2)
        return None if text == sign * 2 or sign == "\r" else [code, text.startswith(sign)]

    codes = (code for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF)
    expected = [found for found in map(shown, codes) if found is not None]
    assert [each for each in run(tmp_path, program, "text.js", "dom.js") if each[0] != 0x0D] == expected


def run(folder: Path, program: str, *modules: str) -> Any:
    """What a program says that uses modules of the page."""
    for name in modules:
        (folder / name).write_text((PAGE / name).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    (folder / "program.js").write_text(program, encoding="utf-8")
    assert NODE is not None
    ran = subprocess.run([NODE, "program.js"], cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(ran.stdout)


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
    for name in ("api.js", "json.js"):
        (tmp_path / name).write_text((PAGE / name).read_text(encoding="utf-8"), encoding="utf-8")
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
