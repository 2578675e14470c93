"""``clew status``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator

import click
import msgspec
from rich.console import Console
from rich.live import Live

from clew_services.cli import options, output, status_lines, status_screen
from clew_services.cli.exit import print_json
from clew_services.cli.parts import use_parts
from clew_services.cli.versions import clew_version
from clew_services.process import deployment_status as deployment
from clew_services.process.deployment_status import Glance, glances
from clew_services.settings import Settings


@click.command("status")
@click.option("--watch", is_flag=True, help="Go on looking until Ctrl-C; with --json one line for each look.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    help="Seconds from one look to the next.",
)
@options.data_and_nats
@options.index
@options.as_json
def command(*, watch: bool, every: float, data: str, index: str, nats: str, as_json: bool) -> None:
    """Show what a deployment holds, whether it keeps up, and whether what was made of the log is right.

    Of indexes, that of this machine is shown, if it has one.
    """
    root = Settings(data=data, index=index).index_folder
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            use_parts(
                nats,
                lambda clew: _watch(
                    glances(clew.opened, clew.generations, every, clew.index_in(root)), as_json=as_json
                ),
            )
        return
    found = use_parts(nats, lambda clew: deployment.status(clew.opened, clew.generations, folder=clew.index_in(root)))
    if as_json:
        print_json({"clew": clew_version(), **msgspec.structs.asdict(found)})
        return
    output.card(
        [
            ("clew", clew_version()),
            ("nats-server", found.nats_server),
            ("replicas", found.replicas),
            ("threads", found.threads),
            ("commits", found.commits),
            ("not projected yet", found.behind),
            ("waiting in the inbox", found.inbox),
            ("rejected from the inbox", found.rejected),
            ("parked threads", len(found.parked)),
            *status_lines.facts(found.derived),
        ]
    )
    title = ("stream", "threads", "commits", "bytes", "last", "behind")
    output.rows(title, map(_line, found.shards), right=frozenset(title[1:]))
    if found.parked:
        lines = [(each.tenant, each.thread, output.when(each.since), each.reason) for each in found.parked]
        output.rows(("tenant", "parked thread", "since", "why"), lines)


async def _watch(looks: AsyncIterator[Glance], *, as_json: bool) -> None:
    if as_json or not sys.stdout.isatty():
        async for glance in looks:
            click.echo(_as_json(glance) if as_json else status_screen.line(glance))
        return
    console = Console(markup=False, highlight=False, emoji=False)
    with Live(console=console, auto_refresh=False, screen=True) as shown:
        async for glance in looks:
            shown.update(status_screen.screen(glance, clew_version()), refresh=True)


def _as_json(glance: Glance) -> str:
    return msgspec.json.encode(glance).decode()


def _line(shard: deployment.Shard) -> tuple[object, ...]:
    return shard.stream, shard.threads, shard.commits, shard.bytes, shard.last_seq, shard.behind
