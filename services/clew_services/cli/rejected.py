"""``clew rejected``: commands from the inbox that were refused."""

from __future__ import annotations

import click

from clew_events.errors import ClewError
from clew_services.cli import options, output
from clew_services.cli.exit import print_json
from clew_services.cli.session import look
from clew_services.inbox import rejections
from clew_services.inbox.rejections import Refusal
from clew_services.open_deployment import OpenDeployment

_TITLE = ("number", "at", "tenant", "command", "id", "code", "why")


@click.group("rejected")
def command() -> None:
    """Look at inbox commands that were refused, and try them again."""


@command.command("list")
@click.option("--tenant", help="Only commands of this tenant.")
@options.nats
@options.as_json
def list_rejections(*, tenant: str | None, nats: str, as_json: bool) -> None:
    """Show everything that is on record, the oldest first."""

    async def on_record(opened: OpenDeployment) -> list[Refusal]:
        return [each async for each in rejections.refusals(opened.js, tenant=tenant)]

    found = look(nats, on_record)
    if as_json:
        print_json({"rejected": found})
    else:
        output.rows(_TITLE, map(_line, found), right=frozenset({"number"}))


@command.command("show")
@click.argument("number", type=int)
@options.nats
@options.as_json
def show(*, number: int, nats: str, as_json: bool) -> None:
    """Show what was refused under NUMBER, what it said and why."""

    async def on_record(opened: OpenDeployment) -> Refusal:
        return await rejections.refusal(opened.js, number)

    found = look(nats, on_record)
    if as_json:
        print_json(found)
        return
    error = found.rejection.error
    output.card(
        [
            *zip(_TITLE[:-1], _line(found)[:-1], strict=True),
            ("why", error.message),
            ("at field", error.param or ""),
            ("can be retried", f"no: {found.why_final}" if found.why_final else "yes"),
            ("body", found.rejection.body),
        ]
    )


@command.command("retry")
@click.argument("number", type=int, required=False)
@click.option("--all", "everything", is_flag=True, help="All that can be tried again.")
@click.option("--tenant", help="With --all: only commands of this tenant.")
@options.nats
@options.as_json
def retry(*, number: int | None, everything: bool, tenant: str | None, nats: str, as_json: bool) -> None:
    """Put the command refused under NUMBER back into the inbox, under the id it had, and off the record.

    It is decided on anew; if it is refused again, that is a new record.
    """
    if (number is None) != everything:
        raise click.UsageError("either one NUMBER or --all")

    async def retried(opened: OpenDeployment) -> tuple[list[int], list[int], ClewError | None]:
        if number is not None:
            await rejections.retry(opened.js, await rejections.refusal(opened.js, number))
            return [number], [], None
        done, final = list[int](), list[int]()
        # What is refused again meanwhile is not tried in a circle.
        for each in [each async for each in rejections.refusals(opened.js, tenant=tenant)]:
            if each.why_final is not None:
                final.append(each.number)
                continue
            try:
                await rejections.retry(opened.js, each)
            except ClewError as fault:
                return done, final, fault
            done.append(each.number)
        return done, final, None

    done, final, fault = look(nats, retried)
    if as_json:
        print_json({"retried": done, "final": final})
    else:
        click.echo(f"{len(done)} back in the inbox" + (f", {len(final)} can never be granted" if final else ""))
    if fault is not None:
        raise fault


def _line(found: Refusal) -> tuple[object, ...]:
    said = found.rejection
    return (
        *(found.number, output.when(found.at), said.tenant, said.command, said.id or ""),
        *(said.error.code, said.error.message),
    )
