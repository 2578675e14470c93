"""``clew schema``."""

from __future__ import annotations

import click

from clew_events.contract.asyncapi import asyncapi
from clew_events.contract.json_schema import json_schema
from clew_projections.places import Places
from clew_projections.views import StoredView
from clew_services.cli.terminal import print_json
from clew_services.http.openapi import document as openapi

NAMES = ("commands", "queries", "replies", "events", "log", "view", "asyncapi", "openapi")


@click.command("schema")
@click.argument("name", required=False, type=click.Choice(NAMES))
def command(name: str | None) -> None:
    """Print one document of the contract, or all of them in one object.

    commands, queries, replies, events, log (the lines of a stored commit) and view (the values in the buckets) are
    JSON Schema.
    """
    documents: dict[str, object] = {
        **json_schema({"view": (StoredView, Places)}),
        "asyncapi": asyncapi(),
        "openapi": openapi(),
    }
    print_json(documents[name] if name else documents)
