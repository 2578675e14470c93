"""``clew retention``: policies by which old threads are deleted or erased."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, get_args

import click
import msgspec

from clew_events.client import Clew
from clew_events.client.results import RetentionDone
from clew_events.content import Anchor, Disposal
from clew_events.errors import Invalid
from clew_events.list_reply import Count, DueThread, Retention
from clew_events.requests import MAX_DAYS
from clew_services.cli import options, output
from clew_services.cli.parts import use_parts
from clew_services.cli.session import ask
from clew_services.cli.terminal import echo, print_json
from clew_services.cli.thread_list import read_filter
from clew_services.compose import Clew as Deployment
from clew_services.retention.look_book import PassState
from clew_services.retention.retention_worker import RetentionWorker
from clew_services.settings import Settings
from clew_services.threads.tenant_rules import REMOVES_ALL

_DAYS: Final = re.compile(r"([1-9][0-9]{0,4})d?")
_THEN: Final = re.compile(r"(delete|erase)|delete,erase-after[ =](?P<days>\S+)")
_DUE: Final = ("thread", "to be", "since", "by", "now", "holds")
_TITLE: Final = ("policy", "after", "since", "then", "where")


class _Days(click.ParamType[int]):
    """A number of days: ``90d`` or ``90``."""

    name = "DAYS"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = _DAYS.fullmatch(str(value))
        if found is None or int(found[1]) > MAX_DAYS:
            self.fail(f"{value!r} is not a number of days from 1 to {MAX_DAYS}, such as 90d", param, ctx)
        return int(found[1])


@click.group("retention")
def command() -> None:
    """Set, remove and list policies of retention: what becomes of threads that are old enough.

    Policies are commits of the tenant's own history: 'clew history' shows who set or removed which when.
    """


@command.command("set")
@options.code_argument("name")
@click.option("--after", "after_days", type=_Days(), required=True, help="How old a thread is then, such as 90d.")
@click.option(
    "--since",
    type=click.Choice(get_args(Anchor)),
    required=True,
    help="From when the days count: the thread's first commit, its latest use, or, if imported, its creation before.",
)
@click.option(
    "--then",
    required=True,
    metavar="WHAT",
    help="What becomes of it: delete, erase, or 'delete,erase-after 30d'.",
)
@click.argument("days", required=False, metavar="")
@click.option(
    "-m", "--metadata", "pairs", type=options.PAIR, multiple=True, help="Only for threads with this metadata."
)
@click.option("--where", metavar="FILTER", help="Only threads that match, as for 'clew thread list'.")
@click.option("--yes", is_flag=True, help="Do not ask where it is for all threads.")
@options.expected_version
@options.command_options
def set_policy(
    *,
    name: str,
    after_days: int,
    since: Anchor,
    then: str,
    days: str | None,
    pairs: Sequence[tuple[str, str]],
    where: str | None,
    yes: bool,
    expected_version: int | None,
    command_id: str | None,
    reason: str | None,
    actor: str,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Set the policy NAME, in place of one of that name.

    It is for the threads that match, or without a filter for all: then this asks, with the number of threads that it
    would remove now. Threads under legal holds are left out until these are released.
    """
    disposal, erase_after_days = _read_then(then if days is None else f"{then} {days}")
    wanted = read_filter(pairs, where)

    async def send(clew: Clew, *, confirm: bool) -> RetentionDone:
        return await clew.set_retention(
            name,
            after_days=after_days,
            since=since,
            then=disposal,
            erase_after_days=erase_after_days,
            where=wanted,
            confirm=confirm,
            expected_version=expected_version,
            command_id=command_id,
            reason=reason,
        )

    try:
        done = ask(nats, tenant, lambda clew: send(clew, confirm=yes), actor=actor)
    except Invalid as fault:
        if fault.code != REMOVES_ALL:
            raise
        if not sys.stdin.isatty():
            raise Invalid(fault.message.replace("'confirm'", "--yes"), code=fault.code) from fault
        click.confirm(f"{fault.message.partition(' Confirm it')[0]} Set it?", abort=True, err=True)
        done = ask(nats, tenant, lambda clew: send(clew, confirm=True), actor=actor)
    if as_json:
        print_json(done.retention)
        return
    effect = done.retention
    echo(f"{name} is for {_count(effect.threads)} threads, of which {_count(effect.due)} are old enough now")
    if effect.held_by:
        echo(f"left out until they are released: threads under {', '.join(effect.held_by)}")


