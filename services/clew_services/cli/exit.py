"""The end of a command: errors as one line and an exit code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import click

from clew_events.errors import ClewError, Kind, NotFound
from clew_services.cli.terminal import echo

EXIT_CODES: Final[dict[Kind, int]] = {"rejected": 1, "conflict": 3, "unavailable": 4, "corrupt": 5}
NOT_FOUND: Final = 6
"""The exit code for what does not exist, distinct from a rejected request."""


@contextlib.contextmanager
def report_errors() -> Iterator[None]:
    """Turn a Clew error into one line on standard error and an exit code; a bad setting is a usage error (2)."""
    try:
        yield
    except ClewError as error:
        if error.code == "invalid_setting":
            raise click.UsageError(error.message) from error
        echo(f"clew: {' '.join(error.message.split())} [{error.code}]", err=True)
        code = NOT_FOUND if isinstance(error, NotFound) else EXIT_CODES[error.kind]
        raise click.exceptions.Exit(code) from error
