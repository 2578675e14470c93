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

from clew_events.error_texts import no_thread
from clew_events.errors import Invalid
from clew_events.subjects import Address, address_of, is_thread
from clew_projections.audit.what_if import Decide, Fold, WhatIf, WhatIfResult
from clew_projections.fold import evolve
from clew_projections.integrity.verify import pages
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.packs.check import commits
from clew_projections.packs.pack import Pack
from clew_services.cli import check_report, options
from clew_services.cli.exit import EXIT_CODES
from clew_services.cli.session import look
from clew_services.cli.terminal import echo, print_json, quantity
from clew_services.open_deployment import OpenDeployment

Wanted = Callable[[Address], bool]


@click.command("what-if")
@options.maybe_thread
@click.option("--fold", metavar="MODULE:FUNCTION", help="Takes a state and an event, as clew_projections.fold.evolve.")
@click.option(
    "--decide",
    metavar="MODULE:FUNCTION",
    help="Takes a state and a commit; returns None to accept or a reason to refuse.",
)
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
    """Replay history through another fold or decider, and show which threads would differ.

    Both are functions of a module in this folder. The fold returns the state of a thread after an event. The decider
    is called with each commit and the state that the thread would have had; commits that it refuses are left out.
    Nothing is written.
    """
    if fold is None and decide is None:
        raise click.UsageError("give --fold or --decide, or both")
    address = check_report.choose(thread, tenant, everything)

    def wanted(owner: Address) -> bool:
        return owner == address if address is not None else everything or owner.tenant == tenant

    def new_what_if() -> WhatIf:
        return WhatIf(
            cast("Fold", _function(fold)) if fold is not None else evolve,
            cast("Decide", _function(decide)) if decide is not None else None,
        )

    with contextlib.redirect_stdout(sys.stderr):  # what that code prints is not part of the answer
        result = (
            _of_pack(Pack(pack), wanted, new_what_if) if pack is not None else _of_server(nats, wanted, new_what_if)
        )
    if address is not None and not result.threads:
        raise no_thread(address.thread)
    if as_json:
        print_json(result)
    else:
        _show(result)
    if result.failed:
        damaged = any(failure.code != "failed" for failure in result.failed)
        raise click.exceptions.Exit(EXIT_CODES["corrupt" if damaged else "rejected"])


def _of_pack(pack: Pack, wanted: Wanted, new_what_if: Callable[[], WhatIf]) -> WhatIfResult:
    result = new_what_if().result()
    with check_report.count_to("replaying", pack.manifest.commits) as progress:
        for shard in range(pack.opening.shards):
            what_if = new_what_if()
            for page in commits(pack, shard):
                _take(what_if, page, wanted)
                progress(len(page))
            result += what_if.result()
    return result


def _of_server(nats: str, wanted: Wanted, new_what_if: Callable[[], WhatIf]) -> WhatIfResult:
    new_what_if()  # fails before anything is read if it cannot be imported

    async def replay(opened: OpenDeployment) -> WhatIfResult:
        result = WhatIfResult()
        ends = [(await opened.js.extent(shard)).last_seq for shard in range(opened.shards)]
        with check_report.count_to("replaying", sum(ends)) as progress:
            for shard, end in enumerate(ends):
                what_if = new_what_if()
                async with aclosing(pages(opened.js, shard, 1, end)) as read:
                    async for page in read:
                        _take(what_if, page, wanted)
                        progress(len(page))
                result += what_if.result()
        return result

    return look(nats, replay)


def _take(what_if: WhatIf, page: list[StoredMessage], wanted: Wanted) -> None:
    for stored in page:
        owner = address_of(stored.subject)
        if is_thread(owner) and wanted(owner):
            what_if.take(owner, stored.body)


def _function(reference: str) -> object:
    """The function of a name ``module:function``.

    Raises:
        Invalid: there is none, or its module cannot be imported.
    """
    module, _, name = reference.partition(":")
    if not module or not name:
        raise Invalid(f"'{reference}' names no function: write it as module:function", code="no_function")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        function = getattr(importlib.import_module(module), name, None)
    except (Exception, SystemExit) as fault:
        raise Invalid(f"{module} cannot be imported: {type(fault).__name__}: {fault}", code="no_function") from fault
    if not callable(function):
        raise Invalid(f"there is no function {name} in {module}", code="no_function")
    return cast("object", function)


def _show(result: WhatIfResult) -> None:
    for line in _lines(result):
        echo(line)
    echo(
        f"{quantity(result.threads, 'threads')}, {quantity(result.commits, 'commits')}: "
        f"{quantity(len(result.differ), 'threads')} would differ, {result.in_between} only in between; "
        f"{quantity(result.refused, 'commits')} refused; {quantity(len(result.failed), 'threads')} failed"
    )


def _lines(result: WhatIfResult) -> Iterator[str]:
    for thread in result.differ:
        yield f"{thread.tenant} {thread.thread} differs from commit {thread.n} on"
        if (refused := thread.refused) is not None:
            why = f": {refused.why}" if refused.why is not None else ""
            yield f"      commit {refused.n} refused{why} ({refused.commits} in all)"
        for change in thread.fields:
            yield f"      {change.field}: {change.before!r} -> {change.after!r}"
    for failure in result.failed:
        yield f"{failure.tenant} {failure.thread} commit {failure.n}: {failure.what} [{failure.code}]"
