"""The command line: ``clew``. Each command is a module of its own, imported when it is asked for.

Answers go to standard output, for people or with ``--json`` for programs; whatever went wrong goes to
standard error as one line. The exit code says what to do next: 0 done, 1 refused, 2 not understood, 3 the thread
moved on, 4 not now, 5 the record is damaged, 6 what was asked about is not there.
"""

from __future__ import annotations

import importlib

try:
    import click
except ModuleNotFoundError as missing:
    raise SystemExit(f"clew: {missing.name} is not here: pip install 'clew[server]'") from missing

from clew_services.cli.exit import report_errors
from clew_services.main import load_commands

_COMMANDS = {
    "up": "Run all of Clew here, on an embedded NATS server.",
    "init": "Create what a deployment needs on a NATS server.",
    "serve": "Run chosen parts of Clew against a NATS server.",
    "thread": "Create, change and look at threads.",
    "history": "Show how a thread came to be what it is.",
    "replay": "Show a thread as it was at some moment, or commits as they happen.",
    "state": "Show a thread and its messages, now or as of a moment.",
    "diff": "Show what changed in a thread between two moments.",
    "blame": "Show who last set each part of a thread, and who removed what is gone.",
    "keys": "Issue, list and revoke API keys.",
    "rejected": "Look at inbox commands that were refused, and try them again.",
    "status": "Show what a deployment holds and whether it keeps up.",
    "export": "Write threads with all their commits into one file: an audit pack.",
    "import": "Put the threads of an audit pack into a deployment.",
    "what-if": "Replay history through other code and say which threads would be others.",
    "verify": "Check that no history was altered.",
    "checkpoint": "Sign what the log is, keep it elsewhere, and prove things by it.",
    "prove": "Check that the current state follows from the history.",
    "rebuild": "Make the current state again from the history, beside the live one.",
    "backup": "Write everything that cannot be made again into a folder.",
    "restore": "Bring a backup back, to one server or to three.",
    "schema": "Print the contract as JSON Schema, AsyncAPI or OpenAPI.",
}

_MODULES = {"import": "import_pack", "what-if": "what_if"}
"""Of commands whose name can be none of a module."""


class _Commands(click.Group):
    """Knows its commands by name, and imports the one that is asked for: the servers' imports take their time."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(f"clew_services.cli.{_MODULES.get(cmd_name, cmd_name)}").command
        load_commands()
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        with report_errors():
            return super().invoke(ctx)


def _print_versions(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from clew_services.cli.versions import versions  # noqa: PLC0415 - only asked for now and then

        click.echo("  ".join(f"{name} {number}" for name, number in versions().items()))
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_versions,
    help="Show the versions.",
)
def main() -> None:
    """Clew keeps conversation threads as a history that can be published to, replayed and queried."""
