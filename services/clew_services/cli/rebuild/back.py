"""``clew rebuild back``."""

from __future__ import annotations

import click

from clew_projections.generations.record import Record
from clew_services import compose
from clew_services.cli import options
from clew_services.cli.outcome import print_json
from clew_services.cli.session import look
from clew_services.rebuilding.kept import go_back


@click.command("back")
@click.argument("number", type=click.IntRange(min=1), required=False)
@options.nats
@options.as_json
def back(*, number: int | None, nats: str, as_json: bool) -> None:
    """Make the generation before live again, or the one with a NUMBER.

    What it has missed since it was live it catches up with by itself, and answers are right meanwhile.
    """

    async def gone_back(clew: compose.Clew) -> tuple[Record, bool]:
        record = await go_back(clew, number)
        return record, record.current.fold != clew.fold

    record, foreign = look(nats, gone_back)
    if as_json:
        print_json({"live": record.live, "fold": record.current.fold})
    else:
        click.echo(f"generation {record.live} is live")
    if foreign:
        click.echo(
            f"It was made by fold {record.current.fold}, which is not that of this version: run the version that made "
            "it, or answers come from the log, which is slower",
            err=True,
        )
