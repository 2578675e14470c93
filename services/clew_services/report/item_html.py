"""Items as HTML that nothing can run in: Markdown, tables, code in colour; tool calls and JSON folded. Pure.

Every piece of HTML that leaves this module went through the sanitizer last, whatever made it. Images are named and
never fetched, and signs that nobody sees are shown by their code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html.parser import HTMLParser
from typing import Final

import msgspec
import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup, escape
from msgspec import Raw
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES

from clew_events.codec import UNREADABLE
from clew_events.http_objects import Element
from clew_events.items import read_fields, read_text

LONGEST_MARKDOWN: Final = 20_000
"""Characters of the longest text that is read as Markdown; a longer one is shown as it is."""
LONGEST_CODE: Final = 2_000
"""Characters of the longest code that is coloured: hostile code takes a time that grows with their square."""
LONGEST_JSON: Final = 20_000
"""Characters of the longest JSON that is coloured, which takes a time that grows with them."""
MOST_CELLS: Final = 10_000
"""Cells that the tables of one text may have: rows of a sign each are filled up to the columns of the widest."""
_COLOURED: Final = 6_000
"""Characters of code that are coloured in one text."""
_LANGUAGES: Final = frozenset({"bash", "css", "diff", "html", "javascript", "js", "json", "py", "python", "sh"}) | {
    *("sql", "toml", "xml", "yaml", "yml")
}
_LINKS: Final = frozenset({"http", "https", "mailto"})
_CLASSES: Final = {
    "span": frozenset(STANDARD_TYPES.values()) | {"sign", "image"},
    "p": frozenset({"erased", "part"}),
    "pre": frozenset({"code", "text"}),
}
_TAGS: Final = frozenset({
    *("a", "blockquote", "br", "code", "details", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p"),
    *("pre", "s", "span", "strong", "summary", "table", "tbody", "td", "th", "thead", "tr", "ul"),
})  # fmt: skip
_VOID: Final = frozenset({"br", "hr"})
_JOINERS: Final = "[\\u200c\\u200d]"
_SELECTORS: Final = "[\\ufe00-\\ufe0f\\U000e0100-\\U000e01ef]"
_DECEIVING: Final = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e\\u200b\\u200e\\u200f\\u202a-\\u202e"
    "\\u2060-\\u206f\\u3164\\ud800-\\udfff\\ufeff\\uffa0\\ufff0-\\ufffb\\U0001d173-\\U0001d17a\\U000e0000-\\U000e00ff"
    f"\\U000e01f0-\\U000e0fff]|(?<={_JOINERS}){_JOINERS}|(?<={_SELECTORS}){_SELECTORS}"
)
"""Controls, signs that turn or hide what stands beside them, fillers, and tags, which spell out an unseen text.

