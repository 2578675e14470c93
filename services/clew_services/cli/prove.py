"""``clew prove``."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import click
from msgspec import Struct

from clew_events.subjects import Address
from clew_projections.consistency.index_check import CODE as INDEX_DRIFT
from clew_projections.consistency.repair import Repair
from clew_projections.consistency.view_check import ViewComparison
from clew_projections.consistency.watch import forget_repaired
from clew_projections.findings import Finding
from clew_projections.generations.record import record_repair
from clew_services import compose
from clew_services.checkpoints.verification import RecordVerifier
from clew_services.cli import check_report, options, output
from clew_services.cli.exit import EXIT_CODES, print_json
from clew_services.cli.session import look
from clew_services.settings import Settings

SHOWN = 1_000
"""Findings that are listed at most; all are counted."""


class _ProofResult(Struct):
    """The result of a consistency check; ``drifted`` counts all findings, ``unrepaired`` those not repaired.

    ``known`` says whether the log or a view has anything of the threads that were checked.
    """

    indexed: bool = False
    known: bool = False
    threads: int = 0
    behind: int = 0
    drifted: int = 0
    unrepaired: int = 0
    findings: list[Finding] = []
    repairs: list[Repair] = []

    def add(self, finding: Finding, repair: Repair | None = None) -> None:
        """Add a finding, and the outcome of its repair if that was tried."""
        self.known = True
        self.drifted += 1
        self.unrepaired += repair is None or not repair.repaired
        if self.drifted <= SHOWN:
            self.findings.append(finding)
            self.repairs += [repair] if repair is not None else []


@click.command("prove")
@options.maybe_thread
@check_report.everything
@click.option("--sample", type=click.IntRange(min=1), help="Only this many threads, at random.")
@click.option("--seed", type=int, help="With --sample: choose the same threads again, as long as the log is unchanged.")
@click.option("--repair", is_flag=True, help="Explain what differs, and write it again from the log.")
@options.index
@options.query_options_with_data
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
    """Check that the buckets are consistent with the log: for one THREAD, a tenant, or all.

    Also checks this machine's index of threads, if it has one. Commits that are not projected or indexed yet are no
    findings; those not projected are counted. The exit code is 5 if anything differs and was not repaired, or was
    lost; it is 6 if the thread does not exist and never did. An index is not repaired: run 'clew rebuild index'.
    """
    root = Settings(data=data, index=index).index_folder
    address = check_report.choose(thread, tenant, everything)
    if address is not None and sample is not None:
        raise click.UsageError("either one THREAD or --sample")
    seed = secrets.randbelow(2**32) if seed is None else seed
    only = None if everything else tenant

    async def check(clew: compose.Clew) -> _ProofResult:
        file = check_report.index_of(clew, root)
        prover, result = clew.prover(index=file), _ProofResult(indexed=file is not None)
        walk: AsyncIterator[ViewComparison] = prover.prove(address, tenant=only)
        if sample is not None:
            walk = prover.sample(sample, seed, tenant=only)
        async for compared in check_report.show_progress(clew, walk, one=address is not None, what="proving"):
            await _take(clew, result, compared, repair=repair)
        if address is None and sample is None:
            async for finding in prover.rest(tenant=only):
                result.add(finding)
        if not result.known:
            await _find_lost(clew.record_verifier(file), result, address, only)
        if repair:
            # Processes may have wrong views in their caches.
            await clew.live.alias.change(record_repair)
            repaired = {Address(done.tenant, done.thread) for done in result.repairs if done.repaired}
            await forget_repaired(clew.threads, range(clew.deployment.shards), repaired)
        return result

    result = look(nats, check)
    drawn = {"seed": seed} if sample is not None else {}
    _show(result, drawn, repair=repair, as_json=as_json)
    if result.unrepaired:
        raise click.exceptions.Exit(EXIT_CODES["corrupt"])


async def _find_lost(
    verifier: RecordVerifier, result: _ProofResult, address: Address | None, tenant: str | None
) -> None:
    """Find out whether threads that neither the log nor a view has were lost.

    Raises:
        NotFound: they never existed, as far as the rest of the record shows.
    """
    verification = await (verifier.whole(tenant, {}) if address is None else verifier.thread(address, {}))
    for finding in verification.findings:
        result.add(finding)


async def _take(clew: compose.Clew, result: _ProofResult, comparison: ViewComparison, *, repair: bool) -> None:
    result.threads += 1
    result.behind += comparison.behind
    result.known |= bool(comparison.n or comparison.behind)
    if comparison.index is not None:
        result.add(comparison.index)
    if comparison.finding is not None:
        done = await clew.repairer().repair(comparison) if repair and comparison.finding.code == "drift" else None
        result.add(comparison.finding, done)


def _show(result: _ProofResult, drawn: dict[str, int], *, repair: bool, as_json: bool) -> None:
    counts = {"threads": result.threads, "commits not projected yet": result.behind, **drawn}
    if as_json:
        repairs = {"repairs": result.repairs} if repair else {}
        print_json(
            {
                **counts,
                "index": result.indexed,
                "drifted": result.drifted,
                "findings": result.findings,
                **repairs,
            }
        )
        return
    if result.findings:
        lines = [(finding.tenant, finding.thread, finding.code, finding.what) for finding in result.findings]
        output.rows(("tenant", "thread", "finding", "what"), lines)
    for done in result.repairs:
        outcome = "repaired" if done.repaired else "NOT repaired"
        click.echo(f"{outcome}: thread {done.thread} of {done.tenant}: {output.printable('; '.join(done.why))}")
    if any(finding.code == INDEX_DRIFT for finding in result.findings):
        click.echo(
            "the index of this machine differs from the log: run 'clew verify --all' to find out whether the log lost "
            "commits that the index has; if not, run 'clew rebuild index'"
        )
    what = "the buckets and the index are" if result.indexed else "the buckets are"
    summary = ", ".join(f"{count} {name}" for name, count in counts.items())
    findings = f"{result.drifted} findings" + (f", {result.unrepaired} not repaired" if repair else "")
    click.echo(f"{summary}: {findings if result.drifted else f'{what} consistent with the log'}")
