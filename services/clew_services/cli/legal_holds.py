"""``clew hold``: legal holds on threads, and standing ones, under which nothing of them can be erased."""

from __future__ import annotations

from collections.abc import Sequence

import click
import msgspec
from msgspec import Struct

from clew_events import ids
from clew_events.client import Clew
from clew_events.errors import ClewError, Conflict, NotFound, Rejected
from clew_events.list_query import Condition, HoldTest
from clew_events.list_reply import FilterHold
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
from clew_services.cli.thread_list import read_filter

Pairs = Sequence[tuple[str, str]]
_PAGE = 100
_TITLE = ("thread", "holds", "deleted")


class _Outcome(Struct):
    """The standing holds, those that threads have, what was refused, and the fault that ended it."""

    standing: list[FilterHold] = []
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
    """Place the hold NAME on each THREAD, deleted or not, or a standing one on all threads that match a filter.

    A standing hold covers what matches now and later, deleted or not, for as long as it matches. A hold that is there
    already stays as it is.
    """
    wanted = read_filter(pairs, where)
    check_choice(threads, filtered=wanted is not None)
    if wanted is not None:
        placed = ask(nats, tenant, lambda clew: clew.place_standing_hold(name, wanted, reason=reason), actor=actor)
        _show(_Outcome(standing=[placed.standing]), as_json)
        return
    chosen = resolve_ids(threads, tenant, nats)
    _show(ask(nats, tenant, lambda clew: _change(clew, chosen, name, reason, release=False), actor=actor), as_json)


@command.command("release")
@_name
@_threads
@_pairs
@_where
@click.option("--all", "whole", is_flag=True, help="All threads that have it, deleted ones too, and the standing hold.")
@_reason
@options.actor
@options.query_options
def release(
    *, name: str, threads: Sequence[str], pairs: Pairs, where: str | None, whole: bool, reason: str | None,
    actor: str, tenant: str, nats: str, as_json: bool,
) -> None:  # fmt: skip
    """Release the standing hold NAME, or the hold on each THREAD, or on all that match a filter and have it.

    --all releases it everywhere.
    """
    wanted = read_filter(pairs, where)
    if whole and (threads or wanted is not None):
        raise click.UsageError("--all takes neither THREADs nor a filter")
    if threads or wanted is not None:
        check_choice(threads, filtered=wanted is not None)
    chosen: list[str] = []
    standing = not threads and wanted is None
    if whole:
        found = ask(nats, tenant, lambda clew: _list(clew, name, None, None))
        chosen, standing = [each.id for each in found.held], bool(found.standing)
        if not chosen and not standing:
            raise NotFound(f"There is no legal hold '{name}'.", code="hold_not_found")
    elif wanted is not None:
        having = Condition(every=(wanted, Condition(hold=HoldTest(eq=name))))
        chosen = ask(nats, tenant, lambda clew: find_threads(clew, having))
    else:
        chosen = resolve_ids(threads, tenant, nats)
    if standing:
        ask(nats, tenant, lambda clew: clew.release_standing_hold(name, reason=reason), actor=actor)
        echo(f"released the standing hold {name}", err=as_json)
        if not whole:
            return
    _show(ask(nats, tenant, lambda clew: _change(clew, chosen, name, reason, release=True), actor=actor), as_json)


@command.command("list")
@click.argument("which", metavar="[NAME|THREAD]", required=False)
@click.option("--limit", type=click.IntRange(min=1), help="Show at most this many threads.  [default: all]")
@options.query_options
def list_holds(*, which: str | None, limit: int | None, tenant: str, nats: str, as_json: bool) -> None:
    """List the standing holds, and the threads that have holds, deleted ones too; or those of NAME.

    Of a THREAD, its own holds and the standing ones that cover it.
    """
    name, thread = (None, which) if which is not None and ids.is_thread_id(which) else (which, None)
    if name is not None and not ids.is_code(name):
        raise click.BadParameter(f"a name is {ids.CODE_FORM}", param_hint="NAME")
    if thread is not None:
        (thread,) = resolve_ids([thread], tenant, nats)
    found = ask(nats, tenant, lambda clew: _list(clew, name, thread, limit))
    if as_json:
        print_json({"holds": found.held, "standing": found.standing})
    else:
        _show_rows(found)


async def _list(clew: Clew, name: str | None, thread: str | None, limit: int | None) -> _Outcome:
    page = await clew.list_holds(hold=name, thread_id=thread, limit=min(limit or _PAGE, _PAGE))
    found = _Outcome(standing=list(page.standing), held=list(page.data))
    while page.has_more and (limit is None or len(found.held) < limit):
        page = await clew.list_holds(hold=name, limit=_PAGE, after=page.last_id)
        found.held += page.data
    found.held = found.held[:limit]
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
        refused = rejection_objects(outcome.refused)
        print_json({"holds": outcome.held, "standing": outcome.standing, "refused": refused})
    elif outcome.held or outcome.standing:
        _show_rows(outcome)
    elif not outcome.refused and outcome.fault is None:
        echo("no thread matches")
    if outcome.fault is not None:
        raise outcome.fault
    raise_rejections(outcome.refused)


def _show_rows(outcome: _Outcome) -> None:
    if outcome.standing:
        rows = [(each.id, msgspec.json.encode(each.where).decode()) for each in outcome.standing]
        output.rows(("standing hold", "where"), rows)
    if outcome.held or not outcome.standing:
        held = [(each.id, " ".join(each.holds), "yes" if each.deleted else "") for each in outcome.held]
        output.rows(_TITLE, held)
