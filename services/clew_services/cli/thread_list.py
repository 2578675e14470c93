"""``clew thread list``: threads by what they are, what was said in them, and when."""

from __future__ import annotations

import click
import msgspec

from clew_events.list_query import Condition, ListThreads
from clew_events.list_reply import ListedThread, ThreadList
from clew_services import validation
from clew_services.cli import options, output
from clew_services.cli.exit import print_json
from clew_services.cli.session import ask


@click.command("list")
@click.option("-m", "--metadata", "pairs", type=options.PAIR, multiple=True, help="Only threads with this metadata.")
@click.option("--search", help="Only threads with a message that has all of these words.")
@click.option("--where", help="Only threads for which this condition holds, as JSON.")
@click.option("--query", default="{}", help="All of the question as JSON; other options go before it.")
@click.option("--order-by", type=click.Choice(["created", "updated", "match"]), help="[default: created]")
@click.option("--order", type=click.Choice(["asc", "desc"]), help="[default: desc]")
@click.option("--limit", type=click.IntRange(1, 100), help="[default: 20]")
@click.option("--after", help="The 'next' of the page before.")
@click.option("--count", is_flag=True, default=None, help="Say how many there are in all.")
@click.option("--facet", "facets", multiple=True, metavar="KEY", help="Say how many have each value of a key.")
@click.option("--at-least", metavar="SHARD-SEQ", help="Wait until the list contains what was written there.")
@options.query_options
def command(
    *,
    pairs: tuple[tuple[str, str], ...],
    where: str | None,
    query: str,
    tenant: str,
    nats: str,
    as_json: bool,
    **said: object,
) -> None:
    """List threads, by default those created last."""
    question = validation.decode(query.encode(), ListThreads)
    wanted = [Condition.equal(key, value) for key, value in pairs]
    if where is not None:
        wanted.append(validation.decode(where.encode(), Condition))
    if question.where is not None:
        wanted.append(question.where)
    plain = {name: value for name, value in said.items() if value not in {None, ()}}
    if wanted:
        plain["where"] = Condition(every=tuple(wanted))
    whole = {**_plain(question), **_plain(plain)}
    asked = validation.convert(whole, ListThreads)
    found = ask(nats, tenant, lambda clew: clew.ask_for_threads(asked))
    if as_json:
        print_json(found)
    else:
        _show(found)


def _plain(said: object) -> dict[str, object]:
    return msgspec.json.decode(msgspec.json.encode(said), type=dict[str, object])


def _show(found: ThreadList) -> None:
    rows = [
        (each.id, output.when(each.created_at), output.when(each.updated_at), each.message_count, _about(each))
        for each in found.data
    ]
    output.rows(("thread", "created", "updated", "messages", "about"), rows, right=frozenset({"messages"}))
    facts: list[tuple[str, object]] = []
    if found.count is not None:
        facts.append(("threads", _number(found.count.threads, exact=found.count.exact)))
    for facet in found.facets or ():
        facts += [(f"{facet.key} = {each.value}", _number(each.threads, exact=facet.exact)) for each in facet.values]
        facts += [(f"{facet.key} = ...", "more values")] if facet.more else []
    if found.next is not None:
        facts.append(("next", found.next))
    facts.append(("as of", f"{found.fresh.position} {output.when(found.fresh.at) if found.fresh.at else ''}"))
    click.echo()
    output.card(facts)


def _about(thread: ListedThread) -> str:
    if isinstance(thread.excerpt, msgspec.UnsetType):
        return "  ".join(f"{key}={value}" for key, value in thread.metadata.items())
    return "".join(f"[{piece.text}]" if piece.match else piece.text for piece in thread.excerpt.pieces)


def _number(threads: int, *, exact: bool) -> str:
    return str(threads) if exact else f"at least {threads}"
