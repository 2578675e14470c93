"""``clew prove --retention``: the signed statement of what is there of a tenant that its rules say should be gone."""

from __future__ import annotations

from pathlib import Path

import click

from clew_projections.atomic_file import check_absent, create_file
from clew_services.checkpoints.ledger import Ledger
from clew_services.cli import check_report, output
from clew_services.cli.exit import EXIT_CODES
from clew_services.cli.options import key_from, load_signing_key
from clew_services.cli.session import look
from clew_services.cli.terminal import echo, print_json, quantity
from clew_services.open_deployment import OpenDeployment
from clew_services.retention.proof import (
    RetentionStatement,
    SignedStatement,
    StatedThread,
    read_statement,
    sign_statement,
    state_retention,
)
from clew_services.tenant_list import TenantList, Tenants

SHOWN = 1_000
"""Threads of a kind that are listed at most; all are counted, and stand in the statement."""


def prove_retention(
    tenant: str, nats: str, *, data: str, signing_key: str, out: Path | None, check: Path | None, key: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """State what is there of a tenant by its log, sign that, print it, and write it to the file ``out`` if given.

    With a file to ``check``, verify its signature by the ``key``, and print the statement that it holds.

    Raises:
        Invalid: ``out`` exists, or cannot be written.
        NotFound: the tenant does not exist.
    """
    if check is not None and key is not None:
        signed = read_statement(check.read_bytes(), key_from(key))
        _show(signed, as_json=as_json)
        _exit(signed.statement)
        return
    if out is not None:
        check_absent(out)
    signer = load_signing_key(data, signing_key)

    async def state(opened: OpenDeployment) -> RetentionStatement:
        tenants = Tenants(TenantList(opened.js))
        await tenants.read()
        await tenants.check(tenant)
        with check_report.count_up("reading the log") as begin:
            return await state_retention(opened.js, opened.shards, tenant, Ledger(opened.js), tell=begin(None))

    signed = sign_statement(look(nats, state), signer)
    if out is not None:
        create_file(out, signed.note)
    _show(signed, as_json=as_json)
    if not as_json:
        echo(f"signed with key {signer.verifier.id}" + (f", in {out}" if out is not None else ""))
    _exit(signed.statement)


def _exit(statement: RetentionStatement) -> None:
    if not statement.fulfilled:
        raise click.exceptions.Exit(EXIT_CODES["corrupt"])


def _show(signed: SignedStatement, *, as_json: bool) -> None:
    stated = signed.statement
    if as_json:
        print_json(
            {"fulfilled": stated.fulfilled, "statement": stated, "keys": signed.keys, "note": signed.note.decode()}
        )
        return
    for policy in stated.policies:
        later = f", {policy.erase_after_days} days later erased" if policy.erase_after_days is not None else ""
        which = "what matches its filter" if policy.filtered else "all threads"
        rule = f"{policy.after_days} days after it was {policy.since} {policy.then}d{later}"
        echo(f"policy {policy.name}: {which}, {rule}")
    _show_threads("should be gone", stated.late)
    _show_threads("kept by legal holds or forks", stated.held)
    for erasure in stated.pending[:SHOWN]:
        echo(f"thread {erasure.thread} can be read by nobody, and is not gone from every disk: {erasure.erasure}")
    for thread in stated.unreadable[:SHOWN]:
        echo(f"thread {thread} could not be judged: run 'clew verify {thread} --tenant {stated.tenant}'")
    counts = {
        "open threads": stated.open,
        "deleted ones": stated.deleted,
        "erased ones": stated.erased,
        "kept by legal holds or forks": len(stated.held),
        "due for less than two hours": stated.soon_due,
    }
    summary = ", ".join(quantity(count, name) for name, count in counts.items())
    good = "nothing can be read that is older than the rules say"
    bad = f"{quantity(len(stated.late) + len(stated.unreadable), 'threads')} can be read or not judged"
    echo(f"tenant {stated.tenant} at {output.when(stated.at)}: {summary}: {good if stated.fulfilled else bad}")


def _show_threads(what: str, threads: tuple[StatedThread, ...]) -> None:
    if not threads:
        return
    echo(f"{what}: {len(threads)}")
    output.rows(
        ("thread", "to be", "since", "by", "now", "holds"),
        [
            (
                *(each.thread, f"{each.action}d", output.when(each.at), each.policy or "expires_after"),
                *("deleted" if each.deleted else "open", " ".join((*each.holds, *each.forks))),
            )
            for each in threads[:SHOWN]
        ],
    )
