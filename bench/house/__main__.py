"""``python -m bench.house [TREE …]``: the house of each working tree, side by side, by the same measure.

A tree needs a ``.venv`` with Clew installed from it (``make install``). Without an argument, this one is measured.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from bench.house.entered import Entered, passed
from bench.house.tree import Tree, most

HERE = Path(__file__).parents[2]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("trees", nargs=-1, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--names", is_flag=True, help="Name what was counted, too.")
def main(trees: tuple[Path, ...], *, names: bool) -> None:
    """Measure the house of each working tree."""
    houses = [_house(tree.resolve()) for tree in trees or (HERE,)]
    table = Table("", *(tree.resolve().name for tree in trees or (HERE,)), box=None)
    for row in houses[0]:
        table.add_row(row, *(str(house[row][0]) for house in houses))
    console = Console(width=200)
    console.print(table)
    if names:
        for row in houses[0]:
            for house in houses:
                for each in house[row][1]:
                    console.print(f"{row}: {each}", highlight=False)


def _house(root: Path) -> dict[str, tuple[object, list[str]]]:
    tree, request = Tree(root), asyncio.run(passed(root))
    repeated = tree.repeated
    return {
        "modules": (len(tree.modules), []),
        "lines": (f"{tree.lines:,}", []),
        "lines of code": (f"{tree.code_lines:,}", []),
        "lines of the longest module": (tree.longest, []),
        "modules named by a bare gerund": (len(tree.gerunds), tree.gerunds),
        "base names of several modules": (len(repeated), [f"{base}: {found}" for base, found in repeated.items()]),
        "modules of the base name that most have": (most(repeated), []),
        "pairs of packages that import each other": (len(tree.mutual), [" ".join(pair) for pair in tree.mutual]),
        "modules that import the composition root": (len(tree.know_the_root), tree.know_the_root),
        "modules that take all of Clew": (len(tree.take_the_root), tree.take_the_root),
        "POST /v1/threads: functions": (len(request.post.functions), sorted(request.post.functions)),
        "POST /v1/threads: files": _files(request.post),
        "POST /v1/threads: instructions of Python": _steps(request.post),
        "GET /v1/threads/{id}: functions": (len(request.get.functions), sorted(request.get.functions)),
        "GET /v1/threads/{id}: files": _files(request.get),
        "GET /v1/threads/{id}: instructions of Python": _steps(request.get),
        "POST /v1/threads/{id}/messages: instructions of Python": _steps(request.post_message),
        "GET /v1/threads/{id}/messages, 20 of them: instructions of Python": _steps(request.get_page),
        "verify --all: files entered": _files(request.verify),
        "verify --all: modules imported": (len(request.verify.imported), sorted(request.verify.imported)),
    }


def _files(entered: Entered) -> tuple[object, list[str]]:
    return len(entered.files), sorted(entered.files)


def _steps(entered: Entered) -> tuple[object, list[str]]:
    ordered = sorted(entered.steps.items(), key=lambda each: -each[1])
    return f"{sum(entered.steps.values()):,}", [f"{number} {name}" for name, number in ordered]


if __name__ == "__main__":
    main()
