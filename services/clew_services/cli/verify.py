"""``clew verify``."""

from __future__ import annotations

import click

from clew_projections.proof.verifying import Verified
from clew_services import compose
from clew_services.cli import checking, options
from clew_services.cli.session import look


@click.command("verify")
@options.maybe_thread
@checking.everything
@options.asking
def command(*, thread: str | None, everything: bool, tenant: str, nats: str, as_json: bool) -> None:
    """Check from the log alone that no history was altered: of one THREAD, of a tenant, or of all.

    Every commit names the hash of the one before it. The exit code is 5 if one does not fit, and each history that was
    touched is named with the place and what was done to it.
    """
    address = checking.chosen(thread, tenant, everything)

    async def check(clew: compose.Clew) -> Verified:
        verifier = clew.verifier()
        if address is not None:
            return await verifier.thread(address)
        extents = await verifier.extents()
        with checking.counted("verifying", sum(each.last_seq for each in extents)) as progress:
            return await verifier.all(None if everything else tenant, progress=progress, extents=extents)

    found = look(nats, check)
    summary = {"threads": found.threads, "commits": found.commits}
    checking.report(summary, found.findings, as_json=as_json, good="every chain is whole")
