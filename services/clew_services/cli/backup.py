"""``clew backup``."""

from __future__ import annotations

from pathlib import Path

import click

from clew_services.backup.backup_folder import Folder
from clew_services.backup.manifest import Manifest
from clew_services.backup.take_backup import take
from clew_services.cli import options, output
from clew_services.cli.exit import print_json
from clew_services.cli.interrupt import run
from clew_services.cli.logs import hush
from clew_services.cli.session import PATIENCE
from clew_services.cli.transfer_progress import show_transfer
from clew_services.cli.versions import clew_version
from clew_services.embedded.server import EmbeddedServer
from clew_services.host import nats_url
from clew_services.nats_connection import connection
from clew_services.settings import Settings


@click.command("backup")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to make; new, or empty.")
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The data folder of a 'clew up' that does not run, instead of a NATS server that does.",
)
@options.nats
@options.as_json
def command(*, out: Path, source: Path | None, nats: str, as_json: bool) -> None:
    """Write everything that follows from nothing else into a folder, while everything runs.

    That is the log, API keys, signed checkpoints, the inbox and what it refused, and which generation is live. Not in
    it are views and the index, which 'clew restore' has made again from the log, and the files of a data folder:
    settings, signing-key and api-key. A backup is whole when manifest.json is there. Keep it as safe as the log itself.
    """
    if source is not None:
        whole = run(_from(source, Folder(out)))
    else:
        whole = run(_take(Settings(nats=nats).nats_url, Folder(out)))
    if as_json:
        print_json({"folder": str(out), "manifest": whole})
        return
    output.rows(
        ("stream", "messages", "last", "bytes", "sha256"),
        [(each.stream, each.messages, each.last_seq, each.bytes, each.sha256[:16]) for each in whole.streams],
        right=frozenset({"messages", "last", "bytes"}),
    )
    seconds = (whole.finished_at - whole.made_at).total_seconds()
    click.echo(f"{out} is a whole backup: {sum(each.bytes for each in whole.streams):,} bytes in {seconds:.1f} s")


async def _from(data: Path, folder: Folder) -> Manifest:
    hush()
    async with EmbeddedServer(data, password=nats_url.password(data)) as server:
        return await _take(server.url, folder)


async def _take(url: str, folder: Folder) -> Manifest:
    hush()
    async with connection(url, name="clew-backup", patience=PATIENCE) as made:
        with show_transfer() as tell:
            return await take(made, folder, clew_version(), tell)
