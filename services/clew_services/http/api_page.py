"""The API described for people: ``GET /docs``, one page of plain HTML made from the OpenAPI document.

The page runs no script and loads nothing, from here or elsewhere: its style is in it, and its policy names that style
by its hash.
"""

from __future__ import annotations

import functools
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from html import escape
from typing import Any, Final

from clew_services.http.openapi import ERRORS, HEADERS, document
from clew_services.http.responses import Answer

PATH: Final = "/docs"
STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem 1.5rem 6rem; }
h2 { margin-top: 3rem; border-bottom: 1px solid; }
h3 { margin-top: 2.5rem; overflow-wrap: anywhere; }
nav ul { columns: 2; padding-left: 1rem; }
code, pre { font: 0.9em/1.4 ui-monospace, monospace; }
pre { overflow: auto; padding: 0.75rem; border: 1px solid; border-radius: 4px; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: 0.25rem 0.75rem 0.25rem 0; border-bottom: 1px solid #8885; }
td:first-child { white-space: nowrap; }
""".strip()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_HEADERS: Final = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", POLICY.encode()),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_CURL: Final = """curl $CLEW/v1/threads -H "Authorization: Bearer $KEY" --json '{"metadata": {"customer": "c-81"}}'"""
_KEY: Final = (
    "<p>An API key goes into the header <code>Authorization: Bearer KEY</code>. With the address of this page in "
    "<code>CLEW</code>, such as <code>http://127.0.0.1:8787</code>, and a key in <code>KEY</code>:</p>"
)
_ELSEWHERE: Final = (
    '<p>For machines: <a href="openapi.json">openapi.json</a>. '
    'To look at threads: <a href="explorer">the explorer</a>.</p>'
)
Document = Mapping[str, Any]


async def api_page() -> Answer:
    """``GET /docs``."""
    return _page()


@functools.cache
def _page() -> Answer:
    return Answer(200, render(document()).encode(), _HEADERS)


_CODE: Final = re.compile(r"`([^`]+)`")


def render(described: Document) -> str:
    """An OpenAPI document as a page. Whatever text is in it can only become text."""
    operations = [
        (path, method, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    groups = [(group, [each for each in operations if group["name"] in each[2]["tags"]]) for group in described["tags"]]
    schemas = described["components"]["schemas"]
    info = described["info"]
    parts = [
        f"<h1>{_text(info['title'])} {_text(info['version'])}: the API</h1>",
        f"<p>{_prose(info['description'])}</p>",
        _ELSEWHERE,
        _KEY,
        f"<pre>{_text(_CURL)}</pre>",
        "<nav><ul>",
        *(
            f'<li><a href="#{_text(operation["operationId"])}">{_prose(operation["summary"])}</a></li>'
            for _, members in groups
            for _, _, operation in members
        ),
        "</ul></nav>",
    ]
    for group, members in groups:
        parts.append(f"<h2>{_text(group['name'])}</h2><p>{_prose(group['description'])}</p>")
        for path, method, operation in members:
            parts += _operation(path, method, operation, schemas)
    parts.append('<h2 id="errors">Errors</h2>')
    parts += _table(("status", "what it means"), ((str(status), text) for status, text in ERRORS.items()))
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{_text(info['title'])}: the API</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _operation(path: str, method: str, operation: Document, schemas: Document) -> Iterator[str]:
    yield f'<h3 id="{_text(operation["operationId"])}"><code>{_text(method.upper())} {_text(path)}</code></h3>'
    yield f"<p>{_prose(operation['summary'])}. {_prose(operation['description'])}</p>"
    parameters = [
        HEADERS[each["$ref"].rpartition("/")[2]] if "$ref" in each else each for each in operation.get("parameters", ())
    ]
    if parameters:
        yield from _table(
            ("parameter", "in", "type", "what it does"),
            ((each["name"], each["in"], type_text(each["schema"]), each["description"]) for each in parameters),
        )
    if (body := operation.get("requestBody")) is not None:
        content = body["content"]["application/json"]
        schema = _resolve(content["schema"], schemas)
        needed = schema.get("required", ())
        yield "<p>The body:</p>"
        yield from _table(
            ("field", "type"),
            (
                (name, type_text(each) + (", required" if name in needed else ""))
                for name, each in schema["properties"].items()
            ),
        )
        yield from _example(content)
    for status, answer in operation["responses"].items():
        if int(status) < 300:
            yield f"<p>The answer, {_text(status)}:</p>"
            for kind, content in answer["content"].items():
                yield f"<p><code>{_text(kind)}</code></p>"
                yield from _example(content)
    others = [status for status in operation["responses"] if int(status) >= 300]
    yield f'<p>Otherwise <a href="#errors">{_text(", ".join(others))}</a>.</p>' if others else ""


def _example(content: Document) -> Iterator[str]:
    example = content.get("example")
    if example is not None:
        text = example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
        yield f"<pre>{_text(text)}</pre>"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "<table><tr>" + "".join(f"<th>{_text(title)}</th>" for title in titles) + "</tr>"
    for first, *others in rows:
        cells = "".join(f"<td>{_prose(cell)}</td>" for cell in others)
        yield f"<tr><td><code>{_text(first)}</code></td>{cells}</tr>"
    yield "</table>"


def type_text(schema: Document) -> str:
    """A JSON Schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(type_text, schema["anyOf"])))
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        kind = f"array of {type_text(schema['items'])}" if "items" in schema else "array"
    bounds = [
        f"{word} {schema[name]}"
        for name, word in (
            ("minimum", "from"),
            ("maximum", "to"),
            ("maxLength", "up to"),
            ("minItems", "at least"),
            ("maxItems", "at most"),
            ("maxProperties", "at most"),
        )
        if name in schema
    ]
    return f"{kind} ({', '.join(bounds)})" if bounds else kind


def _resolve(schema: Document, schemas: Document) -> Document:
    named: Document = schemas[str(schema["$ref"]).rpartition("/")[2]]
    return named


def _text(value: object) -> str:
    return escape(str(value), quote=True)


def _prose(text: str) -> str:
    """Text of a description: what stands between backticks in it is code."""
    return _CODE.sub(r"<code>\1</code>", _text(text))
