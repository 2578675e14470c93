"""Writes the reference of the Python client, from its docstrings, signatures and types.

``python -m clew_events.contract.client_reference FILE`` writes the Markdown file.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, get_args, get_origin, get_type_hints

from msgspec import Struct

from clew_events import content, errors
from clew_events.client import Clew, connect, sync
from clew_events.client.command_methods import CommandMethods
from clew_events.client.feed import FeedMethods
from clew_events.client.method_options import CommandOptions, ListOptions
from clew_events.client.query_methods import QueryMethods
from clew_events.client.transport import Caller

_HEAD: Final = """# The Python client

`make schema` writes this file from docstrings, signatures and types. [Publishing](publish.md), [queries](query.md),
[the feed](feed.md) and [recipes](recipes.md) show how to use what stands here.

`clew_events.client` has these methods with `async`, and `clew_events.client.sync` has them all without: `await` goes,
and `async for` is `for`. Both need msgspec and nats-py alone.
"""
_PARTS: Final = (("Commands", CommandMethods), ("Queries", QueryMethods), ("The feed", FeedMethods))
BAR: Final = "\\|"
"""A bar within a cell of a table."""
_ROLE: Final = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")
_SECTION: Final = re.compile(r"^(Raises|Returns|Yields):$", re.MULTILINE)
_ITEM: Final = re.compile(r"^    (\w+): ", re.MULTILINE)


def reference() -> str:
    """The reference as a Markdown document."""
    sections = [_HEAD, "## Connect", "`async with connect() as clew:` opens a connection.", *_member(connect)]
    sections += [f"**`clew_events.client.sync.connect`** {_markdown(sync.connect)}"]
    sections += ["## `Clew`", _markdown(Clew), _signature(Clew)]
    for title, methods in _PARTS:
        sections += [f"## {title}", _markdown(methods)]
        for method in _methods(methods):
            sections += _member(method)
    sections += ["## Any command", *(part for method in _methods(Caller) for part in _member(method))]
    sections += ["## Errors", "All are in `clew_events.errors`.", _markdown(errors)]
    sections += [f"**`{each.__name__}`** {_markdown(each)}" for each in (errors.ClewError, errors.Unavailable)]
    for title, options in (("commands", CommandOptions), ("lists", ListOptions)):
        sections += [f"## Options of {title}", *_fields(_annotations(options))]
    sections += ["## Words", *_words(), "## Types"]
    for name, kind in sorted(_types().items()):
        sections += [f"### `{name}`", f"`{kind.__module__}`. {_markdown(kind)}", *_fields(_annotations(kind))]
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(part.strip() for part in sections)) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write the reference to the file in ``arguments``, and return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m clew_events.contract.client_reference FILE\n")
        return 2
    Path(arguments[0]).write_text(reference(), encoding="utf-8", newline="\n")
    sys.stdout.write(f"{arguments[0]}\n")
    return 0


def _methods(owner: type) -> Iterator[Callable[..., object]]:
    return (each for name, each in vars(owner).items() if inspect.isfunction(each) and not name.startswith("_"))


def _member(member: Callable[..., object]) -> list[str]:
    return [f"### `{member.__name__}`", _signature(member), _markdown(member)]


def _signature(member: Callable[..., object]) -> str:
    signature = inspect.signature(member)
    parameters = [each for each in signature.parameters.values() if each.name != "self"]
    written = [_parameter(each) for each in parameters]
    if any(each.kind is each.KEYWORD_ONLY for each in parameters):
        written.insert(next(i for i, each in enumerate(parameters) if each.kind is each.KEYWORD_ONLY), "*")
    answer = "" if inspect.isclass(member) else f" -> {signature.return_annotation}"
    word = "async def " if inspect.iscoroutinefunction(member) else "" if inspect.isclass(member) else "def "
    line = f"{word}{member.__name__}({', '.join(written)}){answer}"
    if len(line) > 88:
        inner = "".join(f"    {each},\n" for each in written)
        line = f"{word}{member.__name__}(\n{inner}){answer}"
    return f"```python\n{line}\n```"


def _parameter(parameter: inspect.Parameter) -> str:
    name = ("**" if parameter.kind is parameter.VAR_KEYWORD else "") + parameter.name
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{name}: {parameter.annotation}{default}"


def _markdown(documented: object) -> str:
    """A docstring as Markdown. Its sections become lists, what is indented becomes a block of code."""
    text = _ROLE.sub(r"`\1`", inspect.getdoc(documented) or "").replace("``", "`")
    text, *rest = _SECTION.split(text)
    text = re.sub(r"::\n\n((?:    .*\n?|\n)+)", lambda code: f"\n\n```text\n{inspect.cleandoc(code[1])}\n```\n\n", text)
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        text += f"**{title}**\n\n" + re.sub(r"\n {8}", "\n  ", _ITEM.sub(r"* `\1`: ", body.strip("\n")))
    return text


def _fields(annotations: Mapping[str, str]) -> list[str]:
    rows = [f"| `{name}` | `{note.replace('|', BAR)}` |" for name, note in annotations.items()]
    return ["\n".join(["| field | type |", "|---|---|", *rows])] if rows else []


def _annotations(kind: type) -> dict[str, str]:
    """The fields of a type, with those of its bases first, and their annotations as they are written."""
    return {
        name: str(getattr(note, "__forward_arg__", note))
        for base in reversed(kind.__mro__)
        for name, note in inspect.get_annotations(base).items()
        if not str(note).startswith("ClassVar")
    }


def _words() -> list[str]:
    """The parameters that take one of a few words, with these words."""
    named: dict[str, str] = {}
    owners = (*_methods(Caller), *(method for _, owner in _PARTS for method in _methods(owner)), ListOptions)
    for each in owners:
        known = vars(sys.modules[each.__module__])
        for word in re.findall(r"\w+", " ".join(map(str, inspect.get_annotations(each).values()))):
            if get_origin(known.get(word)) is Literal:
                named[word] = ", ".join(f"`{value!r}`" for value in get_args(known[word]))
    return ["\n".join(f"* `{word}`: {values}" for word, values in sorted(named.items()))]


def _types() -> dict[str, type[Struct]]:
    """The types that parameters and results consist of, by name."""
    found: dict[str, type[Struct]] = {}
    waiting: list[object] = [ListOptions]
    for _, owner in (*_PARTS, ("", Caller)):
        waiting += [hint for method in _methods(owner) for hint in get_type_hints(method).values()]
    while waiting:
        kind = waiting.pop()
        waiting += get_args(kind)
        if kind is ListOptions:
            waiting += get_type_hints(kind).values()
        elif isinstance(kind, type) and issubclass(kind, Struct) and kind not in found.values():
            found[kind.__name__ if kind.__module__ != content.__name__ else f"content.{kind.__name__}"] = kind
            waiting += get_type_hints(kind).values()
    return found


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
