"""``clew rebuild list``."""

from __future__ import annotations

import click

from clew_services import compose
from clew_services.cli import display, options
from clew_services.cli.outcome import print_json
from clew_services.cli.session import look
from clew_services.rebuilding.kept import Kept, kept

_TITLE = ("generation", "is", "fold", "made", "keys", "bytes", "behind")


@click.command("list")
@options.nats
@options.as_json
def listed(*, nats: str, as_json: bool) -> None:
    """Show the generations of buckets: which is live, which are being built, kept or removed, and how far they are."""

    async def all_there_are(clew: compose.Clew) -> list[Kept]:
        return await kept(clew)

    found = look(nats, all_there_are)
    if as_json:
        print_json({"generations": found})
        return
    display.rows(_TITLE, map(_line, found), right=frozenset({"generation", "fold", "keys", "bytes", "behind"}))


def _line(each: Kept) -> tuple[object, ...]:
    counts = ("gone" if count is None else count for count in (each.threads, each.bytes, each.behind))
    return each.generation, "live" if each.live else each.standing, each.fold, display.when(each.made_at), *counts
