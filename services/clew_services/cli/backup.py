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
from clew_services.cli.progress_bars import show_transfer
from clew_services.cli.session import PATIENCE
from clew_services.embedded.server import EmbeddedServer
from clew_services.host import nats_url
from clew_services.nats_connection import connection
from clew_services.settings import Settings
from clew_services.version import clew_version


@click.command("backup")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write to; new or empty.")
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The data folder of a stopped 'clew up', instead of a running NATS server.",
)
@options.nats
@options.as_json
def command(*, out: Path, source: Path | None, nats: str, as_json: bool) -> None:
    """Back up everything that cannot be derived from the log, and the log, into a folder, while services run.

    A backup holds the log, API keys, signed checkpoints, the inbox, rejected commands, and which generation is live. It
    does not hold views and the index, which are rebuilt from the log after 'clew restore', or the files of a data
    folder: settings, signing-key and api-key. A backup is complete when it has manifest.json. Keep it as safe as the
    log itself.
    """
    if source is not None:
        manifest = run(_from(source, Folder(out)))
    else:
        manifest = run(_take(Settings(nats=nats).nats_url, Folder(out)))
    if as_json:
        print_json({"folder": str(out), "manifest": manifest})
        return
    output.rows(
        ("stream", "messages", "last", "bytes", "sha256"),
        [
            (stream.stream, stream.messages, stream.last_seq, stream.bytes, stream.sha256[:16])
            for stream in manifest.streams
        ],
        right=frozenset({"messages", "last", "bytes"}),
    )
    seconds = (manifest.finished_at - manifest.made_at).total_seconds()
    click.echo(
        f"{out} is a complete backup: {sum(stream.bytes for stream in manifest.streams):,} bytes in {seconds:.1f} s"
    )


async def _from(data: Path, folder: Folder) -> Manifest:
    hush()
    async with EmbeddedServer(data, password=nats_url.password(data)) as server:
        return await _take(server.url, folder)


async def _take(url: str, folder: Folder) -> Manifest:
    hush()
    async with connection(url, name="clew-backup", patience=PATIENCE) as made:
        with show_transfer() as report:
            return await take(made, folder, clew_version(), report)
