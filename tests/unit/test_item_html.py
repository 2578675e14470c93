"""What threads say as HTML: readable, whole, and nothing in it runs."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given, strategies
from msgspec import Raw

from clew_events.http_objects import Element
from clew_services.report.item_html import (
    LONGEST_CODE,
    LONGEST_MARKDOWN,
    kind_of,
    render_item,
    render_markdown,
    render_tree,
    visible,
)

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt&#58;alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "![x](data:image/svg+xml,<svg onload=alert(1)>)",
    "<javascript:alert(1)>",
    "[x](//evil.example) [y](../secrets) [z](a/b:c)",
    '[x](https://a.b/"onmouseover="alert(1))',
    '```html" onclick="alert(1)\n<b onclick=alert(1)>\n```',
    "```html\n</pre><script>alert(1)</script>\n```",
    "`</code><svg/onload=alert(1)>`",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "| <b onclick=x> |\n|---|\n| <iframe src=javascript:alert(1)> |",
    "<details open ontoggle=alert(1)>",
    "<a href=vbscript:x>y</a><base href=//evil><meta http-equiv=refresh content=0>",
)
ALLOWED = {
    "a": {"href", "rel"},
    "span": {"class"},
    "p": {"class"},
    "pre": {"class"},
    "details": {"open"},
    "ol": {"start"},
}


class Watch(HTMLParser):
    """Fails over an element, an attribute or a link that could do anything."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "style", "img", "svg", "iframe", "form", "input", "link", "meta", "base", "object"}
        for name, value in attrs:
            assert name in ALLOWED.get(tag, set()), (tag, name)
            assert name != "href" or (value or "").split(":")[0].lower() in {"http", "https", "mailto"}, value

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        pytest.fail(f"a comment: {data}")


def shown(html: str) -> str:
    """The text of HTML in which nothing can run."""
    watch = Watch()
    watch.feed(html)
    watch.close()
    return "".join(watch.text)


def message(content: object, **more: object) -> Raw:
    return Raw(json.dumps({"id": "msg_1", "type": "message", "role": "user", "content": content, **more}).encode())


def item(**fields: object) -> Raw:
    return Raw(json.dumps({"id": "item_1", **fields}).encode())


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_runs_whatever_a_message_a_tool_call_or_a_type_says(text: str) -> None:
    shown(render_markdown(text))
    for hostile in (
        message(text),
        message([{"type": "input_text", "text": text}, {"type": "input_image", "image_url": text}, {"type": text}]),
        message("x", **{text: text}),
        item(type="function_call", name=text, arguments=json.dumps({text: text})),
        item(type="function_call_output", output=text),
        item(type="reasoning", summary=[{"type": "summary_text", "text": text}]),
        item(type=text, anything=text),
    ):
        for raw in (False, True):
            shown(render_item(hostile, raw=raw))


@given(strategies.text(alphabet=strategies.sampled_from("<>\"'`()[]!#*_~|-: \n\\&;ahjst/=")))
def test_of_any_text_nothing_runs_and_every_letter_is_shown(text: str) -> None:
    html = render_markdown(text)
    assert sum(map(str.isalpha, shown(html) + html)) >= sum(map(str.isalpha, text))


def test_markdown_is_rendered_with_tables_and_code_in_colour() -> None:
    html = render_item(message("**bold** ~~gone~~\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nreturn 1\n```"))
    assert "<strong>bold</strong> <s>gone</s>" in html
    assert "<td>2</td>" in html
    assert '<span class="k">return</span>' in html


def test_a_link_leads_elsewhere_without_telling_from_where_and_an_image_is_only_named() -> None:
    assert 'href="https://a.b/" rel="noopener noreferrer nofollow"' in render_markdown("[x](https://a.b/)")
    assert shown(render_markdown("![a cat](https://a.b/cat.png)")).strip() == "a cat https://a.b/cat.png"


@pytest.mark.parametrize(
    "text",
    ["> " * 200 + "secret", "|a|\n|-|\n|1|secret|", "[x](https://a.b 'secret')", "[x]: https://secret.example"],
)
def test_what_markdown_would_hide_is_shown_as_it_was_typed(text: str) -> None:
    assert text in shown(render_markdown(text))


def test_tool_calls_and_json_are_folded_and_numbers_keep_their_digits() -> None:
    call = item(type="function_call", name="look_up", arguments='{"price":1.10,"big":1e400}', call_id="call_1")
    html = render_item(call)
    assert html.startswith("<details><summary>function_call look_up</summary>")
    assert render_item(call, opened=True).startswith('<details open="">')
    assert all(each in shown(html) for each in ('"price": 1.10', '"big": 1e400', '"call_id": "call_1"'))
    assert "not { json" in shown(render_item(item(type="function_call_output", output="not { json")))
    assert '"anything": [' in shown(render_item(item(type="custom", anything=[1])))


