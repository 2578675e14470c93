"""``clew thread``: what other services do over NATS, by hand."""

from __future__ import annotations

import click

from clew_services.cli import thread_asking, thread_changing, thread_listing


@click.group("thread")
def command() -> None:
    """Create, change and look at threads, through the services that answer on NATS."""


for each in (
    thread_changing.create,
    thread_asking.get,
    thread_listing.command,
    thread_changing.update,
    thread_changing.delete,
    thread_changing.add_message,
    thread_asking.messages,
):
    command.add_command(each)
