"""``clew export``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click

from clew_projections.packs.layout import PackHeader, Scope
from clew_projections.packs.resume import Partial
from clew_services.checkpoints import key_file
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.note import VerifierKey
from clew_services.cli import check_report, options
from clew_services.cli.exit import EXIT_CODES, print_json
from clew_services.cli.options import key_from, verifier_key
from clew_services.cli.session import look
from clew_services.open_deployment import OpenDeployment
from clew_services.packs.exporter import Exporter, ExportResult, Progress
from clew_services.packs.pack_files import Begin, export
from clew_services.settings import Settings


@click.command("export")
@click.option("--thread", callback=options.check_thread_id, help="One thread, of --tenant.")
@click.option("--all", "everything", is_flag=True, help="The threads of all tenants.")
@click.option("--since", type=options.TIME, help="Only threads with a commit at this time or later.")
@click.option("--until", type=options.TIME, help="Only threads with a commit at this time or earlier.")
@click.option(
    "--out",
    "file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; it must not be there yet.",
)
@click.option("--without-checkpoint", is_flag=True, help="Take no checkpoint along, and so no proof.")
@verifier_key
@options.signing_key
@options.asking_with_data
def command(
    *,
    thread: str | None,
    everything: bool,
    since: datetime | None,
    until: datetime | None,
    file: Path,
    without_checkpoint: bool,
    key: str | None,
    data: str,
    signing_key: str,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Write a tenant's threads, one, or those of all tenants, with all their commits into one file: an audit pack.

    A pack can be read, replayed and checked with no server (--pack), by other tools (tar --zstd -xf), and imported into
    another deployment. It is of the log as it is at the start; commits after that are not in it. With --since or
    --until it has the whole histories of the threads that have a commit between the two. The last checkpoint goes
    along, with what proves the histories by it. An export that was killed goes on where it was when it is run again.
    The exit code is 5 if histories in the log are damaged: they are in the pack as they are.
    """
    if everything and thread is not None:
        raise click.UsageError("either --thread or --all")
    if thread is not None and (since is not None or until is not None):
        raise click.UsageError("--since and --until choose among threads: they do not go with --thread")
    scope = Scope(tenant=None if everything else tenant, thread=thread, since=since, until=until)

    async def exported(opened: OpenDeployment) -> ExportResult:
        trusted = key_from(key) if key else await _own_key(Ledger(opened.js), data, signing_key)
        exporter = Exporter(opened.js, Ledger(opened.js), opened.layout, key=trusted, checkpoint=not without_checkpoint)
        with _count_bytes(file) as begin:
            return await export(exporter, scope, file, begin)

    found = look(nats, exported)
    if as_json:
        print_json(found)
    else:
        _tell(file, found)
    if found.misfits:
        what = f"{found.misfits} messages continue no thread's chain: 'clew verify --pack {file}' says more"
        click.echo(what, err=True)
        raise click.exceptions.Exit(EXIT_CODES["corrupt"])


def _tell(file: Path, found: ExportResult) -> None:
    click.echo(f"wrote {file}: {found.threads} threads, {found.commits} commits, {found.bytes} bytes")
    click.echo(f"sha256 of the whole: {found.whole}")
    if found.checkpoint is None:
        click.echo("no checkpoint covers it: its chains can be checked, and nothing more")
    else:
        click.echo(f"covered by checkpoint {found.checkpoint}")


@contextmanager
def _count_bytes(file: Path) -> Iterator[Begin]:
    with check_report.count_up("exporting") as counter:

        def begin(opening: PackHeader, begun: Partial | None) -> Progress:
            if begun is not None:
                there = begun.totals.commits + begun.ends.commits
                click.echo(f"going on with {file}.part, which has {there} commits", err=True)
            if opening.scope.thread is not None:
                return counter(None)
            rounds = 2 if opening.scope.windowed else 1
            return counter(rounds * sum(opening.ends))

        yield begin


async def _own_key(ledger: Ledger, data: str, signing_key: str) -> VerifierKey | None:
    """The public key of this machine, if it is the one that signs this deployment's checkpoints."""
    kept = key_file.load_key(Settings(data=data, signing_key=signing_key).signing_key_file)
    latest = await ledger.latest()
    if kept is None or latest is None or kept.verifier.id not in latest.key_ids:
        return None
    return kept.verifier
