"""``clew restore``."""

from __future__ import annotations

from pathlib import Path

import click

from clew_services.backup.backup_folder import Folder
from clew_services.backup.restore_backup import RestoreResult, restore
from clew_services.cli import options
from clew_services.cli.exit import print_json
from clew_services.cli.interrupt import run
from clew_services.cli.logs import hush
from clew_services.cli.progress_bars import show_transfer
from clew_services.cli.session import PATIENCE
from clew_services.embedded.server import EmbeddedServer
from clew_services.host import nats_url
from clew_services.nats_connection import connection
from clew_services.settings import Settings


@click.command("restore")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    help="The data folder of a stopped 'clew up', instead of a running NATS server.",
)
@click.option(
    "--replicas", type=click.Choice(["1", "3", "5"]), help="Copies of every stream.  [default: as in the backup]"
)
@options.nats
@options.as_json
def command(*, folder: Path, into: Path | None, replicas: str | None, nats: str, as_json: bool) -> None:
    """Restore the backup in FOLDER to a NATS server that has no deployment.

    The whole backup is checked before anything is written. An interrupted restore resumes when it is run again.
    Afterwards projectors fill the views from the log; answers are correct meanwhile.
    """
    if into is not None and replicas not in {None, "1"}:
        raise click.UsageError("a data folder has one server, so --replicas 1")
    copies = int(replicas) if replicas else None
    if into is not None:
        done = run(_into(into, Folder(folder)))
    else:
        done = run(_restore(Settings(nats=nats).nats_url, Folder(folder), copies))
    if as_json:
        print_json(done)
        return
    for stream in done.streams:
        click.echo(f"restored {stream}")
    click.echo(
        f"restored {done.commits:,} commits, in {done.replicas} cop{'y' if done.replicas == 1 else 'ies'}: run "
        "'clew verify --all', and 'clew prove' once the projector has filled the views"
    )


async def _into(data: Path, folder: Folder) -> RestoreResult:
    hush()
    async with EmbeddedServer(data, password=nats_url.password(data)) as server:
        return await _restore(server.url, folder, 1)


async def _restore(url: str, folder: Folder, replicas: int | None) -> RestoreResult:
    hush()
    async with connection(url, name="clew-restore", patience=PATIENCE) as made:
        with show_transfer() as report:
            return await restore(made, folder, replicas, report)
