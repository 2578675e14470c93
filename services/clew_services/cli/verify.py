"""``clew verify``."""

from __future__ import annotations

import click

from clew_projections.audit import Finding
from clew_services import compose
from clew_services.cli import checking, options
from clew_services.cli.session import look


@click.command("verify")
@options.maybe_thread
@checking.everything
@options.asking
def command(*, thread: str | None, everything: bool, tenant: str, nats: str, as_json: bool) -> None:
    """Check from the log alone that no history was altered: of one THREAD, of a tenant, or of all.

    Every commit names the hash of the one before it. The exit code is 5 if one does not fit.
    """
    address = checking.chosen(thread, tenant, everything)

    async def check(clew: compose.Clew) -> tuple[int, int, list[Finding]]:
        threads, commits, findings = 0, 0, list[Finding]()
        walk = clew.audit().verify(address)
        async for owner, folded in checking.followed(clew, walk, one=address is not None, what="verifying"):
            if everything or owner.tenant == tenant:
                threads, commits = threads + 1, commits + folded.view.n
                findings += [folded.finding] if folded.finding else []
        return threads, commits, findings

    threads, commits, findings = look(nats, check)
    checking.report({"threads": threads, "commits": commits}, findings, as_json=as_json, good="every chain is whole")
