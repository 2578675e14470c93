"""``clew rebuild``: rebuild projections from the log while services run."""

from __future__ import annotations

import click

from clew_services.cli.rebuild_buckets import back, list_generations, remove, threads
from clew_services.cli.rebuild_index import index


@click.group("rebuild")
def command() -> None:
    """Rebuild projections from the log beside the live generation, and switch to the new one without interruption.

    The buckets of threads and messages come in generations. One is live; earlier ones are kept until they are removed,
    and can be made live again. Each machine's index has generations, too: see 'clew rebuild index --help'.
    """


for subcommand in (threads, index, list_generations, back, remove):
    command.add_command(subcommand)
