"""``clew prove``."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import click
from msgspec import Struct

from clew_events.subjects import Address, event_stream
from clew_projections.consistency.index_check import CODE as INDEX_DRIFT
from clew_projections.consistency.prove import Prover
from clew_projections.consistency.repair import Repair, Repairer
from clew_projections.consistency.view_check import ViewComparison
from clew_projections.consistency.watch import forget_repaired
from clew_projections.findings import Finding
from clew_projections.generations.generation import LiveGeneration
from clew_projections.generations.record import record_repair
from clew_projections.nats.jetstream import stream_state
from clew_services.checkpoints.verification import RecordVerifier
from clew_services.cli import check_report, options, output
from clew_services.cli.exit import EXIT_CODES, print_json
from clew_services.cli.parts import use_parts
from clew_services.open_deployment import OpenDeployment
from clew_services.settings import Settings

SHOWN = 1_000
"""Findings that are told; more are only counted."""


class _Parts(Struct, frozen=True, kw_only=True):
    """What proves, repairs and verifies; ``prover`` and ``verifier`` take the file of an index, if there is one."""

    opened: OpenDeployment
    live: LiveGeneration
    prover: Callable[[Path | None], Prover]
    repairer: Repairer
    verifier: Callable[[Path | None], RecordVerifier]


class _ProofResult(Struct):
    """What was looked at and found; ``drifted`` counts all findings, and ``unrepaired`` those that stand.

    ``known`` if the log or a view has anything of what was asked about.
    """

    indexed: bool = False
    known: bool = False
    threads: int = 0
    behind: int = 0
    drifted: int = 0
    unrepaired: int = 0
    findings: list[Finding] = []
    repairs: list[Repair] = []

    def found(self, finding: Finding, done: Repair | None = None) -> None:
        """Take a finding in, and what came of repairing it, if that was tried."""
        self.known = True
        self.drifted += 1
        self.unrepaired += done is None or not done.repaired
        if self.drifted <= SHOWN:
            self.findings.append(finding)
            self.repairs += [done] if done is not None else []


@click.command("prove")
@options.maybe_thread
@check_report.everything
@click.option("--sample", type=click.IntRange(min=1), help="Only so many threads, at random.")
@click.option("--seed", type=int, help="With --sample: the same threads again, as long as the log is the same.")
@click.option("--repair", is_flag=True, help="Explain what differs, and write it anew from the log.")
@options.index
@options.asking_with_data
def command(
    *,
    thread: str | None,
    everything: bool,
    sample: int | None,
    seed: int | None,
    repair: bool,
    data: str,
    index: str,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Check that the buckets hold exactly what follows from the log: for one THREAD, a tenant, or all.

    So does the index of threads, where this machine has one. Commits that are not projected or indexed yet are no
    finding; the former are counted. The exit code is 5 if anything differs, and was not repaired, or if what was asked
    about was lost; it is 6 if there is no such thread, and never was. An index is not repaired but made anew: 'clew
    rebuild index'.
    """
    root = Settings(data=data, index=index).index_folder
    address = check_report.chosen(thread, tenant, everything)
    if address is not None and sample is not None:
        raise click.UsageError("either one THREAD or --sample")
    seed = secrets.randbelow(2**32) if seed is None else seed
    only = None if everything else tenant

    async def check(parts: _Parts) -> _ProofResult:
        file = check_report.index_of(parts.opened, root)
        prover, proved = parts.prover(file), _ProofResult(indexed=file is not None)
        total = 1 if address is not None else await _count_threads(parts.opened)
        walk: AsyncIterator[ViewComparison] = prover.prove(address, tenant=only)
        if sample is not None:
            walk = prover.sample(sample, seed, tenant=only)
        async for compared in check_report.with_progress(walk, total=total, what="proving"):
            await _take(proved, compared, parts.repairer if repair else None)
        if address is None and sample is None:
            async for finding in prover.rest(tenant=only):
                proved.found(finding)
        if not proved.known:
            await _look_for(parts.verifier(file), proved, address, only)
        if repair:
            # Whoever remembers a view may remember a wrong one, of before.
            await parts.live.alias.change(record_repair)
            right = {Address(each.tenant, each.thread) for each in proved.repairs if each.repaired}
            await forget_repaired(parts.live.side.threads, range(parts.opened.shards), right)
        return proved

    proved = use_parts(
        nats,
        lambda clew: check(
            _Parts(
                opened=clew.opened,
                live=clew.live,
                prover=lambda file: clew.prover(index=file),
                repairer=clew.repairer(),
                verifier=clew.record_verifier,
            )
        ),
    )
    drawn = {"seed": seed} if sample is not None else {}
    _show(proved, drawn, repair=repair, as_json=as_json)
    if proved.unrepaired:
        raise click.exceptions.Exit(EXIT_CODES["corrupt"])


async def _look_for(
    verifier: RecordVerifier, proved: _ProofResult, address: Address | None, tenant: str | None
) -> None:
    """Tell whether what neither the log nor a view has any of never was, or was lost.

    Raises:
        NotFound: it never was, as far as the rest of the record shows.
    """
    lost = await (verifier.whole(tenant, {}) if address is None else verifier.thread(address, {}))
    for finding in lost.findings:
        proved.found(finding)


async def _count_threads(opened: OpenDeployment) -> int:
    states = [await stream_state(opened.js, event_stream(shard)) for shard in range(opened.shards)]
    return sum(each.num_subjects for each in states)


async def _take(proved: _ProofResult, compared: ViewComparison, repairer: Repairer | None) -> None:
    proved.threads += 1
    proved.behind += compared.behind
    proved.known |= bool(compared.n or compared.behind)
    if compared.index is not None:
        proved.found(compared.index)
    if compared.finding is not None:
        done = None
        if repairer is not None and compared.finding.code == "drift":
            done = await repairer.repair(compared)
        proved.found(compared.finding, done)


def _show(proved: _ProofResult, drawn: dict[str, int], *, repair: bool, as_json: bool) -> None:
    counts = {"threads": proved.threads, "commits not projected yet": proved.behind, **drawn}
    if as_json:
        repairs = {"repairs": proved.repairs} if repair else {}
        print_json(
            {**counts, "index": proved.indexed, "drifted": proved.drifted, "findings": proved.findings, **repairs}
        )
        return
    if proved.findings:
        lines = [(each.tenant, each.thread, each.code, each.what) for each in proved.findings]
        output.rows(("tenant", "thread", "finding", "what"), lines)
    for each in proved.repairs:
        said = "repaired" if each.repaired else "NOT repaired"
        click.echo(f"{said}: thread {each.thread} of {each.tenant}: {output.printable('; '.join(each.why))}")
    if any(each.code == INDEX_DRIFT for each in proved.findings):
        click.echo(
            "the index of this machine is not what follows from the log: see by 'clew verify --all' whether the log "
            "lost what the index has; if not, 'clew rebuild index' makes it anew"
        )
    what = "the buckets and the index are" if proved.indexed else "the buckets are"
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    found = f"{proved.drifted} findings" + (f", {proved.unrepaired} not repaired" if repair else "")
    click.echo(f"{said}: {found if proved.drifted else f'{what} what follows from the log'}")
