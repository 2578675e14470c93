"""``clew up``."""

from __future__ import annotations

import asyncio

import click
import msgspec

from clew_services.api_keys import Keys
from clew_services.cli import main, options
from clew_services.cli.logs import log_to_stderr
from clew_services.cli.terminal import echo, echo_json
from clew_services.host import nats_url
from clew_services.process import up
from clew_services.process.fork_server import fork_server
from clew_services.settings import Settings


@click.command("up")
@options.all_settings
@options.accept_loss
@options.as_json
def command(as_json: bool, accept_loss: tuple[str, ...], **chosen: str | int) -> None:
    """Run all of Clew in the foreground, on an embedded NATS server.

    Prints one line when everything is ready. Ctrl-C shuts it down in order, a second Ctrl-C at once.
    """
    log_to_stderr(str(chosen["log"]))
    settings = msgspec.convert(chosen, Settings)
    Keys.parse(settings.api_keys)

    def ready(running: up.Up) -> None:
        if as_json:
            echo_json(msgspec.json.encode(running))
            return
        echo(f"clew ready  {running.http}  {running.nats}  data {running.data}")
        if running.api_key_file is not None:
            shown = f"{running.api_key}  " if running.api_key is not None else ""
            echo(f"api key     {shown}kept in {running.api_key_file}")
        if settings.embedded_port is not None:
            echo(f"nats url    with the password for streams and buckets, kept in {running.data}/{nats_url.FILE}")

    with fork_server(main) as launch:
        asyncio.run(up.run(settings, launch, ready, accept_loss))