def test_raw_is_the_json_as_it_was_given() -> None:
    given = message("**bold**", metadata={"k": "v"})
    assert json.loads(shown(render_item(given, raw=True))) == json.loads(bytes(given))


def test_what_else_a_message_has_is_not_left_out() -> None:
    text = shown(
        render_item(message([{"type": "output_text", "text": "hi", "annotations": ["cited"]}], metadata={"k": "v"}))
    )
    assert "cited" in text
    assert '"k": "v"' in text


def test_an_erased_item_says_so() -> None:
    gone = Raw(b'{"id":"msg_1","erased":true}')
    assert (shown(render_item(gone)), kind_of(gone)) == ("erased", "erased")
    assert [kind_of(message("x")), kind_of(item(type="custom"))] == ["user", "custom"]


def test_a_sign_that_deceives_is_shown_by_its_code() -> None:
    assert visible("a\u202eb\x00\ufeff") == "a[U+202E]b[U+0000][U+FEFF]"
    assert "\u202e" not in render_item(item(type="x\u202e", y="\u202e"))
    family = "👨\u200d👩\u200d👧"
    assert family in render_markdown(family)


@pytest.mark.parametrize(
    "hidden", ["\U000e0069\U000e0067", "\U000e0001", "\u00ad", "\u3164", "\u180e", "\ufff9"], ids=ascii
)
def test_a_text_that_nobody_sees_is_shown_by_its_codes(hidden: str) -> None:
    shown_as = "".join(f"[U+{ord(sign):04X}]" for sign in hidden)
    assert visible(f"a{hidden}b") == f"a{shown_as}b"


def test_a_row_of_joiners_or_selectors_is_seen_and_one_of_them_stays() -> None:
    assert visible("a\u200c\u200d\u200cb") == "a\u200c[U+200D][U+200C]b"
    assert visible("a\ufe0f\U000e0101\ufe00b") == "a\ufe0f[U+E0101][U+FE00]b"
    for stays in ("\u2764\ufe0f\u200d\U0001f525", "\u0645\u06cc\u200c\u062e", "\u845b\U000e0100"):
        assert visible(stays) == stays


def test_a_table_of_few_signs_and_many_cells_is_shown_as_it_is() -> None:
    head = "|" + "a|" * 3000 + "\n|" + "-|" * 3000 + "\n"
    text = (head + "|\n" * LONGEST_MARKDOWN)[:LONGEST_MARKDOWN]
    assert render_markdown(text).count("<td") == 0
    assert shown(render_markdown(text)) == text
    table = "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 1000
    assert render_markdown(table).count("<td") == 2000


def test_a_huge_text_is_shown_whole_and_without_a_try_to_read_it_as_markdown() -> None:
    text = "**a** <b>" * LONGEST_MARKDOWN
    assert shown(render_item(message(text))) == text
    code = "x = 1\n" * LONGEST_CODE
    assert "span" not in render_markdown(f"```python\n{code[: LONGEST_MARKDOWN - 20]}```")


def test_a_tree_is_what_the_html_is() -> None:
    given = message("a **b**\n\n---\n\n[c](https://d.e/) & <b>\n\n3. x")
    html = [flat(each) for each in render_tree(given)]
    assert "".join(html).replace(" ", "") == shown(render_item(given)).replace(" ", "")
    tags = json.dumps(msgspec.to_builtins(render_tree(given)))
    for part in ('"tag": "strong"', '"tag": "hr"', '"href": "https://d.e/"', '"start": "3"'):
        assert part in tags
    (call,) = render_tree(item(type="function_call", name="look_up", arguments="{}"))
    assert isinstance(call, Element)
    assert (call.tag, call.opened) == ("details", False)


def flat(node: str | Element) -> str:
    return node if isinstance(node, str) else "".join(map(flat, node.children))


def test_messages_as_the_threads_api_has_them_are_rendered_too() -> None:
    content = [
        {"type": "text", "text": {"value": "**bold**", "annotations": []}},
        {"type": "image_url", "image_url": {"url": "https://a.b/c.png", "detail": "auto"}},
        {"type": "image_file", "image_file": {"file_id": "file-1"}},
    ]
    html = render_item(message(content, object="thread.message", created_at=1, thread_id="thread_1"))
    assert "<strong>bold</strong>" in html
    assert "https://a.b/c.png" in html
    assert "file-1" in html
