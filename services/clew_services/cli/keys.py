"""``clew keys``: the API keys of the HTTP API, their tenants and scopes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click
import msgspec

from clew_events.errors import Invalid
from clew_services.api_keys import SCOPES, Holder, Keys, KeyScope
from clew_services.api_keys.key_bucket import IssuedKey, KeyBucket
from clew_services.cli import options, output
from clew_services.cli.session import look
from clew_services.cli.terminal import echo, print_json
from clew_services.open_deployment import OpenDeployment
from clew_services.tenant_list import TenantList

_TITLE = ("id", "tenant", "name", "scopes", "created", "last used", "revoked")
_CONFIGURED = "no: it is configured"


@click.group("keys")
def command() -> None:
    """Issue, list and revoke API keys. A change takes effect at once in every process.

    Only the SHA-256 of a key is stored; its first 16 hex digits are the key's id. Keys of CLEW_API_KEYS, and the one
    that 'clew up' creates, are not stored here: they have every scope, and are valid until the configuration changes.
    """


@command.command("create")
@options.tenant
@click.option("--name", required=True, help="Who uses it, for the record: letters, digits, '.', '_', '@' and '-'.")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES), help="May be repeated.")
@options.nats
@options.as_json
def create(*, tenant: str, name: str, scopes: Sequence[KeyScope], nats: str, as_json: bool) -> None:
    """Issue a key, and show it once. Its tenant exists from then on.

    read: the current state of threads. write: commands, without reading anything. audit: the history of threads.
    erase: erasing threads and messages for good. admin: everything.
    """

    async def issue(opened: OpenDeployment) -> tuple[str, IssuedKey]:
        await TenantList(opened.js).admit([tenant])
        return await KeyBucket(opened.js).create(tenant, name, scopes)

    key, issued = look(nats, issue)
    if as_json:
        print_json({"key": key, **_key_fields(issued)})
        return
    output.card(
        [("key", key), ("id", issued.id), ("tenant", tenant), ("name", name), ("scopes", ", ".join(issued.scopes))]
    )
    echo("Store the key now: Clew keeps no copy, and it cannot be shown again.", err=True)


@command.command("list")
@click.option("--tenant", help="Only keys of this tenant.")
@options.nats
@options.api_keys
@options.as_json
def list_keys(*, tenant: str | None, nats: str, api_keys: str, as_json: bool) -> None:
    """Show the ids of issued keys, and of those of CLEW_API_KEYS if it is set here."""

    async def read(opened: OpenDeployment) -> list[IssuedKey]:
        return await KeyBucket(opened.js).all()

    configured = [holder for holder in Keys.parse(api_keys).configured() if tenant in {None, holder.tenant}]
    issued = [key for key in look(nats, read) if tenant in {None, key.tenant}]
    if as_json:
        others = [{"id": holder.actor, "tenant": holder.tenant, "scopes": SCOPES} for holder in configured]
        print_json({"keys": [_key_fields(key) for key in issued], "configured": others})
        return
    output.rows(_TITLE, [*map(_line, issued), *map(_configured_line, configured)])
    if configured:
        echo("A configured key cannot be revoked by command: remove it from CLEW_API_KEYS.", err=True)


@command.command("revoke")
@click.argument("key_id", metavar="ID")
@options.nats
@options.as_json
def revoke(*, key_id: str, nats: str, as_json: bool) -> None:
    """Revoke the key with this ID at once. It cannot be undone."""
    if key_id.startswith("key_"):
        raise Invalid(f"{key_id} is a configured key: remove it from CLEW_API_KEYS", code="configured_key")

    async def run_revoke(opened: OpenDeployment) -> IssuedKey:
        return await KeyBucket(opened.js).revoke(key_id)

    issued = look(nats, run_revoke)
    if as_json:
        print_json(_key_fields(issued))
        return
    assert issued.revoked_at is not None
    echo(f"revoked {issued.id} ({issued.tenant}, {issued.name}) at {_when(issued.revoked_at)}")


def _key_fields(issued: IssuedKey) -> dict[str, object]:
    fields: dict[str, object] = msgspec.structs.asdict(issued)
    del fields["sha256"]
    return {"id": issued.id, **fields, "actor": issued.holder.actor}


def _when(time: datetime) -> str:
    return output.when(int(time.timestamp()))


def _line(issued: IssuedKey) -> tuple[object, ...]:
    times = (issued.created_at, issued.last_used_at, issued.revoked_at)
    columns = ("" if time is None else _when(time) for time in times)
    return issued.id, issued.tenant, issued.name, ", ".join(issued.scopes), *columns


def _configured_line(holder: Holder) -> tuple[object, ...]:
    return holder.actor, holder.tenant, "", ", ".join(SCOPES), "", "", _CONFIGURED
