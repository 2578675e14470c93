"""``clew import``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from clew_events.errors import Invalid
from clew_projections.packs.pack import Pack
from clew_services.cli import check_report, options
from clew_services.cli.exit import EXIT_CODES
from clew_services.cli.options import key_from, verifier_key
from clew_services.cli.progress_bars import bars
from clew_services.cli.session import look
from clew_services.cli.terminal import echo, print_json, quantity
from clew_services.erasure import erasure_file
from clew_services.imports import chatgpt_export, openai_dump
from clew_services.imports.langgraph_states import LangGraphStates
from clew_services.imports.source_thread import Source
from clew_services.imports.thread_import import ImportReport, ThreadImport
from clew_services.open_deployment import OpenDeployment
from clew_services.packs.import_plan import Plan
from clew_services.packs.importer import Importer

_SOURCES: Final = ("openai", "chatgpt", "langgraph")
_OF_PACKS: Final = {"erasures": "--erasures", "key": "--key"}
_OF_SOURCES: Final = {"tenant": "--tenant", "actor": "--actor", "id_key": "--id-key"}
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_FILE)
@click.option("--from", "source", type=click.Choice(_SOURCES), help="Where the threads come from.  [default: a pack]")
@click.option("--dry-run", is_flag=True, help="Check everything and show what would be imported; import nothing.")
@click.option(
    "--erasures",
    type=_FILE,
    help="A file of 'clew erasures export': what was erased since the pack is not imported.",
)
@verifier_key
@click.option("--id-key", type=_FILE, help="A file with a secret: ids that are names are hashed with it.")
@options.actor
@options.tenant
@options.connection_options
def command(
    *,
    files: tuple[Path, ...],
    source: str | None,
    dry_run: bool,
    erasures: Path | None,
    key: str | None,
    id_key: Path | None,
    actor: str,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Import threads into a deployment: those of the audit pack FILE, or with --from those of another system.

    A pack's threads keep their ids, times, chains and tenants: the tenant is part of every commit, and so of the chain.
    Everything is checked before the first write: the file, every chain, the pack's checkpoint, and the threads that
    exist already. Threads that exist with the same history are skipped or continued; if one exists with another
    history, nothing is imported. Contents that were erased in the pack, here or according to --erasures are not
    imported, and erasures that were not completed are completed here.

    From openai come objects as its Threads and Conversations APIs answer them, from chatgpt the archive of a data
    export or the conversations.json in it, from langgraph threads, states and checkpoints as JSON. All FILEs are read
    before the first write. A thread is imported whole or, where that cannot be, named with the reason; then the exit
    code is 1.

    An import that was killed resumes when it is run again, and what is there already is not imported twice. A thread
    that has grown there since its import gets the items that are new.
    """
    if source is not None:
        _check_unused(_OF_PACKS, "is for packs: omit it, or omit --from")
        if id_key is not None and source != "langgraph":
            raise click.UsageError(f"--id-key is for langgraph: the ids of {source} are no names")
        _import_threads(_source(source, id_key), files, nats, tenant, actor, dry_run=dry_run, as_json=as_json)
        return
    _check_unused(_OF_SOURCES, "is for threads of another system: name that with --from")
    if len(files) > 1:
        raise click.UsageError("packs are imported one by one; threads of another system take --from")
    _import_pack(files[0], erasures, key, nats, dry_run=dry_run, as_json=as_json)


def _check_unused(names: dict[str, str], why: str) -> None:
    context = click.get_current_context()
    for name, option in names.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option} {why}")


def _source(name: str, id_key: Path | None) -> Source:
    if name != "langgraph":
        return openai_dump if name == "openai" else chatgpt_export
    secret = id_key.read_bytes().strip() if id_key is not None else None
    if secret == b"":
        raise Invalid(f"{id_key}: there is no secret in it", code="no_key")
    return LangGraphStates(secret)


def _import_threads(
    source: Source, files: tuple[Path, ...], nats: str, tenant: str, actor: str, *, dry_run: bool, as_json: bool
) -> None:
    async def run_import(opened: OpenDeployment) -> ImportReport:
        with bars() as progress:

            def begin(total: int) -> Callable[[int], None]:
                task = progress.add_task("threads", total=total)
                return lambda more: progress.advance(task, more)

            importing = ThreadImport(opened, source, tenant=tenant, actor=actor)
            return await importing.run(files, dry_run=dry_run, begin=begin)

    report = look(nats, run_import)
    if as_json:
        print_json({"dry_run": dry_run, **report.as_json()})
    else:
        verb = "would import" if dry_run else "imported"
        grown = f" and the rest of {quantity(report.grown, 'threads')}," if report.grown else ""
        forks = f", {quantity(report.branches, 'forks')} among them" if report.branches else ""
        echo(
            f"{verb} {quantity(report.new, 'threads')}{grown} with {quantity(report.items, 'items')}{forks}. "
            f"Threads there already: {report.there}"
        )
        for note, number in report.notes.items():
            echo(f"in {quantity(number, 'threads')}: {note}")
        for refusal in report.refused:
            echo(f"cannot import {refusal.thread}: {refusal.why}", err=True)
    if report.refused:
        raise click.exceptions.Exit(EXIT_CODES["rejected"])


def _import_pack(
    file: Path, erasures: Path | None, key: str | None, nats: str, *, dry_run: bool, as_json: bool
) -> None:
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
