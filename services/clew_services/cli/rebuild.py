"""``clew rebuild``: projections made again from the log while everything goes on."""

from __future__ import annotations

import click

from clew_services.cli.rebuild_buckets import back, list_generations, remove, threads
from clew_services.cli.rebuild_index import index


@click.group("rebuild")
def command() -> None:
    """Make projections again from the log, beside the live ones, and switch to them. Nobody notices.

    The buckets of threads and messages come in generations. One is live; those before are kept until they are removed,
    and can be gone back to. So does each machine's index of threads: see 'clew rebuild index --help'.
    """


for each in (threads, index, list_generations, back, remove):
    command.add_command(each)
