"""``clew report``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from clew_events.subjects import Address
from clew_projections.atomic_file import check_absent, create_file
from clew_projections.audit.moments import Moment, moment
from clew_projections.packs.pack import Pack
from clew_services.checkpoints.note import VerifierKey
from clew_services.cli import check_report, options
from clew_services.cli.exit import EXIT_CODES
from clew_services.cli.interrupt import run
from clew_services.cli.logs import hush
from clew_services.cli.options import key_from, verifier_key
from clew_services.cli.parts import name_tenant, use_parts
from clew_services.cli.terminal import echo, quantity, write_json_lines
from clew_services.cli.thread_choice import check_choice, resolve_ids
from clew_services.compose import Clew
from clew_services.erasure.copy_records import CopyRecord, place_of, record_copy
from clew_services.packs.check_pack import check_pack
from clew_services.packs.offline import Offline
from clew_services.report.report_files import Form, Report, write_report
from clew_services.report.thread_pack import report_thread
from clew_services.report.thread_report import ThreadReport, make_report


@click.command("report")
@click.argument("threads", metavar="THREAD...", nargs=-1, required=True)
@click.option(
    "--html", "form", flag_value="html", default="html", help="Write a page, to read and to print.  [default]"
)
@click.option("--csv", "form", flag_value="csv", help="Write a table: a line for each change.")
@click.option(
    "--as-of", "asked", type=options.MOMENT, multiple=True, help="Show the state then; several times for several."
)
@click.option("--raw", is_flag=True, help="Show items on the page as JSON, as they were given.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file to write; it must not exist.")
@verifier_key
@options.pack
@options.query_options
def command(
    *,
    threads: Sequence[str],
    form: Form,
    asked: Sequence[int | datetime],
    raw: bool,
    out: Path | None,
    key: str | None,
    pack: Path | None,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Write a report of each THREAD, for people who have no Clew: a page that needs nothing else, a table, or JSON.

    It says who did what and when, what that changed, what the thread was at the moments of --as-of (now by default),
    the thread's legal holds and erasures with their certificates, what was checked and what was not, and the proof to
    check it with. With --pack it is made from an audit pack, without a server. Without --out it is printed.

    The exit code is 5 if anything was found; the report then names it.
    """
    check_choice(threads, filtered=False)
    if out is not None:
        check_absent(out)
    trusted = key_from(key) if key is not None else None
    moments = [moment(each, "as_of") for each in asked]
    made_at = datetime.now(UTC)
    names = resolve_ids(threads, tenant, nats) if pack is None else list(dict.fromkeys(threads))
    addresses = [Address(tenant, name) for name in names]
    if pack is None:
        reports = use_parts(nats, lambda clew: _report(clew, addresses, moments, key=trusted, now=made_at, out=out))
    else:
        hush()
        reports = run(_report_packed(Pack(pack), addresses, moments, key=trusted, now=made_at))
    body = write_report(Report(made_at=made_at, threads=tuple(reports)), "json" if as_json else form, raw=raw)
    if out is None:
        write_json_lines(body)
    else:
        create_file(out, body)
        echo(f"wrote {out}: {quantity(len(reports), 'threads')}")
    findings = [finding for report in reports for finding in report.verdict.findings]
    if findings:
        echo(f"{quantity(len(findings), 'findings')}: see the verdict", err=True)
        raise click.exceptions.Exit(EXIT_CODES["corrupt"])


async def _report(
    clew: Clew,
    addresses: Sequence[Address],
    moments: Sequence[Moment],
    *,
    key: VerifierKey | None,
    now: datetime,
    out: Path | None,
) -> list[ThreadReport]:
    """Reports of threads of a deployment, which goes on record as a copy of them if they go into a file."""
    reports = []
    for address in addresses:
        async with name_tenant(clew.histories, address):
            report = await report_thread(clew.exporter, clew.checkpoints, address, moments, now=now, key=key)
        reports.append(report)
    if out is not None:
        ends = tuple([(await clew.js.extent(shard)).last_seq for shard in range(clew.opened.shards)])
        for tenant, thread in addresses:
            made = CopyRecord(kind="report", place=place_of(out), made_at=now, ends=ends, tenant=tenant, thread=thread)
            await record_copy(clew.js, made)
    return reports


async def _report_packed(
    pack: Pack, addresses: Sequence[Address], moments: Sequence[Moment], *, key: VerifierKey | None, now: datetime
) -> list[ThreadReport]:
    with check_report.count_to("verifying", pack.manifest.commits) as progress:
        checked = check_pack(pack, key=key, progress=progress)
    reports = []
    for address in addresses:
        async with name_tenant(Offline(pack).histories, address):
            reports.append(make_report(pack, checked, address, moments, now=now))
    return reports
