"""A report as a file: a page that needs nothing else and prints well, a table (CSV), or JSON.

The page names its style by a hash and forbids everything else, scripts too, wherever it is opened. All that threads say
is escaped, with signs that would deceive shown by their codes. In the table no text begins as a formula does, nor does
any part of one.
"""

from __future__ import annotations

import csv
import io
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final, Literal

import msgspec
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from msgspec import Raw, Struct

from clew_services.report.item_html import kind_of, render_item, visible
from clew_services.report.thread_report import Change, ReportedCommit, ThreadReport

Form = Literal["html", "csv", "json"]
_PAGE: Final = "page"
_COLUMNS: Final = (
    *("tenant", "thread", "commit", "at", "actor", "by", "command", "command_id", "reason", "events", "erased"),
    *("part", "before", "after", "hash"),
)
_FORMULA: Final = re.compile(
    r"^(?=[ \n]*[\t=+\-@\uff1d\uff0b\uff0d\uff20])|(?<=[;\t\n])(?=[ \"]*[=+\-@\uff1d\uff0b\uff0d\uff20])"
)
"""Where a formula of a spreadsheet begins, also in one that takes semicolons for what is between cells."""
_BOM: Final = "\ufeff"
"""By which spreadsheets know UTF-8."""


class Report(Struct, frozen=True, kw_only=True):
    """Reports of threads, and when they were made: the one thing in it that does not follow from their histories."""

    object: Literal["report"] = "report"
    made_at: datetime
    threads: tuple[ThreadReport, ...]


def write_report(report: Report, form: Form, *, raw: bool = False) -> bytes:
    """Return a report as the bytes of a file. On a page, items are rendered, or ``raw``: as JSON."""
    match form:
        case "html":
            return write_page(report, raw=raw)
        case "csv":
            return write_table(report.threads)
        case "json":
            return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def write_table(threads: Sequence[ThreadReport]) -> bytes:
    """Return the commits of reports as CSV in UTF-8: a line for each change, or for a commit that changed nothing."""
    table = io.StringIO()
    writer = csv.writer(table, quoting=csv.QUOTE_ALL)
    writer.writerow(_COLUMNS)
    for thread in threads:
        for commit in thread.commits:
            writer.writerows([_harmless(cell) for cell in cells] for cells in _rows(thread, commit))
    return (_BOM + table.getvalue()).encode()


def _rows(thread: ThreadReport, commit: ReportedCommit) -> Iterator[tuple[str, ...]]:
    for change in commit.changes or (Change(part=""),):
        yield (
            thread.tenant,
            thread.thread_id,
            str(commit.n),
            commit.at.astimezone(UTC).isoformat(),
            commit.actor,
            commit.by,
            commit.command,
            commit.command_id,
            commit.reason or "",
            " ".join(commit.events),
            "erased" if commit.erased else "",
            change.part,
            _text(change.before),
            _text(change.after),
            commit.hash,
        )


def _text(value: str | Raw | None) -> str:
    return "" if value is None else value if isinstance(value, str) else bytes(value).decode()


def _harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula, nor a part of it where it takes that for a cell."""
    return _FORMULA.sub("'", visible(cell))


def write_page(report: Report, *, raw: bool = False) -> bytes:
    """Return a report as a page of HTML."""
    environment, style = _environment(), _style()
    page = environment.get_template(_PAGE).render(
        report=report,
        style=style,
        policy=policy(),
        raw=raw,
        render=_render,
        kind_of=kind_of,
    )
    return page.encode()


def policy() -> str:
    """The content security policy of a page: its own style, and nothing else."""
    digest = b64encode(sha256(_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _render(value: str | Raw | None, *, raw: bool) -> str | Markup:
    """A value as it stands on the page; a text is escaped by the template."""
    return render_item(value, opened=True, raw=raw) if isinstance(value, Raw) else value or "(empty)"


@cache
def _style() -> str:
    return files(__package__).joinpath("report.css").read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    source = files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    environment = Environment(
        loader=DictLoader({_PAGE: source}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters["when"] = _when
    return environment


def _finalize(value: object) -> object:
    """What an expression of the template becomes before it is escaped."""
    return value if isinstance(value, Markup) else visible(str(value))


def _when(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"
