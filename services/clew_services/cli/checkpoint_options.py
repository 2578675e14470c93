"""The options that commands about checkpoints share."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from clew_events.errors import Invalid
from clew_services.checkpoints.note import NAME, VerifierKey

LONGEST: Final = 4096

verifier_key = click.option("--key", metavar="KEY|FILE", help="The public key to trust: its line, or a file with it.")

verifier_keys = click.option(
    "--key",
    "keys",
    metavar="KEY|FILE",
    multiple=True,
    help="A public key to trust: its line, or a file with it. As often as there were keys.",
)


def key_from(said: str) -> VerifierKey:
    """The public key that was given as its line or as a file.

    Raises:
        Invalid: it is neither.
    """
    if said.startswith(f"{NAME}+"):
        return VerifierKey.parse(said)
    try:
        with Path(said).open(encoding="utf-8") as file:
            return VerifierKey.parse(file.read(LONGEST))
    except (OSError, UnicodeDecodeError) as fault:
        raise Invalid(f"there is no public key in {said}: {fault}", code="no_key") from fault
