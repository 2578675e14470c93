"""``clew import``."""

from __future__ import annotations

from pathlib import Path

import click

from clew_projections.packs.pack import Pack
from clew_services.cli import check_report, options
from clew_services.cli.options import key_from, verifier_key
from clew_services.cli.session import look
from clew_services.cli.terminal import echo, print_json, quantity
from clew_services.open_deployment import OpenDeployment
from clew_services.packs.import_plan import Plan
from clew_services.packs.importer import Importer


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check everything and show what would be imported; import nothing.")
@verifier_key
@options.connection_options
def command(*, file: Path, dry_run: bool, key: str | None, nats: str, as_json: bool) -> None:
    """Import the threads of the audit pack FILE into a deployment, with their ids, times and chains.

    Everything is checked before the first write: the file, every chain, the pack's checkpoint, and the threads that
    exist already. Threads that exist with the same history are skipped or continued; if one exists with another
    history, nothing is imported. An import that was killed resumes when it is run again. Threads keep their tenants:
    the tenant is part of every commit, and so of the chain.
    """
    pack = Pack(file)
    trusted = key_from(key) if key else None

    async def run_import(opened: OpenDeployment) -> Plan:
        importer = Importer(opened.js, opened.histories())
        commits = pack.manifest.commits
        with check_report.count_up("checking") as begin:
            plan = await importer.plan(pack, key=trusted, checking=begin(commits), comparing=begin(commits))
        if not dry_run:
            with check_report.count_to("importing", plan.commits) as progress:
                await importer.carry_out(pack, plan, progress)
        return plan

    plan = look(nats, run_import)
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "threads": {"new": plan.new, "continued": plan.continued, "there": plan.complete},
                "commits": plan.commits,
            }
        )
        return
    verb = "would import" if dry_run else "imported"
    echo(
        f"{verb} {quantity(plan.commits, 'commits')}. Threads: {plan.new} new, {plan.continued} continued, "
        f"{plan.complete} there already"
    )
