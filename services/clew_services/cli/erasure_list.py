"""``clew erasures``: how far erasures are, and their certificates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

import click

from clew_events.client import Clew
from clew_events.erasures import Erasure, RetrievedErasure, Status
from clew_events.errors import NotFound
from clew_services.cli import options, output
from clew_services.cli.session import ask
from clew_services.cli.terminal import echo, echo_lines, print_json

_TITLE = ("id", "thread", "message", "status", "commits", "requested", "completed")


@click.group("erasures")
def command() -> None:
    """List the erasures of a tenant, and show how far one is and its certificate."""


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
@options.query_options
def list_erasures(
    *, statuses: tuple[Status, ...], thread: str | None, limit: int, tenant: str, nats: str, as_json: bool
) -> None:
    """Show erasures, the newest first."""

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

    erasures = ask(nats, tenant, read)
    if as_json:
        print_json({"erasures": erasures})
    else:
        show_rows(erasures)


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
