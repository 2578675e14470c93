"""``clew thread``: commands and queries through the services that listen on NATS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import click
import msgspec
from msgspec import UNSET, UnsetType

from clew_events.client import Clew
from clew_events.client.results import MessagesFound
from clew_events.commands import CreateThread, ForkThread, UpdateThread
from clew_events.content import Role
from clew_events.objects import MessageReceipt, Thread
from clew_events.queries import Order
from clew_events.replies import Done, Moment
from clew_events.requests import ExpiresAfterIn, MetadataPatch, NewMessage
from clew_services import validation
from clew_services.cli import options, output, thread_list
from clew_services.cli.commit_lines import text_of
from clew_services.cli.event_words import expiry
from clew_services.cli.session import ask
from clew_services.cli.terminal import print_json


@click.command()
@options.thread
@options.query_options
def get(*, thread: str, tenant: str, nats: str, as_json: bool) -> None:
    """Show a thread's current state."""
    reply = ask(nats, tenant, lambda clew: clew.get_thread(thread))
    if as_json:
        print_json(reply)
    else:
        output.card([*thread_facts(reply.thread), ("n", reply.n)])


@click.command()
@options.thread
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--order", type=click.Choice(["asc", "desc"]), default="asc", show_default=True)
@options.query_options
def messages(*, thread: str, limit: int, order: Order, tenant: str, nats: str, as_json: bool) -> None:
    """Show a thread's messages, by default the oldest first. 'clew item list' shows its items of all types."""
    reply = ask(nats, tenant, lambda clew: _list_messages(clew, thread, limit, order))
    if as_json:
        print_json(reply)
        return
    lines = [
        (message.id, output.when(message.created_at), message.role, text_of(message.content))
        for message in reply.messages.data
    ]
    output.rows(("message", "created", "role", "text"), lines)


async def _list_messages(clew: Clew, thread: str, limit: int, order: Order) -> MessagesFound:
    """Return ``limit`` messages, or all there are: a page of long messages has fewer than were asked for."""
    reply = await clew.list_messages(thread, limit=limit, order=order)
    data = reply.messages.data
    while reply.messages.has_more and len(data) < limit:
        after = reply.messages.last_id
        reply = await clew.list_messages(thread, limit=limit - len(data), order=order, after=after)
        data += reply.messages.data
    page = msgspec.structs.replace(reply.messages, data=data, first_id=data[0].id if data else None)
    return msgspec.structs.replace(reply, messages=page)


def thread_facts(thread: Thread) -> list[tuple[str, object]]:
    """A thread's fields as pairs of name and text."""
    resources = msgspec.json.encode(thread.tool_resources).decode()
    return [
        ("thread", thread.id),
        ("created", output.when(thread.created_at)),
        *([("forked from", f"{origin.thread} at version {origin.n}")] if (origin := thread.forked_from) else []),
        *([("metadata", "(erased)")] if thread.erased is True else []),
        *((f"metadata {key}", value) for key, value in thread.metadata.items()),
        *([("tool resources", resources)] if resources != "{}" else []),
        *([("expires after", expiry(thread.expires_after))] if thread.expires_after else []),
        *([("expires", output.when(thread.expires_at))] if thread.expires_at else []),
    ]


def moment_facts(thread: str, then: Moment) -> list[tuple[str, object]]:
    """A thread as of a moment as pairs of name and text."""
    facts = thread_facts(then.thread) if then.thread is not None else [("thread", f"{thread} (deleted)")]
    return [*facts, ("items", then.message_count), ("n", then.n), ("at", output.when(then.at))]


Pairs = Sequence[tuple[str, str]]


@click.command()
@options.thread_id
@click.option("--metadata", "-m", type=options.PAIR, multiple=True, help="May be repeated.")
@click.option("--message", "messages", multiple=True, help="Text of a user message. May be repeated.")
@click.option("--expires-after", "expires", type=options.EXPIRY, help="When to remove it, such as last_active_at+90.")
@click.option(
    "--file",
    type=click.File("rb"),
    help="JSON with messages, metadata, tool_resources, expires_after; - reads standard input.",
)
@options.command_options
def create(
    *, thread_id: str | None, metadata: Pairs, messages: Sequence[str], expires: ExpiresAfterIn | None,
    file: BinaryIO | None, command_id: str | None, reason: str | None,
    actor: str, tenant: str, nats: str, as_json: bool,
) -> None:  # fmt: skip
    """Create a thread."""
    if file is not None and (metadata or messages or expires):
        raise click.UsageError("--file holds the whole request: omit --message, --metadata and --expires-after")
    request = (
        _from_options(metadata, messages, expires) if file is None else validation.decode(file.read(), CreateThread)
    )
    request = msgspec.structs.replace(
        request, thread_id=thread_id or request.thread_id, id=command_id or request.id, reason=reason or request.reason
    )
    _show(ask(nats, tenant, lambda clew: clew.send(request), actor=actor), as_json)


def _from_options(metadata: Pairs, messages: Sequence[str], expires: ExpiresAfterIn | None) -> CreateThread:
    return CreateThread(
        messages=tuple(NewMessage(role="user", content=text) for text in messages) or None,
        metadata=dict(metadata) or None,
        expires_after=expires,
    )


