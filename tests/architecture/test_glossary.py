"""One meaning to a word: the table in CONTRIBUTING, held against what our modules, classes and functions are called."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.source import MODULES, PACKAGES, tree_of

ROOT = Path(__file__).parents[2]
TABLE = re.compile(r"^\| word \| means only \| not \|\n\|[-| ]+\n((?:\|.*\n)+)", re.MULTILINE)


def glossary() -> dict[str, str]:
    """What is not to be said, and the word that means it."""
    found = TABLE.search((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert found is not None
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in found[1].splitlines()]
    return {wrong: right for right, _, cell in rows for wrong in re.findall(r"`([a-z_]+)`", cell)}


NOT = glossary()


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module, by its file below the folder it is imported from, and what is written in it."""
    for name, file in MODULES.items():
        yield file.relative_to(PACKAGES[name.partition(".")[0]]).as_posix(), tree_of(name)


def words(name: str) -> list[str]:
    """The words of a name, in small letters: of ``_hold_OpenIndex`` they are hold, open and index."""
    return re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())


def wrong_in_name(name: str) -> set[str]:
    """Which words of the glossary's last column a name has; with ``_`` behind: as a function's first verb."""
    said, is_class = words(name), name.lstrip("_")[:1].isupper()
    return {
        wrong for wrong in NOT if (said[:1] == [wrong[:-1]] and not is_class if wrong.endswith("_") else wrong in said)
    }


def wrong_in_text(text: str) -> set[str]:
    """Which of these words a text has. A path is no word, and no text is wrong for a word that names a function."""
    return {
        wrong
        for wrong in NOT
        if not wrong.endswith("_") and re.search(rf"(?<![\w/]){wrong}(?!\w)", text, re.IGNORECASE)
    }


def names() -> Iterator[tuple[str, str]]:
    """Every module, class and function: where it is, and its name."""
    for module, tree in modules():
        yield module, module.rpartition("/")[2].removesuffix(".py")
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and words(node.name):
                yield module, node.name


def test_no_name_has_a_word_that_the_glossary_has_another_for() -> None:
    found = {f"{where}: {name} ({NOT[each]})" for where, name in names() for each in wrong_in_name(name)}
    assert found == set()


@pytest.mark.parametrize("folder", ["clew_events", "clew_projections", "clew_services", "clew_adapters"])
def test_no_folder_has_one_either(folder: str) -> None:
    folders = {part for name, _ in modules() if name.startswith(folder) for part in Path(name).parent.parts[1:]}
    assert {name for name in folders if wrong_in_name(name)} == set()


def test_no_docstring_of_a_module_says_one() -> None:
    found = {
        f"{module} says {wrong!r}, which is {NOT[wrong]!r}"
        for module, tree in modules()
        for wrong in wrong_in_text(ast.get_docstring(tree) or "")
    }
    assert found == set()


def test_a_word_that_is_not_to_be_used_is_found() -> None:
    assert {"feeder", "hold_", "refusals"} <= NOT.keys()
    assert wrong_in_name("IndexFeeder") == wrong_in_name("start_feeder") == {"feeder"}
    assert wrong_in_name("_hold_open") == {"hold_"}
    assert not wrong_in_name("household")
    assert not wrong_in_name("threshold_of")
    assert wrong_in_text("What the feeder does.") == {"feeder"}
    assert not wrong_in_text("In <folder>/feeder, and infeed.")
