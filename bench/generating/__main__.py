"""``python -m bench.generating``: make a log in a folder, or on a server that is there."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.generating.planning import Plan
from bench.generating.writing import Generated, generate
from clew_services import compose
from clew_services.embedded.server import EmbeddedServer
from clew_services.eventstore import provision


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data", type=click.Path(path_type=Path), help="A folder for 'clew up --data'. Made if it is not there.")
@click.option("--nats", help="Instead of a folder: the URL of a NATS server; 'clew init' need not have been run.")
@click.option("--commits", default=1_000_000, show_default=True)
@click.option("--threads", default=100_000, show_default=True)
@click.option("--shards", default=4, show_default=True)
@click.option("--seed", default=1, show_default=True, help="Another seed, another log.")
def main(*, data: Path | None, nats: str | None, commits: int, threads: int, shards: int, seed: int) -> None:
    """Make up a log: valid chains of several tenants, the same for the same numbers."""
    if (data is None) == (nats is None):
        raise click.UsageError("give either --data or --nats")
    plan = Plan(commits=commits, threads=threads, seed=seed)
    result = uvloop.run(_into_folder(data, shards, plan) if data is not None else _into(nats or "", shards, plan))
    some = {length: [each.thread for each in found] for length, found in result.of_length.items()}
    shown = {length: some[length] for length in (1, 100, 10_000) if length in some}
    rate = result.commits / result.seconds
    click.echo(f"{result.commits} commits over {result.threads} threads in {result.seconds:.0f} s ({rate:,.0f}/s)")
    click.echo(msgspec.json.encode({"threads_of_length": shown}))


async def _into_folder(data: Path, shards: int, plan: Plan) -> Generated:
    async with EmbeddedServer(data, port=0, sync="2m") as server:
        return await _into(server.url, shards, plan)


async def _into(url: str, shards: int, plan: Plan) -> Generated:
    columns = (TextColumn("commits"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with compose.connection(url, name="generator") as made:
        await provision.init(made.js, shards=shards, max_msg_size=made.nc.max_payload)
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("commits", total=plan.commits)
            return await generate(made.js, shards, plan, lambda done: progress.update(task, completed=done))


if __name__ == "__main__":
    main()
