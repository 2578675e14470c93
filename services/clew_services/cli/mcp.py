"""``clew mcp``: Clew as tools of the Model Context Protocol."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

import click
import msgspec

from clew_events import ids
from clew_events.errors import Invalid
from clew_services.cli import options

_KEY: Final = "CLEW_API_KEY"
_MISSING: Final = (
    "there is no API key: set CLEW_API_KEY, or name a file that holds it with --api-key-file. "
    "'clew keys create --scope read --scope audit' issues one that changes nothing"
)


@click.command("mcp")
@click.option(
    "--url",
    type=options.api_url,
    envvar="CLEW_URL",
    show_envvar=True,
    default="http://127.0.0.1:8787",
    show_default=True,
    help="Where the HTTP API is.",
)
@click.option(
    "--api-key-file",
    envvar="CLEW_API_KEY_FILE",
    show_envvar=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"A file that holds the API key.  [default: the key in {_KEY}]",
)
@click.option(
    "--write", is_flag=True, help="Offer tools that change threads, too: the key must have the scope 'write'."
)
@click.option("--actor", default="mcp", show_default=True, help="Who changes something, as the history names them.")
@click.option("--key", metavar="KEY|FILE", help="A public key to trust when a thread is verified, or a file with it.")
def command(*, url: str, api_key_file: Path | None, write: bool, actor: str, key: str | None) -> None:
    """Serve a Model Context Protocol server on standard input and output, for models that look into a history.

    Its tools find and read threads, show their history, what changed and who changed it, and verify a thread's record.
    They do what the API key may do, and change nothing without --write. Nothing erases.
    """
    try:
        from clew_services.mcp.tool_server import ToolServer, serve  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as missing:
        raise Invalid(f"{missing.name} is not installed: pip install 'clew[mcp]'", code="not_installed") from missing
    server = ToolServer(
        url,
        _api_key(api_key_file),
        write=write,
        actor=_checked_actor(actor),
        key=options.key_from(key) if key is not None else None,
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(server))


def _api_key(file: Path | None) -> str:
    key = file.read_text().strip() if file is not None else os.environ.get(_KEY, "")
    if not (key.isascii() and key.isprintable() and key):
        raise Invalid(_MISSING, code="no_api_key")
    return key


def _checked_actor(actor: str) -> str:
    try:
        return msgspec.convert(actor, ids.Actor)
    except msgspec.ValidationError as fault:
        raise Invalid(f"Invalid '--actor': {actor!r} cannot be the name of an actor", param="actor") from fault
