"""``clew rejected``: rejected inbox commands."""

from __future__ import annotations

import click

from clew_events.errors import ClewError
from clew_services.cli import options, output
from clew_services.cli.session import look
from clew_services.cli.terminal import echo, print_json
from clew_services.inbox import rejections
from clew_services.inbox.rejections import Refusal
from clew_services.open_deployment import OpenDeployment

_TITLE = ("number", "at", "tenant", "command", "id", "code", "why")


@click.group("rejected")
def command() -> None:
    """List rejected inbox commands, and retry them."""


@command.command("list")
@click.option("--tenant", help="Only commands of this tenant.")
@options.nats
@options.as_json
def list_rejections(*, tenant: str | None, nats: str, as_json: bool) -> None:
    """Show all rejected commands, the oldest first."""

    async def read(opened: OpenDeployment) -> list[Refusal]:
        return [refusal async for refusal in rejections.list_rejected(opened.js, tenant=tenant)]

    refusals = look(nats, read)
    if as_json:
        print_json({"rejected": refusals})
    else:
        output.rows(_TITLE, map(_line, refusals), right=frozenset({"number"}))


@command.command("show")
@click.argument("number", type=int)
@options.nats
@options.as_json
def show(*, number: int, nats: str, as_json: bool) -> None:
    """Show rejected command NUMBER, its body and the error."""

    async def read(opened: OpenDeployment) -> Refusal:
        return await rejections.refusal(opened.js, number)

    refusal = look(nats, read)
    if as_json:
        print_json(refusal)
        return
    error = refusal.rejection.error
    output.card(
        [
            *zip(_TITLE[:-1], _line(refusal)[:-1], strict=True),
            ("why", error.message),
            ("at field", error.param or ""),
            ("can be retried", f"no: {refusal.why_final}" if refusal.why_final else "yes"),
            ("body", refusal.rejection.body),
        ]
    )


@command.command("retry")
@click.argument("number", type=int, required=False)
@click.option("--all", "everything", is_flag=True, help="All that can be retried.")
@click.option("--tenant", help="With --all: only commands of this tenant.")
@options.nats
@options.as_json
def retry(*, number: int | None, everything: bool, tenant: str | None, nats: str, as_json: bool) -> None:
    """Put rejected command NUMBER back into the inbox, with its id, and remove it from the rejected commands.

    It is decided again; if it is rejected again, it gets a new number.
    """
    if (number is None) != everything:
        raise click.UsageError("either one NUMBER or --all")

    async def run_retry(opened: OpenDeployment) -> tuple[list[int], list[int], ClewError | None]:
        if number is not None:
            await rejections.retry(opened.js, await rejections.refusal(opened.js, number))
            return [number], [], None
        done, final = list[int](), list[int]()
        # Listed first, so that a command rejected again is not retried in a loop.
        for refusal in [refusal async for refusal in rejections.list_rejected(opened.js, tenant=tenant)]:
            if refusal.why_final is not None:
                final.append(refusal.number)
                continue
            try:
                await rejections.retry(opened.js, refusal)
            except ClewError as fault:
                return done, final, fault
            done.append(refusal.number)
        return done, final, None

    done, final, fault = look(nats, run_retry)
    if as_json:
        print_json({"retried": done, "final": final})
    else:
        echo(f"{len(done)} back in the inbox" + (f", {len(final)} cannot be retried" if final else ""))
    if fault is not None:
        raise fault


def _line(refusal: Refusal) -> tuple[object, ...]:
    rejection = refusal.rejection
    return (
        *(refusal.number, output.when(refusal.at), rejection.tenant, rejection.command, rejection.id or ""),
        *(rejection.error.code, rejection.error.message),
    )
