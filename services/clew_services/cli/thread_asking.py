"""``clew thread get`` and ``clew thread messages``, and how their answers look."""

from __future__ import annotations

import click
import msgspec

from clew_events.objects import Thread
from clew_events.queries import Order
from clew_services.cli import display, options
from clew_services.cli.outcome import print_json
from clew_services.cli.session import ask
from clew_services.cli.telling import text_of


@click.command()
@options.thread
@options.asking
def get(*, thread: str, tenant: str, nats: str, as_json: bool) -> None:
    """Show a thread as it is."""
    found = ask(nats, tenant, lambda clew: clew.get_thread(thread))
    if as_json:
        print_json(found)
    else:
        display.card([*thread_facts(found.thread), ("n", found.n)])


@click.command()
@options.thread
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--order", type=click.Choice(["asc", "desc"]), default="asc", show_default=True)
@options.asking
def messages(*, thread: str, limit: int, order: Order, tenant: str, nats: str, as_json: bool) -> None:
    """Show a thread's messages, by default the oldest first."""
    found = ask(nats, tenant, lambda clew: clew.list_messages(thread, limit=limit, order=order))
    if as_json:
        print_json(found)
    elif found.messages is not None:
        lines = [
            (each.id, display.when(each.created_at), each.role, text_of(each.content)) for each in found.messages.data
        ]
        display.rows(("message", "created", "role", "text"), lines)


def thread_facts(thread: Thread) -> list[tuple[str, object]]:
    """What a thread is, line by line."""
    resources = msgspec.json.encode(thread.tool_resources).decode()
    return [
        ("thread", thread.id),
        ("created", display.when(thread.created_at)),
        *((f"metadata {key}", value) for key, value in thread.metadata.items()),
        *([("tool resources", resources)] if resources != "{}" else []),
    ]
