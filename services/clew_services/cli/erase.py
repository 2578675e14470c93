"""``clew erase``: erase threads, or a message, for good."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click
from msgspec import Struct

from clew_events import ids
from clew_events.backoff import delays
from clew_events.client import Clew
from clew_events.erasures import Erasure
from clew_events.errors import AlreadyErased, ClewError, Conflict, Rejected, Unavailable
from clew_events.list_query import Condition
from clew_services.cli import erasure_list, options
from clew_services.cli.exit import EXIT_CODES
from clew_services.cli.progress_bars import bars
from clew_services.cli.session import ask
from clew_services.cli.terminal import echo, print_json, quantity
from clew_services.cli.thread_choice import (
    Refused,
    check_choice,
    find_threads,
    raise_rejections,
    rejection_objects,
    resolve_ids,
)
from clew_services.cli.thread_list import read_filter


class _Outcome(Struct):
    """What became of the requests: the erasures, what was refused, and the fault that ended it.

    ``left`` are threads that match the filter and were not listed at first.
    """

    erasures: list[Erasure] = []
    refused: list[Refused] = []
    left: list[str] = []
    fault: ClewError | None = None


class _Request(Struct, frozen=True):
    """What is asked for of each thread: the message alone, if one is named; why; and whether forks may lose it."""

    message: str | None
    reason: str | None
    forks: bool


@click.command("erase")
@click.argument("threads", metavar="[THREAD]...", nargs=-1)
@click.option("--message", "message", metavar="MESSAGE", help="Erase this message, or other item, of THREAD alone.")
@click.option("-m", "--metadata", "pairs", type=options.PAIR, multiple=True, help="All threads with this metadata.")
@click.option("--where", metavar="FILTER", help="All threads that match, as for 'clew thread list'.")
@click.option("--reason", metavar="CODE", help="Why, as a code of letters, digits and '_.:-': it is kept for ever.")
@click.option("--forks", is_flag=True, help="Erase although forks show it, which lose it too.")
@click.option("--dry-run", is_flag=True, help="Show what would be erased, and erase nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--no-wait", is_flag=True, help="Return when the erasures are requested.")
@options.actor
@options.query_options
def command(
    *,
    threads: Sequence[str],
    message: str | None,
    pairs: Sequence[tuple[str, str]],
    where: str | None,
    reason: str | None,
    forks: bool,
    dry_run: bool,
    yes: bool,
    no_wait: bool,
    actor: str,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Erase each THREAD, or all threads that match a filter, with all that people wrote in them.

    Deleted threads can be erased too, by their ids. What forks show is refused without --forks. From the answer on
    nobody reads what is being erased, and then it goes from every disk: this waits until that is certified. It cannot
    be undone.

    With a filter, the threads that are listed when the command starts are erased. An index that is behind may not list
    those of the last moments, or a thread may come to match: if any are left, this says so at the end.
    """
    wanted = read_filter(pairs, where)
    check_choice(threads, filtered=wanted is not None)
    _check_message(message, threads)
    if wanted is not None:
        chosen = ask(nats, tenant, lambda clew: find_threads(clew, wanted))
    else:
        chosen = resolve_ids(threads, tenant, nats)
    if dry_run:
        _show_choice(chosen, message, as_json=as_json)
        return
    if chosen and not yes:
        what = "message" if message is not None else quantity(len(chosen), "threads")
        click.confirm(f"Erase {what} for good? This cannot be undone.", abort=True, err=True)
    outcome = ask(
        nats,
        tenant,
        lambda clew: _erase(clew, chosen, _Request(message, reason, forks), wanted, wait=not no_wait),
        actor=actor,
    )
    _show(outcome, as_json=as_json)


