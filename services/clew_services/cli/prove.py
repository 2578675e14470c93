"""``clew prove``."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import click
from msgspec import Struct

from clew_events.subjects import Address, event_stream, is_thread
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
from clew_services.cli.exit import EXIT_CODES
from clew_services.cli.parts import use_parts
from clew_services.cli.retention_proof import prove_retention
from clew_services.cli.terminal import echo, print_json, quantity
from clew_services.open_deployment import OpenDeployment
from clew_services.settings import Settings

THERE = click.Path(exists=True, dir_okay=False, path_type=Path)
SHOWN = 1_000
"""Findings that are listed at most; all are counted."""


class _Parts(Struct, frozen=True, kw_only=True):
    """What proves, repairs and verifies; ``prover`` and ``verifier`` take the file of an index, if there is one."""

    opened: OpenDeployment
    live: LiveGeneration
    prover: Callable[[Path | None], Prover]
    repairer: Repairer
    verifier: Callable[[Path | None], RecordVerifier]


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
@click.option("--retention", is_flag=True, help="State what a tenant has that should be gone by its rules.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="With --retention: write the statement.")
@click.option("--check", type=THERE, help="With --retention: read this statement, which needs no server.")
@options.verifier_key
@options.index
@options.signing_key
@options.query_options_with_data
def command(
    *,
    thread: str | None,
    everything: bool,
    sample: int | None,
    seed: int | None,
    repair: bool,
    retention: bool,
    out: Path | None,
    check: Path | None,
    key: str | None,
    data: str,
    index: str,
    signing_key: str,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Check that the buckets are consistent with the log: for one THREAD, for a tenant's threads, or with --all.

    Also checks this machine's index of threads, if it has one. Commits that are not projected or indexed yet are no
    findings; those not projected are counted. The exit code is 5 if anything differs and was not repaired, or was
    lost; it is 6 if the thread does not exist and never did. An index is not repaired: run 'clew rebuild index'.

    With --retention: reads a tenant's part of the log, names what is older than its policies and the threads themselves
    say, and signs that with the key of checkpoints. The exit code is 5 if there is anything. --check reads such a
    statement again, with --key of a trusted signer.
    """
    if retention or out is not None or check is not None or key is not None:
        views = bool(thread or everything or sample or repair)
        _check_options(retention=retention, views=views, half=(check is None) != (key is None))
        prove_retention(
            tenant, nats, data=data, signing_key=signing_key, out=out, check=check, key=key, as_json=as_json
        )
        return
    root = Settings(data=data, index=index).index_folder
    address = check_report.choose(thread, tenant, everything)
    if address is not None and sample is not None:
        raise click.UsageError("either one THREAD or --sample")
    seed = secrets.randbelow(2**32) if seed is None else seed
    only = None if everything else tenant

    async def check_views(parts: _Parts) -> _ProofResult:
        file = check_report.index_of(parts.opened, root)
        prover, result = parts.prover(file), _ProofResult(indexed=file is not None)
        total = 1 if address is not None else await _count_threads(parts.opened)
        walk: AsyncIterator[ViewComparison] = prover.prove(address, tenant=only)
        if sample is not None:
            walk = prover.sample(sample, seed, tenant=only)
        async for compared in check_report.show_progress(walk, total=total, what="proving"):
            await _take(result, compared, parts.repairer if repair else None)
        if address is None and sample is None:
            async for finding in prover.rest(tenant=only):
                result.add(finding)
        if not result.known:
            await _find_lost(parts.verifier(file), result, address, only)
        if repair:
            # Processes may have wrong views in their caches.
            await parts.live.alias.change(record_repair)
            repaired = {Address(done.tenant, done.thread) for done in result.repairs if done.repaired}
            await forget_repaired(parts.live.current.threads, range(parts.opened.shards), repaired)
        return result

    result = use_parts(
        nats,
        lambda clew: check_views(
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
    _show(result, drawn, check_report.scope_of(thread, only), only, repair=repair, as_json=as_json)
    _exit(result)


def _check_options(*, retention: bool, views: bool, half: bool) -> None:
    if not retention:
        raise click.UsageError("--out, --check and --key go with --retention")
    if views:
        raise click.UsageError("--retention is about a --tenant, and takes no THREAD, --all, --sample or --repair")
    if half:
        raise click.UsageError("--check and --key go together: without the key nobody knows who signed")


def _exit(result: _ProofResult) -> None:
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


async def _count_threads(opened: OpenDeployment) -> int:
    states = [await stream_state(opened.js, event_stream(shard)) for shard in range(opened.shards)]
    return sum(state.num_subjects for state in states)


async def _take(result: _ProofResult, comparison: ViewComparison, repairer: Repairer | None) -> None:
    result.threads += is_thread(comparison.address)
    result.behind += comparison.behind
    result.known |= bool(comparison.n or comparison.behind)
    if comparison.index is not None:
        result.add(comparison.index)
    if comparison.finding is not None:
        done = None
        if repairer is not None and comparison.finding.code == "drift":
            done = await repairer.repair(comparison)
        result.add(comparison.finding, done)


def _show(
    result: _ProofResult, drawn: dict[str, int], scope: str, tenant: str | None, *, repair: bool, as_json: bool
) -> None:
    counts = {"threads": result.threads, "commits not projected yet": result.behind, **drawn}
    if as_json:
        repairs = {"repairs": result.repairs} if repair else {}
        print_json(
            {
                **counts,
                "tenant": tenant,
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
        echo(f"{outcome}: thread {done.thread} of {done.tenant}: {'; '.join(done.why)}")
    if any(finding.code == INDEX_DRIFT for finding in result.findings):
        echo(
            "the index of this machine differs from the log: run 'clew verify --all' to find out whether the log lost "
            "commits that the index has; if not, run 'clew rebuild index'"
        )
    what = "the buckets and the index are" if result.indexed else "the buckets are"
    summary = ", ".join(quantity(count, name) for name, count in counts.items())
    findings = quantity(result.drifted, "findings") + (f", {result.unrepaired} not repaired" if repair else "")
    echo(f"{scope}{summary}: {findings if result.drifted else f'{what} consistent with the log'}")
