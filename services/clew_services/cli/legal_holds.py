"""``clew hold``: legal holds on threads, under which nothing of them can be erased."""

from __future__ import annotations

from collections.abc import Sequence

import click
from msgspec import Struct

from clew_events.client import Clew
from clew_events.errors import ClewError, Conflict, Rejected
from clew_events.list_query import Condition, HoldTest
from clew_events.objects import HeldThread
from clew_services.cli import options, output
from clew_services.cli.progress_bars import bars
from clew_services.cli.session import ask
from clew_services.cli.terminal import echo, print_json
from clew_services.cli.thread_choice import (
    Refused,
    check_choice,
    find_threads,
    raise_rejections,
    rejection_objects,
    resolve_ids,
)
from clew_services.cli.thread_list import read_conditions

Pairs = Sequence[tuple[str, str]]
_TITLE = ("thread", "holds", "deleted")


class _Outcome(Struct):
    """The holds that threads have afterwards, what was refused, and the fault that ended it."""

    held: list[HeldThread] = []
    refused: list[Refused] = []
    fault: ClewError | None = None


@click.group("hold")
def command() -> None:
    """Place, release and list legal holds. Nothing of a thread that has one can be erased."""


_name = options.code_argument("name")
_threads = click.argument("threads", metavar="[THREAD]...", nargs=-1)
_pairs = click.option(
    "-m", "--metadata", "pairs", type=options.PAIR, multiple=True, help="All threads with this metadata."
)
_where = click.option("--where", metavar="FILTER", help="All threads that match, as for 'clew thread list'.")
_reason = click.option("--reason", help="Why; stored with each commit.")


@command.command("place")
@_name
@_threads
@_pairs
@_where
@_reason
@options.actor
@options.query_options
def place(
    *, name: str, threads: Sequence[str], pairs: Pairs, where: str | None, reason: str | None,
    actor: str, tenant: str, nats: str, as_json: bool,
) -> None:  # fmt: skip
    """Place the hold NAME on each THREAD, deleted or not, or on all threads that match a filter.

    With a filter, the threads that are listed now are held, and not those that come to match later. One that has the
    hold already stays as it is.
    """
    conditions = read_conditions(pairs, where)
    check_choice(threads, filtered=bool(conditions))
    if conditions:
        wanted = Condition(every=tuple(conditions))
        chosen = ask(nats, tenant, lambda clew: find_threads(clew, wanted))
    else:
        chosen = resolve_ids(threads, tenant, nats)
    _show(ask(nats, tenant, lambda clew: _change(clew, chosen, name, reason, release=False), actor=actor), as_json)


@command.command("release")
@_name
@_threads
@_pairs
@_where
@click.option("--all", "whole", is_flag=True, help="All threads that have the hold, deleted ones too.")
@_reason
@options.actor
@options.query_options
def release(
    *, name: str, threads: Sequence[str], pairs: Pairs, where: str | None, whole: bool, reason: str | None,
    actor: str, tenant: str, nats: str, as_json: bool,
) -> None:  # fmt: skip
    """Release the hold NAME on each THREAD, on all that match a filter and have it, or on --all that have it."""
    conditions = read_conditions(pairs, where)
    if whole and (threads or conditions):
        raise click.UsageError("--all takes neither THREADs nor a filter")
    if not whole:
        check_choice(threads, filtered=bool(conditions))
    if whole:
        chosen = [each.id for each in ask(nats, tenant, lambda clew: _list(clew, name, None))]
    elif conditions:
        wanted = Condition(every=(*conditions, Condition(hold=HoldTest(eq=name))))
        chosen = ask(nats, tenant, lambda clew: find_threads(clew, wanted))
    else:
        chosen = resolve_ids(threads, tenant, nats)
    _show(ask(nats, tenant, lambda clew: _change(clew, chosen, name, reason, release=True), actor=actor), as_json)


@command.command("list")
@options.code_argument("name", required=False)
@click.option("--limit", type=click.IntRange(min=1), help="Show at most this many.  [default: all]")
@options.query_options
def list_holds(*, name: str | None, limit: int | None, tenant: str, nats: str, as_json: bool) -> None:
    """List the threads that have legal holds, deleted ones too, or the hold NAME."""
    held = ask(nats, tenant, lambda clew: _list(clew, name, limit))
    if as_json:
        print_json({"holds": held})
    else:
        _show_rows(held)


async def _list(clew: Clew, name: str | None, limit: int | None) -> list[HeldThread]:
    found: list[HeldThread] = []
    async for each in clew.iter_holds(hold=name):
        found.append(each)
        if len(found) == limit:
            break
    return found


async def _change(clew: Clew, chosen: Sequence[str], name: str, reason: str | None, *, release: bool) -> _Outcome:
    outcome = _Outcome()
    with bars() as progress:
        task = progress.add_task("releasing" if release else "placing", total=len(chosen))
        for thread in chosen:
            try:
                done = await (clew.release_hold if release else clew.place_hold)(thread, name, reason=reason)
                outcome.held.append(done.held)
            except (Rejected, Conflict) as fault:
                outcome.refused.append((thread, fault))
            except ClewError as fault:
                outcome.fault = fault
                break
            progress.advance(task)
    return outcome


def _show(outcome: _Outcome, as_json: bool) -> None:
    if as_json:
        print_json({"holds": outcome.held, "refused": rejection_objects(outcome.refused)})
    elif outcome.held:
        _show_rows(outcome.held)
    elif not outcome.refused and outcome.fault is None:
        echo("no thread matches")
    if outcome.fault is not None:
        raise outcome.fault
    raise_rejections(outcome.refused)


def _show_rows(held: Sequence[HeldThread]) -> None:
    output.rows(_TITLE, [(each.id, " ".join(each.holds), "yes" if each.deleted else "") for each in held])
