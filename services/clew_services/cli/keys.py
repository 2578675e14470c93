"""``clew keys``: who may use the HTTP API, as whom, and for what."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click
import msgspec

from clew_events.errors import Invalid
from clew_services.api_keys import SCOPES, Holder, Keys, KeyScope
from clew_services.api_keys.issued_key import IssuedKey
from clew_services.api_keys.key_bucket import KeyBucket
from clew_services.cli import options, output
from clew_services.cli.exit import print_json
from clew_services.cli.session import look
from clew_services.open_deployment import OpenDeployment

_TITLE = ("id", "tenant", "name", "scopes", "created", "last used", "revoked")
_CONFIGURED = "no: it is configured"


@click.group("keys")
def command() -> None:
    """Issue, list and revoke API keys. What is changed holds at once in every process.

    Of a key only its SHA-256 is kept, whose first 16 hex digits are the key's id. Keys of CLEW_API_KEYS, and the one
    that 'clew up' makes, are not kept here: they have every scope, and hold until the configuration changes.
    """


@command.command("create")
@options.tenant
@click.option("--name", required=True, help="Who uses it, for the record: letters, digits, '.', '_', '@' and '-'.")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES), help="May be repeated.")
@options.nats
@options.as_json
def create(*, tenant: str, name: str, scopes: Sequence[KeyScope], nats: str, as_json: bool) -> None:
    """Issue a key, and show it this once.

    read: threads as they are. write: changes of threads, and no look at any. audit: how threads came to be what they
    are. admin: everything.
    """

    async def created(opened: OpenDeployment) -> tuple[str, IssuedKey]:
        return await KeyBucket(opened.js).create(tenant, name, scopes)

    key, issued = look(nats, created)
    if as_json:
        print_json({"key": key, **_key_line(issued)})
        return
    output.card(
        [("key", key), ("id", issued.id), ("tenant", tenant), ("name", name), ("scopes", ", ".join(issued.scopes))]
    )
    click.echo("Put it away now: it is kept nowhere, and nobody can find it out again.", err=True)


@command.command("list")
@click.option("--tenant", help="Only keys of this tenant.")
@options.nats
@options.api_keys
@options.as_json
def list_keys(*, tenant: str | None, nats: str, api_keys: str, as_json: bool) -> None:
    """Show the keys that were issued, and those of CLEW_API_KEYS if it is set here. None is shown itself."""

    async def all_there_are(opened: OpenDeployment) -> list[IssuedKey]:
        return await KeyBucket(opened.js).all()

    configured = [each for each in Keys.parse(api_keys).configured() if tenant in {None, each.tenant}]
    issued = [each for each in look(nats, all_there_are) if tenant in {None, each.tenant}]
    if as_json:
        also = [{"id": each.actor, "tenant": each.tenant, "scopes": SCOPES} for each in configured]
        print_json({"keys": [_key_line(each) for each in issued], "configured": also})
        return
    output.rows(_TITLE, [*map(_line, issued), *map(_line_of_configured, configured)])
    if configured:
        click.echo("A configured key cannot be revoked by command: take it out of CLEW_API_KEYS.", err=True)


@command.command("revoke")
@click.argument("key_id", metavar="ID")
@options.nats
@options.as_json
def revoke(*, key_id: str, nats: str, as_json: bool) -> None:
    """Have the key called ID open nothing any more, from now on and for ever."""
    if key_id.startswith("key_"):
        raise Invalid(f"{key_id} is a configured key: take it out of CLEW_API_KEYS", code="configured_key")

    async def revoked(opened: OpenDeployment) -> IssuedKey:
        return await KeyBucket(opened.js).revoke(key_id)

    issued = look(nats, revoked)
    if as_json:
        print_json(_key_line(issued))
        return
    assert issued.revoked_at is not None
    click.echo(f"revoked {issued.id} ({issued.tenant}, {issued.name}) at {_when(issued.revoked_at)}")


def _key_line(issued: IssuedKey) -> dict[str, object]:
    fields: dict[str, object] = msgspec.structs.asdict(issued)
    del fields["sha256"]
    return {"id": issued.id, **fields, "actor": issued.holder.actor}


def _when(time: datetime) -> str:
    return output.when(int(time.timestamp()))


def _line(issued: IssuedKey) -> tuple[object, ...]:
    times = (issued.created_at, issued.last_used_at, issued.revoked_at)
    shown = ("" if time is None else _when(time) for time in times)
    return issued.id, issued.tenant, issued.name, ", ".join(issued.scopes), *shown


def _line_of_configured(holder: Holder) -> tuple[object, ...]:
    return holder.actor, holder.tenant, "", ", ".join(SCOPES), "", "", _CONFIGURED
