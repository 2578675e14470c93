"""``clew import``."""

from __future__ import annotations

from pathlib import Path

import click

from clew_projections.packs.pack import Pack
from clew_services.cli import check_report, options
from clew_services.cli.options import key_from, verifier_key
from clew_services.cli.session import look
from clew_services.cli.terminal import echo, print_json, quantity
from clew_services.erasure import erasure_file
from clew_services.open_deployment import OpenDeployment
from clew_services.packs.import_plan import Plan
from clew_services.packs.importer import Importer


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check everything and show what would be imported; import nothing.")
@click.option(
    "--erasures",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of 'clew erasures export': what was erased since the pack is not imported.",
)
@verifier_key
@options.connection_options
def command(*, file: Path, dry_run: bool, erasures: Path | None, key: str | None, nats: str, as_json: bool) -> None:
    """Import the threads of the audit pack FILE into a deployment, with their ids, times and chains.

    Everything is checked before the first write: the file, every chain, the pack's checkpoint, and the threads that
    exist already. Threads that exist with the same history are skipped or continued; if one exists with another
    history, nothing is imported. An import that was killed resumes when it is run again. Threads keep their tenants:
    the tenant is part of every commit, and so of the chain. Contents that were erased in the pack, here or according to
    --erasures are not imported, and erasures that were not completed are completed here.
    """
    pack = Pack(file)
    trusted = key_from(key) if key else None
    known = erasure_file.read(erasures, trusted) if erasures is not None else None

    async def run_import(opened: OpenDeployment) -> tuple[Plan, int]:
        importer, requested = Importer(opened.connection, opened.histories()), 0
        commits = pack.manifest.commits
        with check_report.count_up("checking") as begin:
            checking, comparing = begin(commits), begin(commits)
            plan = await importer.plan(pack, key=trusted, checking=checking, comparing=comparing, known=known)
        if not dry_run:
            with check_report.count_to("importing", plan.commits) as progress:
                requested = await importer.carry_out(pack, plan, progress)
        return plan, requested

    plan, requested = look(nats, run_import)
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "threads": {"new": plan.new, "continued": plan.continued, "there": plan.complete},
                "commits": plan.commits,
                "policies": plan.policies,
                "standing_holds": plan.standing_holds,
                "removed_here_since": plan.removed,
                "erased_in_pack": pack.erased,
                "erasures_requested": requested,
                "others": plan.others,
            }
        )
        return
    verb = "would import" if dry_run else "imported"
    echo(
        f"{verb} {quantity(plan.commits, 'commits')}. Threads: {plan.new} new, {plan.continued} continued, "
        f"{plan.complete} there already"
    )
    brought = {"policies of retention": plan.policies, "standing holds": plan.standing_holds}
    if any(brought.values()):
        echo("brings " + " and ".join(quantity(number, what) for what, number in brought.items() if number))
    if plan.removed:
        echo(f"{quantity(plan.removed, 'threads')} were deleted or erased here since the pack was made, and stay that")
    if pack.erased is not None:
        echo(check_report.describe_erased(pack.erased))
    if requested:
        echo(f"{quantity(requested, 'erasures')} since the pack was made: nobody reads what they took")
    check_report.warn_of_others(plan.others)
