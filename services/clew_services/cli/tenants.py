"""``clew tenants``: which tenants exist."""

from __future__ import annotations

import click

from clew_services.cli import options
from clew_services.cli.session import look
from clew_services.cli.terminal import echo, print_json
from clew_services.open_deployment import OpenDeployment
from clew_services.tenant_list import DEFAULT, TenantList


@click.group("tenants")
def command() -> None:
    """Add, list and remove tenants. A change takes effect at once in every process.

    A command or query for a tenant that does not exist is refused (tenant_not_found), so that a mistyped name makes no
    tenant. 'default' always exists, and 'clew keys create' adds the tenant of the key. On a server of your own every
    tenant exists until the first is added here; where its accounts keep tenants apart, they decide who may ask for one.
    """


@command.command("add")
@click.argument("name")
@options.nats
@options.as_json
def add(*, name: str, nats: str, as_json: bool) -> None:
    """Add the tenant NAME."""

    async def run_add(opened: OpenDeployment) -> bool:
        return await TenantList(opened.js).add(name)

    is_new = look(nats, run_add)
    if as_json:
        print_json({"tenant": name, "added": is_new})
        return
    echo(f"added {name}" if is_new else f"{name} was added before")


@command.command("list")
@options.nats
@options.as_json
def list_tenants(*, nats: str, as_json: bool) -> None:
    """Show the tenants that exist."""

    async def read(opened: OpenDeployment) -> frozenset[str] | None:
        return await TenantList(opened.js).read()

    listed = look(nats, read)
    names = sorted({DEFAULT, *(listed or ())})
    if as_json:
        print_json({"tenants": names, "every": listed is None})
        return
    if listed is None:
        echo("Every tenant exists: none was added.", err=True)
    for name in names:
        echo(name)


@command.command("remove")
@click.argument("name")
@options.nats
@options.as_json
def remove(*, name: str, nats: str, as_json: bool) -> None:
    """Remove the tenant NAME, if it has no threads, deleted ones included, and no API keys."""

    async def run_remove(opened: OpenDeployment) -> None:
        await TenantList(opened.js).remove(name, opened.shards)

    look(nats, run_remove)
    if as_json:
        print_json({"tenant": name, "removed": True})
        return
    echo(f"removed {name}")
