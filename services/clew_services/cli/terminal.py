"""The one way to standard output and standard error: whatever is printed is escaped, so no text controls a terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Final

import click
import msgspec

_CONTROLS: Final = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]")
"""In UTF-8, what JSON does not escape by itself: DEL, the C1 controls, line separators, controls of direction."""

_PLURAL: Final = re.compile(r"(?<=\w)(ies|s)\b")


class Markup(str):
    """Text whose parts were escaped, with the colours that :func:`style` gave them. Printed as it is."""

    __slots__ = ()


def printable(text: str) -> str:
    """Escape every character that is not printable."""
    if isinstance(text, Markup) or text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def style(text: str, *, fg: str | None = None, bold: bool | None = None) -> Markup:
    """Escape a text and give it a colour."""
    return Markup(click.style(printable(text), fg=fg, bold=bold))


def line(*parts: str) -> Markup:
    """Join texts, of which those that are not styled are escaped."""
    return Markup("".join(map(printable, parts)))


def echo(text: str = "", *, err: bool = False) -> None:
    """Print a line, on standard error with ``err``."""
    click.echo(printable(text), err=err)


def echo_lines(text: str) -> None:
    """Print a text of several lines."""
    for each in text.removesuffix("\n").split("\n"):
        echo(each)


def echo_json(raw: bytes) -> None:
    """Print a JSON document; control characters in its strings are escaped as JSON escapes them."""
    click.echo(escape_json(raw))


def escape_json(raw: bytes) -> bytes:
    """Escape the control characters in the strings of a JSON document as JSON escapes them."""
    return _CONTROLS.sub(lambda control: b"\\u%04x" % ord(control[0].decode()), raw)


def write_json_lines(raw: bytes) -> None:
    """Write lines of JSON byte for byte, but on a terminal with control characters escaped."""
    click.echo(escape_json(raw) if sys.stdout.isatty() else raw, nl=False)


def print_json(answer: object) -> None:
    """Print one JSON document on standard output."""
    echo_json(msgspec.json.format(msgspec.json.encode(answer), indent=2))


def show(lines: Iterable[str]) -> None:
    """Print lines, on a terminal through its pager."""
    if sys.stdout.isatty():
        click.echo_via_pager(f"{printable(each)}\n" for each in lines)
    else:
        for each in lines:
            echo(each)


def quantity(number: int, plural: str) -> str:
    """A number with its noun, which is given in the plural: ``quantity(1, "threads")`` is ``1 thread``."""
    noun = _PLURAL.sub(lambda ending: "y" if ending[0] == "ies" else "", plural, count=1) if number == 1 else plural
    return f"{number} {noun}"
