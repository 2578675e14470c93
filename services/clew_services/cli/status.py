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
from clew_services.cli.parts import use_parts
from clew_services.cli.terminal import echo, echo_json, print_json
from clew_services.settings import Settings
from clew_services.status import deployment_status as deployment
from clew_services.status.deployment_status import Glance, glances
from clew_services.version import clew_version


@click.command("status")
@click.option("--watch", is_flag=True, help="Refresh until Ctrl-C; with --json print one line at a time.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    help="Seconds between two refreshes.",
)
@options.data_and_nats
@options.index
@options.as_json
def command(*, watch: bool, every: float, data: str, index: str, nats: str, as_json: bool) -> None:
    """Show a deployment's size, its lag, and whether log, buckets and index were found consistent.

    Shows this machine's index, if it has one.
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
    status = use_parts(nats, lambda clew: deployment.status(clew.opened, clew.generations, folder=clew.index_in(root)))
    if as_json:
        print_json({"clew": clew_version(), **msgspec.structs.asdict(status)})
        return
    output.card(
        [
            ("clew", clew_version()),
            ("nats-server", status.nats_server),
            ("replicas", status.replicas),
            ("threads", status.threads),
            ("commits", status.commits),
            ("not projected yet", status.behind),
            ("waiting in the inbox", status.inbox),
            ("rejected from the inbox", status.rejected),
            ("parked threads", len(status.parked)),
            *status_lines.facts(status.derived),
        ]
    )
    title = ("stream", "threads", "commits", "bytes", "last", "behind")
    output.rows(title, map(_line, status.shards), right=frozenset(title[1:]))
    if status.parked:
        lines = [(parked.tenant, parked.thread, output.when(parked.since), parked.reason) for parked in status.parked]
        output.rows(("tenant", "parked thread", "since", "why"), lines)


async def _watch(looks: AsyncIterator[Glance], *, as_json: bool) -> None:
    if as_json or not sys.stdout.isatty():
        async for glance in looks:
            if as_json:
                echo_json(msgspec.json.encode(glance))
            else:
                echo(status_screen.line(glance))
        return
    console = Console(markup=False, highlight=False, emoji=False)
    with Live(console=console, auto_refresh=False, screen=True) as shown:
        async for glance in looks:
            shown.update(status_screen.screen(glance, clew_version()), refresh=True)


def _line(shard: deployment.Shard) -> tuple[object, ...]:
    return shard.stream, shard.threads, shard.commits, shard.bytes, shard.last_seq, shard.behind
