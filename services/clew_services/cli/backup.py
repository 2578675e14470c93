"""``clew backup``, ``clew backup erase`` and ``clew restore``."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec import to_builtins

from clew_events.nats_security import UNSECURED, NatsSecurity
from clew_services.backup import restore_backup
from clew_services.backup.backup_folder import Folder
from clew_services.backup.erase_backup import ErasedBackup, erase_backup
from clew_services.backup.manifest import Manifest
from clew_services.backup.restore_backup import RestoreResult
from clew_services.backup.take_backup import take
from clew_services.cli import check_report, erasure_list, options, output
from clew_services.cli.interrupt import run
from clew_services.cli.logs import hush
from clew_services.cli.options import key_from
from clew_services.cli.progress_bars import show_transfer
from clew_services.cli.session import PATIENCE, look
from clew_services.cli.terminal import echo, print_json, quantity
from clew_services.embedded.server import EmbeddedServer
from clew_services.erasure import erasure_file
from clew_services.erasure.copy_records import record_erased
from clew_services.erasure.erasure_file import KnownErasures
from clew_services.erasure.reapply import ReapplyResult
from clew_services.host import nats_url
from clew_services.nats_connection import connection
from clew_services.version import clew_version


@click.group("backup", invoke_without_command=True)
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write to; new or empty.")
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The data folder of a stopped 'clew up', instead of a running NATS server.",
)
@options.nats
@options.as_json
@click.pass_context
def backup(ctx: click.Context, *, out: Path | None, source: Path | None, nats: str, as_json: bool) -> None:
    """Back up everything that cannot be derived from the log, and the log, into a folder, while services run.

    A backup holds the log, API keys, signed checkpoints, the inbox, rejected commands, and which generation is live. It
    does not hold views and the index, which are rebuilt from the log after 'clew restore', or the files of a data
    folder: settings, signing-key and api-key. A backup is complete when it has manifest.json. Keep it as safe as the
    log itself.
    """
    if ctx.invoked_subcommand is not None:
        if out is not None or source is not None:
            raise click.UsageError("--out and --from are of 'clew backup' alone")
        return
    if out is None:
        raise click.UsageError("Missing option '--out'.")
    if source is not None:
        manifest = run(_from(source, Folder(out)))
    else:
        manifest = run(_take(*options.nats_login(nats), Folder(out)))
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
        return await _take(server.url, UNSECURED, folder)


async def _take(url: str, security: NatsSecurity, folder: Folder) -> Manifest:
    hush()
    async with connection(url, name="clew-backup", patience=PATIENCE, security=security) as made:
        with show_transfer() as report:
            return await take(made, folder, clew_version(), report)


_erasures = click.option(
    "--erasures",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of 'clew erasures export': what was erased since the backup is taken out of it.",
)


@backup.command("erase")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_erasures
@options.verifier_key
@options.connection_options
def erase(*, folder: Path, file: Path | None, key: str | None, nats: str, as_json: bool) -> None:
    """Take what was erased since out of the backup in FOLDER.

    The erasures are those of a file, or of the deployment at --nats. The backup is restored on a server of its own in
    that folder, less what was erased, backed up again, and verified; then it takes the place of the old one, whose
    files are overwritten and removed. If this is interrupted, the backup is whole: run it again. The folder needs room
    for two more copies meanwhile. With --key, the certificates in the file must be signed with that key.
    """
    if file is not None:
        known = erasure_file.read(file, key_from(key) if key is not None else None)
    elif key is not None:
        raise click.UsageError("--key goes with --erasures")
    else:
        known = look(nats, erasure_list.collect)
    hush()
    done = run(_erase(Folder(folder), known))
    if file is None:
        look(nats, lambda opened: record_erased(opened.connection.js, done.made_at, known.header.made_at))
    if as_json:
        print_json({"folder": str(folder), **to_builtins(done)})
        return
    if done.changed:
        echo(f"{folder} is a complete backup again: {_erased(done.erased)}, {done.bytes:,} bytes")
    else:
        echo(f"{folder} has nothing that was erased since: it is as it was")
    if done.damaged:
        echo(f"histories in it are damaged, as they were before: {', '.join(done.damaged)}", err=True)
    check_report.warn_of_others(done.erased.others)


async def _erase(folder: Folder, known: KnownErasures) -> ErasedBackup:
    with show_transfer() as report:
        return await erase_backup(folder, known, clew_version(), report)


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
@_erasures
@options.verifier_key
@options.nats
@options.as_json
def restore(
    *,
    folder: Path,
    into: Path | None,
    replicas: str | None,
    file: Path | None,
    key: str | None,
    nats: str,
    as_json: bool,
) -> None:
    """Restore the backup in FOLDER to a NATS server that has no deployment.

    The whole backup is checked before anything is written. An interrupted restore resumes when it is run again.
    Afterwards projectors fill the views from the log; answers are correct meanwhile.

    With --erasures, what was erased since the backup is taken out before anything is served, and is certified anew
    once 'clew up' or the role erasure runs. With --key, the certificates in the file must be signed with that key.
    """
    if key is not None and file is None:
        raise click.UsageError("--key goes with --erasures")
    known = erasure_file.read(file, key_from(key) if key is not None else None) if file is not None else None
    if into is not None and replicas not in {None, "1"}:
        raise click.UsageError("a data folder has one server, so --replicas 1")
    copies = int(replicas) if replicas else None
    if into is not None:
        done = run(_into(into, Folder(folder), known))
    else:
        done = run(_restore(*options.nats_login(nats), Folder(folder), copies, known))
    if as_json:
        print_json(done)
        return
    for stream in done.streams:
        echo(f"restored {stream}")
    if done.erased.erasures:
        echo(f"erased since the backup, and taken out of it: {_erased(done.erased)}")
    check_report.warn_of_others(done.erased.others)
    echo(
        f"restored {quantity(done.commits, 'commits')}, in {quantity(done.replicas, 'copies')}: run "
        "'clew verify --all', and 'clew prove' once the projector has filled the views"
    )


async def _into(data: Path, folder: Folder, known: KnownErasures | None) -> RestoreResult:
    hush()
    async with EmbeddedServer(data, password=nats_url.password(data)) as server:
        return await _restore(server.url, UNSECURED, folder, 1, known)


async def _restore(
    url: str, security: NatsSecurity, folder: Folder, replicas: int | None, known: KnownErasures | None
) -> RestoreResult:
    hush()
    async with connection(url, name="clew-restore", patience=PATIENCE, security=security) as made:
        with show_transfer() as report:
            return await restore_backup.restore(made, folder, replicas, report, known=known)


def _erased(erased: ReapplyResult) -> str:
    counts = {"erasures": erased.erasures, "threads": len(erased.threads), "commits": erased.commits}
    return ", ".join(quantity(count, what) for what, count in counts.items())
