"""``clew item``: a thread's items of any type, through the services that listen on NATS. Items are lines of JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import BinaryIO

import click
from msgspec import Raw, UnsetType

from clew_events.client import Clew
from clew_events.queries import Order
from clew_events.replies import Done, Found
from clew_services.cli import options, output
from clew_services.cli.session import ask
from clew_services.cli.terminal import echo_json, print_json

_item = click.argument("item", metavar="ITEM")
_file = click.argument("file", type=click.File("rb"), default="-")


@click.command("list")
@options.thread
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--order", type=click.Choice(["asc", "desc"]), default="asc", show_default=True)
@click.option("--after", metavar="ITEM", help="Begin after this item.")
@options.query_options
def list_items(
    *, thread: str, limit: int, order: Order, after: str | None, tenant: str, nats: str, as_json: bool
) -> None:
    """Show a thread's items, by default the oldest first."""
    reply = ask(nats, tenant, lambda clew: clew.list_items(thread, limit=limit, order=order, after=after))
    _show(reply, reply.items.data, as_json=as_json)


@click.command()
@options.thread
@_item
@options.query_options
def get(*, thread: str, item: str, tenant: str, nats: str, as_json: bool) -> None:
    """Show an item as it was given."""
    reply = ask(nats, tenant, lambda clew: clew.get_item(thread, item))
    _show(reply, (reply.item,), as_json=as_json)


@click.command()
@options.thread
@_file
@options.expected_version
@options.command_options
def add(
    *, thread: str, file: BinaryIO, expected_version: int | None, command_id: str | None, reason: str | None,
    actor: str, tenant: str, nats: str, as_json: bool,
) -> None:  # fmt: skip
    """Add the items of a FILE, one on each line, to a thread: all of them or none."""
    items = [Raw(line) for line in file.read().splitlines() if line.strip()]
    done = ask(
        nats, tenant,
        lambda clew: clew.add_items(
            thread, items, expected_version=expected_version, command_id=command_id, reason=reason
        ),
        actor=actor,
    )  # fmt: skip
    _receipt(done, as_json=as_json)


@click.command()
@options.thread
@_item
@_file
@options.expected_version
@options.command_options
def replace(
    *, thread: str, item: str, file: BinaryIO, expected_version: int | None, command_id: str | None,
    reason: str | None, actor: str, tenant: str, nats: str, as_json: bool,
) -> None:  # fmt: skip
    """Replace an item by that of a FILE."""
    body = Raw(file.read())
    done = ask(
        nats, tenant,
        lambda clew: clew.replace_item(
            thread, item, body, expected_version=expected_version, command_id=command_id, reason=reason
        ),
        actor=actor,
    )  # fmt: skip
    _receipt(done, as_json=as_json)


def _on_thread(name: str, text: str, action: Callable[..., Callable[[Clew], Awaitable[Done]]]) -> click.Command:
    """A command about a thread or one of its items that takes nothing else."""

    @click.command(name, help=text)
    @options.thread
    @options.expected_version
    @options.command_options
    def run(*, actor: str, tenant: str, nats: str, as_json: bool, **given: str | int | None) -> None:
        _receipt(ask(nats, tenant, action(**given), actor=actor), as_json=as_json)

    return run


pop = _on_thread(
    "pop", "Delete the newest item of a thread, and show it.",
    lambda thread, **how: lambda clew: clew.pop_item(thread, **how),
)  # fmt: skip
clear = _on_thread(
    "clear", "Delete all items of a thread, which stays.",
    lambda thread, **how: lambda clew: clew.clear_items(thread, **how),
)  # fmt: skip
delete = _item(_on_thread(
    "delete", "Delete an item. Its history stays.",
    lambda thread, item, **how: lambda clew: clew.delete_item(thread, item, **how),
))  # fmt: skip


def _show(reply: Found | Done, items: tuple[Raw, ...], *, as_json: bool) -> None:
    if as_json:
        print_json(reply)
        return
    for item in items:
        echo_json(bytes(item))


def _receipt(done: Done, *, as_json: bool) -> None:
    if as_json or not isinstance(done.popped, UnsetType):
        _show(done, () if isinstance(done.popped, UnsetType) else (done.popped,), as_json=as_json)
        return
    ids = done.items.ids if done.items is not None else ()
    gone = [("deleted", done.deleted.id)] if done.deleted is not None else []
    output.card([*(("item", each) for each in ids), *gone, ("n", done.n)])


@click.group("item")
def command() -> None:
    """Add, read, replace and delete the items of a thread, messages and others, as lines of JSON."""


for subcommand in (add, list_items, get, replace, delete, pop, clear):
    command.add_command(subcommand)
