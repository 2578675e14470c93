"""``clew state``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click
from msgspec import Struct

from clew_events import replies
from clew_events.objects import Message
from clew_events.queries import GetThread, ListMessagesAt
from clew_services.cli import options, output
from clew_services.cli.commit_lines import text_of
from clew_services.cli.exit import print_json
from clew_services.cli.parts import Source, consult
from clew_services.cli.thread import thread_facts

_PAGE = 100


class State(Struct, frozen=True):
    """A thread as of a moment, and all its messages as of then."""

    then: replies.Moment
    messages: tuple[Message, ...]


@click.command("state")
@options.thread
@click.option("--as-of", type=options.MOMENT, help="After commit N, or at a time in ISO 8601.  [default: now]")
@options.pack
@options.query_options
def command(
    *, thread: str, as_of: int | datetime | None, pack: Path | None, tenant: str, nats: str, as_json: bool
) -> None:
    """Show a thread and its messages, now or as of a moment, folded from its history alone."""

    async def read(clew: Source) -> State:
        moment = as_of if as_of is not None else (await clew.reader.thread(tenant, GetThread(thread_id=thread))).n
        then = await clew.reader.past.thread(tenant, thread, moment)
        return State(then, await _messages(clew, tenant, thread, then) if then.thread is not None else ())

    state = consult(nats, pack, read)
    if as_json:
        print_json(state)
        return
    then = state.then
    facts = thread_facts(then.thread) if then.thread is not None else [("thread", f"{thread} (deleted)")]
    output.card([*facts, ("messages", then.message_count), ("n", then.n), ("at", output.when(then.at))])
    if state.messages:
        click.echo()
        lines = [(m.id, output.when(m.created_at), m.role, text_of(m.content)) for m in state.messages]
        output.rows(("message", "created", "role", "text"), lines)


async def _messages(clew: Source, tenant: str, thread: str, then: replies.Moment) -> tuple[Message, ...]:
    messages: list[Message] = []
    after: str | None = None
    while True:  # All pages are as of the same commit.
        query = ListMessagesAt(thread_id=thread, as_of=then.n, limit=_PAGE, order="asc", after=after)
        page = (await clew.reader.past.messages(tenant, query)).messages
        assert page is not None
        messages += page.data
        if not page.has_more:
            return tuple(messages)
        after = page.last_id
