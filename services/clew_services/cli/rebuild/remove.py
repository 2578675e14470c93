"""``clew rebuild remove``."""

from __future__ import annotations

import click

from clew_services import compose
from clew_services.cli import options
from clew_services.cli.outcome import print_json
from clew_services.cli.session import look
from clew_services.rebuilding import kept


@click.command("remove")
@click.argument("number", type=click.IntRange(min=1))
@options.nats
@options.as_json
def remove(*, number: int, nats: str, as_json: bool) -> None:
    """Delete the generation with a NUMBER, finished or not. The live one is refused."""

    async def removed(clew: compose.Clew) -> None:
        await kept.remove(clew, number)

    look(nats, removed)
    if as_json:
        print_json({"removed": number})
    else:
        click.echo(f"removed generation {number}")
