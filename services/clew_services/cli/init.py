"""``clew init``."""

from __future__ import annotations

import click
import msgspec
from click.core import ParameterSource

from clew_services.cli import options
from clew_services.cli.interrupt import run
from clew_services.cli.logs import hush
from clew_services.cli.session import PATIENCE
from clew_services.cli.terminal import echo, print_json
from clew_services.eventstore import provision
from clew_services.eventstore.lost_streams import known_shards
from clew_services.nats_connection import connection
from clew_services.settings import Settings


@click.command("init")
@options.nats
@options.shards
@options.replicas
@options.accept_loss
@options.as_json
def command(as_json: bool, accept_loss: tuple[str, ...], **chosen: str | int) -> None:
    """Create a deployment's streams, buckets and consumers on a NATS server, and check existing ones. Safe to repeat.

    Once a deployment has been in use, a missing stream that cannot be derived (the log, checkpoints, API keys, the
    inbox, rejected commands) is not created again: it is lost, and has to be restored from a backup.

    A deployment that exists keeps its number of shards: --shards may be omitted then.
    """
    settings = msgspec.convert(chosen, Settings)
    is_default = click.get_current_context().get_parameter_source("shards") is ParameterSource.DEFAULT
    created = run(_init(settings, accept_loss, None if is_default else settings.shards))
    if as_json:
        print_json({"created": created})
        return
    for name in created:
        echo(f"created {name}")
    if not created:
        echo("nothing to create: the deployment is as it should be")


async def _init(settings: Settings, accept_loss: tuple[str, ...], shards: int | None) -> list[str]:
    hush()
    url, security = options.nats_login(settings.nats)
    async with connection(url, name="clew-init", patience=PATIENCE, security=security) as made:
        size = made.nc.max_payload
        if shards is None:
            shards = await known_shards(made.js) or settings.shards
        return await provision.init(
            made.js,
            shards=shards,
            replicas=settings.replicas,
            max_msg_size=size,
            accept_loss=accept_loss,
        )