Joiners and variation selectors stay, as letters and emoji are made with them, unless they follow one another.
"""
_PARTS: Final = frozenset({"text", "input_text", "output_text", "summary_text", "reasoning_text"})
_SHOWN_OF_MESSAGES: Final = frozenset({"id", "type", "role", "content", "status", "object", "created_at", "thread_id"})
_SHOWN_OF_CALLS: Final = frozenset({"id", "type", "name", "arguments", "output"})
_EMPTY: Final = (b"{}", b"[]", b"null", b'""')
_LIST: Final = msgspec.json.Decoder(list[Raw])


def visible(text: str) -> str:
    """Return a text in which each sign that nobody sees and that could deceive is named by its code."""
    return _DECEIVING.sub(lambda sign: f"[U+{ord(sign[0]):04X}]", text.replace("\r\n", "\n"))


def render_item(item: Raw, *, opened: bool = False, raw: bool = False) -> Markup:
    """Return an item, as it was given, as HTML; what is folded is ``opened`` for paper. ``raw`` is its JSON alone."""
    return _sanitize("".join(_as_json(item) if raw else _item(item, opened=opened)))


def render_markdown(text: str) -> Markup:
    """Return a text as HTML, read as Markdown unless it is longer than :data:`LONGEST_MARKDOWN`."""
    return _sanitize(_markdown(text))


def render_tree(item: Raw) -> tuple[str | Element, ...]:
    """Return an item as the elements and texts of :func:`render_item`, for pages that make no markup of texts."""
    tree = _Tree()
    tree.feed(str(render_item(item)))
    tree.close()
    return tree.top


class _Tree(HTMLParser):
    """Reads HTML that was sanitized, in which every element that can have an end has one."""

    def __init__(self) -> None:
        super().__init__()
        self._open: list[tuple[str, dict[str, str | None], list[str | Element]]] = [("", {}, [])]

    @property
    def top(self) -> tuple[str | Element, ...]:
        """What was read."""
        return tuple(self._open[0][2])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        self._open.append((tag, dict(attrs), []))
        if tag in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """End the element that was begun last."""
        if tag in _VOID and self._open[-1][0] != tag:
            return
        _, attributes, children = self._open.pop()
        element = Element(
            tag=tag,
            style=attributes.get("class"),
            href=attributes.get("href"),
            start=attributes.get("start"),
            opened="open" in attributes,
            children=tuple(children),
        )
        self._open[-1][2].append(element)

    def handle_data(self, data: str) -> None:
        """Add a text."""
        self._open[-1][2].append(data)


def kind_of(item: Raw) -> str:
    """Return the role of a message, the type of another item, or ``erased``."""
    fields = read_fields(item)
    if fields.keys() <= {"id", "erased"}:
        return "erased"
    kind = read_text(fields, "type") or "message"
    return visible(read_text(fields, "role") or kind) if kind == "message" else visible(kind)


def _item(item: Raw, *, opened: bool) -> Iterator[str]:
    fields = read_fields(item)
    kind = read_text(fields, "type") or "message"
    if fields.keys() <= {"id", "erased"}:
        yield '<p class="erased">erased</p>'
    elif kind == "message" and "content" in fields:
        yield from _content(fields["content"], opened=opened)
        yield from _rest(fields, _SHOWN_OF_MESSAGES, opened=opened)
    elif read_text(fields, "arguments") is not None or "output" in fields:
        parts = [_machine_text(fields[name]) for name in ("arguments", "output") if name in fields]
        parts += _rest(fields, _SHOWN_OF_CALLS, opened=opened)
        yield _fold(" ".join(filter(None, (kind, read_text(fields, "name")))), parts, opened=opened)
    elif kind == "reasoning" and _is_list(fields.get("summary")):
        parts = [*_content(fields["summary"], opened=opened), *_rest(fields, {"id", "type", "summary"}, opened=opened)]
        yield _fold(kind, parts, opened=opened)
    else:
        yield _fold(kind, _as_json(item), opened=opened)


def _content(content: Raw, *, opened: bool) -> Iterator[str]:
    """A message's text, or its parts."""
    if (text := read_text({"": content}, "")) is not None:
        yield _markdown(text)
    elif not _is_list(content):
        yield from _as_json(content)
    else:
        for part in _LIST.decode(content):
            yield from _part(part, opened=opened)


def _part(part: Raw, *, opened: bool) -> Iterator[str]:
    try:
        fields = read_fields(part)
    except UNREADABLE:
        yield from _as_json(part)
        return
    kind = read_text(fields, "type") or ""
    said = _text_within(fields, "text", "value") if kind in _PARTS else read_text(fields, "refusal")
    where = _text_within(fields, "image_url", "url") or _text_within(fields, "image_file", "file_id")
    where = where or read_text(fields, "file_id")
    if said is not None:
        yield _markdown(said)
        yield from _rest(fields, {"type", "text", "refusal"}, opened=opened)
    elif where is not None and len(where) <= 2_000:
        yield f'<p class="part">{escape(visible(kind))} <code>{escape(visible(where))}</code></p>'
    else:
        yield _fold(kind or "part", _as_json(part), opened=opened)


def _text_within(fields: Mapping[str, Raw], name: str, inner: str) -> str | None:
    """A text under a key, or in the object there, as the Threads API has it."""
    text = read_text(fields, name)
    if text is None and bytes(fields.get(name, b""))[:1] == b"{":
        return read_text(read_fields(fields[name]), inner)
    return text


def _rest(fields: Mapping[str, Raw], shown: frozenset[str] | set[str], *, opened: bool) -> Iterator[str]:
    """The fields that are not shown otherwise and say something, folded."""
    left = {name: value for name, value in fields.items() if name not in shown and bytes(value) not in _EMPTY}
    if left:
        names = ", ".join(list(left)[:5]) + (", …" if len(left) > 5 else "")
        yield _fold(names, _as_json(Raw(msgspec.json.encode(left))), opened=opened)


