"""``clew what-if``."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import cast

import click

from clew_events.errors import Invalid, NotFound
from clew_events.subjects import Address, address_of
from clew_projections.audit.what_if import Decide, Fold, WhatIf, WhatIfResult
from clew_projections.fold import evolve
from clew_projections.integrity.verify import extent, pages
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.packs.check import commits
from clew_projections.packs.pack import Pack
from clew_services.cli import check_report, options, output
from clew_services.cli.exit import EXIT_CODES, print_json
from clew_services.cli.session import look
from clew_services.open_deployment import OpenDeployment

Wanted = Callable[[Address], bool]


@click.command("what-if")
@options.maybe_thread
@click.option("--fold", metavar="MODULE:FUNCTION", help="As clew_projections.fold.evolve: takes a state and an event.")
@click.option("--decide", metavar="MODULE:FUNCTION", help="Takes a state and a commit: None accepts, a reason refuses.")
@check_report.everything
@options.pack
@options.query_options
def command(
    *,
    thread: str | None,
    fold: str | None,
    decide: str | None,
    everything: bool,
    pack: Path | None,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Replay history through another fold, or past another decider, and say which threads would be others.

    Both are functions in a module that is found in this folder. The fold gives the state of a thread after an event.
    The decider is asked of each commit whether it would have accepted it in the state that the thread would have had;
    what it refuses is left out. Nothing is written anywhere.
    """
    if fold is None and decide is None:
        raise click.UsageError("say --fold or --decide, or both")
    address = check_report.chosen(thread, tenant, everything)

    def wanted(owner: Address) -> bool:
        return owner == address if address is not None else everything or owner.tenant == tenant

    def trying() -> WhatIf:
        return WhatIf(
            cast("Fold", _function(fold)) if fold is not None else evolve,
            cast("Decide", _function(decide)) if decide is not None else None,
        )

    with contextlib.redirect_stdout(sys.stderr):  # what that code prints is no part of the answer
        found = _of_pack(Pack(pack), wanted, trying) if pack is not None else _of_server(nats, wanted, trying)
    if address is not None and not found.threads:
        raise NotFound(f"No thread found with id '{address.thread}'.", code="thread_not_found")
    if as_json:
        print_json(found)
    else:
        _show(found)
    if found.failed:
        damaged = any(each.code != "failed" for each in found.failed)
        raise click.exceptions.Exit(EXIT_CODES["corrupt" if damaged else "rejected"])


def _of_pack(pack: Pack, wanted: Wanted, trying: Callable[[], WhatIf]) -> WhatIfResult:
    found = trying().result()
    with check_report.count_to("replaying", pack.manifest.commits) as progress:
        for shard in range(pack.opening.shards):
            one = trying()
            for page in commits(pack, shard):
                _take(one, page, wanted)
                progress(len(page))
            found += one.result()
    return found


def _of_server(nats: str, wanted: Wanted, trying: Callable[[], WhatIf]) -> WhatIfResult:
    trying()  # what cannot be imported is told before anything is read

    async def tried(opened: OpenDeployment) -> WhatIfResult:
        found = WhatIfResult()
        ends = [(await extent(opened.js, shard)).last_seq for shard in range(opened.shards)]
        with check_report.count_to("replaying", sum(ends)) as progress:
            for shard, end in enumerate(ends):
                one = trying()
                async with aclosing(pages(opened.js, shard, 1, end)) as read:
                    async for page in read:
                        _take(one, page, wanted)
                        progress(len(page))
                found += one.result()
        return found

    return look(nats, tried)


def _take(trying: WhatIf, page: list[StoredMessage], wanted: Wanted) -> None:
    for stored in page:
        owner = address_of(stored.subject)
        if wanted(owner):
            trying.take(owner, stored.body)


def _function(said: str) -> object:
    """The function that was named.

    Raises:
        Invalid: there is none, or its module cannot be imported.
    """
    module, _, name = said.partition(":")
    if not module or not name:
        raise Invalid(f"'{said}' names no function: say it as module:function", code="no_function")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), name, None)
    except (Exception, SystemExit) as fault:
        raise Invalid(f"{module} cannot be imported: {type(fault).__name__}: {fault}", code="no_function") from fault
    if not callable(found):
        raise Invalid(f"there is no function {name} in {module}", code="no_function")
    return cast("object", found)


def _show(found: WhatIfResult) -> None:
    for line in _lines(found):
        click.echo(output.printable(line))
    click.echo(
        f"{found.threads} threads, {found.commits} commits: {len(found.differ)} threads would differ, "
        f"{found.in_between} only in between; {found.refused} commits refused; {len(found.failed)} threads failed"
    )


def _lines(found: WhatIfResult) -> Iterator[str]:
    for each in found.differ:
        yield f"{each.tenant} {each.thread} differs from commit {each.n} on"
        if (refused := each.refused) is not None:
            why = f": {refused.why}" if refused.why is not None else ""
            yield f"      commit {refused.n} refused{why} ({refused.commits} in all)"
        for change in each.fields:
            yield f"      {change.field}: {change.before!r} -> {change.after!r}"
    for failure in found.failed:
        yield f"{failure.tenant} {failure.thread} commit {failure.n}: {failure.what} [{failure.code}]"
