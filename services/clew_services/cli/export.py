"""``clew export``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click

from clew_events.subjects import Address
from clew_projections.packs.layout import PackHeader, Scope
from clew_projections.packs.pack_writer import Partial
from clew_services.checkpoints import key_file
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.note import VerifierKey
from clew_services.cli import check_report, options
from clew_services.cli.exit import EXIT_CODES
from clew_services.cli.options import key_from, verifier_key
from clew_services.cli.parts import name_tenant
from clew_services.cli.session import look
from clew_services.cli.terminal import echo, print_json, quantity
from clew_services.open_deployment import OpenDeployment
from clew_services.packs.exporter import Exporter, ExportResult, Progress
from clew_services.packs.pack_files import Begin, export
from clew_services.settings import Settings


@click.command("export")
@options.thread_option
@click.option("--all", "everything", is_flag=True, help="The threads of all tenants.")
@click.option("--since", type=options.TIME, help="Only threads with a commit at this time or later.")
@click.option("--until", type=options.TIME, help="Only threads with a commit at this time or earlier.")
@click.option(
    "--out",
    "file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; it must not exist.",
)
@click.option("--without-checkpoint", is_flag=True, help="Include no checkpoint, and so no inclusion proofs.")
@verifier_key
@options.signing_key
@options.query_options_with_data
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
    """Write the threads of a tenant, one thread, or those of all tenants, with all commits, into one audit pack.

    A pack can be read, replayed and verified without a server (--pack), read by other tools (tar --zstd -xf), and
    imported into another deployment. It holds the log as of the start of the export. With --since or --until it holds
    the whole histories of the threads that have a commit in that interval. It includes the last checkpoint and
    inclusion proofs under it. An export that was killed resumes when it is run again. The exit code is 5 if histories
    in the log are damaged: the pack holds them as they are.
    """
    if everything and thread is not None:
        raise click.UsageError("either --thread or --all")
    if everything:
        check_report.check_all_tenants("--all")
    if thread is not None and (since is not None or until is not None):
        raise click.UsageError("--since and --until select threads: they do not go with --thread")
    scope = Scope(tenant=None if everything else tenant, thread=thread, since=since, until=until)

    async def run_export(opened: OpenDeployment) -> ExportResult:
        trusted = key_from(key) if key else await _own_key(Ledger(opened.js), data, signing_key)
        exporter = Exporter(opened.js, Ledger(opened.js), opened.layout, key=trusted, checkpoint=not without_checkpoint)
        with _count_bytes(file) as begin:
            if thread is None:
                return await export(exporter, scope, file, begin)
            async with name_tenant(opened.histories(), Address(tenant, thread)):
                return await export(exporter, scope, file, begin)

    result = look(nats, run_export)
    if as_json:
        print_json(result)
    else:
        _print_result(file, result)
    if result.misfits:
        warning = f"{result.misfits} messages continue no thread's chain: run 'clew verify --pack {file}' for details"
        echo(warning, err=True)
        raise click.exceptions.Exit(EXIT_CODES["corrupt"])


def _print_result(file: Path, result: ExportResult) -> None:
    counts = {"threads": result.threads, "commits": result.commits, "bytes": result.bytes}
    echo(f"wrote {file}: {', '.join(quantity(count, what) for what, count in counts.items())}")
    echo(f"sha256 of the pack: {result.whole}")
    if result.checkpoint is None:
        echo("no checkpoint covers it: only its chains can be verified")
    else:
        echo(f"covered by checkpoint {result.checkpoint}")


@contextmanager
def _count_bytes(file: Path) -> Iterator[Begin]:
    with check_report.count_up("exporting") as counter:

        def begin(opening: PackHeader, partial: Partial | None) -> Progress:
            if partial is not None:
                commits = partial.totals.commits + partial.ends.commits
                echo(f"resuming {file}.part, which has {quantity(commits, 'commits')}", err=True)
            if opening.scope.thread is not None:
                return counter(None)
            rounds = 2 if opening.scope.windowed else 1
            return counter(rounds * sum(opening.ends))

        yield begin


async def _own_key(ledger: Ledger, data: str, signing_key: str) -> VerifierKey | None:
    """This machine's public key, if the latest checkpoint of this deployment is signed with it."""
    signing = key_file.load_key(Settings(data=data, signing_key=signing_key).signing_key_file)
    latest = await ledger.latest()
    if signing is None or latest is None or signing.verifier.id not in latest.key_ids:
        return None
    return signing.verifier
