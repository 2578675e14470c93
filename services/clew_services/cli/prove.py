"""``clew prove``."""

from __future__ import annotations

import click

from clew_projections.audit import Finding
from clew_services import compose
from clew_services.cli import checking, options
from clew_services.cli.session import look


@click.command("prove")
@options.maybe_thread
@checking.everything
@options.asking
def command(*, thread: str | None, everything: bool, tenant: str, nats: str, as_json: bool) -> None:
    """Check that the buckets hold exactly what follows from the log: for one THREAD, a tenant, or all.

    Commits that are not projected yet are counted, and are no finding. The exit code is 5 if anything differs.
    """
    address = checking.chosen(thread, tenant, everything)

    async def check(clew: compose.Clew) -> tuple[int, int, list[Finding]]:
        threads, behind, findings = 0, 0, list[Finding]()
        walk = clew.prover().prove(address)
        async for compared in checking.followed(clew, walk, one=address is not None, what="proving"):
            if everything or compared.address.tenant == tenant:
                threads, behind = threads + 1, behind + compared.behind
                findings += [compared.finding] if compared.finding else []
        return threads, behind, findings

    threads, behind, findings = look(nats, check)
    summary = {"threads": threads, "commits not projected yet": behind}
    checking.report(summary, findings, as_json=as_json, good="the buckets are what follows from the log")
