"""``clew thread list``: threads by metadata, text and time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click
import msgspec

from clew_events.list_query import Condition, ForkTest, ListThreads
from clew_events.list_reply import ListedThread, ThreadList
from clew_services import validation
from clew_services.cli import commit_lines, options, output
from clew_services.cli.session import ask
from clew_services.cli.terminal import echo, print_json


@click.command("list")
@click.option("-m", "--metadata", "pairs", type=options.PAIR, multiple=True, help="Only threads with this metadata.")
@click.option("--search", help="Only threads with an item that has all these words.")
@click.option("--kind", type=click.Choice(["thread", "conversation"]), help="Only threads of this kind.")
@click.option("--forked-from", metavar="THREAD", help="Only threads that were forked from this one.")
@click.option("--where", help="Only threads that match this condition, in JSON.")
@click.option("--query", default="{}", help="The whole query in JSON; other options override it.")
@click.option("--order-by", type=click.Choice(["created", "updated", "match"]), help="[default: created]")
@click.option("--order", type=click.Choice(["asc", "desc"]), help="[default: desc]")
@click.option("--limit", type=click.IntRange(1, 100), help="[default: 20]")
@click.option("--after", help="The 'next' of the previous page.")
@click.option("--count", is_flag=True, default=None, help="Count all matching threads.")
@click.option(
    "--facet", "facets", multiple=True, metavar="KEY", help="Count the threads of each value of a metadata key."
)
@click.option("--at-least", metavar="SHARD-SEQ", help="Wait until the index includes the commit at this position.")
@options.query_options
def command(
    *,
    pairs: tuple[tuple[str, str], ...],
    where: str | None,
    forked_from: str | None,
    query: str,
    tenant: str,
    nats: str,
    as_json: bool,
    **rest: object,
) -> None:
    """List threads, by default the newest first."""
    given = validation.decode(query.encode(), ListThreads)
    wanted = read_conditions(pairs, where)
    if forked_from is not None:
        wanted.append(Condition(forked_from=ForkTest(eq=forked_from)))
    if given.where is not None:
        wanted.append(given.where)
    fields = {name: value for name, value in rest.items() if value not in {None, ()}}
    if wanted:
        fields["where"] = Condition(every=tuple(wanted))
    merged = {**_plain(given), **_plain(fields)}
    query_all = validation.convert(merged, ListThreads)
    reply = ask(nats, tenant, lambda clew: clew.ask_for_threads(query_all))
    if as_json:
        print_json(reply)
    else:
        _show(reply)


def read_conditions(pairs: Sequence[tuple[str, str]], where: str | None) -> list[Condition]:
    """The conditions that ``--metadata`` and ``--where`` say, all of which must hold.

    Raises:
        Invalid: ``where`` is no condition.
    """
    conditions = [Condition.equal(key, value) for key, value in pairs]
    if where is not None:
        conditions.append(validation.decode(where.encode(), Condition))
    return conditions


def read_filter(pairs: Sequence[tuple[str, str]], where: str | None) -> Condition | None:
    """The one condition that ``--metadata`` and ``--where`` say together; ``None`` if neither is given.

    Raises:
        Invalid: ``where`` is no condition.
    """
    conditions = read_conditions(pairs, where)
    return Condition(every=tuple(conditions)) if len(conditions) > 1 else next(iter(conditions), None)


def _plain(value: object) -> dict[str, object]:
    return msgspec.json.decode(msgspec.json.encode(value), type=dict[str, object])


def _show(reply: ThreadList) -> None:
    rows = [(t.id, _time(t.created_at), _time(t.updated_at), t.message_count, _about(t)) for t in reply.data]
    output.rows(("thread", "created", "updated", "items", "about"), rows, right=frozenset({"items"}))
    facts: list[tuple[str, object]] = []
    if reply.count is not None:
        facts.append(("threads", _number(reply.count.threads, exact=reply.count.exact)))
    for facet in (*(reply.facets or ()), *(reply.actors or ())):
        facts += [(f"{facet.key} = {v.value}", _number(v.threads, exact=facet.exact)) for v in facet.values]
        facts += [(f"{facet.key} = ...", "more values")] if facet.more else []
    if reply.next is not None:
        facts.append(("next", reply.next))
    facts.append(("as of", f"{reply.fresh.position} {output.when(reply.fresh.at) if reply.fresh.at else ''}"))
    echo()
    output.card(facts)


def _time(seconds: int) -> str:
    # In full, two times leave no room for anything else on 80 columns.
    if sys.stdout.isatty():
        return commit_lines.moment(datetime.fromtimestamp(seconds, UTC))
    return output.when(seconds)


def _about(thread: ListedThread) -> str:
    if isinstance(thread.excerpt, msgspec.UnsetType):
        return "  ".join(f"{key}={value}" for key, value in thread.metadata.items())
    return "".join(f"[{piece.text}]" if piece.match else piece.text for piece in thread.excerpt.pieces)


def _number(threads: int, *, exact: bool) -> str:
    return str(threads) if exact else f"at least {threads}"
