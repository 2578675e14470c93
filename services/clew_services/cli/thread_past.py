"""The past of a thread: ``clew state``, ``clew diff`` and ``clew blame``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import click
from msgspec import Struct

from clew_events import replies
from clew_events.audit_replies import Blame, Difference, KeyRemoved, KeySet
from clew_events.items import Item
from clew_events.objects import Message
from clew_events.queries import GetBlame, GetDifference, GetThread, ListItemsAt
from clew_events.subjects import Address
from clew_projections.api_objects import item_object, shown_message
from clew_projections.views import ItemView
from clew_services.cli import commit_lines, options, output
from clew_services.cli.commit_lines import by_line
from clew_services.cli.event_words import expiry
from clew_services.cli.parts import Source, consult
from clew_services.cli.terminal import echo, line, print_json, show
from clew_services.cli.thread import moment_facts

_PAGE = 100


class State(Struct, frozen=True):
    """A thread as of a moment, and all its items as of then; ``messages`` has those that the Threads API can show."""

    then: replies.Moment
    messages: tuple[Message, ...]
    items: tuple[Item, ...]


@click.command("state")
@options.thread
@options.as_of
@options.pack
@options.query_options
def state(
    *, thread: str, as_of: int | datetime | None, pack: Path | None, tenant: str, nats: str, as_json: bool
) -> None:
    """Show a thread and its items, messages and others, now or as of a moment, folded from its history alone."""

    async def read(clew: Source) -> tuple[replies.Moment, list[ItemView]]:
        moment = as_of if as_of is not None else (await clew.reader.thread(tenant, GetThread(thread_id=thread))).n
        then = await clew.reader.past.thread(tenant, thread, moment)
        return then, await _items(clew, tenant, thread, then) if then.thread is not None else []

    then, items = consult(nats, pack, Address(tenant, thread), read)
    if as_json:
        messages = tuple(message for item in items if (message := shown_message(item)) is not None)
        print_json(State(then, messages, tuple(map(item_object, items))))
        return
    output.card(moment_facts(thread, then))
    if items:
        echo()
        lines = [(item.id, output.when(item.created_at), *commit_lines.item_words(item)) for item in items]
        output.rows(("item", "created", "role or type", "text"), lines)


async def _items(clew: Source, tenant: str, thread: str, then: replies.Moment) -> list[ItemView]:
    items: list[ItemView] = []
    after: str | None = None
    while True:  # All pages are as of the same commit.
        query = ListItemsAt(thread_id=thread, as_of=then.n, limit=_PAGE, order="asc", after=after)
        _, page = await clew.reader.past.page(tenant, query, lambda item: item)
        items += page.data
        if not page.more:
            return items
        after = items[-1].id


@click.command("diff")
@options.thread
@click.argument("since", metavar="FROM", type=options.BEGINNING)
@click.argument("until", metavar="[TO]", type=options.MOMENT, required=False)
@options.pack
@options.query_options
def diff(
    *,
    thread: str,
    since: int | datetime,
    until: int | datetime | None,
    pack: Path | None,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Show what changed in a thread after FROM up to TO: commit numbers or times in ISO 8601.

    FROM may be 0, before the first commit; TO is now by default.
    """

    async def read(clew: Source) -> Difference:
        return await clew.reader.past.difference(tenant, GetDifference(thread_id=thread, since=since, until=until))

    difference = consult(nats, pack, Address(tenant, thread), read)
    if as_json:
        print_json(difference)
        return
    commits = (by_line(origin) for origin in difference.commits)
    lines = [
        f"{difference.thread_id} from commit {difference.since.n} to {difference.until.n}",
        *commits,
        *commit_lines.change_lines(difference),
    ]
    show(lines)


@click.command("blame")
@options.thread
@options.as_of
@options.pack
@options.query_options
def blame(
    *, thread: str, as_of: int | datetime | None, pack: Path | None, tenant: str, nats: str, as_json: bool
) -> None:
    """Show who last set each part of a thread, when, and in which commit; and who removed each removed part."""

    async def read(clew: Source) -> Blame:
        return await clew.reader.past.blame(tenant, GetBlame(thread_id=thread, as_of=as_of))

    answer = consult(nats, pack, Address(tenant, thread), read)
    if as_json:
        print_json(answer)
    else:
        show(_blame_lines(answer))


def _blame_lines(blame: Blame) -> Iterator[str]:
    yield line(blame.thread_id, "  created by ", by_line(blame.created))
    if blame.deleted is not None:
        yield line(blame.thread_id, "  deleted by ", by_line(blame.deleted))
    if blame.erased:
        yield line(blame.thread_id, "  contents of some commits were erased")
    yield from _keys("metadata", blame.metadata, blame.removed)
    for resource in blame.tool_resources:
        yield line(f"{resource.resource}={','.join(resource.value)}  by ", by_line(resource.by))
    if blame.expires_after:
        yield line(f"expires {expiry(blame.expires_after.value)}  by ", by_line(blame.expires_after.by))
    for message in blame.messages:
        yield line(message.id, "  added by ", by_line(message.added))
        if message.replaced is not None:
            yield line(message.id, "  replaced by ", by_line(message.replaced))
        if message.changed not in {message.added, message.replaced, message.deleted}:
            yield line(message.id, "  changed by ", by_line(message.changed))
        if message.deleted is not None:
            yield line(message.id, "  deleted by ", by_line(message.deleted))
        yield from _keys(message.id, message.metadata, message.removed)


def _keys(owner: str, present: Sequence[KeySet], gone: Sequence[KeyRemoved]) -> Iterator[str]:
    for key in present:
        yield line(f"{owner} {key.key}={key.value}  by ", by_line(key.by))
    for removed in gone:
        yield line(f"{owner} -{removed.key}={removed.value}  removed by ", by_line(removed.by))