async def _erase(
    clew: Clew, chosen: Sequence[str], asked: _Request, wanted: Condition | None, *, wait: bool
) -> _Outcome:
    """Request the erasures, wait until they are done, and look which threads are left that are ``wanted``."""
    outcome = _Outcome()
    with bars() as progress:
        task = progress.add_task("requesting", total=len(chosen))
        try:
            for thread in chosen:
                await _request(clew, outcome, thread, asked)
                progress.advance(task)
            if wait:
                progress.update(task, description="erasing", completed=0, total=len(outcome.erasures))
                for place, erasure in enumerate(outcome.erasures):
                    outcome.erasures[place] = await _wait_until_done(clew, erasure.id)
                    progress.advance(task)
            if wanted is not None:
                # The index listed them although they were erased.
                outcome.refused = [each for each in outcome.refused if not isinstance(each[1], AlreadyErased)]
                outcome.left = await find_threads(clew, wanted, (each.position for each in outcome.erasures))
        except ClewError as fault:
            outcome.fault = fault
    return outcome


def _check_message(message: str | None, threads: Sequence[str]) -> None:
    if message is not None and len(threads) != 1:
        raise click.UsageError("--message takes the one THREAD that the message is in")
    if message is not None and not ids.is_item_id(message):
        raise click.BadParameter(f"an item id is {ids.ITEM_ID_FORM}", param_hint="--message")


async def _request(clew: Clew, outcome: _Outcome, thread: str, asked: _Request) -> None:
    message, reason, forks = asked.message, asked.reason, asked.forks
    try:
        if message is None:
            done = await clew.erase_thread(thread, reason=reason, forks=forks)
        elif ids.is_message_id(message):
            done = await clew.erase_message(thread, message, reason=reason, forks=forks)
        else:
            done = await clew.erase_item(thread, message, reason=reason, forks=forks)
        outcome.erasures.append(done.erasure)
    except AlreadyErased as fault:
        outcome.refused.append((thread, await _explain(clew, fault, thread, message)))
    except (Rejected, Conflict) as fault:
        outcome.refused.append((thread, fault))


async def _explain(clew: Clew, fault: AlreadyErased, thread: str, message: str | None) -> AlreadyErased:
    """The error for what was erased before, with how far that is."""
    async for erasure in clew.iter_erasures(thread_id=thread):
        if erasure.id in fault.message:
            what = f"message {message} of thread {thread}" if erasure.message_id is not None else f"thread {thread}"
            return AlreadyErased(f"{what} {erasure_list.describe(erasure)}")
    return fault


async def _wait_until_done(clew: Clew, erasure_id: str) -> Erasure:
    """Wait until an erasure is completed or has failed.

    Raises:
        Unavailable: how far it is cannot be asked any more. It goes on by itself.
    """
    pauses = delays(first=0.1)
    try:
        while True:
            erasure = await clew.get_erasure(erasure_id)
            if erasure.status in {"completed", "failed"}:
                return erasure
            await asyncio.sleep(next(pauses))
    except Unavailable as fault:
        hint = (
            f"'{erasure_id}' is requested and goes on by itself: 'clew erasures show {erasure_id}' says how far it is"
        )
        raise Unavailable(f"{fault.message}. {hint}", code=fault.code) from fault


def _show_choice(chosen: Sequence[str], message: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"threads": chosen, "message": message})
        return
    for thread in chosen:
        echo(thread if message is None else f"{thread} {message}")
    what = "1 message" if message is not None else quantity(len(chosen), "threads")
    echo(f"{what} would be erased", err=True)


def _show(outcome: _Outcome, *, as_json: bool) -> None:
    if as_json:
        refused = rejection_objects(outcome.refused)
        print_json({"erasures": outcome.erasures, "refused": refused, "left": outcome.left})
    elif outcome.erasures:
        erasure_list.show_rows(outcome.erasures)
    elif not outcome.refused and outcome.fault is None:
        echo("there is nothing to erase")
    if outcome.fault is not None:
        raise outcome.fault
    if outcome.left:
        echo(f"{quantity(len(outcome.left), 'threads')} more match by now: run the command again", err=True)
    raise_rejections(outcome.refused)
    if any(erasure.status == "failed" for erasure in outcome.erasures):
        raise click.exceptions.Exit(EXIT_CODES["corrupt"])
