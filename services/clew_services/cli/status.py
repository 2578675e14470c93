"""``clew status``."""

from __future__ import annotations

import click
import msgspec

from clew_services.cli import display, options
from clew_services.cli.outcome import print_json
from clew_services.cli.session import look
from clew_services.cli.versions import clew_version
from clew_services.running import status as deployment


@click.command("status")
@options.nats
@options.as_json
def command(*, nats: str, as_json: bool) -> None:
    """Show what a deployment holds and whether it keeps up."""
    found = look(nats, deployment.status)
    if as_json:
        print_json({"clew": clew_version(), **msgspec.structs.asdict(found)})
        return
    display.card(
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
        ]
    )
    title = ("stream", "threads", "commits", "bytes", "last", "behind")
    display.rows(title, map(_line, found.shards), right=frozenset(title[1:]))
    if found.parked:
        lines = [(each.tenant, each.thread, display.when(each.since), each.reason) for each in found.parked]
        display.rows(("tenant", "parked thread", "since", "why"), lines)


def _line(shard: deployment.Shard) -> tuple[object, ...]:
    return shard.stream, shard.threads, shard.commits, shard.bytes, shard.last_seq, shard.behind
