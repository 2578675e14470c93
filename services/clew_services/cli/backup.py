"""``clew backup`` and ``clew restore``."""

from __future__ import annotations

from pathlib import Path

import click

from clew_services.backup import restore_backup
from clew_services.backup.backup_folder import Folder
from clew_services.backup.manifest import Manifest
from clew_services.backup.restore_backup import RestoreResult
from clew_services.backup.take_backup import take
from clew_services.cli import options, output
from clew_services.cli.interrupt import run
from clew_services.cli.logs import hush
from clew_services.cli.progress_bars import show_transfer
from clew_services.cli.session import PATIENCE
from clew_services.cli.terminal import echo, print_json, quantity
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
def backup(*, out: Path, source: Path | None, nats: str, as_json: bool) -> None:
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
    echo(f"{out} is a complete backup: {sum(stream.bytes for stream in manifest.streams):,} bytes in {seconds:.1f} s")


async def _from(data: Path, folder: Folder) -> Manifest:
    hush()
    async with EmbeddedServer(data, password=nats_url.password(data)) as server:
        return await _take(server.url, folder)


async def _take(url: str, folder: Folder) -> Manifest:
    hush()
    async with connection(url, name="clew-backup", patience=PATIENCE) as made:
        with show_transfer() as report:
            return await take(made, folder, clew_version(), report)


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
def restore(*, folder: Path, into: Path | None, replicas: str | None, nats: str, as_json: bool) -> None:
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
        echo(f"restored {stream}")
    echo(
        f"restored {quantity(done.commits, 'commits')}, in {quantity(done.replicas, 'copies')}: run "
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
            return await restore_backup.restore(made, folder, replicas, report)
