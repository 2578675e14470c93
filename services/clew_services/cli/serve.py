"""``clew serve``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import click
import msgspec

from clew_services.cli import main, options
from clew_services.cli.logs import log_to_stderr
from clew_services.process.fork_server import fork_server
from clew_services.process.serve import ROLES, Role, serve
from clew_services.process.supervisor import serve_workers
from clew_services.settings import Settings


@click.command("serve")
@click.argument("roles", nargs=-1, required=True, type=click.Choice(list(ROLES)))
@options.settings_of_roles
def command(roles: Sequence[Role], **chosen: str | int) -> None:
    """Run chosen roles of Clew, in one process or several, against a deployment that 'clew init' has created.

    api: the HTTP API. commands: commands over NATS and from the inbox. query: queries over NATS. projector:
    keeps the buckets up to date, and signs checkpoints if it has a key. index: keeps this machine's index of threads
    up to date; the roles that query the index do so themselves if no other process does. erasure: carries out
    erasures. retention: removes threads whose time is over. Any number of processes may run each role.
    """
    log_to_stderr(str(chosen["log"]))
    settings, wanted = msgspec.convert(chosen, Settings), tuple(dict.fromkeys(roles))
    if settings.workers > 1:
        with fork_server(main) as launch:
            asyncio.run(serve_workers(wanted, settings, launch))
        return
    running = serve(wanted, settings)
    if sys.platform == "win32":
        asyncio.run(running)
    else:
        import uvloop  # noqa: PLC0415 - not available on Windows

        uvloop.run(running)