@click.command()
@options.thread
@click.option("--at", metavar="VERSION|ITEM", help="What it begins with: up to a version or an item; by default, all.")
@options.thread_id
@click.option("--metadata", "-m", type=options.PAIR, multiple=True, help="In place of the thread's. May be repeated.")
@options.command_options
def fork(
    *, thread: str, at: str | None, thread_id: str | None, metadata: Pairs, command_id: str | None, reason: str | None,
    actor: str, tenant: str, nats: str, as_json: bool,
) -> None:  # fmt: skip
    """Create a thread that begins as another, without copying it."""
    begin = int(at) if at is not None and at.isascii() and at.isdecimal() else at
    request = ForkThread(
        id=command_id, reason=reason, thread_id=thread_id, parent=thread, at=begin, metadata=dict(metadata) or UNSET
    )
    _show(ask(nats, tenant, lambda clew: clew.send(request), actor=actor), as_json)


@click.command()
@options.thread
@click.option("--set", "changed", type=options.PAIR, multiple=True, help="Set a metadata key; keep the others.")
@click.option("--unset", "gone", multiple=True, metavar="KEY", help="Remove a metadata key; keep the others.")
@click.option("--expires-after", "expires", type=options.EXPIRY, help="When to remove it, such as last_active_at+90.")
@click.option("--never-expires", "never", is_flag=True, help="Take away when it expires.")
@options.expected_version
@options.command_options
def update(
    *, thread: str, changed: Pairs, gone: Sequence[str], expires: ExpiresAfterIn | None, never: bool,
    expected_version: int | None, command_id: str | None, reason: str | None,
    actor: str, tenant: str, nats: str, as_json: bool,
) -> None:  # fmt: skip
    """Change single keys of a thread's metadata, or when it expires."""
    if expires is not None and never:
        raise click.UsageError("give --expires-after or --never-expires, not both")
    if not changed and not gone and not expires and not never:
        raise click.UsageError(
            "nothing to change: give --set KEY=VALUE, --unset KEY, --expires-after ANCHOR+DAYS or --never-expires"
        )
    expires_after: ExpiresAfterIn | UnsetType | None = None if never else expires or UNSET
    request = UpdateThread(
        id=command_id,
        reason=reason,
        thread_id=thread,
        patch=MetadataPatch(set=dict(changed), unset=tuple(gone)) if changed or gone else UNSET,
        expires_after=expires_after,
        expected_version=expected_version,
    )
    _show(ask(nats, tenant, lambda clew: clew.send(request), actor=actor), as_json)


@click.command("add-message")
@options.thread
@click.argument("text")
@click.option("--role", type=click.Choice(["user", "assistant"]), default="user", show_default=True)
@options.expected_version
@options.command_options
def add_message(
    *, thread: str, text: str, role: Role, expected_version: int | None,
    command_id: str | None, reason: str | None, actor: str, tenant: str, nats: str, as_json: bool,
) -> None:  # fmt: skip
    """Append a message to a thread."""

    async def add(clew: Clew) -> Done:
        return await clew.add_message(
            thread, text, role=role, expected_version=expected_version, command_id=command_id, reason=reason
        )

    _show(ask(nats, tenant, add, actor=actor), as_json)


@click.command()
@options.thread
@options.expected_version
@options.command_options
def delete(
    *, thread: str, expected_version: int | None, command_id: str | None, reason: str | None,
    actor: str, tenant: str, nats: str, as_json: bool,
) -> None:  # fmt: skip
    """Delete a thread. Its history stays, and it can be restored until it is erased."""

    async def end(clew: Clew) -> Done:
        return await clew.delete_thread(thread, expected_version=expected_version, command_id=command_id, reason=reason)

    _show(ask(nats, tenant, end, actor=actor), as_json)


@click.command()
@options.thread
@options.expected_version
@options.command_options
def restore(
    *, thread: str, expected_version: int | None, command_id: str | None, reason: str | None,
    actor: str, tenant: str, nats: str, as_json: bool,
) -> None:  # fmt: skip
    """Restore a deleted thread, as it was, unless it was erased."""

    async def undo(clew: Clew) -> Done:
        return await clew.restore_thread(
            thread, expected_version=expected_version, command_id=command_id, reason=reason
        )

    _show(ask(nats, tenant, undo, actor=actor), as_json)


def _show(done: Done, as_json: bool) -> None:
    """Print the receipt of a command; of texts and metadata it has only what the command itself set."""
    if as_json:
        print_json(done)
        return
    facts: list[tuple[str, object]] = []
    changed = done.message or done.thread
    if changed is not None:
        facts += [("thread" if done.thread else "message", changed.id), ("created", output.when(changed.created_at))]
        if isinstance(changed, MessageReceipt) and changed.content:
            facts.append(("text", text_of(changed.content)))
        facts += [(f"metadata {key}", value) for key, value in (changed.metadata or {}).items()]
    if done.deleted is not None:
        facts.append(("deleted", done.deleted.id))
    output.card([*facts, ("n", done.n)])


@click.group("thread")
def command() -> None:
    """Create, change and read threads, through the services that listen on NATS."""


for subcommand in (
    create,
    fork,
    get,
    thread_list.command,
    update,
    delete,
    restore,
    add_message,
    messages,
):
    command.add_command(subcommand)
