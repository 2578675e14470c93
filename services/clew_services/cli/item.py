"""``clew item``: a thread's items of any type, through the services that listen on NATS. Items are lines of JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import BinaryIO

import click
from msgspec import Raw, UnsetType

from clew_events.audit_replies import Then
from clew_events.client import Clew
from clew_events.client.results import ItemFound, ItemsFound, ItemsThen, ItemThen
from clew_events.queries import AsOf, Order
from clew_events.replies import Done, Found
from clew_services.cli import options, output
from clew_services.cli.session import ask
from clew_services.cli.terminal import echo, echo_json, print_json

_item = click.argument("item", metavar="ITEM")
_file = click.argument("file", type=click.File("rb"), default="-")


@click.command("list")
@options.thread
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--order", type=click.Choice(["asc", "desc"]), default="asc", show_default=True)
@click.option("--after", metavar="ITEM", help="Begin after this item.")
@options.as_of
@options.query_options
def list_items(
    *, thread: str, limit: int, order: Order, after: str | None, as_of: AsOf | None,
    tenant: str, nats: str, as_json: bool,
) -> None:  # fmt: skip
    """Show a thread's items, now or as of a moment, by default the oldest first."""

    async def read(clew: Clew) -> ItemsFound | ItemsThen:
        if as_of is not None:
            return await clew.items_at(thread, as_of, limit=limit, order=order, after=after)
        return await clew.list_items(thread, limit=limit, order=order, after=after)

    reply = ask(nats, tenant, read)
    _show(reply, reply.items.data, as_json=as_json)
    if reply.items.has_more and not as_json:
        echo(f"clew: there are more: --after {reply.items.last_id}", err=True)


@click.command()
@options.thread
@_item
@options.as_of
@options.query_options
def get(*, thread: str, item: str, as_of: AsOf | None, tenant: str, nats: str, as_json: bool) -> None:
    """Show an item as it was given, now or as of a moment."""

    async def read(clew: Clew) -> ItemFound | ItemThen:
        return await (clew.get_item(thread, item) if as_of is None else clew.item_at(thread, item, as_of))

    reply = ask(nats, tenant, read)
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


def _show(reply: Found | Then | Done, items: tuple[Raw, ...], *, as_json: bool) -> None:
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