@command.command("remove")
@options.code_argument("name")
@options.expected_version
@options.command_options
def remove(
    *, name: str, expected_version: int | None, command_id: str | None, reason: str | None, actor: str, tenant: str,
    nats: str, as_json: bool,
) -> None:  # fmt: skip
    """Remove the policy NAME. What it has deleted or erased stays so."""
    done = ask(
        nats,
        tenant,
        lambda clew: clew.remove_retention(
            name, expected_version=expected_version, command_id=command_id, reason=reason
        ),
        actor=actor,
    )
    if as_json:
        print_json(done.deleted)
    else:
        echo(f"removed {name}")


@command.command("list")
@options.query_options
def list_policies(*, tenant: str, nats: str, as_json: bool) -> None:
    """List the policies of the tenant, by their names."""
    listed = ask(nats, tenant, Clew.list_retention)
    if as_json:
        print_json({"policies": listed.data})
    else:
        output.rows(_TITLE, map(_row, listed.data))


@command.command("run")
@click.option("--dry-run", is_flag=True, help="Only show what is due, by which rule, and which legal holds keep it.")
@click.option("--until", type=options.TIME, help="With --dry-run: what is due by this time, and not only by now.")
@options.index
@options.setting("encrypted_at_rest")
@options.query_options_with_data
def run(
    *, dry_run: bool, until: datetime | None, data: str, index: str, encrypted_at_rest: str, tenant: str, nats: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Remove the tenant's threads that are due, once, as the role 'retention' does every ten minutes for all tenants.

    It needs the index of this machine. What is removed was due at a look an hour before as well, so on a deployment
    where nobody runs the role, run this hourly.
    """
    if dry_run:
        due = ask(nats, tenant, lambda clew: _list_due(clew, until))
        if as_json:
            print_json({"due": due})
        else:
            output.rows(_DUE, map(_due_row, due))
        return
    if until is not None:
        raise click.UsageError("--until goes with --dry-run")
    root = Settings(data=data, index=index).index_folder

    async def remove(clew: Deployment) -> PassState:
        clew.open_index(root)
        return await RetentionWorker(clew.retention_parts).run(tenant)

    state = use_parts(nats, remove, may_erase=encrypted_at_rest != "")
    if as_json:
        print_json(state)
        return
    counts = {"deleted": state.deleted, "asked to erase": state.erased, "held": state.held, "waiting": state.waiting}
    echo(", ".join(f"{name}: {count}" for name, count in counts.items()))
    if state.believed_at is not None:
        echo(f"nothing is removed before {output.when(state.believed_at)}, when the clock is believed")


async def _list_due(clew: Clew, until: datetime | None) -> list[DueThread]:
    return [each async for each in clew.iter_due(until=until)]


def _due_row(due: DueThread) -> tuple[object, ...]:
    since = output.when(datetime.fromtimestamp(due.due_at, UTC))
    now = "deleted" if due.deleted else "open"
    return due.id, f"{due.action}d", since, due.policy or "expires_after", now, " ".join(due.holds)


def _read_then(text: str) -> tuple[Disposal, int | None]:
    found = _THEN.fullmatch(text)
    if found is None:
        raise click.BadParameter(
            f"{text!r} is none of 'delete', 'erase' and 'delete,erase-after 30d'", param_hint="--then"
        )
    if found["days"] is not None:
        return "delete", _Days().convert(found["days"], None, None)
    return ("delete" if text == "delete" else "erase"), None


def _row(policy: Retention) -> tuple[object, ...]:
    later = f",erase-after {policy.erase_after_days}d" if policy.erase_after_days is not None else ""
    where = "" if policy.where is None else msgspec.json.encode(policy.where).decode()
    return policy.name, f"{policy.after_days}d", policy.since, f"{policy.then}{later}", where


def _count(count: Count | None) -> str:
    if count is None:
        return "an unknown number of"
    return str(count.threads) if count.exact else f"at least {count.threads}"
