"""``clew doctor``."""

from __future__ import annotations

from datetime import timedelta

import click
import msgspec

from clew_services.cli import options
from clew_services.cli.interrupt import run
from clew_services.cli.logs import hush
from clew_services.cli.terminal import echo, print_json, quantity
from clew_services.process.deployment_check import examine
from clew_services.process.problems import Diagnosis
from clew_services.version import clew_version

_FILES = ("index", "signing_key", "http_cert", "http_key", "max_file_store")


def _files(function: options.F) -> options.F:
    for name in reversed(_FILES):
        function = options.setting(name)(function)
    return function


@click.command("doctor")
@options.data_and_nats
@_files
@click.option(
    "--backup-age",
    envvar="CLEW_BACKUP_AGE",
    show_envvar=True,
    type=click.IntRange(min=1),
    default=7,
    show_default=True,
    help="Days that the newest backup may be old.",
)
@click.option(
    "--api",
    "apis",
    envvar="CLEW_API",
    show_envvar=True,
    multiple=True,
    type=options.api_url,
    help="Ask this HTTP API as well, as its callers reach it. May be repeated.",
)
@options.inbox_prefix
@options.as_json
def command(*, nats: str, backup_age: int, apis: tuple[str, ...], as_json: bool, **chosen: str) -> None:
    """Say what is wrong with a deployment and with this machine's part of it, and what to do.

    It changes nothing, needs no running service but one that --api names, and says what it could not look at.

    Exit codes: 0 nothing found, 1 warnings, 4 something is down or could not be looked at, 5 data is not what it
    must be.
    """
    settings = msgspec.structs.replace(options.nats_settings(nats), **chosen)
    hush()
    age = timedelta(days=backup_age)
    diagnosis = run(examine(settings, settings.nats_url, age, options.reply_prefix(), apis))
    if as_json:
        problems = [
            {"code": problem.code, **problem.advice._asdict(), "what": problem.what} for problem in diagnosis.problems
        ]
        print_json({"clew": clew_version(), "problems": problems, "unknown": diagnosis.unknown})
    else:
        _print(diagnosis)
    click.get_current_context().exit(diagnosis.exit_code)


def _print(diagnosis: Diagnosis) -> None:
    for problem in diagnosis.problems:
        echo(f"{problem.advice.severity}  {problem.code}: {problem.what}")
        echo(f"         {problem.advice.remedy}")
    for what in diagnosis.unknown:
        echo(f"unknown  {what}")
    if diagnosis.exit_code == 0:
        echo("nothing is wrong")
    else:
        looks = f", and {quantity(len(diagnosis.unknown), 'looks')} failed" if diagnosis.unknown else ""
        found = quantity(len(diagnosis.problems), "problems")
        echo(f"{found}{looks}; docs/operating/doctor.md says what each means")
