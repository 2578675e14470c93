"""``clew erasures``: how far erasures are, their certificates, and a file of them for copies elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import click

from clew_events.client import Clew
from clew_events.erasures import Erasure, RetrievedErasure, Status
from clew_events.errors import NotFound
from clew_services.cli import check_report, options, output
from clew_services.cli.options import key_from
from clew_services.cli.session import ask, look
from clew_services.cli.terminal import echo, echo_lines, print_json, quantity
from clew_services.erasure import erasure_file
from clew_services.erasure.erasure_file import KnownErasures
from clew_services.erasure.records import ErasureRecords
from clew_services.open_deployment import OpenDeployment

_TITLE = ("id", "thread", "message", "status", "commits", "requested", "completed")


@click.group("erasures")
def command() -> None:
    """List the erasures of a tenant, show how far one is, and write a file of all for copies elsewhere."""


@command.command("list")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(get_args(Status)),
    help="Only erasures with this status; may be repeated.",
)
@options.thread_option
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Show at most this many.")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Check a file of 'clew erasures export' and show what is in it, without a server.",
)
@options.verifier_key
@options.query_options
def list_erasures(
    *,
    statuses: tuple[Status, ...],
    thread: str | None,
    limit: int,
    file: Path | None,
    key: str | None,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Show erasures of a tenant, the newest first.

    A file must be whole. With --key, its certificates must be signed with that key.
    """
    if key is not None and file is None:
        raise click.UsageError("--key goes with --file")

    async def read(clew: Clew) -> list[Erasure]:
        erasures: list[Erasure] = []
        only = statuses[0] if len(statuses) == 1 else None
        async for erasure in clew.iter_erasures(status=only, thread_id=thread):
            if statuses and erasure.status not in statuses:
                continue
            erasures.append(erasure)
            if len(erasures) == limit:
                break
        if not erasures and thread is not None:
            raise NotFound(f"no erasure of thread {thread} is known", code="erasure_not_found")
        return erasures

    if file is None:
        erasures = ask(nats, tenant, read)
    else:
        known = erasure_file.read(file, key_from(key) if key is not None else None)
        fits = [each.erasure for each in reversed(known.erasures) if each.tenant == tenant]
        fits = [each for each in fits if thread in {None, each.thread_id}]
        erasures = [each for each in fits if not statuses or each.status in statuses][:limit]
        echo(_origin(known), err=True)
    if as_json:
        print_json({"erasures": erasures})
    else:
        show_rows(erasures)


@command.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@options.connection_options
def export(*, file: Path, nats: str, as_json: bool) -> None:
    """Write the erasures of all tenants, with their certificates, into a new FILE.

    It names threads and messages, and has nothing that was erased. 'clew backup erase', 'clew restore' and
    'clew import' take it, so that a copy of the log that is older than an erasure does not bring its contents back.
    """
    known = look(nats, collect)
    erasure_file.write(known, file)
    if as_json:
        print_json({"file": str(file), "header": known.header, "erasures": len(known.erasures)})
    else:
        echo(f"wrote {file}: {_origin(known)}")


@command.command("show")
@click.argument("erasure", metavar="ID")
@click.option("--certificate", is_flag=True, help="Print the signed certificate alone, as it is kept.")
@options.query_options
def show(*, erasure: str, certificate: bool, tenant: str, nats: str, as_json: bool) -> None:
    """Show how far the erasure with this ID is, and what its certificate says. The signature is not checked."""
    found = ask(nats, tenant, lambda clew: clew.get_erasure(erasure))
    if certificate:
        if found.signed is None:
            raise NotFound(f"{erasure} has no certificate yet: it is {found.status}", code="certificate_not_found")
        echo_lines(found.signed.note)
    elif as_json:
        print_json(found)
    else:
        output.card(_facts(found))


async def collect(opened: OpenDeployment) -> KnownErasures:
    """Read the erasures of all tenants of a deployment, and show progress."""
    with check_report.count_up("reading erasures") as begin:
        return await erasure_file.collect(
            ErasureRecords(opened.js, opened.js.pending),
            opened.histories(),
            deployment=opened.layout.identity,
            made_at=datetime.now(UTC),
            progress=begin(None),
        )


def show_rows(erasures: Iterable[Erasure]) -> None:
    """Print a table of erasures, and why any of them failed or what it waits for."""
    erasures = tuple(erasures)
    output.rows(_TITLE, map(_line, erasures), right=frozenset({"commits"}))
    for erasure in erasures:
        if erasure.fault is not None:
            echo(f"{erasure.id}: {erasure.fault}", err=True)


def describe(erasure: Erasure) -> str:
    """How far an erasure is, and how to learn more, as the end of a sentence about what it erases."""
    see = f"'clew erasures show {erasure.id}'"
    match erasure.status:
        case "completed":
            when = f" at {output.when(erasure.completed_at)}" if erasure.completed_at is not None else ""
            return f"was erased{when}: {see} has the certificate"
        case "failed":
            return f"is to be erased, and that failed: {erasure.fault}. See {see}"
        case _:
            since = output.when(erasure.requested_at)
            return f"is being erased since {since}, and nobody reads it any more: {see} says how far that is"


def _origin(known: KnownErasures) -> str:
    count = quantity(len(known.erasures), "erasures")
    return f"{count} of deployment {known.header.deployment}, as of {output.when(known.header.made_at)}"


def _line(erasure: Erasure) -> tuple[object, ...]:
    completed = output.when(erasure.completed_at) if erasure.completed_at is not None else ""
    return (
        *(erasure.id, erasure.thread_id, erasure.message_id or "", erasure.status, erasure.commits),
        *(output.when(erasure.requested_at), completed),
    )


def _facts(erasure: RetrievedErasure) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [("id", erasure.id), ("status", erasure.status), ("thread", erasure.thread_id)]
    more = (
        ("message", erasure.message_id),
        ("reason", erasure.code),
        ("asked by", f"{erasure.actor} ({erasure.by})"),
        ("commit", erasure.n),
        ("commits erased", erasure.commits),
        ("requested", output.when(erasure.requested_at)),
        ("erased", erasure.erased_at and output.when(erasure.erased_at)),
        ("completed", erasure.completed_at and output.when(erasure.completed_at)),
        ("fault", erasure.fault),
        ("certificate", erasure.certificate),
    )
    facts += [(name, value) for name, value in more if value is not None]
    if erasure.signed is not None:
        facts.append(("signed with", " ".join(erasure.signed.keys)))
        facts += [("done", line) for line in erasure.signed.says.done]
        facts += [("remains", line) for line in erasure.signed.says.remains or ("nothing that is known",)]
    return facts
