"""The one way to standard output and standard error: whatever is printed is escaped, so no text controls a terminal."""

from __future__ import annotations

import itertools
import math
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
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
    """Print lines, on a terminal through its pager if they do not fit on it."""
    if not sys.stdout.isatty():
        for each in lines:
            echo(each)
        return
    rest = map(printable, lines)
    first, fit = _take_screen(rest)
    if fit:
        for each in first:
            click.echo(each)
    else:
        click.echo_via_pager(f"{each}\n" for each in itertools.chain(first, rest))


def _take_screen(lines: Iterator[str]) -> tuple[list[str], bool]:
    """Take lines until there are none, or they no longer fit on the terminal; and whether they fit."""
    from rich.cells import cell_len  # noqa: PLC0415 - needed on a terminal alone

    width, height = shutil.get_terminal_size()
    first: list[str] = []
    free = height - 1  # one is for the prompt that follows
    for each in lines:
        first.append(each)
        free -= max(1, math.ceil(cell_len(click.unstyle(each)) / width))
        if free < 0:
            return first, False
    return first, True


def quantity(number: int, plural: str) -> str:
    """A number with its noun, which is given in the plural: ``quantity(1, "threads")`` is ``1 thread``."""
    noun = _PLURAL.sub(lambda ending: "y" if ending[0] == "ies" else "", plural, count=1) if number == 1 else plural
    return f"{number} {noun}"