def _fold(summary: str, parts: Sequence[str] | Iterator[str], *, opened: bool) -> str:
    shown = escape(visible(summary[:200]))
    return f"<details{' open' if opened else ''}><summary>{shown}</summary>{''.join(parts)}</details>"


def _machine_text(value: Raw) -> str:
    """Arguments or output: as JSON if that is what the text or the value is, else as it is."""
    text = read_text({"": value}, "")
    if text is None:
        return "".join(_as_json(value))
    try:
        return _code(msgspec.json.format(text, indent=2), "json") if text.lstrip()[:1] in {"{", "["} else _plain(text)
    except UNREADABLE:
        return _plain(text)


def _as_json(value: Raw) -> Iterator[str]:
    yield _code(msgspec.json.format(bytes(value), indent=2).decode(), "json")


def _is_list(value: Raw | None) -> bool:
    return value is not None and bytes(value)[:1] == b"["


def _plain(text: str) -> str:
    return f'<pre class="text">{escape(visible(text))}</pre>'


def _code(text: str, language: str) -> str:
    shown = visible(text)
    if language in _LANGUAGES and len(text) <= (LONGEST_JSON if language == "json" else LONGEST_CODE):
        coloured = highlight(shown, get_lexer_by_name(language, stripnl=False), HtmlFormatter(nowrap=True))
        return f'<pre class="code">{coloured}</pre>'
    return f'<pre class="code">{escape(shown)}</pre>'


def _markdown(text: str) -> str:
    """A text read as Markdown, or as it is where that would hide some of it, such as a table's cells without a head."""
    if len(text) > LONGEST_MARKDOWN or _most_cells(text) > MOST_CELLS:
        return _plain(text)
    shown, env = visible(text), dict[str, object]()
    tokens = _reader().parse(shown, env)
    if sum(map(_letters, _texts(tokens))) < _letters(shown):
        return _plain(text)
    return str(_reader().renderer.render(tokens, _reader().options, env))


def _most_cells(text: str) -> int:
    """The most cells that tables in a text can have, counted without reading it."""
    rows = [line.count("|") + 1 for line in text.splitlines() if line.strip()]
    return max(rows, default=0) * len(rows) if "|" in text else 0


def _texts(tokens: Sequence[Token]) -> Iterator[str]:
    """What is shown of parsed Markdown: its texts, and where its links lead."""
    for token in tokens:
        if token.children is not None:
            yield from _texts(token.children)
        elif token.type != "inline":
            yield token.content
        yield token.info.strip().partition(" ")[0]
        yield str(token.attrGet("href") or token.attrGet("src") or "")


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))


@cache
def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    reader.disable(["reference", "entity"])  # What was said stays readable: definitions, and each sign as it was typed.
    reader.add_render_rule("fence", _render_fence)
    reader.add_render_rule("code_block", _render_fence)
    reader.add_render_rule("image", _render_image)
    return reader


def _render_fence(_: RendererHTML, tokens: Sequence[Token], place: int, options: OptionsDict, env: EnvType) -> str:
    del options
    code = tokens[place].content
    env["coloured"] = coloured = int(str(env.get("coloured", 0))) + len(code)
    return _code(code, tokens[place].info.strip().partition(" ")[0].lower() if coloured <= _COLOURED else "")


def _render_image(_: RendererHTML, tokens: Sequence[Token], place: int, options: OptionsDict, env: EnvType) -> str:
    """An image, by its name and its address: nothing outside learns that somebody looks."""
    del options, env
    source = str(tokens[place].attrGet("src") or "")
    return f'<span class="image">{escape(tokens[place].content)} <code>{escape(source[:2_000])}</code></span>'


def _leads_elsewhere(address: str) -> bool:
    return address.partition(":")[0].lower() in _LINKS


def _sanitize(html: str) -> Markup:
    """The last step of all that leaves this module."""
    return Markup(  # noqa: S704 - what the sanitizer lets through is safe
        nh3.clean(
            html,
            tags=set(_TAGS),
            attributes={"a": {"href"}, "details": {"open"}, "ol": {"start"}},
            allowed_classes={tag: set(classes) for tag, classes in _CLASSES.items()},
            url_schemes=set(_LINKS),
            # A link without a scheme would lead to where the page came from, or to a folder beside the file.
            attribute_filter=lambda _, name, value: value if name != "href" or _leads_elsewhere(value) else None,
            link_rel="noopener noreferrer nofollow",
            generic_attribute_prefixes=None,
        )
    )
